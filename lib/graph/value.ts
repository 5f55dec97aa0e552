import { Graph, type GraphNode } from "./draw";
import { topologicalOrder } from "./order";
import { isRecording, withRecording } from "./recording";

/**
 * A scalar operation: its value, and its rule for sending the adjoint g = dL/dy back to each input.
 * The rule is written in `Value`s, so that a gradient is itself a graph and can be differentiated again.
 */
export interface ScalarPrimitive {
  readonly forward: (...x: number[]) => number;
  readonly backward: (g: Value, ...x: Value[]) => readonly Value[];
}

/**
 * A number that remembers how it was made (Math for LLMs, appendix I.1; after Karpathy's micrograd).
 *
 * ```ts
 * const x = new Value(2, "x");
 * const y = x.exp().mul(x.add(1));
 * y.backward();
 * x.grad; // (x + 2) exp(x), appendix C.2
 * y.graph(); // the picture
 * ```
 */
export class Value {
  /** dL/d(this), summed over all `backward()` calls since the last `zeroGrad()`. */
  grad = 0;

  constructor(
    public data: number,
    public label = "",
    readonly op = "",
    readonly parents: readonly Value[] = [],
  ) {
    if (typeof data !== "number") throw new Error(`Value: data is ${JSON.stringify(data)}, expected a number`);
  }

  add(other: Value | number): Value { return apply("add", this, other); }
  sub(other: Value | number): Value { return apply("sub", this, other); }
  mul(other: Value | number): Value { return apply("mul", this, other); }
  div(other: Value | number): Value { return apply("div", this, other); }
  neg(): Value { return apply("neg", this); }
  /** this ** n for a constant n. */
  pow(n: number): Value {
    if (typeof n !== "number") throw new Error("Value.pow: the exponent is not a number, expected a constant");
    return n === 0 ? new Value(1) : apply("pow", this, n);
  }
  exp(): Value { return apply("exp", this); }
  log(): Value { return apply("log", this); }
  sqrt(): Value { return this.pow(0.5); }
  sin(): Value { return apply("sin", this); }
  cos(): Value { return apply("cos", this); }
  tanh(): Value { return apply("tanh", this); }
  sigmoid(): Value { return apply("sigmoid", this); }
  relu(): Value { return apply("relu", this); }

  /** The same number with no history: nothing flows back through it. */
  detach(): Value { return new Value(this.data, this.label); }

  /** Adds dL/dv to `grad` of every value v that this one depends on, with this one as L. */
  backward(seed = 1): void {
    // Adjoints are numbers here, so their own arithmetic leaves no record.
    withRecording(false, () => {
      for (const [value, adjoint] of adjoints(this, new Value(seed))) value.grad += adjoint.data;
    });
  }

  /** Sets `grad` to 0 here and in everything this depends on. */
  zeroGrad(): void {
    for (const value of topologicalOrder<Value>([this], (v) => v.parents)) value.grad = 0;
  }

  /** The computation graph with values and adjoints; a notebook draws it. */
  graph(): Graph {
    const order = topologicalOrder<Value>([this], (v) => v.parents);
    const ids = new Map(order.map((value, i) => [value, i + 1]));
    const nodes = order.map((value): GraphNode => ({
      id: ids.get(value)!,
      title: value.op === "" ? value.label || short(value.data) : value.label ? `${value.label} = ${value.op}` : value.op,
      value: short(value.data),
      adjoint: value.grad === 0 ? undefined : short(value.grad),
      kind: value === this && value.op ? "output" : value.op ? "operation" : value.label ? "input" : "constant",
      parents: value.parents.map((parent) => ids.get(parent)!),
    }));
    return new Graph(nodes);
  }

  toString(): string { return `Value(${this.label ? `${this.label} = ` : ""}${short(this.data)}, grad ${short(this.grad)})`; }

  [Symbol.for("Jupyter.display")](): Record<string, string> { return { "text/plain": this.toString() }; }

  /** The operations known by name. */
  static readonly primitives = new Map<string, ScalarPrimitive>();

  /** Adds an operation of your own; use it as `Value.apply(name, x, ...)`. */
  static define(name: string, primitive: ScalarPrimitive): void {
    if (Value.primitives.has(name)) throw new Error(`Value.define: "${name}" is taken, expected a new name`);
    Value.primitives.set(name, primitive);
  }

