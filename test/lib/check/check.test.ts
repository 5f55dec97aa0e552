import fc from "fast-check";
import {
  central, Complex, complexStep, countedJacobian, dualDerivative, DualNumber, gradcheck, gradient, hessian, hvp, jacobian, jvp,
  linear, mse, numericalGradient, ones, randn, relu, richardson, rng, softmaxCrossEntropy, stack, tanh, Tensor, tensor, vjp, zeros,
} from "../../../lib";
import { expectClose } from "../layers/close";

const generator = () => rng(11);

/** Smooth functions with their derivatives. */
const known: [string, (x: number) => number, (x: number) => number][] = [
  ["sin", Math.sin, Math.cos],
  ["exp", Math.exp, Math.exp],
  ["tanh", Math.tanh, (x) => 1 - Math.tanh(x) ** 2],
  ["x^5", (x) => x ** 5, (x) => 5 * x ** 4],
  ["1 / (1 + x^2)", (x) => 1 / (1 + x * x), (x) => (-2 * x) / (1 + x * x) ** 2],
  ["sin 20x", (x) => Math.sin(20 * x), (x) => 20 * Math.cos(20 * x)],
  ["constant", () => 3, () => 0],
];

describe("Richardson", () => {
  it.each(known)("gives the derivative of %s within its own error bar, and the bar is small", (_, f, df) => {
    fc.assert(fc.property(fc.double({ min: -2, max: 2, noNaN: true }), (x) => {
      const { value, error, kink } = richardson(f, x);
      expect(kink).toBeUndefined();
      expect(Math.abs(value - df(x))).toBeLessThanOrEqual(error + 1e-13);
      expect(error).toBeLessThan(1e-8 * Math.max(1, Math.abs(df(x)), Math.abs(f(x))));
    }), { numRuns: 100 });
  });

  it("beats the central difference by orders of magnitude", () => {
    const error = (value: number) => Math.abs(value - Math.cos(1));
    expect(error(richardson(Math.sin, 1).value)).toBeLessThan(1e-12);
    expect(error(central(Math.sin, 1))).toBeLessThan(1e-9);
    expect(error(central(Math.sin, 1, 1e-2))).toBeGreaterThan(1e-6);
  });

  it("stays right when a kink is near", () => {
    for (const distance of [0.1, 1e-2, 1e-3, 1e-4]) {
      const { value, kink } = richardson((x) => 3 * Math.max(x, 0), distance);
      expect(kink).toBeUndefined();
      expect(value).toBeCloseTo(3, 9);
    }
  });

  it("reports a kink with both slopes, and a jump as steep", () => {
    const { kink, error } = richardson((x) => (x > 1 ? 2 * x - 2 : 1 - x), 1);
    expect(kink!.left).toBeCloseTo(-1, 9);
    expect(kink!.right).toBeCloseTo(2, 9);
    expect(error).toBeCloseTo(1.5, 9);
    expect(richardson(Math.floor, 1).error).toBeGreaterThan(1e3);
  });

  it("says NaN for NaN", () => {
    expect(richardson(() => NaN, 1).value).toBeNaN();
    expect(richardson(Math.log, -1).value).toBeNaN();
  });
});

describe("numericalGradient", () => {
  it("takes a number, a tensor, nested arrays or several tensors", () => {
    expect(numericalGradient((x) => x * x, 3)).toBeCloseTo(6, 10);
    expectClose(numericalGradient((x) => x.square().sum(), tensor([1, 2])), tensor([2, 4]), 1e-10, "gradient");
    expectClose(numericalGradient((x: Tensor) => x.square().sum(), [1, 2]), tensor([2, 4]), 1e-10, "gradient");
    const { a, b } = numericalGradient(({ a: p, b: q }) => p.mul(q).sum(), { a: tensor([1, 2]), b: tensor([3, 4]) });
    expectClose(a, tensor([3, 4]), 1e-10, "a");
    expectClose(b, tensor([1, 2]), 1e-10, "b");
  });

  it("works in float64 on float32 inputs, and leaves x alone", () => {
    const x = tensor([0.1, 0.2], undefined, "float32");
    const before = [...x.data];
    const g = numericalGradient((t) => t.exp().sum(), x);
    expect(g.dtype).toBe("float64");
    expectClose(g, tensor([...x.data]).exp(), 1e-10, "gradient");
    expect([...x.data]).toEqual(before);
  });

  it("has a plain central method", () => {
    const g = numericalGradient((x: Tensor) => x.pow(3).sum(), tensor([1, 2]), { method: "central", step: 1e-3 });
    expect(g.get(0)).toBeCloseTo(3 + 1e-6, 9);
  });

  it.each<[() => unknown, string]>([
    [() => numericalGradient((x: Tensor) => x, tensor([1, 2])), "numericalGradient: the function returned shape [2], it should return one number"],
    [() => numericalGradient(() => undefined as any, tensor([1])), "numericalGradient: the function returned undefined, it should return a Tensor or a number"],
    [() => numericalGradient((x: number) => x, 1, { method: "forward" as any }), 'numericalGradient: the method is "forward", it should be "richardson" or "central"'],
    [() => numericalGradient((x: number) => x, 1, { step: 0 }), "numericalGradient: the step is 0, it should be a positive number"],
    [() => numericalGradient((x: any) => x, "x" as any), "numericalGradient: the argument should be a Tensor, an array of numbers, or an object of Tensors"],
  ])("says what is wrong (%#)", (run, message) => {
    expect(run).toThrow(new Error(message));
  });
});

