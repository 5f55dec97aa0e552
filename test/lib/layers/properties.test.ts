/** Laws that hold for every layer at every shape: drawn by fast-check. */

import fc from "fast-check";
import * as lib from "../../../lib";
import { addGradients, concat, embedding, linear, randn, rng, SparseRows, Tensor, tensor, vjp, type AnyLayer } from "../../../lib";
import { expectClose } from "./close";
import { upstream } from "./both";

type Shapes = Record<string, number[]>;
const size = fc.integer({ min: 1, max: 4 });
const lead = fc.array(fc.integer({ min: 0, max: 3 }), { maxLength: 3 });
const sizes = <N extends number>(n: N) => fc.array(size, { minLength: n, maxLength: n });

interface Drawn { readonly shapes: Shapes; readonly options?: Record<string, unknown>; readonly ids?: { name: string; shape: number[]; below: number } }
const anywhere = (name: string) => fc.tuple(lead, size).map(([l, n]): Drawn => ({ shapes: { [name]: [...l, n] } }));

/** How to draw inputs of each layer. */
const drawing: Record<string, fc.Arbitrary<Drawn>> = {
  linear: fc.tuple(lead, sizes(2), fc.boolean()).map(([l, [i, o], bias]) =>
    ({ shapes: { x: [...l, i], W: [o, i], ...(bias && { b: [o] }) } })),
  ...Object.fromEntries(["relu", "sigmoid", "tanh", "gelu", "geluTanh", "silu", "softplus", "leakyRelu", "softmax", "logSoftmax"]
    .map((name) => [name, anywhere("x")])),
  softmaxCrossEntropy: fc.tuple(lead, size, fc.constantFrom("sum", "none"), fc.double({ min: 0, max: 1, noNaN: true }))
    .map(([l, K, reduction, labelSmoothing]) => ({
      shapes: { logits: [...l, K] }, ids: { name: "targets", shape: l, below: K }, options: { reduction, labelSmoothing, ignoreIndex: 0 },
    })),
  mse: fc.tuple(lead, fc.constantFrom("sum", "none")).map(([l, reduction]) => ({ shapes: { x: l, target: l }, options: { reduction } })),
  layerNorm: fc.tuple(lead, size).map(([l, d]) => ({ shapes: { x: [...l, d], gamma: [d], beta: [d] }, options: { eps: 0.1 } })),
  rmsNorm: fc.tuple(lead, size).map(([l, d]) => ({ shapes: { x: [...l, d], gamma: [d] } })),
  batchNorm: fc.tuple(sizes(2), lead).map(([[N, C], l]) =>
    ({ shapes: { x: [N, C, ...l.map((d) => d + 1)], gamma: [C], beta: [C] }, options: { eps: 0.1 } })),
  embedding: fc.tuple(sizes(2), lead, fc.boolean()).map(([[V, d], l, sparse]) =>
    ({ shapes: { E: [V, d] }, ids: { name: "ids", shape: l, below: V }, options: { sparse } })),
  ...Object.fromEntries(["attention", "flashAttention"].map((name) => [name, fc.tuple(lead, sizes(4), fc.boolean(), size)
    .map(([l, [T, S, d, dv], causal, tile]): Drawn => ({
      shapes: { q: [...l, T, d], k: [...l, S, d], v: [...l, S, dv] },
      options: name === "attention" ? { causal } : { causal, tile },
    }))])),
  multiHeadAttention: fc.tuple(sizes(4), fc.boolean()).map(([[B, T, heads, d], causal]) => {
    const C = heads * d;
    return { shapes: { x: [B, T, C], Wqkv: [3 * C, C], bqkv: [3 * C], Wo: [C, C], bo: [C] }, options: { heads, causal } };
  }),
  lora: fc.tuple(lead, sizes(3), fc.double({ min: -2, max: 2, noNaN: true })).map(([l, [i, o, r], alpha]) =>
    ({ shapes: { x: [...l, i], W: [o, i], b: [o], A: [r, i], B: [o, r] }, options: { alpha } })),
  conv2d: fc.tuple(sizes(7), fc.tuple(fc.nat(2), fc.nat(2))).map(([[N, C, O, kh, kw, sh, sw], padding]) =>
    ({ shapes: { x: [N, C, kh + 2, kw + 1], W: [O, C, kh, kw], b: [O] }, options: { stride: [sh, sw], padding } })),
  maxPool2d: fc.tuple(sizes(6)).map(([[N, C, kh, kw, sh, sw]]) =>
    ({ shapes: { x: [N, C, kh + 3, kw + 2] }, options: { kernel: [kh, kw], stride: [sh, sw] } })),
  rnn: sizes(4).map(([B, T, I, H]) => ({ shapes: { x: [B, T, I], h0: [B, H], Wx: [H, I], Wh: [H, H], b: [H] } })),
  lstm: sizes(4).map(([B, T, I, H]) =>
    ({ shapes: { x: [B, T, I], h0: [B, H], c0: [B, H], Wx: [4 * H, I], Wh: [4 * H, H], b: [4 * H] } })),
  gru: sizes(4).map(([B, T, I, H]) =>
    ({ shapes: { x: [B, T, I], h0: [B, H], Wx: [3 * H, I], Wh: [3 * H, H], bx: [3 * H], bh: [3 * H] } })),
};

