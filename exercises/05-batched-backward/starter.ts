import { Tensor } from "gradbook";

/** Y = X Wᵀ + b with one sample a row: dY [B, out], X [B, in], W [out, in]. */
export function rowsBackward(dY: Tensor, X: Tensor, W: Tensor): { dX: Tensor; dW: Tensor; db: Tensor } {
  throw new Error("not written yet");
}

/** Z = W A + b with one sample a column: dZ [m, B], A [n, B], W [m, n]. */
export function columnsBackward(dZ: Tensor, A: Tensor, W: Tensor): { dA: Tensor; dW: Tensor; db: Tensor } {
  throw new Error("not written yet");
}

/** Two layers with tanh between, squared error, mean over samples: X [B, n], W1 [h, n], W2 [m, h], targets [B, m]. */
export function batchBackward(
  X: Tensor, W1: Tensor, b1: Tensor, W2: Tensor, b2: Tensor, targets: Tensor,
): { loss: number; dW2: Tensor; db2: Tensor; dW1: Tensor; db1: Tensor } {
  throw new Error("not written yet");
}
