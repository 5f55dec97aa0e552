"""PyTorch's tensors for every layer: inputs, dy, y and all gradients, in float64.

    python3 test/golden/layers.py > test/golden/layers.json        (Debian: apt install python3-torch)

Inputs are rounded to three decimals, so that both sides start from exactly the same numbers. Layers that this PyTorch
has as a module go through that module; the others through its autograd on the formula.
"""

import json
import math
import sys

import torch
import torch.nn.functional as F

torch.set_num_threads(1)
torch.manual_seed(1)
DOUBLE = torch.float64
cases = []


def randn(*shape):
    return torch.round(torch.randn(*shape, dtype=DOUBLE) * 1000) / 1000


def number(x):
    if isinstance(x, int):
        return x
    if math.isnan(x):
        return "NaN"
    if math.isinf(x):
        return "Infinity" if x > 0 else "-Infinity"
    return int(x) if x == int(x) and abs(x) < 2 ** 53 and not (x == 0 and math.copysign(1, x) < 0) else x


def packed(t):
    return {"shape": list(t.shape), "data": [number(x) for x in t.detach().flatten().tolist()]}


def case(layer, inputs, f, options=None, frozen=(), note=""):
    """Runs f on the inputs (tensors, or lists of whole numbers), then its backward from a random dy."""
    options = dict(options or {})
    own = {name: t.clone().requires_grad_(t.is_floating_point() and name not in frozen) for name, t in inputs.items()}
    y = f(*own.values())
    dy = randn(*y.shape) if y.dim() else randn(1).reshape(())
    wanted = {name: t for name, t in own.items() if t.requires_grad}
    grads = torch.autograd.grad(y, list(wanted.values()), dy, allow_unused=True)
    shapes = ", ".join(f"{name} {list(t.shape)}" for name, t in list(inputs.items())[:3])
    settings = ", ".join(f"{k} {json.dumps(v)}" for k, v in options.items())
    cases.append({
        "layer": layer,
        "name": "; ".join(part for part in [shapes, settings, note] if part),
        "inputs": {name: {"int": not t.is_floating_point(), **packed(t)} for name, t in inputs.items()},
        "options": options,
        "dy": packed(dy),
        "y": packed(y),
        "gradients": {
            f"d{name}": packed(g if g is not None else torch.zeros_like(t)) for (name, t), g in zip(wanted.items(), grads)
        },
    })


def ids(shape, below):
    return torch.randint(below, shape)


# linear
for shape, out, bias in [((4, 3), 2, True), ((4, 3), 2, False), ((3,), 5, True), ((2, 3, 4), 3, True), ((2, 2, 3, 2), 4, True),
                         ((0, 3), 2, True), ((33, 17), 21, True)]:
    inputs = {"x": randn(*shape), "W": randn(out, shape[-1])}
    if bias:
        inputs["b"] = randn(out)
    case("linear", inputs, lambda x, W, b=None: F.linear(x, W, b))

# activations
activations = {
    "relu": torch.relu, "sigmoid": torch.sigmoid, "tanh": torch.tanh, "gelu": F.gelu,
    "geluTanh": lambda x: F.gelu(x, approximate="tanh"), "silu": F.silu, "softplus": F.softplus, "leakyRelu": F.leaky_relu,
}
extremes = torch.tensor([0.0, 1e-8, -1e-8, 5.0, -5.0, 30.0, -30.0, 800.0, -800.0, 1e4, -1e4], dtype=DOUBLE)
for name, f in activations.items():
    case(name, {"x": randn(3, 4)}, f)
    case(name, {"x": randn(2, 3, 4) * 4}, f)
    case(name, {"x": extremes}, f, note="extremes")
case("leakyRelu", {"x": randn(3, 4)}, lambda x: F.leaky_relu(x, 0.2), {"slope": 0.2})

# softmax and its kin
wild = torch.tensor([[1e4, 0, -1e4], [1e4, 1e4, 1e4], [-1e4, -1e4, -1e4 + 1], [0, 700, 710]], dtype=DOUBLE)
some = torch.tensor([[-math.inf, 1, 2], [0, -math.inf, -math.inf]], dtype=DOUBLE)
for name, f in {"softmax": lambda x: torch.softmax(x, -1), "logSoftmax": lambda x: torch.log_softmax(x, -1)}.items():
    for shape in [(5,), (3, 4), (2, 3, 4), (3, 1)]:
        case(name, {"x": randn(*shape)}, f)
    case(name, {"x": wild}, f, note="extremes")
    case(name, {"x": some}, f, note="masked")


