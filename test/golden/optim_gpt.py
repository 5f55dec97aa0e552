"""Writes optim_gpt.json: parameters, loss, gradients and one Adam step of a small GPT, by PyTorch's autograd in float64.

The network is arXiv 2512.23329's (ReLU, layer norm eps 0, Adam 1e-3), with vocabulary 10, width 8, context 5, 2 heads,
2 blocks, a batch of 2 rows of 4 tokens; then the same base frozen under LoRA (rank 2, alpha 3) on every linear layer.
Run with Debian's python3-torch (1.13): /usr/bin/python3 test/golden/optim_gpt.py
"""
import json
import os
import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)
torch.manual_seed(1)
V, d, context, heads, blocks = 10, 8, 5, 2, 2
ids = torch.tensor([[1, 7, 3, 7], [0, 9, 2, 2]])
targets = torch.tensor([[7, 3, 7, 4], [9, 2, 2, 5]])
linears = {"q": (d, d), "k": (d, d), "v": (d, d), "o": (d, d), "expand": (d, 4 * d), "contract": (4 * d, d)}

p = {"tokens": torch.randn(V, d), "positions": torch.randn(context, d)}
for i in range(blocks):
    for name in ("gamma1", "beta1", "gamma2", "beta2"):
        p[f"block{i}.{name}"] = torch.randn(d) * 0.3 + name.startswith("gamma")
    for name, (a, b) in linears.items():
        p[f"block{i}.W{name}"] = torch.randn(b, a) * 0.4
        p[f"block{i}.b{name}"] = torch.randn(b) * 0.2
p["gamma"] = torch.randn(d) * 0.3 + 1
p["beta"] = torch.randn(d) * 0.3
p["Wlogits"] = torch.randn(V, d) * 0.4
p["blogits"] = torch.randn(V) * 0.2

rank, alpha = 2, 3.0
lora = {}
for i in range(blocks):
    for name, (a, b) in linears.items():
        lora[f"block{i}.A{name}"] = torch.randn(rank, a) * 0.4
        lora[f"block{i}.B{name}"] = torch.randn(b, rank) * 0.4
lora["Alogits"] = torch.randn(rank, d) * 0.4
lora["Blogits"] = torch.randn(V, rank) * 0.4


def forward(adapters):
    def dense(prefix, name, x):
        y = F.linear(x, p[f"{prefix}W{name}"], p[f"{prefix}b{name}"])
        if adapters:
            y = y + alpha / rank * (x @ adapters[f"{prefix}A{name}"].T) @ adapters[f"{prefix}B{name}"].T
        return y

    B, T = ids.shape
    split = lambda t: t.view(B, T, heads, d // heads).transpose(1, 2)
    x = p["tokens"][ids] + p["positions"][:T]
    for i in range(blocks):
        b = f"block{i}."
        n = F.layer_norm(x, (d,), p[b + "gamma1"], p[b + "beta1"], eps=0.0)
        q, k, v = (split(dense(b, name, n)) for name in "qkv")
        scores = q @ k.transpose(-1, -2) / (d // heads) ** 0.5
        scores = scores.masked_fill(torch.ones(T, T).triu(1).bool(), float("-inf"))
        x = x + dense(b, "o", (scores.softmax(-1) @ v).transpose(1, 2).reshape(B, T, d))
        n = F.layer_norm(x, (d,), p[b + "gamma2"], p[b + "beta2"], eps=0.0)
        x = x + dense(b, "contract", F.relu(dense(b, "expand", n)))
    logits = dense("", "logits", F.layer_norm(x, (d,), p["gamma"], p["beta"], eps=0.0))
    return F.cross_entropy(logits.view(-1, V), targets.view(-1))


def lists(named):
    return {name: t.tolist() for name, t in named.items()}


out = {"ids": ids.tolist(), "targets": targets.tolist(), "parameters": lists(p), "lora": lists(lora), "rank": rank, "alpha": alpha}
for t in p.values():
    t.requires_grad_()
loss = forward(None)
loss.backward()
out["loss"] = loss.item()
out["gradients"] = {name: t.grad.tolist() for name, t in p.items()}
torch.optim.Adam(p.values(), lr=1e-3).step()
out["after"] = lists({name: p[name].detach() for name in ("tokens", "block0.bk", "block1.Wcontract", "gamma")})

p = {name: torch.tensor(t) for name, t in out["parameters"].items()}
for t in lora.values():
    t.requires_grad_()
loss = forward(lora)
loss.backward()
out["loraLoss"] = loss.item()
out["loraGradients"] = {name: t.grad.tolist() for name, t in lora.items()}
with open(os.path.join(os.path.dirname(__file__), "optim_gpt.json"), "w") as f:
    json.dump(out, f)
