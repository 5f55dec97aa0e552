/** Numbers at the edge: huge and constant inputs, masks that leave nothing, empty batches, NaN. */

import * as lib from "../../../lib";
import { full, ones, randn, rng, tensor, Tensor, zeros, type AnyLayer } from "../../../lib";
import { layerCases } from "./cases";
import { upstream } from "./both";
import { smoothInputs } from "./suite";

const finite = (t: Tensor): boolean => Array.from(t.data).every(Number.isFinite);

describe("large logits", () => {
  const logits = tensor([[1e4, 0, -1e4], [-1e4, -1e4, -1e4], [1e4, 1e4, 0]]);

  it("softmax and its logarithm stay finite and exact", () => {
    const { y, cache } = lib.softmax.forward({ x: logits });
    expect(y.toArray()).toEqual([[1, 0, 0], [1 / 3, 1 / 3, 1 / 3], [0.5, 0.5, 0]]);
    expect(finite(lib.softmax.backward(ones([3, 3]), cache).dx)).toBe(true);
    const log = lib.logSoftmax.forward({ x: logits });
    expect(log.y.get(0, 2)).toBe(-2e4);
    expect(finite(log.y)).toBe(true);
  });

  it("cross-entropy is exact, and its gradient is p - q", () => {
    const { y, cache } = lib.softmaxCrossEntropy.forward({ logits, targets: [2, 0, 0] }, { reduction: "none" });
    expect(y.get(0)).toBe(2e4);
    expect(y.get(1)).toBeCloseTo(Math.log(3), 12);
    expect(lib.softmaxCrossEntropy.backward(ones([3]), cache).dlogits.row(0).toArray()).toEqual([1, 0, -1]);
  });

  it("sigmoid, tanh, softplus, silu and gelu do not overflow", () => {
    const x = tensor([1e4, -1e4, 800, -800, 0]);
    for (const name of ["sigmoid", "tanh", "softplus", "silu", "gelu", "geluTanh"] as const) {
      const { y, cache } = lib[name].forward({ x });
      expect(finite(y)).toBe(true);
      expect(finite((lib[name] as AnyLayer).backward(ones([5]), cache).dx)).toBe(true);
    }
    expect(lib.softplus.forward({ x: tensor([-40]) }).y.item()).toBeCloseTo(Math.exp(-40), 30);
  });

  it("attention with scores of 1e8 equals the hard maximum", () => {
    const q = randn([3, 4], rng(1)).mul(1e4);
    for (const layer of [lib.attention, lib.flashAttention] as AnyLayer[]) {
      const { y, cache } = layer.forward({ q, k: q, v: q });
      expect(finite(y)).toBe(true);
      for (const gradient of Object.values(layer.backward(ones([3, 4]), cache))) expect(finite(gradient as Tensor)).toBe(true);
    }
  });
});

describe("nothing to attend to", () => {
  it("a fully masked row of softmax is zeros, its gradient too", () => {
    const x = tensor([[-Infinity, -Infinity], [0, -Infinity]]);
    const { y, cache } = lib.softmax.forward({ x });
    expect(y.toArray()).toEqual([[0, 0], [1, 0]]);
    expect(lib.softmax.backward(tensor([[1, 2], [3, 4]]), cache).dx.toArray()).toEqual([[0, 0], [0, 0]]);
  });

  it("attention gives zeros to a query that may look nowhere", () => {
    const [q, k, v] = [1, 2, 3].map((seed) => randn([3, 2], rng(seed)));
    const mask = tensor([[1, 1, 0], [0, 0, 0], [0, 0, 1]]);
    for (const layer of [lib.attention, lib.flashAttention] as AnyLayer[]) {
      const { y, cache } = layer.forward({ q, k, v }, { mask });
      expect(y.row(1).toArray()).toEqual([0, 0]);
      expect(y.row(2).toArray()).toEqual(v.row(2).toArray());
      const { dq, dk, dv } = layer.backward(ones([3, 2]), cache);
      expect(dq.row(1).toArray().map(Math.abs)).toEqual([0, 0]);
      expect(finite(dk) && finite(dv)).toBe(true);
    }
  });

  it("attention over no keys at all gives zeros", () => {
    for (const layer of [lib.attention, lib.flashAttention] as AnyLayer[]) {
      expect(layer.forward({ q: zeros(2, 3), k: zeros(0, 3), v: zeros(0, 2) }).y.toArray()).toEqual([[0, 0], [0, 0]]);
    }
  });
});