function draw({ shapes, ids }: Drawn, seed: number): Record<string, Tensor> {
  const generator = rng(seed);
  const inputs = Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [name, randn(shape, generator)]));
  if (ids) {
    inputs[ids.name] = new Tensor(Int32Array.from({ length: lib.sizeOf(ids.shape) }, () => generator.integer(0, ids.below)), ids.shape);
  }
  return inputs;
}

describe.each(Object.keys(drawing))("%s", (name) => {
  const layer = (lib as unknown as Record<string, AnyLayer>)[name];
  const cases = fc.tuple(drawing[name], fc.nat());
  const runs = { numRuns: 20 };

  it("has a backward that is the adjoint of its jvp, and the reverse mode of its forward, at any shape", () => {
    fc.assert(fc.property(cases, ([drawn, seed]) => {
      const inputs = draw(drawn, seed);
      const options = { ...drawn.options, frozen: [] };
      const { y, cache } = layer.forward(inputs, options);
      const dy = upstream(y);
      const gradients = layer.backward(dy, cache) as Record<string, Tensor>;
      const smooth = Object.fromEntries(layer.differentiable.filter((input) => inputs[input]).map((input) => [input, inputs[input]]));
      expect(Object.keys(gradients)).toEqual(Object.keys(smooth).map((input) => `d${input}`));
      const v = Object.fromEntries(Object.entries(smooth).map(([input, t]) => [input, randn(t.shape, rng(seed + 1))]));
      const moved = layer.jvp(inputs, v, drawn.options);
      const products = Object.entries(v).map(([input, t]) => gradients[`d${input}`].dot(t));
      const scale = products.reduce((a, b) => a + Math.abs(b), 1);
      expect(Math.abs(dy.dot(moved.dy) - products.reduce((a, b) => a + b, 0)) / scale).toBeLessThan(1e-11);
      const reverse = vjp((x: Record<string, Tensor>) => layer.forward({ ...inputs, ...x }, drawn.options).y, smooth, dy).dx;
      for (const input of Object.keys(smooth)) expectClose(gradients[`d${input}`], (reverse as Record<string, Tensor>)[input], 1e-10, `d${input}`);
    }), runs);
  });

  it("has a backward that is linear in dy", () => {
    fc.assert(fc.property(cases, ([drawn, seed]) => {
      const inputs = draw(drawn, seed);
      const { y, cache } = layer.forward(inputs, drawn.options);
      const [a, b] = [randn(y.shape, rng(seed + 2)), randn(y.shape, rng(seed + 3))];
      const together = layer.backward(a.mul(2).sub(b), cache) as Record<string, Tensor>;
      const [ga, gb] = [layer.backward(a, cache), layer.backward(b, cache)] as Record<string, Tensor>[];
      for (const [input, gradient] of Object.entries(together)) expectClose(gradient, ga[input].mul(2).sub(gb[input]), 1e-11, input);
    }), runs);
  });

  it("changes none of its inputs, and gives the same twice", () => {
    fc.assert(fc.property(cases, ([drawn, seed]) => {
      const inputs = draw(drawn, seed);
      const once = layer.forward(inputs, drawn.options);
      const first = layer.backward(upstream(once.y), once.cache) as Record<string, Tensor>;
      const again = layer.backward(upstream(once.y), once.cache) as Record<string, Tensor>;
      for (const [input, t] of Object.entries(draw(drawn, seed))) expect([...inputs[input].data]).toEqual([...t.data]);
      for (const input of Object.keys(first)) expect([...first[input].data]).toEqual([...again[input].data]);
    }), runs);
  });
});

