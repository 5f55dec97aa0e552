import { gradientCorrelation, jacobianProduct, tensorNorms } from "../../../lib/diagnostics";
import { constantInit, xavierNormal } from "../../../lib/init";
import { mse } from "../../../lib/layers";
import { deepNet, gradientReach, gradientsAlongLine, mlp, RecurrentModel, type Mlp, type Named } from "../../../lib/models";
import { adam, sgd } from "../../../lib/optim";
import { eye, ones, randn, rng, tensor, type Tensor } from "../../../lib/tensor";

/** Every gradient of a model against central differences of its loss; the worst difference. */
function worst(parameters: Named, gradients: Named, loss: () => number): number {
  let most = 0;
  for (const [name, t] of Object.entries(parameters)) {
    for (let i = 0; i < t.size; i++) {
      const before = t.data[i];
      const at = (h: number): number => { t.data[i] = before + h; const out = loss(); t.data[i] = before; return out; };
      most = Math.max(most, Math.abs((at(1e-5) - at(-1e-5)) / 2e-5 - gradients[name].data[i]));
    }
  }
  return most;
}

describe("Mlp", () => {
  test.each(["sigmoid", "tanh", "gelu", "leakyRelu", "relu", "identity"] as const)("%s: every gradient, with and without skips", (activation) => {
    for (const residual of [false, true]) {
      const net = mlp({ widths: [3, 4, 4, 2], activation, residual }, rng(1));
      const x = randn([5, 3], rng(2)), target = randn([5, 2], rng(3));
      const loss = (): number => mse.forward({ x: net.forward(x).y, target }).y.item();
      const { y, cache } = net.forward(x);
      const { dx: dy } = mse.backward(undefined, mse.forward({ x: y, target }).cache) as { dx: Tensor };
      expect(worst(net.parameters, net.backward(dy, cache).gradients, loss)).toBeLessThan(1e-8);
    }
  });

  test.each(["pre", "post"] as const)("%s-norm, with and without skips: every gradient", (norm) => {
    for (const residual of [false, true]) {
      const net = mlp({ widths: [3, 4, 4, 2], activation: "tanh", residual, norm }, rng(1));
      const x = randn([5, 3], rng(2)), dy = randn([5, 2], rng(3));
      const { cache } = net.forward(x);
      expect(worst(net.parameters, net.backward(dy, cache).gradients, () => net.forward(x).y.dot(dy))).toBeLessThan(1e-6);
    }
  });

  test("appendix A.1 through the layers, every printed digit", () => {
    const net = mlp({ widths: [2, 2, 1], activation: "relu" }, rng(1));
    (net.parameters.W1.data as Float64Array).set([0.5, 0.1, 0.2, 0.3]);
    (net.parameters.W2.data as Float64Array).set([0.4, 0.6]);
    const { y, cache } = net.forward(tensor([[1, 2]]));
    const { gradients } = net.backward(y.sub(1), cache);
    const digits = (t: Tensor, n: number): string[] => Array.from(t.data, (v) => v.toFixed(n));
    expect(digits(y, 2)).toEqual(["0.76"]);
    expect(digits(y.sub(1).square().div(2), 4)).toEqual(["0.0288"]);
    expect(digits(gradients.W2, 3)).toEqual(["-0.168", "-0.192"]);
    expect(digits(gradients.b2, 2)).toEqual(["-0.24"]);
    expect(digits(gradients.W1, 3)).toEqual(["-0.096", "-0.192", "-0.144", "-0.288"]);
    expect(digits(gradients.b1, 3)).toEqual(["-0.096", "-0.144"]);
  });

  test("exercise 3 (d): a hundred steps of gradient descent at 0.01, the loss falls at every one", () => {
    const net = mlp({ widths: [2, 3, 1], activation: "relu" }, rng(5));
    const x = tensor([[0.5, -1.2]]), target = tensor([[0.7]]);
    const losses: number[] = [];
    const optimizer = sgd({ lr: 0.01 });
    for (let i = 0; i < 100; i++) {
      const { y, cache } = net.forward(x);
      losses.push(y.sub(target).square().item() / 2);
      optimizer.step(net.parameters, net.backward(y.sub(target), cache).gradients);
    }
    expect(losses[99]).toBeLessThan(losses[0] / 2);
    losses.slice(1).forEach((loss, i) => expect(loss).toBeLessThan(losses[i]));
  });

  test("mistake 5: equal weights stay equal for ever", () => {
    const net = mlp({ widths: [2, 3, 1], activation: "tanh", init: constantInit(0.5) }, rng(1));
    const x = randn([8, 2], rng(2)), target = randn([8, 1], rng(3));
    const optimizer = adam({ lr: 0.05 });
    for (let i = 0; i < 20; i++) {
      const { y, cache } = net.forward(x);
      optimizer.step(net.parameters, net.backward(y.sub(target), cache).gradients);
    }
    const [first, ...rest] = [0, 1, 2].map((r) => [...net.parameters.W1.row(r).data]);
    for (const row of rest) expect(row).toEqual(first);
    expect(first[0]).not.toBe(0.5);
  });

  test("errors", () => {
    expect(() => mlp({ widths: [3] }, rng(1))).toThrow("widths has 1 entries");
    expect(() => deepNet({ depth: 0, width: 3 }, rng(1))).toThrow("depth is 0");
  });
});

