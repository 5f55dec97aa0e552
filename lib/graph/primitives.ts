import { concat, unbroadcast, type Tensor } from "../tensor";
import { Tape, type Variable } from "./tape";

/** The adjoint of broadcasting: sum over the axes that were stretched, back to `shape`. */
const sumTo = (g: Variable, shape: readonly number[]): Variable =>
  String(g.shape) === String(shape) ? g : g.tape.apply("sumTo", [g], { shape });

Tape.define("add", {
  forward: ([a, b]) => a.add(b),
  backward: (g, [a, b]) => [sumTo(g, a.shape), sumTo(g, b.shape)],
});
Tape.define("sub", {
  forward: ([a, b]) => a.sub(b),
  backward: (g, [a, b]) => [sumTo(g, a.shape), sumTo(g.neg(), b.shape)],
});
Tape.define("mul", {
  forward: ([a, b]) => a.mul(b),
  backward: (g, [a, b]) => [sumTo(g.mul(b), a.shape), sumTo(g.mul(a), b.shape)],
});
Tape.define("div", {
  forward: ([a, b]) => a.div(b),
  backward: (g, [a, b]) => [sumTo(g.div(b), a.shape), sumTo(g.mul(a).div(b.mul(b)).neg(), b.shape)],
});
Tape.define("neg", { forward: ([a]) => a.neg(), backward: (g) => [g.neg()] });
Tape.define<{ n: number }>("pow", {
  forward: ([a], { n }) => a.pow(n),
  backward: (g, [a], _, { n }) => [n === 0 ? g.mul(0) : g.mul(a.pow(n - 1)).mul(n)],
});
Tape.define("sqrt", { forward: ([a]) => a.sqrt(), backward: (g, [a]) => [g.div(a.sqrt()).mul(0.5)] });
Tape.define("exp", { forward: ([a]) => a.exp(), backward: (g, [a]) => [g.mul(a.exp())] });
Tape.define("log", { forward: ([a]) => a.log(), backward: (g, [a]) => [g.div(a)] });
Tape.define("sin", { forward: ([a]) => a.sin(), backward: (g, [a]) => [g.mul(a.cos())] });
Tape.define("cos", { forward: ([a]) => a.cos(), backward: (g, [a]) => [g.mul(a.sin()).neg()] });
Tape.define("tanh", { forward: ([a]) => a.tanh(), backward: (g, [a]) => [g.mul(a.tanh().pow(2).neg().add(1))] });
Tape.define("sigmoid", {
  forward: ([a]) => a.sigmoid(),
  backward: (g, [a]) => [g.mul(a.sigmoid()).mul(a.neg().sigmoid())],
});
Tape.define("relu", {
  forward: ([a]) => a.maximum(0),
  // The mask is a constant: relu'' is 0.
  backward: (g, [a]) => [g.mul(a.data.gt(0))],
});
Tape.define("softmax", {
  forward: ([a]) => {
    const e = a.sub(a.max(-1, true)).exp();
    return e.div(e.sum(-1, true));
  },
  // dx = p o (g - sum(g o p)): Math for LLMs, section 5.5
  backward: (g, [a]) => {
    const p = a.softmax();
    return [p.mul(g.sub(g.mul(p).sum(-1, true)))];
  },
});
Tape.define("matmul", {
  forward: ([a, b]) => a.matmul(b),
  // Y = A B: dA = G B^T, dB = A^T G; batch axes that were broadcast are summed.
  backward: (g, [a, b], y) => {
    if (a.shape.length < 2 || b.shape.length < 2) {
      throw new Error(`matmul: shapes [${a.shape.join(", ")}] and [${b.shape.join(", ")}], expected matrices for a ` +
        "backward pass; reshape the vector to one row or one column");
    }
    return [sumTo(g.matmul(b.T), a.shape), sumTo(a.T.matmul(g), b.shape)];
  },
});
Tape.define("T", { forward: ([a]) => a.T, backward: (g) => [g.T] });
Tape.define<{ shape: number[] }>("reshape", {
  forward: ([a], { shape }) => a.reshape(shape),
  backward: (g, [a]) => [g.reshape(...a.shape)],
});
Tape.define<{ shape: readonly number[] }>("broadcastTo", {
  forward: ([a], { shape }) => a.broadcastTo(shape),
  backward: (g, [a]) => [sumTo(g, a.shape)],
});
Tape.define<{ shape: readonly number[] }>("sumTo", {
  forward: ([a], { shape }) => unbroadcast(a, shape),
  backward: (g, [a]) => [g.broadcastTo(a.shape)],
});
Tape.define<{ axis?: number | readonly number[]; keepdims: boolean }>("sum", {
  forward: ([a], { axis, keepdims }) => a.sum(axis, keepdims),
  backward: (g, [a], _, { axis }) => {
    const kept: Tensor = a.data.sum(axis, true);
    return [g.reshape(...kept.shape).broadcastTo(a.shape)];
  },
});
// Reading positions and adding into positions are each other's adjoint.
Tape.define<{ indices: Int32Array; shape: readonly number[] }>("gather", {
  forward: ([a], { indices, shape }) => a.gather(indices, shape),
  backward: (g, [a], _, { indices }) => [g.tape.apply("scatter", [g], { indices, shape: a.shape })],
});
Tape.define<{ indices: Int32Array; shape: readonly number[] }>("scatter", {
  forward: ([a], { indices, shape }) => a.scatter(indices, shape),
  backward: (g, [a], _, { indices }) => [g.tape.apply("gather", [g], { indices, shape: a.shape })],
});
/** Rows after rows: all inputs along the first axis. */
Tape.define("concat", {
  forward: (inputs) => concat(inputs),
  backward: (g, inputs) => {
    let from = 0;
    return inputs.map((input) => {
      const ids = Array.from({ length: input.shape[0] }, (_, i) => from + i);
      from += ids.length;
      return g.rows(ids);
    });
  },
});
