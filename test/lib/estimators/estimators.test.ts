import {
  exactPolicyGradient, fisherInformation, gumbelSoftmax, naturalGradient, reinforce, roundStraightThrough, signStraightThrough,
  softmaxFisher, softmaxScore, vectorQuantize,
} from "../../../lib/estimators";
import { randn, rng, stack, tensor, type Tensor } from "../../../lib/tensor";

const sigmoid = (t: number): number => 1 / (1 + Math.exp(-t));
const softmax = (t: Tensor): Tensor => { const e = t.exp(); return e.div(e.sum()); };
const gap = (a: Tensor, b: Tensor): number => a.sub(b).abs().max().item();

describe("straight-through", () => {
  test("round: the grid forward, the identity backward", () => {
    const { y, cache } = roundStraightThrough.forward({ x: tensor([0.3, 1.6, -0.9]) }, { step: 0.5 });
    expect([...y.data]).toEqual([0.5, 1.5, -1]);
    const dy = tensor([1, 2, 3]);
    expect([...roundStraightThrough.backward(dy, cache).dx.data]).toEqual([1, 2, 3]);
    expect(() => roundStraightThrough.backward(tensor([1]), cache)).toThrow("dy has shape [1], y has shape [3]");
    expect(() => roundStraightThrough.forward({ x: y }, { step: 0 })).toThrow("step is 0");
  });
  test("sign: gradient clipped to |x| <= 1; NaN stays NaN", () => {
    const { y, cache } = signStraightThrough.forward({ x: tensor([-2, -1, 0, 0.5, 3, NaN]) });
    expect([...y.data]).toEqual([-1, -1, 1, 1, 1, NaN]);
    expect([...signStraightThrough.backward(tensor([1, 1, 1, 1, 1, 1]), cache).dx.data]).toEqual([0, 1, 1, 1, 0, NaN]);
  });
  test("exercise 8 (d): w = 0.8 towards 3 by the STE, where the true gradient is 0 for ever", () => {
    let w = tensor(0.8);
    for (let i = 0; i < 40; i++) {
      const { y, cache } = roundStraightThrough.forward({ x: w });
      w = w.sub(roundStraightThrough.backward(y.sub(3).mul(2), cache).dx.mul(0.1));
    }
    expect(w.round().item()).toBe(3);
  });
  test("exercise 8 (e): training with the quantiser beats quantising afterwards", () => {
    const r = rng(1), step = 0.5;
    // Correlated columns, so that rounding each weight on its own is not the best grid point.
    const base = randn([64, 1], r);
    const x = base.matmul(tensor([[1, 0.9, 0.8, 1.1]])).add(randn([64, 4], r).mul(0.3));
    const w0 = tensor([[0.74], [-0.26], [0.73], [0.24]]), y = x.matmul(w0);
    const error = (w: Tensor): number => x.matmul(w).sub(y).square().mean().item();
    const after = error(roundStraightThrough.forward({ x: w0 }, { step }).y);
    let w = w0, best = Infinity;
    for (let i = 0; i < 50; i++) {
      const q = roundStraightThrough.forward({ x: w }, { step });
      best = Math.min(best, error(q.y));
      const dq = x.T.matmul(x.matmul(q.y).sub(y)).mul(2 / 64);
      w = w.sub(roundStraightThrough.backward(dq, q.cache).dx.mul(0.05));
    }
    expect(best).toBeLessThan(0.5 * after);
  });
  test("vector quantisation: nearest codewords, straight-through dx, and the exact gradients of its own loss", () => {
    const r = rng(2), x = randn([2, 3, 2], r), E = randn([4, 2], r), commitment = 0.25;
    const { y, ids, loss, cache } = vectorQuantize.forward({ x, E }, { commitment });
    for (let row = 0; row < 6; row++) {
      const own = Array.from({ length: 4 }, (_, k) => [0, 1].reduce((s, j) => s + (x.data[row * 2 + j] - E.data[k * 2 + j]) ** 2, 0));
      expect(ids[row]).toBe(own.indexOf(Math.min(...own)));
    }
    expect(y.shape).toEqual([2, 3, 2]);
    expect(loss).toBeCloseTo(1.25 * x.sub(y).square().mean().item(), 14);
    const dy = randn([2, 3, 2], r);
    const { dx, dE } = vectorQuantize.backward(dy, cache);
    // The two stop-gradients apart: mean (sg(x) - E[ids])^2 in E, commitment * mean (x - sg(y))^2 in x.
    const h = 1e-6;
    const moved = (t: Tensor, i: number, by: number): Tensor => { const c = t.clone(); c.data[i] += by; return c; };
    const inE = (e: Tensor): number => Array.from(x.data).reduce((s, v, i) => s + (v - e.data[ids[i >> 1] * 2 + (i & 1)]) ** 2, 0) / x.size;
    for (let i = 0; i < E.size; i++) expect(dE.data[i]).toBeCloseTo((inE(moved(E, i, h)) - inE(moved(E, i, -h))) / (2 * h), 7);
    const inX = (t: Tensor): number => commitment * t.sub(y).square().mean().item() + t.dot(dy);
    for (let i = 0; i < x.size; i++) expect(dx.data[i]).toBeCloseTo((inX(moved(x, i, h)) - inX(moved(x, i, -h))) / (2 * h), 7);
    expect(() => vectorQuantize.forward({ x, E: randn([4, 3], r) })).toThrow("E has shape [4, 3], x's last dimension is 2");
  });
});