describe("gradcheck", () => {
  const x = randn([3, 4], rng(1));
  const W = randn([2, 4], rng(2));
  const b = randn([2], rng(3));

  /** linear with one gradient done wrong. */
  const mistaken = (change: (right: Record<string, Tensor>, dy: Tensor) => Record<string, unknown>) => ({
    name: "mine",
    forward: (inputs: any) => linear.forward(inputs),
    backward: (dy: Tensor, cache: any) => {
      const right = linear.backward(dy, cache) as unknown as Record<string, Tensor>;
      return { ...right, ...change(right, dy) };
    },
  });

  it("passes what is right", () => {
    const result = gradcheck(linear, { x, W, b });
    expect(result.passed).toBe(true);
    expect(result.inputs.x.relativeError).toBeLessThan(1e-10);
    expect(String(result)).toMatch(/^linear: passed\n {2}dx: right \(relative error \S+, 12 elements\)/);
  });

  it.each<[string, (right: Record<string, Tensor>, dy: Tensor) => Record<string, unknown>, string]>([
    ["a sign", ({ dx }) => ({ dx: dx.neg() }), "x"],
    ["a factor", ({ dW }) => ({ dW: dW.mul(2) }), "W"],
    ["a mean for a sum", ({ dW }) => ({ dW: dW.div(3) }), "W"],
    ["one element", ({ dx }) => ({ dx: dx.add(tensor([[0, 0, 0, 0], [0, 0, 1e-5, 0], [0, 0, 0, 0]])) }), "x"],
    ["a missing sum", (_, dy) => ({ db: dy.row(0) }), "b"],
    ["zeros", ({ db }) => ({ db: db.mul(0) }), "b"],
    ["NaN", ({ dx }) => ({ dx: dx.mul(NaN) }), "x"],
    ["a gradient left out", () => ({ dW: undefined }), "W"],
    ["a transposed gradient", ({ dW }) => ({ dW: dW.T }), "W"],
    ["a number for a tensor", () => ({ dx: 3 }), "x"],
  ])("finds %s", (_, change, where) => {
    const result = gradcheck(mistaken(change), { x, W, b });
    expect(result.passed).toBe(false);
    for (const [name, check] of Object.entries(result.inputs)) expect(check.passed).toBe(name !== where);
    expect(String(result)).toContain(`d${where}: wrong, d${where}`);
  });

  it("names the element that is furthest off", () => {
    const off = zeros(2, 4);
    off.data[6] = 0.5;
    const { worst, message } = gradcheck(mistaken(({ dW }) => ({ dW: dW.add(off) })), { x, W, b }).inputs.W;
    expect(worst!.index).toEqual([1, 2]);
    expect(worst!.analytic - worst!.numeric).toBeCloseTo(0.5, 8);
    expect(message).toMatch(/^dW\[1, 2\] is -?[\d.]+, differences give -?[\d.]+ \(to \de-\d+\)$/);
  });

  it("takes a function that returns its scalar result with its gradients", () => {
    expect(gradcheck(({ x: t }) => ({ y: t.square().sum(), dx: t.mul(2) }), { x }).passed).toBe(true);
    expect(gradcheck(({ x: t }) => ({ y: t.square().sum(), dx: t }), { x }).passed).toBe(false);
    expect(gradcheck(({ x: t }) => ({ y: t.item() ** 2, dx: 2 * t.item() }), { x: tensor(3) }).passed).toBe(true);
    expect(() => gradcheck(({ x: t }) => ({ y: t, dx: t }), { x })).toThrow("it should be one number");
    expect(() => gradcheck((() => 3) as any, { x })).toThrow("it should return { y, dx, ... }".replace("it ", "the function "));
    expect(() => gradcheck({} as any, { x })).toThrow("gradcheck: the first argument should be a layer");
  });

  it("accepts any slope between left and right at a kink, and no other", () => {
    const at = tensor([-1, 0, 0, 2]);
    const result = gradcheck(relu, { x: at });
    expect(result.passed).toBe(true);
    expect(result.inputs.x.kinks).toBe(2);
    const sided = (slope: number) => gradcheck(({ x: t }) => ({ y: t.maximum(0).sum(), dx: t.gt(0).add(t.eq(0).mul(slope)) }), { x: at });
    expect(sided(1).passed).toBe(true);
    expect(sided(0.5).passed).toBe(true);
    expect(sided(1.1).passed).toBe(false);
    expect(sided(-0.1).passed).toBe(false);
  });

  it("does not pass a straight-through gradient, nor differences that never settle", () => {
    expect(gradcheck(({ x: t }) => ({ y: t.round().sum(), dx: ones(t.shape) }), { x }).passed).toBe(false);
    let call = 0;
    const noisy = gradcheck(({ x: t }) => ({ y: t.sum().add(1e-2 * Math.sin(1e9 * ++call)), dx: ones(t.shape) }), { x });
    expect(noisy.passed).toBe(false);
  });

  it("leaves out what is frozen, and checks float32 more loosely", () => {
    const frozen = gradcheck(linear, { x, W, b }, { options: { frozen: ["W"] } });
    expect(Object.keys(frozen.inputs)).toEqual(["x", "b"]);
    const target = x.add(1);
    expect(Object.keys(gradcheck(mse, { x, target }).inputs)).toEqual(["x"]);
    expect(Object.keys(gradcheck(mse, { x, target }, { options: { frozen: [] } }).inputs)).toEqual(["x", "target"]);
    const single = gradcheck(linear, { x: x.astype("float32"), W: W.astype("float32") });
    expect(single.passed).toBe(true);
    expect(single.inputs.x.maxError).toBeGreaterThan(0);
  });

  it("checks integers' neighbours only, and at most as many elements as asked", () => {
    const logits = randn([4, 5], rng(4));
    const result = gradcheck(softmaxCrossEntropy, { logits, targets: [0, 1, 2, 4] }, { elements: 7 });
    expect(Object.keys(result.inputs)).toEqual(["logits"]);
    expect(result.inputs.logits.checked).toBe(7);
  });
});

