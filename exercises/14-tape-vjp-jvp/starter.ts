/** One line of the tape; a and b are positions of earlier lines. */
export type Entry =
  | { op: "input" }
  | { op: "add" | "mul"; a: number; b: number }
  | { op: "exp" | "sin"; a: number };

/** A function of n numbers with m results, at one point. */
export interface Differentiable {
  n: number;
  m: number;
  /** J dx: [n] -> [m]. */
  push(dx: number[]): number[];
  /** Jᵀ dy: [m] -> [n]. */
  pull(dy: number[]): number[];
}

/** Given: the values of all entries at x. */
export function runTape(tape: Entry[], x: number[]): number[] {
  const v: number[] = [];
  for (const entry of tape) {
    if (entry.op === "input") v.push(x[v.length]);
    else if (entry.op === "add") v.push(v[entry.a] + v[entry.b]);
    else if (entry.op === "mul") v.push(v[entry.a] * v[entry.b]);
    else if (entry.op === "exp") v.push(Math.exp(v[entry.a]));
    else v.push(Math.sin(v[entry.a]));
  }
  return v;
}

/** Forward mode: the tangent of every entry when the inputs move along dx. */
export function tapeJvp(tape: Entry[], values: number[], dx: number[]): number[] {
  throw new Error("not written yet");
}

/** Reverse mode: the adjoint of every entry when output k has the gradient dy[k]. */
export function tapeVjp(tape: Entry[], values: number[], outputs: number[], dy: number[]): number[] {
  throw new Error("not written yet");
}

/** All of J, m rows of n, from as few passes as possible. */
export function fullJacobian(f: Differentiable): number[][] {
  throw new Error("not written yet");
}

/** The Hessian of the last entry times v, one number for each input. */
export function tapeHvp(tape: Entry[], values: number[], v: number[]): number[] {
  throw new Error("not written yet");
}
