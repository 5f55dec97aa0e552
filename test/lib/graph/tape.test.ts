import { customFunction, fixedPoint, noGrad, Tape, type Variable } from "../../../lib/graph";
import { linear, relu } from "../../../lib/layers";
import { randn, rng, Tensor, tensor } from "../../../lib/tensor";

const close = (got: Tensor | undefined, want: Tensor, tolerance = 1e-8): void => {
  expect(got?.shape).toEqual(want.shape);
  expect(got!.sub(want).abs().max().item()).toBeLessThan(tolerance);
};

/** dL/dx_n of a scalar-valued tape function, by central differences. */
function numeric(f: (...x: Variable[]) => Variable, inputs: Tensor[], n: number, h = 1e-5): Tensor {
  const at = (t: Tensor): number => {
    const tape = new Tape();
    return f(...inputs.map((x, m) => tape.variable(m === n ? t : x))).data.item();
  };
  const out = inputs[n].mul(0).clone();
  for (let i = 0; i < out.size; i++) {
    const up = inputs[n].clone(), down = inputs[n].clone();
    up.data[i] += h;
    down.data[i] -= h;
    out.data[i] = (at(up) - at(down)) / (2 * h);
  }
  return out;
}

const r = rng(7);
const A = randn([2, 3], r), B = randn([3, 4], r), P = randn([2, 3], r).abs().add(0.5);
const ids = [2, 0, 2];

const cases: [string, Tensor[], (...x: Variable[]) => Variable][] = [
  ["add, broadcast", [A, randn([3], r)], (a, b) => a.add(b).pow(2).sum()],
  ["sub, broadcast from a column", [randn([2, 1], r), A], (a, b) => a.sub(b).pow(2).sum()],
  ["mul", [A, randn([1, 3], r)], (a, b) => a.mul(b).mul(a).sum()],
  ["div", [A, P], (a, b) => a.div(b).sin().sum()],
  ["pow, sqrt", [P], (a) => a.pow(3).add(a.sqrt()).add(a.pow(0)).sum()],
  ["exp, log", [P], (a) => a.exp().mul(a.log()).sum()],
  ["sin, cos", [A], (a) => a.sin().mul(a.cos()).sum()],
  ["tanh, sigmoid", [A], (a) => a.tanh().mul(a.sigmoid()).sum()],
  ["relu, neg", [A], (a) => a.relu().mul(a).add(a.neg().relu()).sum()],
  ["softmax", [A], (a) => a.softmax().mul(a).sum()],
  ["matmul", [A, B], (a, b) => a.matmul(b).pow(2).sum()],
  ["matmul, batched and broadcast", [randn([2, 2, 3], r), B], (a, b) => a.matmul(b).pow(2).sum()],
  ["T", [A], (a) => a.matmul(a.T).pow(2).sum()],
  ["reshape", [A], (a) => a.reshape(3, 2).matmul(a).pow(2).sum()],
  ["broadcastTo", [randn([3], r)], (a) => a.broadcastTo([2, 3]).mul(A).pow(2).sum()],
  ["sum, mean by axis", [A], (a) => a.sum(0).pow(2).sum().add(a.mean(1, true).mul(a).sum())],
  ["rows: a row read twice", [A.concat(randn([1, 3], r))], (e) => e.rows(ids).pow(3).sum()],
  ["concat", [A, randn([1, 3], r)], (a, b) => a.tape.apply("concat", [a, b, a]).pow(2).sum(0).pow(2).sum()],
];