/** Every way a Tensor can be used, as a function of one tensor [2, 3] with positive entries. */
const operations: [string, (x: Tensor) => Tensor][] = [
  ["add", (x) => x.add(x.T.matmul(x).sum(0))],
  ["sub", (x) => tensor([1, 2, 3]).sub(x)],
  ["mul", (x) => x.mul(x.slice(0, 1))],
  ["div", (x) => x.div(x.sum(1, true))],
  ["number / x", (x) => tensor(2).div(x)],
  ["neg pow", (x) => x.neg().pow(3).add(x.pow(-0.5))],
  ["exp log", (x) => x.exp().add(1).log()],
  ["expm1 log1p", (x) => x.expm1().mul(x.log1p())],
  ["sqrt abs sign", (x) => x.sqrt().add(x.sub(1).abs()).mul(x.sign())],
  ["sin cos tanh", (x) => x.sin().mul(x.cos()).add(x.tanh())],
  ["sigmoid erf", (x) => x.sigmoid().mul(x.erf())],
  ["maximum", (x) => x.maximum(1).minimum(x.square())],
  ["clip", (x) => x.clip(0.5, 1.2).mul(x)],
  ["select", (x) => x.select(x.gt(1), x.square())],
  ["matmul", (x) => x.matmul(x.T)],
  ["plain matmul x", (x) => randn([4, 2], rng(1)).matmul(x)],
  ["vector matmul", (x) => x.matmul(x.row(0)).matmul(x)],
  ["vector times vector", (x) => x.row(0).matmul(x.row(1))],
  ["batched matmul", (x) => x.reshape(2, 1, 3).matmul(x.reshape(1, 3, 2))],
  ["reshape transpose", (x) => x.reshape(3, 2).transpose().mul(x.reshape(2, 3))],
  ["broadcastTo", (x) => x.broadcastTo([2, 2, 3]).mul(randn([2, 2, 3], rng(2)))],
  ["slice at concat", (x) => x.slice(1, 3, 1).concat([x.at(0, 1).reshape(2, 1)], -1).square()],
  ["stack", (x) => stack([x, ones([2, 3]), x.square()], 1)],
  ["plain first in concat", (x) => ones([1, 3]).concat(x)],
  ["gather scatter", (x) => x.gather(Int32Array.from([0, 5, 5, -1]), [4]).scatter(Int32Array.from([1, 1, 0, 2]), [3]).square()],
  ["sum mean", (x) => x.sum(0).mul(x.mean())],
  ["max min", (x) => x.max(1).mul(x.min(0, true).sum())],
  ["clone", (x) => x.clone().mul(x)],
  ["map", (x) => x.map((v) => v ** 3, (t) => t.square().mul(3))],
  ["constant", () => tensor([1, 2])],
];

