import { Tensor } from "gradbook";

/** Y = X Wᵀ + b with one sample a row: dY [B, out], X [B, in], W [out, in]. */
export function rowsBackward(dY: Tensor, X: Tensor, W: Tensor): { dX: Tensor; dW: Tensor; db: Tensor } {
  return { dX: dY.matmul(W), dW: dY.T.matmul(X), db: dY.sum(0) };
}

/** Z = W A + b with one sample a column: dZ [m, B], A [n, B], W [m, n]. */
export function columnsBackward(dZ: Tensor, A: Tensor, W: Tensor): { dA: Tensor; dW: Tensor; db: Tensor } {
  return { dA: W.T.matmul(dZ), dW: dZ.matmul(A.T), db: dZ.sum(1) };
}

/** Two layers with tanh between, squared error, mean over samples: X [B, n], W1 [h, n], W2 [m, h], targets [B, m]. */
export function batchBackward(
  X: Tensor, W1: Tensor, b1: Tensor, W2: Tensor, b2: Tensor, targets: Tensor,
): { loss: number; dW2: Tensor; db2: Tensor; dW1: Tensor; db1: Tensor } {
  const B = X.shape[0];
  const A = X.matmul(W1.T).add(b1).tanh();
  const error = A.matmul(W2.T).add(b2).sub(targets);
  const loss = error.square().sum().item() / (2 * B);
  // The mean's 1/B enters here, once.
  const dY = error.div(B);
  const { dX: dA, dW: dW2, db: db2 } = rowsBackward(dY, A, W2);
  // tanh' = 1 - tanh², and A is tanh already.
  const dZ = dA.mul(A.square().neg().add(1));
  const { dW: dW1, db: db1 } = rowsBackward(dZ, X, W1);
  return { loss, dW2, db2, dW1, db1 };
}
