"""PyTorch's times on the cases of ours.ts, as JSON: milliseconds by case. Usage: pytorch.py THREADS"""
import json
import math
import sys
import time

import torch
import torch.nn.functional as F

torch.set_num_threads(int(sys.argv[1]))
torch.manual_seed(1)


def best(body):
    body()
    least, until, i = math.inf, time.perf_counter() + 1.5, 0
    while i < 3 or time.perf_counter() < until:
        start = time.perf_counter()
        body()
        least = min(least, time.perf_counter() - start)
        i += 1
    return least * 1000


def leaf(*shape):
    return torch.randn(*shape, requires_grad=True)


times = {}
for n in (256, 512, 1024):
    x, w = torch.randn(n, n), torch.randn(n, n)
    times[f"matmul {n}"] = best(lambda: F.linear(x, w))

x, gamma, beta, dy = leaf(1024, 768), leaf(768), leaf(768), torch.randn(1024, 768)
times["layerNorm 1024x768"] = best(lambda: F.layer_norm(x, (768,), gamma, beta).backward(dy))

q, k, v = leaf(4, 4, 256, 32), leaf(4, 4, 256, 32), leaf(4, 4, 256, 32)
up = torch.randn(4, 4, 256, 32)
above = torch.triu(torch.ones(256, 256, dtype=torch.bool), 1)


def attend(q, k, v, above):
    s = (q @ k.transpose(-1, -2)) / math.sqrt(q.shape[-1])
    return s.masked_fill(above, -math.inf).softmax(-1) @ v


times["attention B4 H4 T256 d32"] = best(lambda: attend(q, k, v, above).backward(up))

logits, targets = leaf(1024, 4096), torch.randint(0, 4096, (1024,))
times["softmax-CE 1024x4096"] = best(lambda: F.cross_entropy(logits, targets).backward())

L, H, C, T, B, V = 4, 4, 128, 128, 8, 256


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
        return x + self.contract(F.gelu(self.expand(self.norm2(x))))


tokens, positions = torch.nn.Embedding(V, C), torch.nn.Embedding(T, C)
blocks, norm, head = torch.nn.ModuleList(Block() for _ in range(L)), torch.nn.LayerNorm(C), torch.nn.Linear(C, V)
ids = torch.randint(0, V, (B, T))
mask = torch.triu(torch.ones(T, T, dtype=torch.bool), 1)


def gpt():
    x = tokens(ids) + positions(torch.arange(T))
    for block in blocks:
        x = block(x, mask)
    F.cross_entropy(head(norm(x)).view(-1, V), ids.view(-1)).backward()


times["GPT step"] = best(gpt)
weights = [p for m in (tokens, positions, blocks, norm, head) for p in m.parameters()]
times["AdamW, 842,496 weights"] = best(torch.optim.AdamW(weights).step)

net = torch.nn.Sequential(*[m for _ in range(20) for m in (torch.nn.Linear(64, 64), torch.nn.ReLU())])
a, target = torch.randn(32, 64), torch.randn(32, 64)
times["20 layers of 64"] = best(lambda: F.mse_loss(net(a), target).backward())

print(json.dumps(times))