describe("Tape", () => {
  describe.each(cases)("%s", (_, inputs, f) => {
    test("gradients against finite differences", () => {
      const tape = new Tape();
      const x = inputs.map((t) => tape.variable(t));
      f(...x).backward();
      inputs.forEach((__, n) => close(x[n].grad, numeric(f, inputs, n), 1e-6));
    });

    test("second derivatives: the gradient of |gradient|^2 against finite differences of the first", () => {
      const penalty = (...x: Variable[]): Variable => {
        const { tape } = x[0];
        return tape.gradients(f(...x), x).map((d) => d.pow(2).sum()).reduce((a, b) => a.add(b));
      };
      const tape = new Tape();
      const x = inputs.map((t) => tape.variable(t));
      const p = penalty(...x);
      const got = tape.gradients(p, x);
      inputs.forEach((__, n) => {
        const want = numeric(penalty, inputs, n);
        close(got[n].data, want, 1e-5 * (1 + want.abs().max().item()));
      });
    });
  });

  test("appendix A.1 on tensors, every printed digit", () => {
    const tape = new Tape();
    const W1 = tape.variable(tensor([[0.5, 0.1], [0.2, 0.3]]), "W1");
    const w2 = tape.variable(tensor([[0.4, 0.6]]), "w2");
    const z = W1.matmul(tensor([[1], [2]]));
    const yHat = w2.matmul(z.relu());
    const loss = yHat.sub(1).pow(2).mul(0.5).sum();
    loss.backward();
    expect(loss.data.item().toFixed(4)).toBe("0.0288");
    expect([...z.grad!.data].map((x) => x.toFixed(3))).toEqual(["-0.096", "-0.144"]);
    expect([...W1.grad!.data].map((x) => x.toFixed(3))).toEqual(["-0.096", "-0.192", "-0.144", "-0.288"]);
    expect([...w2.grad!.data].map((x) => x.toFixed(3))).toEqual(["-0.168", "-0.192"]);
  });

  test("appendix C.2's Wengert list, line by line", () => {
    const tape = new Tape();
    const x = tape.variable(0.5, "x");
    x.exp().mul(x.add(1)).backward();
    expect(String(tape)).toBe([
      'v1 = variable [] "x"', "v2 = exp(v1) []", "v3 = constant []", "v4 = add(v1, v3) []", "v5 = mul(v2, v4) []",
    ].join("\n"));
    expect(x.grad!.item()).toBeCloseTo(2.5 * Math.exp(0.5), 13);
  });

  test("layers as operations: shared weights accumulate, frozen inputs get nothing", () => {
    const W = randn([3, 3], rng(1)), x = randn([2, 3], rng(2)), b = randn([3], rng(3));
    const build = (tape: Tape, w: Variable): Variable => {
      const h = tape.layer(relu, { x: tape.layer(linear, { x, W: w, b }) });
      return tape.layer(linear, { x: h, W: w }).pow(2).sum();
    };
    const tape = new Tape();
    const w = tape.variable(W, "W");
    build(tape, w).backward();
    close(w.grad, numeric((v) => build(v.tape, v), [W], 0), 1e-5);
    const frozen = tape.constant(W);
    build(tape, frozen).backward();
    expect(frozen.grad).toBeUndefined();
    expect(() => tape.gradients(build(tape, w), [w])).toThrow(/no second derivative on a tape/);
  });

  test("detach, noGrad, zeroGrad", () => {
    const tape = new Tape();
    const x = tape.variable(tensor([1, 2]), "x");
    x.mul(x.detach()).sum().backward();
    expect([...x.grad!.data]).toEqual([1, 2]);
    const before = tape.variables.length;
    const y = noGrad(() => x.mul(x));
    expect([tape.variables.length - before, y.parents.length]).toEqual([0, 0]);
    tape.zeroGrad();
    expect(x.grad).toBeUndefined();
  });

  test("an operation of one's own in the registry", () => {
    Tape.define("square", { forward: ([a]) => a.mul(a), backward: (g, [a]) => [g.mul(a).mul(2)] });
    const tape = new Tape();
    const x = tape.variable(tensor([3, 4]));
    const y = tape.apply("square", [x]).sum();
    const [dx] = tape.gradients(y, [x]);
    expect([...dx.data.data]).toEqual([6, 8]);
    expect([...tape.gradients(dx.sum(), [x])[0].data.data]).toEqual([2, 2]);
    expect(() => Tape.define("square", Tape.primitives.get("add")!)).toThrow('"square" is taken');
  });

  test("graph() shows shapes and adjoints", () => {
    const tape = new Tape();
    const W = tape.variable(randn([2, 3], rng(1)), "W");
    const loss = tape.constant(randn([4, 3], rng(2)), "x").matmul(W.T).relu().mean();
    loss.backward();
    const graph = tape.graph(loss);
    for (const text of [">W<", "[4, 3]", "[2, 3] norm", "matmul", "relu"]) expect(graph.svg).toContain(text);
  });

  test("graph() has every edge inside its frame", () => {
    const tape = new Tape();
    const X = tape.variable(randn([3, 4], rng(1)), "X");
    const [Wq, Wk, Wv] = ["Wq", "Wk", "Wv"].map((name) => tape.variable(randn([4, 4], rng(2)), name));
    const out = X.matmul(Wq).matmul(X.matmul(Wk).T).mul(0.5).softmax().matmul(X.matmul(Wv)).add(X);
    const loss = out.mul(out).sum();
    loss.backward();
    const { svg } = tape.graph(loss);
    const [, top, height] = svg.match(/viewBox="0 (-?[\d.]+) [\d.]+ ([\d.]+)"/)!.map(Number);
    const ys = [...svg.matchAll(/<path d="(M[^"]*)" fill="none"/g)].flatMap(([, d]) => d.match(/-?[\d.]+/g)!.map(Number).filter((_, i) => i % 2 === 1));
    expect(ys.length).toBeGreaterThan(20);
    expect([Math.min(...ys) > top, Math.max(...ys) < top + height]).toEqual([true, true]);
  });

  test("errors say which argument, what it was, what it should be", () => {
    const tape = new Tape();
    const x = tape.variable(A, "x");
    expect(() => x.backward()).toThrow("y has shape [2, 3], expected a scalar or a seed of that shape");
    expect(() => x.backward(B)).toThrow("the seed has shape [3, 4], y's is [2, 3]");
    expect(() => x.add(new Tape().variable(A))).toThrow("operand 2 is from another tape");
    expect(() => x.rows([5])).toThrow("rows: id 5, expected a whole number from 0 to 1");
    expect(() => tape.variable([1] as never)).toThrow("input 2 is a object, expected a Tensor or a number");
  });
});