def cross_entropy(reduction="mean", ignoreIndex=-100, labelSmoothing=0.0):
    def f(logits, targets):
        flat = logits.reshape(-1, logits.shape[-1])
        y = F.cross_entropy(flat, targets.reshape(-1), reduction=reduction, ignore_index=ignoreIndex,
                            label_smoothing=labelSmoothing)
        return y.reshape(targets.shape) if reduction == "none" else y
    return f


for options in [{}, {"reduction": "sum"}, {"reduction": "none"}, {"labelSmoothing": 0.1}, {"ignoreIndex": 1},
                {"ignoreIndex": 1, "labelSmoothing": 0.25}, {"ignoreIndex": 0, "reduction": "sum"},
                {"ignoreIndex": 0, "reduction": "none", "labelSmoothing": 0.1}]:
    case("softmaxCrossEntropy", {"logits": randn(6, 4), "targets": ids((6,), 4)}, cross_entropy(**options), options)
case("softmaxCrossEntropy", {"logits": randn(2, 3, 5), "targets": ids((2, 3), 5)}, cross_entropy())
case("softmaxCrossEntropy", {"logits": wild, "targets": torch.tensor([2, 0, 1, 0])}, cross_entropy(), note="extremes")
case("softmaxCrossEntropy", {"logits": randn(3, 4), "targets": torch.tensor([-100, 1, -100])}, cross_entropy(), note="ignored")

# mse
for reduction in ["mean", "sum", "none"]:
    inputs = {"x": randn(3, 4), "target": randn(3, 4)}
    case("mse", inputs, lambda x, target: F.mse_loss(x, target, reduction=reduction), {"reduction": reduction}, frozen=("target",))
    case("mse", inputs, lambda x, target: F.mse_loss(x, target, reduction=reduction), {"reduction": reduction, "frozen": []})

# norms
for shape, eps in [((3, 4), 1e-5), ((2, 3, 5), 1e-5), ((4,), 1e-5), ((2, 2, 2, 3), 1e-3), ((3, 4), 0.0), ((3, 1), 1e-5)]:
    d = shape[-1]
    case("layerNorm", {"x": randn(*shape), "gamma": randn(d), "beta": randn(d)},
         lambda x, gamma, beta: F.layer_norm(x, (d,), gamma, beta, eps), {"eps": eps})
constant = torch.tensor([[2.0] * 4, [-8.0] * 4, [0.0] * 4], dtype=DOUBLE)
case("layerNorm", {"x": constant, "gamma": randn(4), "beta": randn(4)},
     lambda x, gamma, beta: F.layer_norm(x, (4,), gamma, beta, 1e-5), note="constant rows")
for shape, eps in [((3, 4), 1e-6), ((2, 3, 5), 1e-6), ((4,), 1e-3), ((3, 4), 0.0)]:
    case("rmsNorm", {"x": randn(*shape), "gamma": randn(shape[-1])},
         lambda x, gamma: x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps) * gamma, {"eps": eps})
for shape, eps in [((4, 3), 1e-5), ((2, 5), 1e-5), ((6, 2), 1e-3), ((2, 3, 4), 1e-5), ((2, 3, 2, 2), 1e-5)]:
    C = shape[1]
    case("batchNorm", {"x": randn(*shape), "gamma": randn(C), "beta": randn(C)},
         lambda x, gamma, beta: F.batch_norm(x, None, None, gamma, beta, training=True, eps=eps), {"eps": eps})

# embedding
for V, d, shape in [(5, 3, (4,)), (5, 3, (2, 4)), (3, 2, (2, 2, 3)), (1, 4, (6,)), (6, 2, ())]:
    case("embedding", {"E": randn(V, d), "ids": ids(shape, V)}, lambda E, ids: F.embedding(ids, E))
case("embedding", {"E": randn(7, 3), "ids": ids((5,), 7)}, lambda E, ids: F.embedding(ids, E), {"sparse": True})


# attention
def attend(causal):
    def f(q, k, v):
        S = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
        if causal:
            S = S.masked_fill(torch.ones(S.shape[-2:]).triu(1).bool(), -math.inf)
        return torch.softmax(S, -1) @ v
    return f


