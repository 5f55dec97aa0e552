import fs from "node:fs";
import path from "node:path";
import { adaGrad, adam, adam8bit, adamW, lars, muon, orthogonalize, rmsprop, sgd, type Optimizer } from "../../../lib/optim";
import { clipGlobalNorm, spectralNorm } from "../../../lib/diagnostics";
import { cosine, stepDecay, warmup, warmupCosine } from "../../../lib/schedules";
import { randn, rng, tensor, type Tensor } from "../../../lib/tensor";

const golden = JSON.parse(fs.readFileSync(path.join(__dirname, "../../golden/optim_trajectories.json"), "utf8"));

const slope = (w: Tensor): Tensor => w.sin().neg().add(w.mul(0.2));
const lossOf = (w: Tensor): number => w.cos().add(w.square().div(10)).sum().item();

const ours: Record<string, () => Optimizer> = {
  "sgd": () => sgd({ lr: 0.1 }),
  "sgd decay": () => sgd({ lr: 0.1, weightDecay: 0.05 }),
  "momentum": () => sgd({ lr: 0.1, momentum: 0.9 }),
  "momentum dampening": () => sgd({ lr: 0.1, momentum: 0.9, dampening: 0.3, weightDecay: 0.01 }),
  "nesterov": () => sgd({ lr: 0.1, momentum: 0.9, nesterov: true }),
  "adagrad": () => adaGrad({ lr: 0.2 }),
  "adagrad decay": () => adaGrad({ lr: 0.2, lrDecay: 0.1, weightDecay: 0.05 }),
  "rmsprop": () => rmsprop({ lr: 0.05 }),
  "rmsprop centered momentum": () => rmsprop({ lr: 0.02, alpha: 0.9, momentum: 0.5, centered: true, weightDecay: 0.05 }),
  "adam": () => adam({ lr: 0.1 }),
  "adam decay": () => adam({ lr: 0.1, betas: [0.8, 0.95], weightDecay: 0.05 }),
  "adam amsgrad": () => adam({ lr: 0.3, amsgrad: true }),
  "adamw": () => adamW({ lr: 0.1 }),
  "adamw decay": () => adamW({ lr: 0.1, weightDecay: 0.3 }),
};

describe("optimisers against PyTorch's trajectories over 20 steps", () => {
  test("every golden trajectory has its optimiser here", () => {
    expect(Object.keys(golden.optimizers).sort()).toEqual(Object.keys(ours).sort());
  });
  test.each(Object.keys(ours))("%s", (name) => {
    const optimizer = ours[name]();
    const W = tensor(golden.W0), b = tensor(golden.b0);
    for (const want of golden.optimizers[name]) {
      optimizer.step({ W, b }, { dW: slope(W), db: slope(b) });
      expect(W.sub(tensor(want.W)).abs().max().item()).toBeLessThan(1e-12);
      expect(b.sub(tensor(want.b)).abs().max().item()).toBeLessThan(1e-12);
    }
    expect(optimizer.steps).toBe(20);
  });
});

describe("schedules and clipping against PyTorch", () => {
  test.each([
    ["cosine", cosine(29, 0.1)], ["step", stepDecay(7, 0.5)], ["warmup", warmup(5)],
  ])("%s", (name, schedule) => {
    golden.schedules[name].forEach((lr: number, step: number) => expect(schedule(step)).toBeCloseTo(lr, 12));
  });
  test("warmupCosine joins the two", () => {
    const schedule = warmupCosine(4, 20, 0.1);
    expect([0, 1, 2, 3].map(schedule)).toEqual([0.25, 0.5, 0.75, 1]);
    expect([schedule(4), schedule(20), schedule(99)].map((x) => x.toFixed(6))).toEqual(["1.000000", "0.100000", "0.100000"]);
    expect(() => warmupCosine(5, 5)).toThrow("warmupCosine: total - steps is 0, expected at least 1");
  });
  test("clipGlobalNorm is clip_grad_norm_ but for PyTorch's 1e-6", () => {
    const { gradients, norm } = clipGlobalNorm({ a: tensor([[3, -4], [1, 2]]), b: tensor([0.5, -6]) }, 1);
    expect(norm).toBeCloseTo(golden.clip.norm, 12);
    const shrink = norm / (norm + 1e-6);
    expect(gradients.a.mul(shrink).sub(tensor(golden.clip.clipped[0])).abs().max().item()).toBeLessThan(1e-14);
    expect(gradients.b.mul(shrink).sub(tensor(golden.clip.clipped[1])).abs().max().item()).toBeLessThan(1e-14);
  });
});