describe("exact derivatives of every Tensor operation", () => {
  const x = randn([2, 3], rng(21)).abs().add(0.3);

  it.each(operations)("%s", (_, f) => {
    const byColumns = jacobian(f, x, { by: "columns" });
    expectClose(jacobian(f, x, { by: "rows" }), byColumns, 1e-12, "rows");
    expectClose(jacobian(f, x, { by: "differences" }), byColumns, 1e-6, "differences");
    expectClose(jacobian(f, x), byColumns, 1e-12, "cheaper way");
    const w = randn(f(x).shape, rng(5));
    const loss = (t: Tensor): Tensor => f(t).mul(w).square().sum();
    const v = randn(x.shape, rng(6));
    // H v is the derivative along v of the gradient.
    const along = (h: number): Tensor => gradient(loss, x.add(v.mul(h)));
    const expected = along(1e-5).sub(along(-1e-5)).div(2e-5);
    const { hv, dx } = hvp(loss, x, v);
    expectClose(hv, expected, 1e-6, "H v", 1);
    expectClose(dx, gradient(loss, x), 1e-13, "gradient");
  });
});

describe("jacobian", () => {
  const A = randn([3, 5], rng(1));
  const f = (x: Tensor): Tensor => A.matmul(x).tanh();

  it("has shape [...y, ...x], whichever way", () => {
    const x = randn([5], rng(2));
    const slope = f(x).square().neg().add(1);
    for (const by of ["columns", "rows"] as const) expectClose(jacobian(f, x, { by }), A.mul(slope.reshape(3, 1)), 1e-14, by);
    expect(jacobian((t) => t.T, randn([2, 3], rng(1))).shape).toEqual([3, 2, 2, 3]);
    expect(jacobian((t) => t.sum(), [1, 2, 3]).toArray()).toEqual([1, 1, 1]);
    expect(jacobian((t) => t.square(), 3).toArray()).toBe(6);
    expect(jacobian((t) => [t.get(0) * t.get(1), t.get(0)], [2, 3], { by: "differences" }).shape).toEqual([2, 2]);
  });

  it("counts what it cost: n forwards by columns, m backwards by rows", () => {
    const x = randn([5], rng(2));
    const counted = (by?: "columns" | "rows" | "differences") => {
      let calls = 0;
      const { forwards, backwards } = countedJacobian((t) => (calls++, f(t)), x, { by });
      expect(calls).toBe(forwards);
      return [forwards, backwards];
    };
    expect(counted("columns")).toEqual([5, 0]);
    expect(counted("rows")).toEqual([1, 3]);
    expect(counted("differences")).toEqual([11, 0]);
    const scalar = countedJacobian((t) => t.square().sum(), randn([50], rng(3)));
    expect(scalar).toMatchObject({ forwards: 1, backwards: 1 });
  });

  it("composes: J of f after g is J_f J_g", () => {
    const g = (x: Tensor): Tensor => x.square().concat(x.sum().reshape(1));
    const x = randn([4], rng(3));
    expectClose(jacobian((t) => f(g(t)), x), jacobian(f, g(x)).matmul(jacobian(g, x)), 1e-13, "composition");
  });

  it("says when a derivative would be lost", () => {
    const message = /^derivative: the function reads a tensor's numbers/;
    expect(() => jacobian((x) => tensor([x.get(0) ** 2]), [1, 2])).toThrow(message);
    expect(() => jvp((x: Tensor) => tensor(x.norm()), tensor([1, 2]), tensor([1, 0]))).toThrow(message);
    expect(() => jacobian((x) => x.map(Math.sinh), [1])).toThrow("derivative: map(f) does not say what f' is");
    expect(() => jacobian((x) => x.astype("float32"), [1])).toThrow("derivative: a tensor of shape [1] changes to float32");
    expect(() => jacobian((x) => x, [1], { by: "magic" as any })).toThrow('jacobian: by is "magic"');
  });
});