for batch, T, S, d, dv in [((), 3, 3, 2, 2), ((2,), 4, 4, 3, 5), ((2,), 3, 5, 2, 3), ((2, 2), 3, 3, 2, 2), ((), 1, 1, 3, 2),
                           ((1,), 9, 9, 4, 4)]:
    for causal in [False, True]:
        inputs = {"q": randn(*batch, T, d), "k": randn(*batch, S, d), "v": randn(*batch, S, dv)}
        case("attention", inputs, attend(causal), {"causal": causal})
        case("flashAttention", inputs, attend(causal), {"causal": causal})
        case("flashAttention", inputs, attend(causal), {"causal": causal, "tile": 2})
sharp = {"q": randn(2, 4, 3) * 100, "k": randn(2, 4, 3) * 100, "v": randn(2, 4, 3)}
for layer, options in [("attention", {"causal": True}), ("flashAttention", {"causal": True, "tile": 3})]:
    case(layer, sharp, attend(True), options, note="scores of thousands")


def multi_head(heads, causal):
    def f(x, Wqkv, bqkv=None, Wo=None, bo=None):
        C = x.shape[-1]
        mask = torch.ones(x.shape[1], x.shape[1]).triu(1).bool() if causal else None
        y, _ = F.multi_head_attention_forward(
            *[x.transpose(0, 1)] * 3, C, heads, Wqkv, bqkv, None, None, False, 0.0, Wo, bo, attn_mask=mask)
        return y.transpose(0, 1)
    return f


for B, T, C, heads, causal in [(2, 3, 4, 2, False), (2, 3, 4, 2, True), (1, 4, 6, 3, True), (2, 1, 4, 4, True), (1, 5, 4, 1, False)]:
    inputs = {"x": randn(B, T, C), "Wqkv": randn(3 * C, C), "bqkv": randn(3 * C), "Wo": randn(C, C), "bo": randn(C)}
    case("multiHeadAttention", inputs, multi_head(heads, causal), {"heads": heads, "causal": causal})

# lora
for shape, out, r, alpha in [((4, 3), 5, 2, 4.0), ((2, 3, 4), 3, 1, 0.5), ((3,), 2, 2, 1.0)]:
    n = shape[-1]
    inputs = {"x": randn(*shape), "W": randn(out, n), "b": randn(out), "A": randn(r, n), "B": randn(out, r)}
    f = lambda x, W, b, A, B: F.linear(x, W, b) + (alpha / r) * F.linear(F.linear(x, A), B)
    case("lora", inputs, f, {"alpha": alpha}, frozen=("W", "b"))
    case("lora", inputs, f, {"alpha": alpha, "frozen": []})

# images
for N, C, H, W, O, kh, kw, stride, padding in [
        (1, 1, 3, 3, 1, 2, 2, 1, 0), (2, 2, 4, 5, 3, 2, 3, 1, 0), (2, 2, 4, 4, 2, 3, 3, 1, 1), (1, 2, 5, 5, 2, 3, 3, 2, 0),
        (1, 2, 5, 6, 2, 3, 2, [2, 1], [1, 2]), (2, 3, 3, 3, 4, 1, 1, 1, 0)]:
    inputs = {"x": randn(N, C, H, W), "W": randn(O, C, kh, kw), "b": randn(O)}
    case("conv2d", inputs, lambda x, W, b: F.conv2d(x, W, b, stride, padding), {"stride": stride, "padding": padding})
for N, C, H, W, kernel, stride in [(1, 1, 4, 4, 2, 2), (2, 3, 4, 6, [2, 3], [2, 3]), (1, 2, 5, 5, 3, 1), (1, 1, 5, 7, [2, 3], [3, 2])]:
    case("maxPool2d", {"x": randn(N, C, H, W)}, lambda x: F.max_pool2d(x, kernel, stride), {"kernel": kernel, "stride": stride})
case("maxPool2d", {"x": torch.ones(1, 1, 4, 4, dtype=DOUBLE)}, lambda x: F.max_pool2d(x, 2), {"kernel": 2}, note="all equal")


