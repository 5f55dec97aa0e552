/** A function's argument: one tensor, or several under their names. */

import { tensor, Tensor, type Nested } from "../tensor";

export type Tensors = Readonly<Record<string, Tensor>>;
export type Argument = Tensor | Tensors;

/** The same structure, one tensor at a time; integer tensors (ids, targets) pass as they are. */
export function mapArgument<A extends Argument>(x: A, f: (t: Tensor, name: string) => Tensor): A {
  const one = (t: Tensor, name: string): Tensor => (isSmooth(t) ? f(t, name) : t);
  if (x instanceof Tensor) return one(x, "x") as A;
  return Object.fromEntries(Object.entries(x).map(([name, t]) => [name, one(t, name)])) as A;
}

/** The tensors that have derivatives, with their names ("x" for a single one). */
export function entriesOf(x: Argument): [name: string, t: Tensor][] {
  return (x instanceof Tensor ? [["x", x] as [string, Tensor]] : Object.entries(x)).filter(([, t]) => isSmooth(t));
}

/** Whether derivatives can be taken in it. */
export function isSmooth(t: unknown): t is Tensor {
  return t instanceof Tensor && t.dtype !== "int32";
}

/** Numbers and nested arrays become tensors, so that `jacobian(f, [1, 2])` reads as it is meant. */
export function readArgument<A extends Argument>(who: string, x: A | Nested): A {
  if (typeof x === "number" || Array.isArray(x)) return tensor(x as Nested) as A;
  if (x instanceof Tensor) return x;
  if (typeof x !== "object" || x === null || !Object.values(x).every((t) => t instanceof Tensor)) {
    throw new Error(`${who}: the argument should be a Tensor, an array of numbers, or an object of Tensors`);
  }
  return x as A;
}

/** A function's result as a tensor. */
export function readResult(who: string, y: unknown): Tensor {
  if (y instanceof Tensor) return y;
  if (typeof y === "number" || Array.isArray(y)) return tensor(y as Nested);
  throw new Error(`${who}: the function returned ${y === null ? "null" : typeof y}, it should return a Tensor or a number`);
}