describe("jvp, vjp and hvp", () => {
  it("are adjoint: <dy, J v> = <J^T dy, v>", () => {
    fc.assert(fc.property(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 5 }), fc.nat(), (m, n, seed) => {
      const g = rng(seed);
      const A = randn([m, n], g);
      const f = (x: Tensor): Tensor => A.matmul(x).sigmoid().mul(x.sum());
      const [x, v, dy] = [randn([n], g), randn([n], g), randn([m], g)];
      expect(jvp(f, x, v).dy.dot(dy)).toBeCloseTo(vjp(f, x, dy).dx.dot(v), 10);
    }));
  });

  it("call the function once each", () => {
    let calls = 0;
    const f = (x: Tensor): Tensor => (calls++, x.exp().sum());
    const x = randn([6], rng(1));
    jvp(f, x, x);
    vjp(f, x);
    hvp(f, x, x);
    expect(calls).toBe(3);
  });

  it("take several inputs under their names, and directions for some of them", () => {
    const inputs = { a: tensor([1, 2]), b: tensor([3, 4]) };
    const f = ({ a, b }: { a: Tensor; b: Tensor }): Tensor => a.square().mul(b).sum();
    expect(jvp(f, inputs, { b: tensor([1, 0]) }).dy.item()).toBe(1);
    expect(vjp(f, inputs).dx.a.toArray()).toEqual([6, 16]);
    const { hv } = hvp(f, inputs, { a: tensor([1, 1]) });
    expect(hv.a.toArray()).toEqual([6, 8]);
    expect(hv.b.toArray()).toEqual([2, 4]);
  });

  it("give the Hessian of cross-entropy, diag(p) - p p^T", () => {
    const logits = randn([4], rng(2));
    const p = logits.exp().div(logits.exp().sum());
    const H = hessian((x) => softmaxCrossEntropy.forward({ logits: x, targets: 1 }).y, logits);
    expectClose(H, tensor([0, 1, 2, 3].map((i) => [0, 1, 2, 3].map((j) => (i === j ? p.get(i) : 0) - p.get(i) * p.get(j)))), 1e-13, "H");
  });

  it("differentiate a whole network twice, through the layers' forwards", () => {
    const g = generator();
    const [x, targets] = [randn([5, 3], g), [0, 1, 1, 0, 1]];
    const parameters = { W1: randn([4, 3], g), b1: randn([4], g), W2: randn([2, 4], g) };
    const loss = ({ W1, b1, W2 }: typeof parameters): Tensor => {
      const h = tanh.forward({ x: linear.forward({ x, W: W1, b: b1 }).y }).y;
      return softmaxCrossEntropy.forward({ logits: linear.forward({ x: h, W: W2 }).y, targets }).y;
    };
    const v = { W1: randn([4, 3], g), b1: randn([4], g), W2: randn([2, 4], g) };
    const { y, dx, hv } = hvp(loss, parameters, v);
    expect(y.item()).toBeCloseTo(loss(parameters).item(), 14);
    const expected = numericalGradient(loss, parameters);
    for (const name of ["W1", "b1", "W2"] as const) {
      expectClose(dx[name], expected[name], 1e-9, name);
      const along = (h: number): Tensor =>
        gradient(loss, { W1: parameters.W1.add(v.W1.mul(h)), b1: parameters.b1.add(v.b1.mul(h)), W2: parameters.W2.add(v.W2.mul(h)) })[name];
      expectClose(hv[name], along(1e-5).sub(along(-1e-5)).div(2e-5), 1e-7, `H v in ${name}`);
    }
  });

  it("nest: third derivatives by forward mode over the Hessian-vector product", () => {
    const third = jvp((x: Tensor) => jvp((t: Tensor) => jvp((u: Tensor) => u.pow(4), t, ones([1])).dy, x, ones([1])).dy, tensor([2]), ones([1]));
    expect(third.dy.item()).toBeCloseTo(24 * 2, 12);
  });

  it.each<[() => unknown, string]>([
    [() => jvp((x: Tensor) => x, tensor([1, 2]), tensor([1])), "jvp: the direction of x has shape [1], x has shape [2]"],
    [() => jvp((x: any) => x.a, { a: tensor(1) }, { b: tensor(1) } as any), "jvp: a direction for b was given, the inputs are a"],
    [() => vjp((x: Tensor) => x, [1, 2]), "vjp: dy is missing, it may be left out only for a scalar y, y has shape [2]"],
    [() => vjp((x: Tensor) => x, [1, 2], [1]), "vjp: dy has shape [1], y has shape [2]"],
    [() => hvp((x: Tensor) => x, [1, 2], [1, 2]), "hvp: the function returned shape [2], it should return one number"],
    [() => vjp((() => null) as any, [1, 2]), "vjp: the function returned null, it should return a Tensor or a number"],
  ])("say what is wrong (%#)", (run, message) => {
    expect(run).toThrow(new Error(message));
  });
});

