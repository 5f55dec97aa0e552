/**
 * Exact derivatives of any function written in Tensor operations: forward mode (jvp), reverse mode (vjp), the two
 * together (hvp), and whole Jacobians by columns or by rows with the passes counted.
 */

import { checkInterrupt } from "../interrupt";
import { formatShape, onesLike, sameShape, sizeOf, stack, Tensor, zeros, zerosLike, type Nested } from "../tensor";
import { atNewLevel } from "../tensor/carrier";
import { Dual, primalOf, tangentOf } from "./dual";
import { movable } from "./numerical";
import { pullBack, Traced, type Trace } from "./traced";
import { entriesOf, mapArgument, readArgument, readResult, type Argument } from "./tree";

/** Checks that a direction has a tensor of the same shape for each one it names. */
function readDirection(who: string, x: Argument, v: Partial<Record<string, Tensor>> | Tensor): (name: string, t: Tensor) => Tensor {
  const known = entriesOf(x);
  const at = (name: string): Tensor | undefined => (v instanceof Tensor ? v : v[name]);
  for (const name of v instanceof Tensor ? ["x"] : Object.keys(v)) {
    const own = known.find(([other]) => other === name)?.[1];
    const direction = at(name);
    if (!own) throw new Error(`${who}: a direction for ${name} was given, the inputs are ${known.map(([n]) => n).join(", ")}`);
    if (direction && !sameShape(own.shape, direction.shape)) {
      throw new Error(`${who}: the direction of ${name} has shape ${formatShape(direction.shape)}, ${name} has shape ${formatShape(own.shape)}`);
    }
  }
  return (name, t) => at(name) ?? zerosLike(t);
}

type Direction<A> = A extends Tensor ? Tensor : { readonly [K in keyof A]?: Tensor };

/**
 * The Jacobian-vector product dy = J v in one forward pass (dual numbers).
 *
 * f: a function of a Tensor, or of an object of Tensors, written in Tensor operations; v: of x's shape.
 */
export function jvp<A extends Argument>(f: (x: A) => Tensor, x: A | Nested, v: Direction<A> | Nested): { y: Tensor; dy: Tensor } {
  checkInterrupt();
  const argument = readArgument<A>("jvp", x);
  const direction = readDirection("jvp", argument, readArgument<Argument>("jvp", v as Argument | Nested));
  return atNewLevel((level) => {
    const y = readResult("jvp", f(mapArgument(argument, (t, name) => new Dual(t, direction(name, t), level))));
    return { y: primalOf(y, level), dy: tangentOf(y, level) };
  });
}

/** Runs f with a trace; `pull` may be called as often as one likes, the forward has run once. */
function traced<A extends Argument>(who: string, f: (x: A) => Tensor, x: A): { y: Tensor; pull: (dy: Tensor) => A } {
  const trace: Trace = [];
  const inputs = new Map<string, Traced>();
  const y = atNewLevel((level) => {
    const made = readResult(who, f(mapArgument(x, (t, name) => {
      const input = new Traced(t, trace, level);
      inputs.set(name, input);
      return input;
    })));
    return made.order === level ? made : new Traced(made, trace, level);
  }) as Traced;
  return {
    y: y.primal,
    pull: (dy) => {
      const gradients = pullBack(trace, [...inputs.values()], y, dy);
      const names = [...inputs.keys()];
      return mapArgument(x, (_, name) => gradients[names.indexOf(name)]);
    },
  };
}

/**
 * The vector-Jacobian product dx = J^T dy in one forward and one backward pass. dy may be left out for a scalar y.
 */
export function vjp<A extends Argument>(f: (x: A) => Tensor, x: A | Nested, dy?: Tensor | Nested): { y: Tensor; dx: A } {
  const { y, pull } = traced("vjp", f, readArgument<A>("vjp", x));
  if (dy === undefined && y.size !== 1) {
    throw new Error(`vjp: dy is missing, it may be left out only for a scalar y, y has shape ${formatShape(y.shape)}`);
  }
  const upstream = dy === undefined ? onesLike(y) : readArgument<Tensor>("vjp", dy as Tensor | Nested);
  if (!sameShape(upstream.shape, y.shape)) {
    throw new Error(`vjp: dy has shape ${formatShape(upstream.shape)}, y has shape ${formatShape(y.shape)}`);
  }
  return { y, dx: pull(upstream) };
}

/** The gradient of a scalar function, exact, in one forward and one backward pass. */
export function gradient<A extends Argument>(f: (x: A) => Tensor, x: A | Nested): A {
  return vjp(f, x).dx;
}

/**
 * The Hessian-vector product of a scalar function, H v, without H: the tangent of the gradient along v
 * (forward over reverse), at the price of a few gradients whatever the size of x.
 *
 * Source: Pearlmutter, "Fast exact multiplication by the Hessian", Neural Computation 6 (1994); Math for LLMs,
 * appendix B.2.
 */
