import {
  clipGlobalNorm, clipPerLayer, clipValue, deadNeurons, globalNorm, gradientCorrelation, tensorNorms, jacobianProduct, spectralNorm,
  updateRatios,
} from "../../../lib/diagnostics";
import { orthogonal } from "../../../lib/init";
import { eye, randn, rng, tensor } from "../../../lib/tensor";

const g = { a: tensor([3, 4]), b: tensor([[12]]) };

test("norms: each and all together", () => {
  expect(tensorNorms({ ...g, frozen: undefined })).toEqual({ total: 13, each: { a: 5, b: 12 } });
  expect(globalNorm({ a: tensor([NaN]) })).toBeNaN();
});

test("update ratio", () => {
  expect(updateRatios({ w: tensor([3, 4]) }, { w: tensor([3, 4.05]) }).w).toBeCloseTo(0.01, 12);
  expect(() => updateRatios({ w: tensor([1]) }, {})).toThrow("after has no w");
});

describe("clipping", () => {
  test("by global norm: min(1, tau / |g|), the direction stays", () => {
    const { gradients, norm } = clipGlobalNorm(g, 1);
    expect(norm).toBe(13);
    expect(globalNorm(gradients)).toBeCloseTo(1, 14);
    expect(gradients.a.div(g.a).data[0]).toBeCloseTo(gradients.b.div(g.b).data[0], 14);
    expect(clipGlobalNorm(g, 13).gradients).toBe(g);
    expect(clipGlobalNorm({ a: tensor([1, NaN]) }, 1).gradients.a.data[0]).toBeNaN();
  });
  test("per layer: each to its own norm; by value: each number", () => {
    const each = clipPerLayer(g, 6);
    expect([each.a.norm(), each.b.norm()]).toEqual([5, 6]);
    expect([...clipValue(g, 3.5).a.data]).toEqual([3, 3.5]);
    expect(() => clipValue(g, 0)).toThrow("clipValue: the threshold is 0, expected a number above 0");
  });
});

describe("spectral norm and the bound on the product", () => {
  test("known matrices", () => {
    expect(spectralNorm(tensor([[3, 0], [0, -7]]))).toBeCloseTo(7, 8);
    expect(spectralNorm(orthogonal([5, 3], rng(1)))).toBeCloseTo(1, 10);
    expect(spectralNorm(tensor([[0, 0]]))).toBe(0);
  });
  test("the product stays under the bound, and can be far below it: no lower bound", () => {
    const { norms, bounds } = jacobianProduct(Array.from({ length: 12 }, (_, i) => randn([6, 6], rng(i)).mul(0.4)));
    norms.forEach((norm, l) => expect(norm).toBeLessThanOrEqual(bounds[l] * (1 + 1e-9)));
    expect(norms[11]).toBeLessThan(bounds[11] / 10);
    const nil = jacobianProduct([tensor([[2, 0], [0, 0]]), tensor([[0, 0], [0, 2]])]);
    expect([nil.norms[1], nil.bounds[1]]).toEqual([0, 4]);
  });
  test("for a scaled identity the bound is met: 0.25^20", () => {
    const { norms, bounds } = jacobianProduct(Array.from({ length: 20 }, () => eye(3).mul(0.25)));
    expect(norms[19] / 0.25 ** 20).toBeCloseTo(1, 10);
    expect(bounds[19] / 0.25 ** 20).toBeCloseTo(1, 10);
  });
});

test("dead neurons are those no row makes positive", () => {
  expect(deadNeurons(tensor([[0, 1, 0], [0, 0, 2]]))).toEqual({ dead: [0], fraction: 1 / 3 });
});

test("gradient correlation: 1 for a slow wave, about 0 for noise", () => {
  const wave = Array.from({ length: 400 }, (_, i) => Math.sin(i / 40));
  const r = rng(1);
  const noise = Array.from({ length: 4000 }, () => r.normal());
  expect(gradientCorrelation(wave)).toBeGreaterThan(0.99);
  expect(Math.abs(gradientCorrelation(noise))).toBeLessThan(0.05);
  expect(() => gradientCorrelation(wave, 0)).toThrow("lag is 0, expected a whole number from 1 to 399");
});