describe("a batch", () => {
  it.each(["linear", "softmax", "layerNorm", "gelu", "attention", "flashAttention", "lstm", "conv2d", "maxPool2d"])(
    "of %s is its examples one by one: results joined, parameters' gradients added", (name) => {
      const layer = (lib as unknown as Record<string, AnyLayer>)[name];
      const batched = ["x", "q", "k", "v", "h0", "c0"];
      fc.assert(fc.property(fc.tuple(drawing[name], fc.nat()), ([drawn, seed]) => {
        const inputs = draw(drawn, seed);
        const first = inputs.x ?? inputs.q;
        const own = name === "linear" || name === "softmax" || name === "layerNorm" || name === "gelu" ? 1 : name.endsWith("ttention") ? 2 : 0;
        fc.pre(first.rank > own && first.shape[0] > 0);
        const { y, cache } = layer.forward(inputs, drawn.options);
        const dy = upstream(y);
        const whole = layer.backward(dy, cache) as Record<string, Tensor>;
        const parts = Array.from({ length: first.shape[0] }, (_, i) => {
          const one = Object.fromEntries(Object.entries(inputs).map(([input, t]) => [input, batched.includes(input) ? t.slice(i, i + 1) : t]));
          const part = layer.forward(one, drawn.options);
          return { y: part.y, gradients: layer.backward(dy.slice(i, i + 1), part.cache) as Record<string, Tensor> };
        });
        expectClose(concat(parts.map((part) => part.y)), y, 1e-12, "y");
        for (const input of Object.keys(whole)) {
          const own = parts.map((part) => part.gradients[input]);
          const expected = batched.includes(input.slice(1)) ? concat(own) : own.reduce((a, b) => a.add(b));
          expectClose(whole[input], expected, 1e-11, input);
        }
      }), { numRuns: 20 });
    });
});

describe("fan-out", () => {
  it("adds the gradients of a weight that is used twice", () => {
    const g = rng(1);
    const [x, W] = [randn([2, 3], g), randn([3, 3], g)];
    const first = linear.forward({ x, W });
    const second = linear.forward({ x: first.y, W });
    const dy = randn([2, 3], g);
    const back = linear.backward(dy, second.cache);
    const { dW } = addGradients({ dW: back.dW }, { dW: linear.backward(back.dx, first.cache).dW });
    expectClose(dW, vjp((w: Tensor) => x.matmul(w.T).matmul(w.T), W, dy).dx, 1e-13, "dW");
  });

  it("adds an embedding's gradient to that of a tied output", () => {
    const g = rng(2);
    const [E, ids] = [randn([5, 3], g), [0, 2, 2]];
    const look = embedding.forward({ E, ids }, { sparse: true });
    const logits = linear.forward({ x: look.y, W: E });
    const dy = randn([3, 5], g);
    const back = linear.backward(dy, logits.cache);
    const { dE } = addGradients(embedding.backward(back.dx, look.cache), { dE: back.dW });
    const tied = (e: Tensor): Tensor => linear.forward({ x: embedding.forward({ E: e, ids }).y, W: e }).y;
    expectClose(dE, vjp(tied, E, dy).dx, 1e-13, "dE");
  });

  it("keeps sparse gradients sparse, and takes names that only one part has", () => {
    const E = randn([6, 2], rng(3));
    const part = (ids: number[]) => embedding.backward(lib.ones([ids.length, 2]), embedding.forward({ E, ids }, { sparse: true }).cache);
    const { dE, db } = addGradients(part([1, 4, 4]), part([4, 0]), { db: tensor([1]) });
    expect(dE).toBeInstanceOf(SparseRows);
    expect([...(dE as SparseRows).rows]).toEqual([0, 1, 4]);
    expect(dE.toArray()).toEqual([[1, 1], [1, 1], [0, 0], [0, 0], [3, 3], [0, 0]]);
    expect(db.toArray()).toEqual([1]);
    expect(() => addGradients({ dE }, { dE: tensor([1]) })).toThrow(
      new Error("addGradients: dE has shape [6, 2] in one part and [1] in another"));
  });
});