describe("optimisers that PyTorch 1.13 lacks", () => {
  test("adam8bit follows adam, with a quarter of the states' bytes of float32", () => {
    const r = rng(3);
    const start = randn([32, 40], r);
    const w8 = start.clone(), w = start.clone();
    const a8 = adam8bit({ lr: 0.02 }), a = adam({ lr: 0.02 });
    for (let i = 0; i < 150; i++) {
      a8.step({ w: w8 }, { dw: slope(w8) });
      a.step({ w }, { dw: slope(w) });
    }
    const gained = lossOf(start) - lossOf(w);
    expect(Math.abs(lossOf(w8) - lossOf(w))).toBeLessThan(0.02 * gained);
    expect(w8.sub(w).norm() / w.sub(start).norm()).toBeLessThan(0.1);
    const float32 = 2 * 4 * w.size, scales = 2 * 8 * Math.ceil(w.size / 256);
    expect(a8.stateBytes - scales).toBe(float32 / 4);
  });
  test("lars moves every tensor by the same fraction of its size", () => {
    const big = randn([4, 4], rng(1)).mul(100), small = randn([4, 4], rng(2)).mul(0.01);
    const before = [big.clone(), small.clone()];
    lars({ lr: 1, momentum: 0, trust: 0.01 }).step({ big, small }, { dbig: slope(big), dsmall: slope(small).mul(1e4) });
    expect(big.sub(before[0]).norm() / before[0].norm()).toBeCloseTo(0.01, 12);
    expect(small.sub(before[1]).norm() / before[1].norm()).toBeCloseTo(0.01, 12);
  });
  test("lars by its formula, two steps with decay and momentum", () => {
    const w = tensor([3, 4]), g = tensor([0, 1]);
    const o = lars({ lr: 0.5, momentum: 0.9, weightDecay: 0.1, trust: 0.02 });
    const by: number[][] = [];
    let v = [0, 0], p = [3, 4];
    for (let i = 0; i < 2; i++) {
      const W = Math.hypot(...p), local = (0.02 * W) / (1 + 0.1 * W);
      v = v.map((x, j) => 0.9 * x + 0.5 * local * ([0, 1][j] + 0.1 * p[j]));
      p = p.map((x, j) => x - v[j]);
      by.push(p);
      o.step({ w }, { dw: g });
      expect(w.sub(tensor(p)).abs().max().item()).toBeLessThan(1e-14);
    }
  });
  test("muon: the step's singular values lie near 1, also from an ill-conditioned momentum", () => {
    const r = rng(5);
    for (const shape of [[6, 6], [8, 3], [3, 8]]) {
      const X = randn([shape[0], shape[0]], r).matmul(randn(shape, r));
      const Y = orthogonalize(X, 9);
      const G = shape[0] < shape[1] ? Y.matmul(Y.T) : Y.T.matmul(Y);
      const top = spectralNorm(Y);
      // The least eigenvalue of G is top^2 minus the spectral norm of top^2 I - G.
      const n = G.shape[0];
      const rest = G.neg().clone();
      for (let i = 0; i < n; i++) rest.data[i * n + i] += top * top;
      const least = Math.sqrt(top * top - spectralNorm(rest));
      expect(top).toBeLessThan(1.25);
      expect(least).toBeGreaterThan(0.65);
    }
    const W = randn([4, 4], r), before = lossOf(W), o = muon({ lr: 0.05 });
    for (let i = 0; i < 30; i++) o.step({ W }, { dW: slope(W) });
    expect(lossOf(W)).toBeLessThan(before);
    expect(() => o.step({ b: tensor([1]) }, { db: tensor([1]) })).toThrow("muon: b has shape [1], expected a matrix");
  });
});

describe("errors", () => {
  test("a missing or misshapen gradient changes nothing", () => {
    const a = tensor([1, 2]), b = tensor([3]);
    const o = sgd({ lr: 1 });
    expect(() => o.step({ a, b }, { da: a } as never)).toThrow("sgd: b has no gradient, expected db or b");
    expect(() => o.step({ a, b }, { da: a, db: tensor([1, 1]) })).toThrow("the gradient of b has shape [2], b has [1]");
    expect([[...a.data], o.steps]).toEqual([[1, 2], 0]);
    expect(() => sgd({ lr: NaN })).toThrow("sgd: lr is NaN");
    expect(() => sgd({ lr: 1, nesterov: true })).toThrow("nesterov with momentum 0");
    expect(() => adam({ betas: [0.9, 1] })).toThrow("betas are [0.9, 1]");
  });
  test("a missing or misspelt gradient does not compile", () => {
    const a = tensor([1, 2]), b = tensor([3]);
    const o = sgd({ lr: 1 });
    // @ts-expect-error db is missing
    expect(() => o.step({ a, b }, { da: a })).toThrow();
    // @ts-expect-error dB is not db
    expect(() => o.step({ a, b }, { da: a, dB: b })).toThrow();
    const fromLayer = { da: a, db: b, dx: a };
    o.step({ a, b }, fromLayer);
    o.step({ a, b }, { a, b });
  });
  test("float32 parameters stay float32, NaN stays NaN", () => {
    const w = tensor(new Float32Array([1, 2]), [2]);
    adam().step({ w }, { dw: tensor(new Float32Array([NaN, 1]), [2]) });
    expect([w.dtype, w.data[0]]).toEqual(["float32", NaN]);
  });
});