describe("exercise 4: twenty layers", () => {
  const norms = (net: Mlp, width = 16): number[] => {
    const { y, cache } = net.forward(randn([1, width], rng(7)));
    return net.backward(ones(y.shape), cache).deltaNorms;
  };
  test("width 1, all weights 0.3, sigmoid: the gradient is the product of 0.3 s'(z), and under (0.25 * 0.3)^19", () => {
    const net = deepNet({ depth: 20, width: 1, activation: "sigmoid", init: constantInit(0.3) }, rng(1));
    const { y, cache } = net.forward(tensor([[1]]));
    const { deltaNorms, dx } = net.backward(ones([1, 1]), cache);
    let a = 1, product = 1;
    for (let l = 0; l < 20; l++) {
      const s = 1 / (1 + Math.exp(-0.3 * a));
      product *= 0.3 * s * (1 - s);
      a = s;
    }
    expect(y.item()).toBeCloseTo(a, 14);
    expect(dx.item() / product).toBeCloseTo(1, 12);
    expect(deltaNorms[0]).toBeLessThan(0.25 ** 20 * 0.3 ** 19);
    expect(deltaNorms[0]).toBeGreaterThan(0);
  });
  test("sigmoid vanishes, ReLU with He does not, Xavier alone does not save the sigmoid, skips do", () => {
    const ratio = (net: Mlp): number => { const n = norms(net); return n[0] / n[19]; };
    const sigmoid = ratio(deepNet({ depth: 20, width: 16, activation: "sigmoid", init: xavierNormal }, rng(1)));
    const relu = ratio(deepNet({ depth: 20, width: 16, activation: "relu" }, rng(1)));
    const residual = ratio(deepNet({ depth: 20, width: 16, activation: "sigmoid", init: xavierNormal, residual: true }, rng(1)));
    expect(sigmoid).toBeLessThan(1e-8);
    expect(relu).toBeGreaterThan(1e-3);
    expect(relu).toBeLessThan(1e3);
    expect(residual).toBeGreaterThan(0.1);
  });
  test("skips with pre- or post-norm: the gradient arrives after 40 sigmoid layers; pre-norm's stream grows, post-norm's cannot", () => {
    const x = randn([4, 16], rng(7));
    const run = (norm: "pre" | "post") => {
      const net = deepNet({ depth: 40, width: 16, activation: "sigmoid", residual: true, norm }, rng(1));
      const { y, cache } = net.forward(x);
      const { deltaNorms } = net.backward(randn([4, 16], rng(8)), cache);
      return { reach: deltaNorms[0] / deltaNorms[39], growth: y.norm() / x.norm() };
    };
    const pre = run("pre"), post = run("post");
    expect(pre.reach).toBeGreaterThan(0.1);
    expect(post.reach).toBeGreaterThan(0.01);
    expect(pre.growth).toBeGreaterThan(3);
    expect(post.growth).toBeLessThan(1.5);
  });
  test("the identity path is no guarantee by itself: F(x) = -x gives J = I + J_F = 0 (against section 3.4's inequality)", () => {
    const net = deepNet({ depth: 1, width: 3, activation: "identity", residual: true, init: () => eye(3).neg() }, rng(1));
    const { y, cache } = net.forward(randn([1, 3], rng(2)));
    expect([...net.backward(ones(y.shape), cache).dx.data]).toEqual([0, 0, 0]);
  });
  test.each([false, true])("the layers' Jacobians multiply to the net's own, under the bound of section 2.4 (residual: %p)", (residual) => {
    const net = mlp({ widths: [3, 5, 5, 2], activation: "tanh", residual }, rng(1));
    const x = randn([1, 3], rng(2));
    const J = net.jacobians(x);
    const product = J.reduce((whole, j) => j.matmul(whole));
    for (const [row, dy] of [[0, [[1, 0]]], [1, [[0, 1]]]] as const) {
      const { dx } = net.backward(tensor(dy), net.forward(x).cache);
      expect(dx.sub(product.slice(row, row + 1)).abs().max().item()).toBeLessThan(1e-14);
    }
    const { norms: own, bounds } = jacobianProduct(J);
    own.forEach((norm, l) => expect(norm).toBeLessThanOrEqual(bounds[l] * (1 + 1e-9)));
    expect(() => net.jacobians(randn([2, 3], rng(1)))).toThrow("x has shape [2, 3], expected [1, in]");
    expect(() => mlp({ widths: [2, 2], norm: "pre" }, rng(1)).jacobians(randn([1, 2], rng(1)))).toThrow('norm is "pre"');
  });
  test("section 6.4: the residual Jacobian's product holds the direct path", () => {
    // With small J_F the product of (I + J_F) stays near I where the plain product is gone.
    const J = Array.from({ length: 20 }, (_, l) => randn([6, 6], rng(l)).mul(0.02));
    expect(jacobianProduct(J).norms[19]).toBeLessThan(1e-15);
    expect(jacobianProduct(J.map((j) => j.add(eye(6)))).norms[19]).toBeGreaterThan(0.9);
  });
});