describe("constant rows", () => {
  it("layer norm gives beta, and a finite gradient", () => {
    const x = tensor([[3, 3, 3], [-1e8, -1e8, -1e8], [0, 0, 0]]);
    const beta = tensor([1, 2, 3]);
    const { y, cache } = lib.layerNorm.forward({ x, gamma: ones([3]), beta });
    expect(y.toArray()).toEqual([[1, 2, 3], [1, 2, 3], [1, 2, 3]]);
    expect(finite(lib.layerNorm.backward(randn([3, 3], rng(1)), cache).dx)).toBe(true);
  });

  it("rms norm of zeros gives zeros, and a finite gradient", () => {
    const { y, cache } = lib.rmsNorm.forward({ x: zeros(2, 3), gamma: ones([3]) });
    expect(y.toArray()).toEqual([[0, 0, 0], [0, 0, 0]]);
    expect(finite(lib.rmsNorm.backward(ones([2, 3]), cache).dx)).toBe(true);
  });

  it("batch norm of one example gives beta and no gradient", () => {
    const { y, cache } = lib.batchNorm.forward({ x: randn([1, 3], rng(1)), gamma: ones([3]), beta: tensor([1, 2, 3]) });
    expect(y.toArray()).toEqual([[1, 2, 3]]);
    expect(lib.batchNorm.backward(ones([1, 3]), cache).dx.toArray()).toEqual([[0, 0, 0]]);
  });

  it("variance far from zero is not lost", () => {
    const x = tensor([[1e8, 1e8 + 1, 1e8 + 2]]);
    const { y } = lib.layerNorm.forward({ x, gamma: ones([3]), beta: zeros(3) }, { eps: 0 });
    expect(y.get(0, 2)).toBeCloseTo(Math.sqrt(1.5), 12);
  });
});

describe("a loss over no targets", () => {
  it("is NaN as a mean (0 / 0), and 0 as a sum", () => {
    const logits = ones([2, 3]);
    const ignored = { logits, targets: [-100, -100] };
    expect(lib.softmaxCrossEntropy.forward(ignored).y.item()).toBeNaN();
    const { y, cache } = lib.softmaxCrossEntropy.forward(ignored, { reduction: "sum" });
    expect(y.item()).toBe(0);
    expect(lib.softmaxCrossEntropy.backward(cache).dlogits.toArray().flat().every((g: number) => Math.abs(g) === 0)).toBe(true);
  });

  it("an ignored row of NaN does not reach the gradient of the others", () => {
    const logits = tensor([[NaN, 0], [1, 2]]);
    const { y, cache } = lib.softmaxCrossEntropy.forward({ logits, targets: [-100, 1] });
    expect(y.item()).toBeCloseTo(Math.log(1 + Math.exp(-1)), 12);
    expect(lib.softmaxCrossEntropy.backward(cache).dlogits.row(1).toArray().every(Number.isFinite)).toBe(true);
  });
});

/** What NaN in an input must reach: the result, or its gradient. Max pooling and dropout by their own rules below. */
describe("NaN in, NaN out", () => {
  it.each(layerCases.filter((entry) => entry.inputs().x?.size || entry.inputs().q?.size || entry.inputs().logits?.size || entry.inputs().E?.size))(
    "$name", (entry) => {
      const inputs = entry.inputs();
      const counted = smoothInputs(entry, inputs).filter(([, t]) => t.size > 0);
      const { ids, targets } = inputs;
      for (const [name, t] of counted) {
        const poisoned = full(t.shape, NaN);
        const { y } = entry.layer.forward({ ...inputs, [name]: poisoned }, entry.options());
        if (y.size === 0) continue;
        const ignoresAll = targets && Array.from(targets.data).every((id) => id === entry.options().ignoreIndex);
        // Nothing is read: a lookup of no rows, a sequence of no steps' weights, a row that may look nowhere.
        if ((ids && ids.size === 0) || ignoresAll) continue;
        expect(Array.from(y.data).some(Number.isNaN)).toBe(true);
      }
    });

  it("goes through the backward of every activation", () => {
    for (const name of ["relu", "sigmoid", "tanh", "gelu", "geluTanh", "silu", "softplus", "leakyRelu"] as const) {
      const layer: AnyLayer = lib[name];
      const { y, cache } = layer.forward({ x: tensor([NaN, 1, -1]) });
      expect(y.get(0)).toBeNaN();
      expect(layer.backward(ones([3]), cache).dx.get(0)).toBeNaN();
      const clean = layer.forward({ x: tensor([2, 1, -1]) });
      expect(layer.backward(tensor([NaN, 1, 1]), clean.cache).dx.get(0)).toBeNaN();
    }
  });

  it("wins in max pooling, as the greatest", () => {
    const { y, cache } = lib.maxPool2d.forward({ x: tensor([[[[1, NaN], [3, 4]]]]) }, { kernel: 2 });
    expect(y.item()).toBeNaN();
    expect(lib.maxPool2d.backward(tensor([[[[5]]]]), cache).dx.toArray()).toEqual([[[[0, 5], [0, 0]]]]);
  });
});

describe("empty batches and single steps", () => {
  it.each(layerCases.filter((entry) => Object.values(entry.inputs()).some((t) => t.size === 0)))(
    "$name gives parameters a gradient of zeros", (entry) => {
      const inputs = entry.inputs();
      const { y, cache } = entry.layer.forward(inputs, entry.options());
      const gradients = entry.layer.backward(upstream(y), cache) as Record<string, Tensor>;
      for (const [name, gradient] of Object.entries(gradients)) {
        expect(gradient.shape).toEqual(inputs[name.slice(1)].shape);
        if (y.size === 0) expect(Array.from(gradient.data).every((g) => Math.abs(g) === 0)).toBe(true);
      }
    });
});
