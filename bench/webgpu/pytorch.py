"""PyTorch's times on the same card, float32 with TF32 off, as JSON: milliseconds by case. Usage: pytorch.py [--small]"""
import json
import math
import sys
import time

try:
    import torch
    import torch.nn.functional as F
except ImportError as error:
    sys.exit(f"python3 has no PyTorch ({error})")

if not torch.cuda.is_available():
    sys.exit("PyTorch has no CUDA device here")
torch.backends.cuda.matmul.allow_tf32 = False
torch.backends.cudnn.allow_tf32 = False
dev, small = "cuda", "--small" in sys.argv


def measure(body):
    body()
    torch.cuda.synchronize()
    runs = 1
    while True:
        start = time.perf_counter()
        for _ in range(runs):
            body()
        torch.cuda.synchronize()
        took = (time.perf_counter() - start) * 1000
        if took > 300 or runs >= 1000:
            return took / runs
        runs *= 2


times = {}
for n in ([128] if small else [1024, 2048, 4096]):
    x, w = torch.randn(n, n, device=dev), torch.randn(n, n, device=dev)
    times[f"matmul {n}"] = measure(lambda: F.linear(x, w))

m, d = (64, 128) if small else (16384, 1024)
x, gamma, beta = torch.randn(m, d, device=dev), torch.randn(d, device=dev), torch.randn(d, device=dev)
times[f"layerNorm {m}x{d}"] = measure(lambda: F.layer_norm(x, (d,), gamma, beta))
times[f"softmax {m}x{d}"] = measure(lambda: F.softmax(x, -1))


def attend(q, k, v, above):
    return ((q @ k.transpose(-1, -2)) / math.sqrt(q.shape[-1])).masked_fill(above, -math.inf).softmax(-1) @ v


B, H, T = (1, 2, 64) if small else (4, 12, 1024)
q, k, v = (torch.randn(B, H, T, 64, device=dev, requires_grad=True) for _ in range(3))
up, above = torch.randn(B, H, T, 64, device=dev), torch.triu(torch.ones(T, T, dtype=torch.bool, device=dev), 1)
times[f"attention B{B} H{H} T{T} d64, forward + backward"] = measure(lambda: attend(q, k, v, above).backward(up))

B, T, C, L = (1, 16, 32, 1) if small else (8, 1024, 768, 4)
H, V = C // 32, 256


class Block(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = torch.nn.LayerNorm(C), torch.nn.LayerNorm(C)
        self.q, self.k, self.v, self.o = (torch.nn.Linear(C, C) for _ in range(4))
        self.expand, self.contract = torch.nn.Linear(C, 4 * C), torch.nn.Linear(4 * C, C)

    def forward(self, x, above):
        n = self.norm1(x)
        q, k, v = (f(n).view(B, T, H, C // H).transpose(1, 2) for f in (self.q, self.k, self.v))
        x = x + self.o(attend(q, k, v, above).transpose(1, 2).reshape(B, T, C))
        return x + self.contract(F.gelu(self.expand(self.norm2(x)), approximate="tanh"))


class Gpt(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens, self.positions = torch.nn.Embedding(V, C), torch.nn.Embedding(T, C)
        self.blocks = torch.nn.ModuleList(Block() for _ in range(L))
        self.norm, self.head = torch.nn.LayerNorm(C), torch.nn.Linear(C, V)

    def forward(self, ids, above):
        x = self.tokens(ids) + self.positions(torch.arange(T, device=dev))
        for block in self.blocks:
            x = block(x, above)
        return F.cross_entropy(self.head(self.norm(x)).view(-1, V), ids.view(-1))


model, ids = Gpt().to(dev), torch.randint(0, V, (B, T), device=dev)
mask = torch.triu(torch.ones(T, T, dtype=torch.bool, device=dev), 1)
optimizer = torch.optim.AdamW(model.parameters())


def step():
    optimizer.zero_grad(set_to_none=True)
    model(ids, mask).backward()
    optimizer.step()


times[f"GPT training step L{L} C{C} T{T} B{B}"] = measure(step)
print(json.dumps(times))