test("shattered gradients: a plain ReLU net's neighbouring gradients decorrelate with depth, a residual net's do not", () => {
  const mean = (depth: number, residual: boolean): number => {
    const runs = [1, 2, 3].map((seed) => gradientCorrelation(gradientsAlongLine({ depth, width: 24, residual, points: 128 }, rng(seed)), 3));
    return runs.reduce((a, b) => a + b) / runs.length;
  };
  expect(mean(2, false)).toBeGreaterThan(0.8);
  expect(mean(24, false)).toBeLessThan(0.5);
  expect(mean(24, true)).toBeGreaterThan(0.9);
});

describe("recurrent models", () => {
  const ids = [[0, 1, 2, 3, 1, 0], [2, 2, 0, 1, 3, 3]], targets = [[1, 2, 3, 1, 0, 2], [2, 0, 1, 3, 3, 0]];
  test.each(["rnn", "lstm"] as const)("%s: full BPTT, every gradient", (cell) => {
    const model = new RecurrentModel({ vocabulary: 4, width: 3, hidden: 4, cell }, rng(1));
    const { cache } = model.forward(ids, targets);
    expect(worst(model.parameters, model.backward(cache), () => model.forward(ids, targets).loss)).toBeLessThan(1e-8);
  });
  test.each(["rnn", "lstm"] as const)("%s: truncation leaves the loss and changes only what reaches through time", (cell) => {
    const model = new RecurrentModel({ vocabulary: 4, width: 3, hidden: 4, cell }, rng(1));
    const full = model.forward(ids, targets), cut = model.forward(ids, targets, { truncate: 2 });
    expect(cut.loss).toBe(full.loss);
    const a = model.backward(full.cache), b = model.backward(cut.cache);
    expect(a.Wlogits.sub(b.Wlogits).norm()).toBe(0);
    expect(a.Wh.sub(b.Wh).norm()).toBeGreaterThan(1e-4);
    const whole = model.backward(model.forward(ids, targets, { truncate: 6 }).cache);
    expect(a.Wh.sub(whole.Wh).norm()).toBe(0);
  });
  test("an RNN's gradient fades over 40 steps, an LSTM with an open forget gate keeps far more of it", () => {
    const rnn = gradientReach("rnn", { steps: 40, hidden: 8, scale: 0.8 }, rng(1));
    const lstm = gradientReach("lstm", { steps: 40, hidden: 8, scale: 0.8 }, rng(1));
    expect(rnn[0] / rnn[39]).toBeLessThan(0.8 ** 39 * 10);
    expect(lstm[0] / lstm[39]).toBeGreaterThan(100 * (rnn[0] / rnn[39]));
  });
  test("an LSTM learns to copy a token over four steps", () => {
    const model = new RecurrentModel({ vocabulary: 3, width: 4, hidden: 12, cell: "lstm" }, rng(3));
    const optimizer = adam({ lr: 0.02 });
    const r = rng(4);
    let loss = 0;
    for (let i = 0; i < 150; i++) {
      const first = Array.from({ length: 16 }, () => r.integer(0, 2));
      const x = first.map((t) => [t, 2, 2, 2, 2]), y = first.map((t) => [-100, -100, -100, -100, t]);
      const out = model.forward(x, y);
      optimizer.step(model.parameters, model.backward(out.cache));
      loss = out.loss;
    }
    expect(loss).toBeLessThan(0.1);
    expect(tensorNorms(model.parameters).total).toBeGreaterThan(0);
  });
});
