"""Writes optim_trajectories.json: 20 steps of PyTorch's optimisers, schedules and clipping in float64;
and optim_precision.json: float32 numbers as PyTorch holds them in float16 and bfloat16.

Run with Debian's python3-torch (1.13): /usr/bin/python3 test/golden/optim_make.py
The loss is sum(cos(w) + w^2 / 10) over both parameters, so its gradient -sin(w) + w / 5 is known exactly.
"""
import json
import os
import torch

torch.set_default_dtype(torch.float64)
W0 = [[0.5, -1.2, 2.0], [3.1, 0.1, -0.4]]
b0 = [0.3, -0.7, 1.5]


def run(make):
    W = torch.tensor(W0, requires_grad=True)
    b = torch.tensor(b0, requires_grad=True)
    optimizer = make([W, b])
    steps = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = sum((p.cos() + p * p / 10).sum() for p in (W, b))
        loss.backward()
        optimizer.step()
        steps.append({"W": W.tolist(), "b": b.tolist()})
    return steps


o = torch.optim
optimizers = {
    "sgd": (o.SGD, dict(lr=0.1)),
    "sgd decay": (o.SGD, dict(lr=0.1, weight_decay=0.05)),
    "momentum": (o.SGD, dict(lr=0.1, momentum=0.9)),
    "momentum dampening": (o.SGD, dict(lr=0.1, momentum=0.9, dampening=0.3, weight_decay=0.01)),
    "nesterov": (o.SGD, dict(lr=0.1, momentum=0.9, nesterov=True)),
    "adagrad": (o.Adagrad, dict(lr=0.2)),
    "adagrad decay": (o.Adagrad, dict(lr=0.2, lr_decay=0.1, weight_decay=0.05)),
    "rmsprop": (o.RMSprop, dict(lr=0.05)),
    "rmsprop centered momentum": (o.RMSprop, dict(lr=0.02, alpha=0.9, momentum=0.5, centered=True, weight_decay=0.05)),
    "adam": (o.Adam, dict(lr=0.1)),
    "adam decay": (o.Adam, dict(lr=0.1, betas=(0.8, 0.95), weight_decay=0.05)),
    "adam amsgrad": (o.Adam, dict(lr=0.3, amsgrad=True)),
    "adamw": (o.AdamW, dict(lr=0.1)),
    "adamw decay": (o.AdamW, dict(lr=0.1, weight_decay=0.3)),
}


def rates(make):
    p = torch.zeros(1, requires_grad=True)
    optimizer = o.SGD([p], lr=1.0)
    schedule = make(optimizer)
    out = []
    for _ in range(30):
        out.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return out


s = o.lr_scheduler
schedules = {
    "cosine": rates(lambda opt: s.CosineAnnealingLR(opt, T_max=29, eta_min=0.1)),
    "step": rates(lambda opt: s.StepLR(opt, step_size=7, gamma=0.5)),
    "warmup": rates(lambda opt: s.LinearLR(opt, start_factor=0.2, end_factor=1.0, total_iters=4)),
}

grads = [torch.tensor([[3.0, -4.0], [1.0, 2.0]]), torch.tensor([0.5, -6.0])]
params = [torch.zeros_like(g, requires_grad=True) for g in grads]
for p, g in zip(params, grads):
    p.grad = g.clone()
norm = torch.nn.utils.clip_grad_norm_(params, max_norm=1.0)
clip = {"norm": norm.item(), "clipped": [p.grad.tolist() for p in params]}

out = {
    "torch": torch.__version__, "W0": W0, "b0": b0,
    "optimizers": {name: run(lambda ps: cls(ps, **kw)) for name, (cls, kw) in optimizers.items()},
    "schedules": schedules, "clip": clip,
}
with open(os.path.join(os.path.dirname(__file__), "optim_trajectories.json"), "w") as f:
    json.dump(out, f)

torch.manual_seed(0)
x = torch.cat([
    torch.randn(100) * 10 ** (torch.rand(100) * 12 - 8),
    torch.tensor([0.0, 1.0, -1.0, 65504.0, 65519.0, 65519.996, 65520.0, 1e5, 6.103515625e-05, 6.1e-05, 5.960464477539063e-08,
                  2.980232238769531e-08, 2.9802325e-08, 1e-9, 1.00048828125, 1.00146484375, 1.00390625, 1.01171875,
                  2049.0, 2051.0, 3.3895313892515355e38, 1e38, 1e-38, 1e-39, 1e-40, 9.2e-41, 4e-41]),
]).float()
precision = {"x": x.double().tolist(),
             "float16": [str(v) for v in x.half().double().tolist()],
             "bfloat16": [str(v) for v in x.bfloat16().double().tolist()]}
with open(os.path.join(os.path.dirname(__file__), "optim_precision.json"), "w") as f:
    json.dump(precision, f)