  static apply(name: string, ...inputs: (Value | number)[]): Value { return apply(name, ...inputs); }
}

/**
 * dy/dx for each x, as `Value`s with a history of their own: differentiate them again for second derivatives.
 * An x that y does not depend on gets 0.
 */
export function gradients(y: Value, xs: readonly Value[]): Value[] {
  const all = adjoints(y, new Value(1));
  return xs.map((x) => all.get(x) ?? new Value(0));
}

/** Reverse accumulation (Math for LLMs, section 3.3): adjoint(parent) += adjoint(child) * d child / d parent. */
function adjoints(y: Value, seed: Value): Map<Value, Value> {
  const adjoint = new Map<Value, Value>([[y, seed]]);
  for (const value of topologicalOrder<Value>([y], (v) => v.parents).reverse()) {
    if (value.op === "") continue;
    const parts = Value.primitives.get(value.op)!.backward(adjoint.get(value)!, ...value.parents);
    if (parts.length !== value.parents.length) {
      throw new Error(`${value.op}: backward gave ${parts.length} adjoints, expected one for each of the ` +
        `${value.parents.length} inputs`);
    }
    // += and not =: a value that is used twice collects both contributions.
    value.parents.forEach((parent, i) => {
      const before = adjoint.get(parent);
      adjoint.set(parent, before ? before.add(parts[i]) : parts[i]);
    });
  }
  return adjoint;
}

function apply(name: string, ...inputs: (Value | number)[]): Value {
  const primitive = Value.primitives.get(name);
  if (!primitive) {
    throw new Error(`Value: no operation "${name}", expected one of ${[...Value.primitives.keys()].join(", ")}`);
  }
  const values = inputs.map((x, i) => {
    if (x instanceof Value) return x;
    if (typeof x === "number") return new Value(x);
    throw new Error(`${name}: operand ${i + 1} is ${JSON.stringify(x)}, expected a Value or a number`);
  });
  const data = primitive.forward(...values.map((value) => value.data));
  return isRecording() ? new Value(data, "", name, values) : new Value(data);
}

Value.define("add", { forward: (a, b) => a + b, backward: (g) => [g, g] });
Value.define("sub", { forward: (a, b) => a - b, backward: (g) => [g, g.neg()] });
Value.define("mul", { forward: (a, b) => a * b, backward: (g, a, b) => [g.mul(b), g.mul(a)] });
Value.define("div", {
  forward: (a, b) => a / b,
  backward: (g, a, b) => [g.div(b), g.mul(a).div(b.mul(b)).neg()],
});
Value.define("neg", { forward: (a) => -a, backward: (g) => [g.neg()] });
Value.define("pow", {
  forward: (a, n) => a ** n,
  // The exponent is a constant: its adjoint is 0 by decree.
  backward: (g, a, n) => [g.mul(a.pow(n.data - 1)).mul(n.data), new Value(0)],
});
Value.define("exp", { forward: Math.exp, backward: (g, a) => [g.mul(a.exp())] });
Value.define("log", { forward: Math.log, backward: (g, a) => [g.div(a)] });
Value.define("sin", { forward: Math.sin, backward: (g, a) => [g.mul(a.cos())] });
Value.define("cos", { forward: Math.cos, backward: (g, a) => [g.mul(a.sin()).neg()] });
Value.define("tanh", {
  forward: Math.tanh,
  backward: (g, a) => [g.mul(a.tanh().pow(2).neg().add(1))],
});
Value.define("sigmoid", {
  // exp of a non-positive number only, so that no input overflows.
  forward: (a) => (a >= 0 ? 1 / (1 + Math.exp(-a)) : Math.exp(a) / (1 + Math.exp(a))),
  backward: (g, a) => [g.mul(a.sigmoid().mul(a.neg().sigmoid()))],
});
Value.define("relu", {
  forward: (a) => (a < 0 ? 0 : a),
  // At 0 the subgradient 0, as in PyTorch; a NaN stays a NaN.
  backward: (g, a) => [g.mul(a.data > 0 ? 1 : a.data <= 0 ? 0 : NaN)],
});

const short = (x: number): string => (Number.isInteger(x) ? String(x) : String(Number(x.toPrecision(4))));