describe("frozen inputs", () => {
  it("get no gradient, and none is worked out for them", () => {
    let counted = 0;
    const probe = lib.defineLayer({
      name: "probe", inputs: { x: "[n]", W: "[n]" }, output: "[n]",
      forward: ({ x, W }) => ({ y: x.mul(W), saved: undefined }),
      backward: (dy, { x, W }) => ({ dx: () => dy.mul(W), dW: () => (counted++, dy.mul(x)) }),
      jvp: ({ x: dx }, { W }) => dx.mul(W),
    });
    const inputs = { x: tensor([1, 2]), W: tensor([3, 4]) };
    const { y, cache } = probe.forward(inputs, { frozen: ["W"] });
    expect(Object.keys(probe.backward(y, cache))).toEqual(["dx"]);
    expect(counted).toBe(0);
    probe.backward(y, probe.forward(inputs).cache);
    expect(counted).toBe(1);
  });

  it("replace a layer's own list: mse's target, LoRA's weights", () => {
    const x = randn([2, 3], rng(1));
    expect(Object.keys(lib.mse.backward(lib.mse.forward({ x, target: x.add(1) }).cache))).toEqual(["dx"]);
    expect(Object.keys(lib.mse.backward(lib.mse.forward({ x, target: x.add(1) }, { frozen: ["x"] }).cache))).toEqual(["dtarget"]);
    const inputs = { x, W: randn([4, 3], rng(2)), A: randn([2, 3], rng(3)), B: randn([4, 2], rng(4)) };
    const { y, cache } = lib.lora.forward(inputs);
    expect(Object.keys(lib.lora.backward(y, cache)).sort()).toEqual(["dA", "dB", "dx"]);
  });
});

describe("the backward's cache", () => {
  it("takes dy as a tensor, a number or nothing for a scalar y", () => {
    const x = tensor([1, 2]);
    const { cache } = lib.mse.forward({ x, target: tensor([0, 0]) });
    expect(lib.mse.backward(cache).dx.toArray()).toEqual([1, 2]);
    expect(lib.mse.backward(undefined, cache).dx.toArray()).toEqual([1, 2]);
    expect(lib.mse.backward(2, cache).dx.toArray()).toEqual([2, 4]);
    expect(lib.mse.backward(tensor(3), cache).dx.toArray()).toEqual([3, 6]);
  });

  it("keeps of flash attention one number a query, not the scores", () => {
    const T = 64;
    const [q, k, v] = [1, 2, 3].map((seed) => randn([T, 2], rng(seed)));
    const saved = (cache: { saved: unknown }): number => {
      const { q: _, k: __, v: ___, ...own } = cache.saved as Record<string, Tensor>;
      return Object.values(own).reduce((sum, t) => sum + t.size, 0);
    };
    expect(saved(lib.flashAttention.forward({ q, k, v }, { tile: 8 }).cache)).toBe(T * 2 + T);
    expect(saved(lib.attention.forward({ q, k, v }).cache)).toBe(T * T);

    const product = jest.spyOn(Tensor.prototype, "matmul");
    const greatest = (layer: AnyLayer, options: object): number => {
      product.mockClear();
      const { y, cache } = layer.forward({ q, k, v }, options);
      layer.backward(y, cache);
      return Math.max(...product.mock.results.map(({ value }) => (value as Tensor).size));
    };
    expect(greatest(lib.flashAttention, { tile: 8 })).toBeLessThanOrEqual(8 * 8);
    expect(greatest(lib.attention, {})).toBe(T * T);
    product.mockRestore();
  });
});