describe("REINFORCE", () => {
  test("exercise 8 (a-c): z ~ Bernoulli(sigmoid(t)), L = z^2: sigmoid' analytically and by 10000 samples", () => {
    const t = 0.4, logits = tensor([0, t]);
    const want = sigmoid(t) * (1 - sigmoid(t));
    expect(exactPolicyGradient(logits, (z) => z * z).data[1]).toBeCloseTo(want, 14);
    const { gradient, variance } = reinforce(logits, (z) => z * z, { rng: rng(1), samples: 10_000 });
    expect(Math.abs(gradient.data[1] - want)).toBeLessThan(4 * Math.sqrt(variance.data[1] / 10_000));
  });
  const logits = tensor([0.5, -1, 0.2, 0.9]);
  const loss = (z: number): number => [10, 12, 9, 11][z];
  test.each(["none", "leave-one-out", 10.4] as const)("baseline %p: unbiased over many estimates", (baseline) => {
    const exact = exactPolicyGradient(logits, loss);
    const r = rng(2);
    const estimates = Array.from({ length: 1000 }, () => reinforce(logits, loss, { rng: r, samples: 4, baseline }).gradient);
    const all = stack(estimates);
    const mean = all.mean(0);
    const error = all.sub(mean).square().mean(0).div(1000).sqrt();
    expect(mean.sub(exact).abs().div(error).max().item()).toBeLessThan(4);
  });
  test("a baseline lowers the variance by far; the plain mean shrinks the estimate by 1 - 1 / n", () => {
    const run = (baseline: "none" | "leave-one-out" | "mean") => reinforce(logits, loss, { rng: rng(3), samples: 4000, baseline });
    expect(run("leave-one-out").variance.sum().item()).toBeLessThan(run("none").variance.sum().item() / 20);
    const two = (baseline: "leave-one-out" | "mean") => reinforce(logits, loss, { rng: rng(5), samples: 2, baseline }).gradient;
    expect(gap(two("mean").mul(2), two("leave-one-out"))).toBeLessThan(1e-14);
  });
  test("errors", () => {
    expect(() => reinforce(randn([2, 2], rng(1)), loss, { rng: rng(1) })).toThrow("logits has shape [2, 2], expected [K]");
    expect(() => reinforce(logits, loss, { rng: rng(1), samples: 1, baseline: "leave-one-out" })).toThrow("at least 2");
  });
});

