import {
  fans, gpt2Normal, gpt2Residual, heNormal, heUniform, initializers, lecunNormal, lecunUniform, orthogonal, propagateVariance,
  xavierNormal, xavierUniform,
} from "../../../lib/init";
import { eye, randn, rng } from "../../../lib/tensor";

const variance = (t: { data: ArrayLike<number> }): number => {
  const x = Array.from(t.data);
  const mean = x.reduce((a, b) => a + b) / x.length;
  return x.reduce((a, b) => a + (b - mean) ** 2, 0) / x.length;
};

test.each([
  ["xavierNormal", xavierNormal, 2 / 500], ["xavierUniform", xavierUniform, 2 / 500],
  ["heNormal", heNormal, 2 / 300], ["heUniform", heUniform, 2 / 300],
  ["lecunNormal", lecunNormal, 1 / 300], ["lecunUniform", lecunUniform, 1 / 300],
  ["gpt2Normal", gpt2Normal, 0.02 ** 2], ["gpt2Residual of 12 blocks", gpt2Residual(12), 0.02 ** 2 / 24],
])("%s has the variance of appendix E.4", (_, init, want) => {
  const w = init([200, 300], rng(1));
  expect(w.shape).toEqual([200, 300]);
  expect(variance(w) / want).toBeGreaterThan(0.97);
  expect(variance(w) / want).toBeLessThan(1.03);
});

test("uniform bounds: xavier sqrt(6 / (in + out)), he sqrt(6 / in), lecun sqrt(3 / in)", () => {
  for (const [init, a] of [[xavierUniform, Math.sqrt(6 / 500)], [heUniform, Math.sqrt(6 / 300)], [lecunUniform, Math.sqrt(3 / 300)]] as const) {
    const top = init([200, 300], rng(2)).abs().max().item();
    expect(top).toBeLessThanOrEqual(a);
    expect(top).toBeGreaterThan(0.999 * a);
  }
});

test("fans count a convolution's kernel", () => {
  expect(fans([8, 3, 5, 5])).toEqual({ fanIn: 75, fanOut: 200 });
  expect(() => fans([4])).toThrow("init: the shape is [4], expected [out, in]");
});

test.each([[6, 6], [4, 9], [9, 4]])("orthogonal [%i, %i]: orthonormal rows or columns", (m, n) => {
  const Q = orthogonal([m, n], rng(3));
  const G = m <= n ? Q.matmul(Q.T) : Q.T.matmul(Q);
  expect(G.sub(eye(Math.min(m, n))).abs().max().item()).toBeLessThan(1e-13);
});

test("the same seed gives the same weights", () => {
  for (const init of Object.values(initializers)) {
    expect([...init([3, 4], rng(9)).data]).toEqual([...init([3, 4], rng(9)).data]);
  }
});

describe("variance propagation, measured", () => {
  const run = (init: (typeof initializers)[string], activation: "identity" | "relu" | "tanh" | "sigmoid") =>
    propagateVariance({ init, activation, generator: rng(4), depth: 20, width: 64, samples: 32 });
  test("He keeps ReLU's second moment within a small factor over 20 layers, both ways; LeCun halves it each layer", () => {
    const he = run(heNormal, "relu"), lecun = run(lecunNormal, "relu");
    for (const direction of [he.forward[19], he.backward[0]]) {
      expect(direction).toBeGreaterThan(0.1);
      expect(direction).toBeLessThan(10);
    }
    expect(Math.log2(lecun.forward[19]) / 19).toBeCloseTo(-1, 0);
    expect(Math.log2(lecun.backward[0]) / 19).toBeCloseTo(-1, 0);
  });
  test("linear layers: orthogonal keeps it exactly, Xavier nearly", () => {
    const q = run(orthogonal, "identity");
    for (const m of [...q.forward, ...q.backward]) expect(m).toBeCloseTo(1, 10);
    expect(Math.abs(Math.log(run(xavierNormal, "identity").forward[19]))).toBeLessThan(1.5);
  });
  test("sigmoid's gradient shrinks about sixteenfold a layer in the second moment (0.25^2), whatever the depth", () => {
    const s = run(xavierNormal, "sigmoid");
    expect(Math.log(s.backward[0]) / 19 / Math.log(16)).toBeCloseTo(-1, 0);
  });
});

test("E[relu(z)^2] is half of Var(z); Var(relu(z)) is not, as section 6.3 has it, but (1/2 - 1/(2 pi)) Var(z)", () => {
  const z = randn([400_000], rng(5)), a = z.maximum(0);
  expect(a.square().mean().item()).toBeCloseTo(0.5, 2);
  expect(variance(a)).toBeCloseTo(0.5 - 1 / (2 * Math.PI), 2);
});