describe("anomaly mode", () => {
  test("names the operation and layer of the first NaN in the forward", () => {
    const tape = new Tape({ anomaly: true });
    const x = tape.variable(tensor([[1, -2]]), "x");
    expect(() => tape.scope("block 0", () => tape.scope("attention", () => x.log()))).toThrow(
      "anomaly: forward of v2 = log(v1) [1, 2] in block 0/attention made a NaN at [0, 1]");
  });
  test("names the operation and layer of the first infinity in the backward", () => {
    const tape = new Tape({ anomaly: true });
    const x = tape.variable(tensor([4, 0]), "x");
    const loss = tape.scope("head", () => x.sqrt()).sum();
    expect(() => loss.backward()).toThrow(/anomaly: backward of v2 = sqrt\(v1\) \[2\] in head made, in the adjoint of v1, an infinity at \[1\]/);
  });
  test("names an input that came in bad, and is silent when all is finite", () => {
    const tape = new Tape({ anomaly: true });
    expect(() => tape.variable(tensor([1, Infinity]), "x")).toThrow(/"x" came in with an infinity at \[1\]/);
    tape.variable(tensor([1, 2])).exp().sum().backward();
  });
});

describe("customFunction", () => {
  const square = { name: "square", forward: (x: Tensor) => x.mul(x) };
  const check = [tensor([1, 2, -3])];
  test("a right backward is accepted and used", () => {
    const f = customFunction({ ...square, backward: (g, [x]) => [g.mul(x).mul(2)], check });
    const tape = new Tape();
    const x = tape.variable(tensor([5, 6]));
    f(x).sum().backward();
    expect([...x.grad!.data]).toEqual([10, 12]);
  });
  test("a wrong backward is refused with both numbers, and welcome as a declared estimator", () => {
    const wrong = { ...square, backward: (g: Tensor, [x]: Tensor[]) => [g.mul(x)] };
    expect(() => customFunction({ ...wrong, check })).toThrow(
      /square: the backward says .* for element 0 of input 1, finite differences say .*; if that is meant, declare it/);
    const round = customFunction({ name: "round", forward: (x) => x.round(), backward: (g) => [g], estimator: "straight-through" });
    const tape = new Tape();
    const x = tape.variable(tensor([0.4, 1.6]));
    const y = round(x);
    y.mul(tensor([3, 4])).sum().backward();
    expect([[...y.data.data], [...x.grad!.data]]).toEqual([[0, 2], [3, 4]]);
  });
  test("a wrong backward that vanishes or swaps entries is caught too", () => {
    for (const backward of [(g: Tensor) => [g.mul(0)], (g: Tensor, [x]: Tensor[]) => [g.sum().mul(x).mul(2)], () => []]) {
      expect(() => customFunction({ ...square, backward, check })).toThrow("square:");
    }
    expect(() => customFunction({ ...square, backward: (g: Tensor) => [g] } as never)).toThrow("a backward is proved or declared");
  });
});