describe("Gumbel-softmax", () => {
  const logits = tensor([[0.2, -1, 1.1]]);
  test("the backward is the derivative of the soft sample, the noise held fixed", () => {
    const soft = (l: Tensor): Tensor => gumbelSoftmax.forward({ logits: l }, { rng: rng(4), tau: 0.7 }).y;
    const { cache } = gumbelSoftmax.forward({ logits }, { rng: rng(4), tau: 0.7 });
    const dy = tensor([[1, -2, 0.5]]);
    const { dlogits } = gumbelSoftmax.backward(dy, cache);
    for (let i = 0; i < 3; i++) {
      const up = logits.clone(), down = logits.clone();
      up.data[i] += 1e-6;
      down.data[i] -= 1e-6;
      expect(dlogits.data[i]).toBeCloseTo((soft(up).dot(dy) - soft(down).dot(dy)) / 2e-6, 7);
    }
  });
  test("hard samples are one-hot and distributed as softmax(logits), whatever tau", () => {
    const r = rng(5), n = 6_000, p = softmax(logits);
    const counts = [0, 0, 0];
    for (let i = 0; i < n; i++) {
      const y = gumbelSoftmax.forward({ logits }, { rng: r, tau: 3, hard: true }).y;
      expect(y.sum().item()).toBe(1);
      counts[y.argmax().item()]++;
    }
    counts.forEach((c, k) => expect(Math.abs(c / n - p.data[k])).toBeLessThan(4 * Math.sqrt(0.25 / n)));
  });
  test("a hard sample's gradient is its soft twin's", () => {
    const [hard, soft] = [true, false].map((h) => gumbelSoftmax.forward({ logits }, { rng: rng(6), hard: h }).cache);
    const dy = tensor([[1, 2, 3]]);
    expect(gap(gumbelSoftmax.backward(dy, hard).dlogits, gumbelSoftmax.backward(dy, soft).dlogits)).toBe(0);
    expect(() => gumbelSoftmax.forward({ logits }, { rng: rng(1), tau: 0 })).toThrow("tau is 0");
  });
});

describe("Fisher information", () => {
  const logits = tensor([0.3, -0.8, 1.2]), p = softmax(logits);
  const scores = stack([0, 1, 2].map((z) => softmaxScore(logits, z)));
  test("the score has zero mean, and its covariance is diag(p) - p p^T", () => {
    expect(scores.mul(p.reshape(3, 1)).sum(0).abs().max().item()).toBeLessThan(1e-15);
    expect(gap(fisherInformation(p, scores), softmaxFisher(logits))).toBeLessThan(1e-15);
  });
  test("zero mean also over drawn samples, within its standard error", () => {
    const r = rng(7), n = 6_000;
    let mean = tensor([0, 0, 0]);
    for (let i = 0; i < n; i++) mean = mean.add(softmaxScore(logits, r.choice(p.data)).div(n));
    expect(mean.abs().max().item()).toBeLessThan(4 * Math.sqrt(0.25 / n));
  });
  test("F is the Hessian of -log p: finite differences of p - one-hot", () => {
    const h = 1e-6, F = softmaxFisher(logits);
    for (let j = 0; j < 3; j++) {
      const up = logits.clone(), down = logits.clone();
      up.data[j] += h;
      down.data[j] -= h;
      const column = softmaxScore(down, 1).sub(softmaxScore(up, 1)).div(2 * h);
      for (let i = 0; i < 3; i++) expect(column.data[i]).toBeCloseTo(F.get(i, j), 8);
    }
  });
  test("the natural gradient does not depend on the parametrisation", () => {
    // theta = A phi: g_phi = A^T g, F_phi = A^T F A, and the steps agree: A (F_phi^-1 g_phi) = F^-1 g.
    const r = rng(8), B = randn([3, 3], r), F = B.matmul(B.T).add(tensor([[1, 0, 0], [0, 1, 0], [0, 0, 1]]));
    const A = randn([3, 3], r), g = randn([3, 1], r);
    const step = naturalGradient(F, g);
    expect(gap(F.matmul(step), g)).toBeLessThan(1e-12);
    expect(gap(A.matmul(naturalGradient(A.T.matmul(F).matmul(A), A.T.matmul(g))), step)).toBeLessThan(1e-10);
    expect(gap(A.matmul(A.T.matmul(g)), g)).toBeGreaterThan(0.1);
  });
  test("a softmax's F is singular: it needs damping, and says so", () => {
    expect(() => naturalGradient(softmaxFisher(logits), tensor([1, 0, 0]))).toThrow("F + 0 I is not positive definite, expected more damping");
    expect(naturalGradient(softmaxFisher(logits), tensor([1, 0, 0]), 0.1).shape).toEqual([3]);
  });
});
