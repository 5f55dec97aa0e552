/** A wrong shape, dtype, name or option: one sentence that says which argument, what it was, what it should be. */

import * as lib from "../../../lib";
import { randn, rng, tensor, zeros, type AnyLayer } from "../../../lib";

const f32 = (...shape: number[]) => zeros(shape, "float32");
const run = (name: string, inputs: unknown, options?: unknown) => () =>
  (lib as unknown as Record<string, AnyLayer>)[name].forward(inputs, options);

describe("inputs", () => {
  it.each<[string, unknown, unknown, string]>([
    ["linear", { x: zeros(4, 3), W: zeros(2, 4) }, {}, "linear: W has shape [2, 4], x's last dimension is 3"],
    ["linear", { x: zeros(4, 3), W: zeros(3) }, {}, "linear: W has shape [3], it should be [out, in]"],
    ["linear", { x: zeros(4, 3), W: zeros(2, 3), b: zeros(3) }, {}, "linear: b has shape [3], W's dimension 0 is 2"],
    ["linear", { x: tensor(1), W: zeros(2, 3) }, {}, "linear: x has shape [], it should be [..., in]"],
    ["linear", { x: zeros(4, 3) }, {}, "linear: W is missing, it should have shape [out, in]"],
    ["linear", { x: zeros(4, 3), w: zeros(2, 3) }, {}, "linear: there is no input w, the inputs are x, W, b"],
    ["linear", { x: [[1, 2]], W: zeros(2, 2) }, {}, "linear: x is an array, it should be a Tensor: tensor(...) makes one"],
    ["linear", { x: 3, W: zeros(2, 2) }, {}, "linear: x is a number, it should be a Tensor: tensor(...) makes one"],
    ["linear", { x: "x", W: zeros(2, 2) }, {}, "linear: x is a string, it should be a Tensor"],
    ["linear", { x: null, W: zeros(2, 2) }, {}, "linear: x is null, it should be a Tensor"],
    ["linear", zeros(2), {}, "linear: the inputs should be an object { x, W, b }"],
    ["linear", undefined, {}, "linear: the inputs should be an object { x, W, b }"],
    ["linear", { x: f32(4, 3), W: zeros(2, 3) }, {}, "linear: W is float64, x is float32"],
    ["relu", { x: zeros([2], "int32") }, {}, "relu: x is int32, it should be float64 or float32"],
    ["mse", { x: zeros(2, 3), target: zeros(3) }, {}, "mse: target has shape [3], x has shape [2, 3]"],
    ["layerNorm", { x: zeros(2, 4), gamma: zeros(3), beta: zeros(4) }, {}, "layerNorm: gamma has shape [3], x's last dimension is 4"],
    ["batchNorm", { x: zeros(5), gamma: zeros(5), beta: zeros(5) }, {}, "batchNorm: x has shape [5], it should be [N, C, ...]"],
    ["batchNorm", { x: zeros(5, 2), gamma: zeros(3), beta: zeros(2) }, {}, "batchNorm: gamma has shape [3], x's dimension 1 is 2"],
    ["softmaxCrossEntropy", { logits: zeros(2, 3), targets: [0, 3] }, {},
      "softmaxCrossEntropy: targets holds 3, it should hold whole numbers from 0 to 2"],
    ["softmaxCrossEntropy", { logits: zeros(2, 3), targets: [0, -1] }, {},
      "softmaxCrossEntropy: targets holds -1, it should hold whole numbers from 0 to 2"],
    ["softmaxCrossEntropy", { logits: zeros(2, 3), targets: [0, 1, 2] }, {},
      "softmaxCrossEntropy: targets has shape [3], logits's leading dimensions are [2]"],
    ["softmaxCrossEntropy", { logits: zeros(2, 3), targets: [0, 0.5] }, {},
      "softmaxCrossEntropy: targets holds 0.5, it should hold whole numbers"],
    ["softmaxCrossEntropy", { logits: zeros(2, 3), targets: zeros(2) }, {},
      "softmaxCrossEntropy: targets is float64, it should be nested arrays of whole numbers or an int32 Tensor"],
    ["embedding", { E: zeros(3, 2), ids: [[0, 3]] }, {}, "embedding: ids holds 3, it should hold whole numbers from 0 to 2"],
    ["embedding", { E: zeros(3, 2), ids: "a" }, {}, "embedding: ids should be nested arrays of whole numbers or an int32 Tensor"],
    ["attention", { q: zeros(3, 2), k: zeros(4, 3), v: zeros(4, 2) }, {}, "attention: k has shape [4, 3], q's last dimension is 2"],
    ["attention", { q: zeros(3, 2), k: zeros(4, 2), v: zeros(3, 2) }, {}, "attention: v has shape [3, 2], k's dimension 0 is 4"],
    ["attention", { q: zeros(2, 3, 2), k: zeros(3, 2), v: zeros(3, 2) }, {}, "attention: k has shape [3, 2], q's leading dimensions are [2]"],
    ["attention", { q: zeros(3, 2), k: zeros(4, 2), v: zeros(4, 2) }, { mask: zeros(3, 3) },
      "attention: mask has shape [3, 3], it should broadcast to the scores' [3, 4]"],
    ["multiHeadAttention", { x: zeros(2, 3, 4), Wqkv: zeros(10, 4), Wo: zeros(4, 4) }, { heads: 2 },
      "multiHeadAttention: Wqkv has shape [10, 4], x's last dimension is 4, so 3C is 12"],
    ["lora", { x: zeros(2, 3), W: zeros(4, 3), A: zeros(2, 3), B: zeros(4, 3) }, {}, "lora: B has shape [4, 3], A's dimension 0 is 2"],
    ["conv2d", { x: zeros(1, 2, 3, 3), W: zeros(2, 1, 2, 2) }, {}, "conv2d: W has shape [2, 1, 2, 2], x's dimension 1 is 2"],
    ["conv2d", { x: zeros(1, 2, 2, 2), W: zeros(2, 2, 3, 3) }, {}, "conv2d: the kernel [3, 3] does not fit x's [2, 2] with padding [0, 0]"],
    ["conv2d", { x: zeros(1, 2, 2, 2), W: zeros(2, 2, 0, 3) }, {}, "conv2d: W has shape [2, 2, 0, 3], its kernel is empty"],
    ["maxPool2d", { x: zeros(1, 2, 2, 2) }, { kernel: 3 }, "maxPool2d: the kernel [3, 3] does not fit x's [2, 2] with padding [0, 0]"],
    ["lstm", { x: zeros(1, 2, 3), h0: zeros(1, 2), c0: zeros(1, 2), Wx: zeros(6, 3), Wh: zeros(8, 2), b: zeros(8) }, {},
      "lstm: Wx has shape [6, 3], h0's last dimension is 2, so 4H is 8"],
  ])("%s", (name, inputs, options, message) => {
    expect(run(name, inputs, options)).toThrow(new Error(message));
  });
});