describe("dual numbers and the complex step", () => {
  type Arithmetic = { [K in "add" | "sub" | "mul" | "div"]: (other: any) => any } & { [K in "neg" | "exp" | "log" | "sqrt" | "sin" | "cos" | "tanh" | "sigmoid"]: () => any } & { pow(n: number): any };
  const functions: [string, (z: Arithmetic) => any, (x: number) => number][] = [
    ["polynomial", (z) => z.mul(z).add(3).mul(z).sub(z.pow(4)), (x) => (x * x + 3) * x - x ** 4],
    ["quotient", (z) => z.exp().div(z.mul(z).add(1)), (x) => Math.exp(x) / (x * x + 1)],
    ["trigonometric", (z) => z.sin().mul(z.cos()), (x) => Math.sin(x) * Math.cos(x)],
    ["network", (z) => z.mul(2).sub(0.5).tanh().mul(3).sigmoid(), (x) => 1 / (1 + Math.exp(-3 * Math.tanh(2 * x - 0.5)))],
    ["powers", (z) => z.sqrt().add(z.log()).sub(z.pow(-1.5)).neg(), (x) => -(Math.sqrt(x) + Math.log(x) - x ** -1.5)],
  ];

  it.each(functions)("agree with Richardson on a %s", (_, f, plain) => {
    for (const x of [0.3, 1, 2.5]) {
      const expected = richardson(plain, x).value;
      const [dual, step] = [dualDerivative(f as (d: DualNumber) => DualNumber, x), complexStep(f as (z: Complex) => Complex, x)];
      expect(dual).toBeCloseTo(expected, 9);
      expect(step).toBeCloseTo(expected, 9);
      expect(Math.abs(dual - step)).toBeLessThan(1e-13 * Math.max(1, Math.abs(dual)));
    }
  });

  it("lose nothing where differences do", () => {
    // Subtraction leaves differences of exp(x) + 1e10 few digits; the complex step subtracts nothing.
    expect(complexStep((z) => z.exp().add(1e10), 1)).toBeCloseTo(Math.E, 14);
    expect(Math.abs(central((x) => Math.exp(x) + 1e10, 1) - Math.E)).toBeGreaterThan(1e-4);
  });

  it("have a kink's subgradient 0, and print themselves", () => {
    expect(dualDerivative((d) => d.relu(), 0)).toBe(0);
    expect(dualDerivative((d) => d.relu(), 2)).toBe(1);
    expect(String(new DualNumber(2, 3))).toBe("2 + 3 eps");
    expect(String(new Complex(1, -2))).toBe("1 - 2i");
    expect(new Complex(1, 2).div(new Complex(3, 4)).re).toBeCloseTo(0.44, 14);
    expect(new Complex(1, 2).div(new Complex(3, 4)).im).toBeCloseTo(0.08, 14);
    expect(new Complex(30, 1e-20).tanh().im).toBeGreaterThan(0);
  });
});

describe("interrupting", () => {
  const hook = Symbol.for("gradbook.interrupt");
  afterEach(() => void delete (globalThis as Record<symbol, unknown>)[hook]);

  it("stops differences and layers at the next step", () => {
    const stop = new Int32Array(1);
    (globalThis as Record<symbol, unknown>)[hook] = stop;
    let calls = 0;
    expect(() => numericalGradient((x: Tensor) => {
      if (++calls === 5) stop[0] = 1;
      return x.square().sum();
    }, zeros(100))).toThrow("the cell was interrupted");
    expect(calls).toBe(5);
    stop[0] = 1;
    expect(() => relu.forward({ x: zeros(2) })).toThrow("the cell was interrupted");
    expect(relu.forward({ x: zeros(2) }).y.size).toBe(2);
  });
});
