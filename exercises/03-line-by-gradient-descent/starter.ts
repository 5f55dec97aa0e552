/** One step of a model, input v: w v, or v + w, or f(v) with derivative df(v). */
export type Operation =
  | { kind: "multiply"; parameter: number }
  | { kind: "add"; parameter: number }
  | { kind: "activation"; f(v: number): number; df(v: number): number };

/** Loss (a x + b - y)² and its derivatives by a and b. */
export function lineBackward(a: number, b: number, x: number, y: number): { loss: number; da: number; db: number } {
  throw new Error("not written yet");
}

/** a and b after `epochs` walks through the pairs, one update a pair. */
export function fitLine(
  a: number, b: number, xs: number[], ys: number[], rate: number, epochs: number,
): { a: number; b: number } {
  throw new Error("not written yet");
}

/** All gradients of L = (a2 (a1 x + b1) + b2 - y)², and the residual dL/dh that layer 2 hands to layer 1. */
export function twoLayersBackward(
  a1: number, b1: number, a2: number, b2: number, x: number, y: number,
): { loss: number; da2: number; db2: number; residual: number; da1: number; db1: number } {
  throw new Error("not written yet");
}

/** One gradient for each operation (0 for an activation), and the residual dL/dx. */
export function operationsBackward(
  operations: Operation[], x: number, y: number,
): { gradients: number[]; residual: number } {
  throw new Error("not written yet");
}