describe("options", () => {
  const x = zeros(2, 4);
  const norm = { x, gamma: zeros(4), beta: zeros(4) };
  it.each<[string, unknown, unknown, string | RegExp]>([
    ["layerNorm", norm, { epsilon: 1 }, "layerNorm: there is no option epsilon, the options are eps, frozen, device"],
    ["layerNorm", norm, { eps: -1 }, "layerNorm: the option eps is -1, it should be a number that is not negative"],
    ["layerNorm", norm, { eps: NaN }, "layerNorm: the option eps is NaN, it should be a number that is not negative"],
    ["layerNorm", norm, { eps: "1" }, 'layerNorm: the option eps is "1", it should be a number that is not negative'],
    ["layerNorm", norm, 5, "layerNorm: the options should be an object"],
    ["layerNorm", norm, { frozen: ["Gamma"] },
      'layerNorm: frozen names "Gamma", it should be a list of inputs with gradients: x, gamma, beta'],
    ["layerNorm", norm, { frozen: "x" }, 'layerNorm: frozen names "x", it should be a list of inputs with gradients: x, gamma, beta'],
    ["layerNorm", norm, { device: "tpu" }, /^layerNorm: the device is "tpu", the devices loaded are cpu/],
    ["mse", { x, target: x }, { reduction: "average" }, 'mse: the option reduction is "average", it should be "mean", "sum" or "none"'],
    ["dropout", { x }, { p: 1.5, rng: rng(1) }, "dropout: the option p is 1.5, it should be a number from 0 to 1"],
    ["dropout", { x }, { p: 0.5 }, "dropout: the option rng is missing, it should be a generator, rng(seed)"],
    ["dropout", { x }, { rng: 3 }, "dropout: the option rng is 3, it should be a generator, rng(seed)"],
    ["multiHeadAttention", { x: zeros(1, 2, 4), Wqkv: zeros(12, 4), Wo: zeros(4, 4) }, {},
      "multiHeadAttention: the option heads is missing, it should be a whole number from 1 up"],
    ["multiHeadAttention", { x: zeros(1, 2, 4), Wqkv: zeros(12, 4), Wo: zeros(4, 4) }, { heads: 3 },
      "multiHeadAttention: the option heads is 3, it should divide x's last dimension 4"],
    ["attention", { q: x, k: x, v: x }, { causal: 1 }, "attention: the option causal is 1, it should be true or false"],
    ["flashAttention", { q: x, k: x, v: x }, { tile: 0 }, "flashAttention: the option tile is 0, it should be a whole number from 1 up"],
    ["conv2d", { x: zeros(1, 1, 3, 3), W: zeros(1, 1, 2, 2) }, { stride: [1, 0] },
      "conv2d: the option stride is [1,0], it should be a whole number from 1 up, or two of them"],
    ["maxPool2d", { x: zeros(1, 1, 3, 3) }, {}, "maxPool2d: the option kernel is missing, it should be a whole number from 1 up, or two of them"],
    ["rnn", { x: zeros(1, 2, 3), h0: zeros(1, 2), Wx: zeros(2, 3), Wh: zeros(2, 2), b: zeros(2) }, { truncate: 0 },
      "rnn: the option truncate is 0, it should be a whole number from 1 up"],
    ["softmaxCrossEntropy", { logits: x, targets: [0, 1] }, { labelSmoothing: -0.1 },
      "softmaxCrossEntropy: the option labelSmoothing is -0.1, it should be a number from 0 to 1"],
    ["leakyRelu", { x }, { slope: Infinity }, "leakyRelu: the option slope is Infinity, it should be a number"],
  ])("%s", (name, inputs, options, message) => {
    expect(run(name, inputs, options)).toThrow(message instanceof RegExp ? message : new Error(message));
  });
});