describe("fixedPoint", () => {
  const W = randn([3, 3], rng(4)).mul(0.3), b = randn([1, 3], rng(5));
  const f = (z: Variable, w: Variable, c: Variable): Variable => z.matmul(w.T).add(c).tanh();
  test("equals the gradient through the unrolled iteration, with one line on the tape", () => {
    const tape = new Tape();
    const w = tape.variable(W, "W"), c = tape.variable(b, "b");
    const z = fixedPoint(f, b.mul(0), [w, c]);
    close(z.data, f(tape.constant(z.data), w, c).data, 1e-12);
    expect(tape.variables.filter((v) => v.op === "fixedPoint")).toHaveLength(1);
    z.pow(2).sum().backward();

    const long = new Tape();
    const w2 = long.variable(W), c2 = long.variable(b);
    let z2 = long.constant(b.mul(0));
    for (let i = 0; i < 120; i++) z2 = f(z2, w2, c2);
    z2.pow(2).sum().backward();
    close(w.grad, w2.grad!, 1e-11);
    close(c.grad, c2.grad!, 1e-11);
  });
  test("argmin: dy*/dtheta = -H_yy^-1 H_y theta, through a gradient step as the map", () => {
    // L(y, t) = y^4 / 4 + y^2 / 2 - t y: y* solves y^3 + y = t, so dy*/dt = 1 / (3 y^2 + 1).
    const step = (y: Variable, t: Variable): Variable => {
      const tape = y.tape;
      const free = y.requiresGrad ? y : tape.variable(y.data);
      const loss = free.pow(4).div(4).add(free.pow(2).div(2)).sub(t.mul(free)).sum();
      return free.sub(tape.gradients(loss, [free])[0].mul(0.2));
    };
    const tape = new Tape();
    const t = tape.variable(2, "t");
    const y = fixedPoint(step, tensor(0), [t]);
    expect(y.data.item()).toBeCloseTo(1, 10);
    y.backward();
    expect(t.grad!.item()).toBeCloseTo(1 / 4, 8);
  });
  test("says so when the map does not contract", () => {
    const tape = new Tape();
    expect(() => fixedPoint((z, p) => z.mul(p).add(1), tensor(0), [tape.variable(2)], { maxIterations: 50 }))
      .toThrow("z did not settle to 1e-13 in 50 iterations");
  });
});
