/** One step of a model, input v: w v, or v + w, or f(v) with derivative df(v). */
export type Operation =
  | { kind: "multiply"; parameter: number }
  | { kind: "add"; parameter: number }
  | { kind: "activation"; f(v: number): number; df(v: number): number };

/** Loss (a x + b - y)² and its derivatives by a and b. */
export function lineBackward(a: number, b: number, x: number, y: number): { loss: number; da: number; db: number } {
  const error = a * x + b - y;
  const residual = 2 * error;
  return { loss: error ** 2, da: residual * x, db: residual };
}

/** a and b after `epochs` walks through the pairs, one update a pair. */
export function fitLine(
  a: number, b: number, xs: number[], ys: number[], rate: number, epochs: number,
): { a: number; b: number } {
  for (let epoch = 0; epoch < epochs; epoch++) {
    for (let i = 0; i < xs.length; i++) {
      const { da, db } = lineBackward(a, b, xs[i], ys[i]);
      a -= rate * da;
      b -= rate * db;
    }
  }
  return { a, b };
}

/** All gradients of L = (a2 (a1 x + b1) + b2 - y)², and the residual dL/dh that layer 2 hands to layer 1. */
export function twoLayersBackward(
  a1: number, b1: number, a2: number, b2: number, x: number, y: number,
): { loss: number; da2: number; db2: number; residual: number; da1: number; db1: number } {
  const h = a1 * x + b1;
  const error = a2 * h + b2 - y;
  const fromLoss = 2 * error;
  const residual = fromLoss * a2;
  return { loss: error ** 2, da2: fromLoss * h, db2: fromLoss, residual, da1: residual * x, db1: residual };
}

/** One gradient for each operation (0 for an activation), and the residual dL/dx. */
export function operationsBackward(
  operations: Operation[], x: number, y: number,
): { gradients: number[]; residual: number } {
  // Forward: keep what enters each operation.
  const inputs: number[] = [];
  let v = x;
  for (const operation of operations) {
    inputs.push(v);
    if (operation.kind === "multiply") v = operation.parameter * v;
    else if (operation.kind === "add") v = v + operation.parameter;
    else v = operation.f(v);
  }
  // Backward: the gradient first, with the residual that came in; then the residual for the operation before.
  const gradients = operations.map(() => 0);
  let residual = 2 * (v - y);
  for (let i = operations.length - 1; i >= 0; i--) {
    const operation = operations[i];
    if (operation.kind === "multiply") {
      gradients[i] = residual * inputs[i];
      residual *= operation.parameter;
    } else if (operation.kind === "add") {
      gradients[i] = residual;
    } else {
      residual *= operation.df(inputs[i]);
    }
  }
  return { gradients, residual };
}