# recurrent networks
def module(kind, I, H, parameters):
    m = kind(I, H, batch_first=True).double()
    names = ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"]
    for name, t in zip(names, parameters):
        delattr(m, name)
        setattr(m, name, t)
    m.flatten_parameters = lambda: None
    m._flat_weights = list(parameters)
    return m


for B, T, I, H in [(2, 3, 2, 3), (1, 1, 2, 2), (2, 6, 3, 2), (3, 2, 4, 1)]:
    small = {"x": randn(B, T, I), "h0": randn(B, H)}
    rnn_inputs = {**small, "Wx": randn(H, I), "Wh": randn(H, H), "b": randn(H)}
    zero = lambda b: torch.zeros_like(b)
    case("rnn", rnn_inputs, lambda x, h0, Wx, Wh, b: module(torch.nn.RNN, I, H, [Wx, Wh, b, zero(b)])(x, h0[None])[0])
    lstm_inputs = {**small, "c0": randn(B, H), "Wx": randn(4 * H, I), "Wh": randn(4 * H, H), "b": randn(4 * H)}
    case("lstm", lstm_inputs,
         lambda x, h0, c0, Wx, Wh, b: module(torch.nn.LSTM, I, H, [Wx, Wh, b, zero(b)])(x, (h0[None], c0[None]))[0])
    gru_inputs = {**small, "Wx": randn(3 * H, I), "Wh": randn(3 * H, H), "bx": randn(3 * H), "bh": randn(3 * H)}
    case("gru", gru_inputs, lambda x, h0, Wx, Wh, bx, bh: module(torch.nn.GRU, I, H, [Wx, Wh, bx, bh])(x, h0[None])[0])

    # Truncated backpropagation through time: the state is detached every k steps.
    for k in [1, 2]:
        def chunks(x, run, state):
            ys = []
            for start in range(0, x.shape[1], k):
                y, state = run(x[:, start:start + k], state)
                ys.append(y)
                state = tuple(s.detach() for s in state) if isinstance(state, tuple) else state.detach()
            return torch.cat(ys, 1)

        options = {"truncate": k}
        case("rnn", rnn_inputs, lambda x, h0, Wx, Wh, b: chunks(x, module(torch.nn.RNN, I, H, [Wx, Wh, b, zero(b)]), h0[None]), options)
        case("lstm", lstm_inputs, lambda x, h0, c0, Wx, Wh, b: chunks(
            x, module(torch.nn.LSTM, I, H, [Wx, Wh, b, zero(b)]), (h0[None], c0[None])), options)
        case("gru", gru_inputs, lambda x, h0, Wx, Wh, bx, bh: chunks(
            x, module(torch.nn.GRU, I, H, [Wx, Wh, bx, bh]), h0[None]), options)


# transformer block
def block(heads, causal, activation, eps):
    def f(x, gamma1, beta1, Wqkv, bqkv, Wo, bo, gamma2, beta2, W1, b1, W2, b2):
        C = x.shape[-1]
        r = x + multi_head(heads, causal)(F.layer_norm(x, (C,), gamma1, beta1, eps), Wqkv, bqkv, Wo, bo)
        return r + F.linear(activations[activation](F.linear(F.layer_norm(r, (C,), gamma2, beta2, eps), W1, b1)), W2, b2)
    return f


for B, T, C, heads, causal, activation, eps in [(2, 3, 4, 2, True, "gelu", 1e-5), (1, 4, 4, 2, False, "geluTanh", 1e-5),
                                                (2, 2, 4, 1, True, "relu", 0.0), (1, 3, 4, 4, True, "silu", 1e-5)]:
    shapes = {"x": (B, T, C), "gamma1": (C,), "beta1": (C,), "Wqkv": (3 * C, C), "bqkv": (3 * C,), "Wo": (C, C), "bo": (C,),
              "gamma2": (C,), "beta2": (C,), "W1": (4 * C, C), "b1": (4 * C,), "W2": (C, 4 * C), "b2": (C,)}
    case("transformerBlock", {name: randn(*shape) for name, shape in shapes.items()}, block(heads, causal, activation, eps),
         {"heads": heads, "causal": causal, "activation": activation, "eps": eps})

print(f'{{"torch": {json.dumps(torch.__version__)}, "cases": [')
print(",\n".join(json.dumps(c, separators=(",", ":")) for c in cases))
print("]}")
print(f"{len(cases)} cases", file=sys.stderr)