export function hvp<A extends Argument>(f: (x: A) => Tensor, x: A | Nested, v: Direction<A> | Nested): { y: Tensor; dx: A; hv: A } {
  const argument = readArgument<A>("hvp", x);
  const direction = readDirection("hvp", argument, readArgument<Argument>("hvp", v as Argument | Nested));
  return atNewLevel((level) => {
    const moving = mapArgument(argument, (t, name) => new Dual(t, direction(name, t), level));
    const { y, pull } = traced("hvp", f, moving);
    if (y.size !== 1) throw new Error(`hvp: the function returned shape ${formatShape(y.shape)}, it should return one number`);
    const dx = pull(onesLike(y));
    return {
      y: primalOf(y, level),
      dx: mapArgument(dx, (t) => primalOf(t, level)),
      hv: mapArgument(dx, (t) => tangentOf(t, level)),
    };
  });
}

/** A Jacobian with what it cost. */
export interface CountedJacobian {
  /** [...y's shape, ...x's shape]; the usual matrix for vectors. */
  readonly jacobian: Tensor;
  /** Forward passes, plain or with tangents. */
  readonly forwards: number;
  /** Backward passes. */
  readonly backwards: number;
}

export interface JacobianOptions {
  /**
   * "columns": one forward with a tangent for each element of x. "rows": one forward, and one backward for each
   * element of y. "differences": two plain forwards for each element of x, for functions that are not written in
   * Tensor operations. Default: the cheaper of columns and rows.
   */
  readonly by?: "columns" | "rows" | "differences";
}

/** The Jacobian dy/dx, shape [...y's shape, ...x's shape]. */
export function jacobian(f: (x: Tensor) => Tensor | readonly Nested[], x: Tensor | Nested, options: JacobianOptions = {}): Tensor {
  return countedJacobian(f, x, options).jacobian;
}

/** The Jacobian with its cost: columns cost n forwards for n inputs, rows m backwards for m outputs. */
export function countedJacobian(
  f: (x: Tensor) => Tensor | readonly Nested[], x: Tensor | Nested, options: JacobianOptions = {},
): CountedJacobian {
  const at = readArgument<Tensor>("jacobian", x);
  const run = (t: Tensor): Tensor => readResult("jacobian", f(t));
  const { by } = options;
  if (by === "differences") return byDifferences(run, at);
  if (by === "columns") return byColumns(run, at);
  if (by !== undefined && by !== "rows") {
    throw new Error(`jacobian: by is ${JSON.stringify(by)}, it should be "columns", "rows" or "differences"`);
  }
  const { y, pull } = traced("jacobian", run, at);
  // A column is a forward pass, a row a backward pass of about twice the work.
  if (by === undefined && at.size <= 2 * y.size) {
    const counted = byColumns(run, at);
    return { ...counted, forwards: counted.forwards + 1 };
  }
  const rows = Array.from({ length: y.size }, (_, i) => pull(unit(y, i)));
  return { jacobian: gathered(rows, [...y.shape, ...at.shape]), forwards: 1, backwards: y.size };
}

/** The tensor of x's shape that is 1 at one place. */
function unit(like: Tensor, i: number): Tensor {
  const e = zeros(like.shape, like.dtype);
  e.data[i] = 1;
  return e;
}

function gathered(parts: readonly Tensor[], shape: readonly number[]): Tensor {
  return parts.length === 0 || sizeOf(shape) === 0 ? zeros(shape) : stack(parts).reshape(shape);
}

function byColumns(f: (x: Tensor) => Tensor, x: Tensor): CountedJacobian {
  const columns = Array.from({ length: x.size }, (_, j) => jvp(f, x, unit(x, j)));
  const shape = columns.length ? columns[0].y.shape : f(x).shape;
  // [n, m] holds a column in each row.
  const stacked = gathered(columns.map(({ dy }) => dy), [x.size, sizeOf(shape)]);
  return { jacobian: stacked.T.reshape(...shape, ...x.shape), forwards: Math.max(x.size, 1), backwards: 0 };
}

function byDifferences(f: (x: Tensor) => Tensor, x: Tensor): CountedJacobian {
  const moving = movable(x);
  const shape = f(moving).shape;
  const m = sizeOf(shape);
  const J = zeros(m, x.size);
  const step = Math.cbrt(Number.EPSILON);
  for (let j = 0; j < x.size; j++) {
    const before = moving.data[j];
    const h = before + step * Math.max(1, Math.abs(before)) - before;
    const move = (to: number): Tensor => {
      moving.data[j] = to;
      return f(moving).clone();
    };
    const [up, down] = [move(before + h), move(before - h)];
    moving.data[j] = before;
    for (let i = 0; i < m; i++) J.data[i * x.size + j] = (up.data[i] - down.data[i]) / (2 * h);
  }
  return { jacobian: J.reshape(...shape, ...x.shape), forwards: 2 * x.size + 1, backwards: 0 };
}

/** The Hessian of a scalar function, [...x's shape, ...x's shape], one Hessian-vector product a column. */
export function hessian(f: (x: Tensor) => Tensor, x: Tensor | Nested): Tensor {
  const at = readArgument<Tensor>("hessian", x);
  const rows = Array.from({ length: at.size }, (_, j) => hvp(f, at, unit(at, j)).hv);
  return gathered(rows, [...at.shape, ...at.shape]);
}

