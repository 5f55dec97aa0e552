import { gradients, noGrad, topologicalOrder, Value } from "../../../lib/graph";

const slope = (f: (x: number) => number, x: number, h = 1e-5): number => (f(x + h) - f(x - h)) / (2 * h);

describe("Value", () => {
  test("the tape example of appendix C.2: d/dx exp(x) (x + 1) = (x + 2) exp(x)", () => {
    const x = new Value(0.7, "x");
    const y = x.exp().mul(x.add(1));
    y.backward();
    expect(y.data).toBeCloseTo(Math.exp(0.7) * 1.7, 14);
    expect(x.grad).toBeCloseTo(2.7 * Math.exp(0.7), 13);
  });

  test("appendix A.1, every printed digit: loss 0.0288 and all gradients", () => {
    const value = (data: number): Value => new Value(data, "p");
    const x = [new Value(1), new Value(2)];
    const W = [[value(0.5), value(0.1)], [value(0.2), value(0.3)]];
    const b = [value(0), value(0)], w = [value(0.4), value(0.6)], b2 = value(0);
    const z = W.map((row, i) => row[0].mul(x[0]).add(row[1].mul(x[1])).add(b[i]));
    const a = z.map((v) => v.relu());
    const yHat = w[0].mul(a[0]).add(w[1].mul(a[1])).add(b2);
    const loss = yHat.sub(1).pow(2).mul(0.5);
    loss.backward();
    expect(z.map((v) => v.data.toFixed(1))).toEqual(["0.7", "0.8"]);
    expect(yHat.data.toFixed(2)).toBe("0.76");
    expect(loss.data.toFixed(4)).toBe("0.0288");
    expect(w.map((v) => v.grad.toFixed(3))).toEqual(["-0.168", "-0.192"]);
    expect(b2.grad.toFixed(2)).toBe("-0.24");
    expect(a.map((v) => v.grad.toFixed(3))).toEqual(["-0.096", "-0.144"]);
    expect(W.flat().map((v) => v.grad.toFixed(3))).toEqual(["-0.096", "-0.192", "-0.144", "-0.288"]);
  });

  test("appendix A.1's finite difference: the slope is the printed -0.096, the two printed losses are not this loss", () => {
    const loss = (w11: number): number => (0.4 * (w11 + 0.2) + 0.6 * 0.8 - 1) ** 2 / 2;
    expect(((loss(0.50001) - loss(0.49999)) / 2e-5).toFixed(3)).toBe("-0.096");
    // Printed: 0.02880960 and 0.02881152. Their difference gives the slope, but a loss of 0.0288 with slope -0.096
    // moves by 9.6e-7 to either side, not to two values above 0.0288.
    expect(loss(0.50001).toFixed(8)).toBe("0.02879904");
    expect(loss(0.49999).toFixed(8)).toBe("0.02880096");
  });

  test.each<[string, (x: Value) => Value, (x: number) => number]>([
    ["div", (x) => new Value(3).div(x).add(x.div(7)), (x) => 3 / x + x / 7],
    ["pow", (x) => x.pow(3).add(x.pow(-2)).add(x.sqrt()), (x) => x ** 3 + x ** -2 + Math.sqrt(x)],
    ["log", (x) => x.log().mul(x), (x) => Math.log(x) * x],
    ["sin, cos", (x) => x.sin().mul(x.cos()), (x) => Math.sin(x) * Math.cos(x)],
    ["tanh", (x) => x.tanh(), Math.tanh],
    ["sigmoid", (x) => x.mul(3).sigmoid(), (x) => 1 / (1 + Math.exp(-3 * x))],
    ["relu", (x) => x.neg().relu().add(x.sub(0.1).relu()), (x) => Math.max(-x, 0) + Math.max(x - 0.1, 0)],
  ])("%s: first and second derivative against finite differences", (_, f, plain) => {
    const x = new Value(0.8, "x");
    const [dx] = gradients(f(x), [x]);
    const [dxx] = gradients(dx, [x]);
    expect(dx.data).toBeCloseTo(slope(plain, 0.8), 7);
    expect(dxx.data).toBeCloseTo(slope((t) => slope(plain, t, 1e-4), 0.8, 1e-4), 5);
  });

  test("exercise 1: d/dt sin(exp(3t)^2) and d/dt exp(3 sin(t^2)) differ: order matters", () => {
    const f = (t: Value): Value => t.mul(t).sin();
    const g = (t: Value): Value => t.mul(3).exp();
    for (const at of [0, 1]) {
      const t = new Value(at, "t");
      const [fg] = gradients(f(g(t)), [t]);
      const [gf] = gradients(g(f(t)), [t]);
      const u = Math.exp(3 * at);
      expect(fg.data).toBeCloseTo(Math.cos(u * u) * 2 * u * 3 * u, 8);
      expect(gf.data).toBeCloseTo(Math.exp(3 * Math.sin(at * at)) * 3 * Math.cos(at * at) * 2 * at, 8);
    }
  });

  test("0.25^20 is the document's 1e-12: twenty saturated sigmoids", () => {
    expect((0.25 ** 20).toExponential(0)).toBe("9e-13");
    const z = new Value(0, "z");
    let a: Value = z;
    for (let l = 0; l < 20; l++) a = a.sigmoid().sub(0.5);
    a.backward();
    expect(z.grad).toBe(0.25 ** 20);
  });

  test("LLM from scratch: residuals of a two-layer scalar model, each layer passing on residual * local derivative", () => {
    // y1 = w1 x + b1, y2 = w2 y1 + b2, L = (y2 - y)^2
    const [x, y] = [3, 5], [w1, b1, w2, b2] = [0.5, -1, 2, 0.25].map((v) => new Value(v, "p"));
    const y1 = w1.mul(x).add(b1), y2 = w2.mul(y1).add(b2);
    y2.sub(y).pow(2).backward();
    const r2 = 2 * (y2.data - y), r1 = r2 * w2.data;
    expect([w2.grad, b2.grad, y1.grad]).toEqual([r2 * y1.data, r2, r1]);
    expect([w1.grad, b1.grad]).toEqual([r1 * x, r1]);
  });

  test("LLM from scratch: an activation slid between two operations multiplies the residual by its slope", () => {
    const w = new Value(0.7, "w"), b = new Value(0.1, "b");
    w.mul(2).tanh().add(b).sub(1).pow(2).backward();
    const residual = 2 * (Math.tanh(1.4) + 0.1 - 1);
    expect(b.grad).toBeCloseTo(residual, 14);
    expect(w.grad).toBeCloseTo(residual * (1 - Math.tanh(1.4) ** 2) * 2, 14);
  });

  test("fan-out accumulates, backward() twice accumulates, zeroGrad() clears", () => {
    const x = new Value(3, "x");
    const y = x.mul(x).add(x);
    y.backward();
    expect(x.grad).toBe(7);
    y.backward();
    expect(x.grad).toBe(14);
    y.zeroGrad();
    expect([x.grad, y.grad]).toEqual([0, 0]);
  });

  test("detach and noGrad cut the graph", () => {
    const x = new Value(3, "x");
    x.mul(x.detach()).backward();
    expect(x.grad).toBe(3);
    const y = noGrad(() => x.mul(x));
    expect([y.data, y.parents.length]).toEqual([9, 0]);
    expect(() => noGrad(() => { throw new Error("inside"); })).toThrow("inside");
    expect(x.mul(2).parents).toHaveLength(2);
  });

  test("a student's own primitive", () => {
    Value.define("cube", { forward: (x) => x ** 3, backward: (g, x) => [g.mul(x.mul(x)).mul(3)] });
    const x = new Value(2, "x");
    const [dx] = gradients(Value.apply("cube", x), [x]);
    expect([dx.data, gradients(dx, [x])[0].data]).toEqual([12, 12]);
    expect(() => Value.define("cube", Value.primitives.get("add")!)).toThrow('"cube" is taken');
    expect(() => Value.apply("qube", x)).toThrow('no operation "qube"');
    expect(() => x.add("1" as never)).toThrow('add: operand 2 is "1", expected a Value or a number');
  });

  test("NaN in, NaN out", () => {
    for (const op of ["relu", "sigmoid", "tanh", "exp"]) {
      const x = new Value(NaN, "x");
      const y = Value.apply(op, x);
      y.backward();
      expect([y.data, x.grad]).toEqual([NaN, NaN]);
    }
  });

  test("a chain of 200,000 operations does not overflow the stack", () => {
    const x = new Value(1, "x");
    let y: Value = x;
    for (let i = 0; i < 200_000; i++) y = y.add(1);
    y.backward();
    expect(x.grad).toBe(1);
  });

  test("graph() draws values, adjoints and operations, and shows itself in a notebook", () => {
    const x = new Value(2, "x<1>");
    const y = x.exp().mul(x.add(1));
    y.backward();
    const graph = y.graph();
    const bundle = (graph as unknown as Record<symbol, () => Record<string, string>>)[Symbol.for("Jupyter.display")]();
    expect(bundle["image/svg+xml"]).toMatch(/^<svg xmlns=.*<\/svg>$/s);
    for (const text of ["exp", "mul", "add", "x&lt;1&gt;", ">29.56<"]) expect(graph.svg).toContain(text);
    expect(graph.svg.match(/<path d="[^"]*" fill="none"/g)).toHaveLength(graph.edges.length);
    expect(bundle["text/plain"].split("\n")).toHaveLength(graph.nodes.length);
  });
});

describe("topologicalOrder", () => {
  const parents: Record<string, string[]> = { d: ["b", "c"], c: ["a"], b: ["a"], a: [] };
  test("parents before children", () => {
    const order = topologicalOrder(["d"], (n) => parents[n]);
    for (const n of order) for (const p of parents[n]) expect(order.indexOf(p)).toBeLessThan(order.indexOf(n));
    expect(order).toHaveLength(4);
  });
  test("a cycle is refused", () => {
    const ring: Record<string, string[]> = { a: ["b"], b: ["c"], c: ["b"] };
    expect(() => topologicalOrder(["a"], (n) => ring[n])).toThrow("2 nodes lie on a cycle");
  });
});