describe("backward and jvp", () => {
  const x = randn([2, 3], rng(1));
  const W = randn([4, 3], rng(2));
  const { y, cache } = lib.linear.forward({ x, W });
  it.each<[() => unknown, string]>([
    [() => lib.linear.backward(cache), "linear: dy is missing, it may be left out only for a scalar y, y has shape [2, 4]"],
    [() => lib.linear.backward(undefined, cache), "linear: dy is missing, it may be left out only for a scalar y, y has shape [2, 4]"],
    [() => lib.linear.backward(zeros(4, 2), cache), "linear: dy has shape [4, 2], y has shape [2, 4]"],
    [() => lib.linear.backward(f32(2, 4), cache), "linear: dy is float32, y is float64"],
    [() => lib.linear.backward([1] as any, cache), "linear: dy should be a Tensor of y's shape [2, 4]"],
    [() => lib.linear.backward(2, cache), "linear: dy should be a Tensor of y's shape [2, 4]"],
    [() => lib.linear.backward(y, {} as any), "linear: backward needs the cache that forward returned"],
    [() => (lib.linear.backward as any)(y), "linear: backward needs the cache that forward returned"],
    [() => lib.linear.backward(x, lib.relu.forward({ x }).cache as any), "linear: backward was given the cache of relu"],
    [() => lib.linear.jvp({ x, W }, { x: zeros(3, 2) }), "linear: the tangent of x has shape [3, 2], x has shape [2, 3]"],
    [() => lib.linear.jvp({ x, W }, { y: x } as any), "linear: there is no tangent of y, the inputs with tangents are x, W, b"],
    [() => lib.linear.jvp({ x, W }, { b: zeros(4) }), "linear: a tangent of b was given, but not b itself"],
    [() => lib.linear.jvp({ x, W }, { x: 1 as any }), "linear: the tangent of x should be a Tensor"],
    [() => lib.linear.jvp({ x, W }, { x: f32(2, 3) }), "linear: the tangent of x is float32, x is float64"],
  ])("%#", (call, message) => {
    expect(call).toThrow(new Error(message));
  });

  it("refuses a layer whose backward forgets a gradient or gets its shape wrong", () => {
    const wrong = (dx: unknown) => lib.defineLayer({
      name: "wrong", inputs: { x: "[n]" }, output: "[n]",
      forward: ({ x: t }) => ({ y: t, saved: undefined }),
      backward: () => ({ dx: dx as lib.Tensor }),
      jvp: ({ x: dt }) => dt,
    });
    const broken = (dx: unknown) => () => {
      const layer = wrong(dx);
      const { cache: own } = layer.forward({ x: zeros(3) });
      layer.backward(zeros(3), own);
    };
    expect(broken(undefined)).toThrow(new Error("wrong: the backward's dx is missing, x has shape [3]"));
    expect(broken(zeros(2))).toThrow(new Error("wrong: the backward's dx has shape [2], x has shape [3]"));
  });
});
