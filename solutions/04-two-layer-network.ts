import { Tensor } from "gradbook";

/** Shapes: W1 [h, n], b1 [h], w2 [h], x [n]; b2 and y are numbers. */
export function networkForward(
  W1: Tensor, b1: Tensor, w2: Tensor, b2: number, x: Tensor, y: number,
): { z1: Tensor; a1: Tensor; yhat: number; loss: number } {
  const z1 = W1.matmul(x).add(b1);
  const a1 = z1.maximum(0);
  const yhat = w2.dot(a1) + b2;
  return { z1, a1, yhat, loss: 0.5 * (yhat - y) ** 2 };
}

/** Error signals and gradients: delta2 (a number), dw2 [h], delta1 [h], dW1 [h, n], db1 [h], dx [n]. */
export function networkBackward(
  W1: Tensor, b1: Tensor, w2: Tensor, b2: number, x: Tensor, y: number,
): { delta2: number; dw2: Tensor; delta1: Tensor; dW1: Tensor; db1: Tensor; dx: Tensor } {
  const { z1, a1, yhat } = networkForward(W1, b1, w2, b2, x, y);
  const delta2 = yhat - y;
  const dw2 = a1.mul(delta2);
  // The recurrence: back through w2, then through ReLU, which is open where z1 > 0.
  const delta1 = w2.mul(delta2).mul(z1.gt(0));
  const dW1 = delta1.reshape(-1, 1).matmul(x.reshape(1, -1));
  return { delta2, dw2, delta1, dW1, db1: delta1, dx: W1.T.matmul(delta1) };
}

/** Gradient descent: the parameters after `steps` updates, and the loss before each of them. */
export function trainNetwork(
  W1: Tensor, b1: Tensor, w2: Tensor, b2: number, x: Tensor, y: number, rate: number, steps: number,
): { W1: Tensor; b1: Tensor; w2: Tensor; b2: number; losses: number[] } {
  const losses: number[] = [];
  for (let step = 0; step < steps; step++) {
    losses.push(networkForward(W1, b1, w2, b2, x, y).loss);
    const { delta2, dw2, dW1, db1 } = networkBackward(W1, b1, w2, b2, x, y);
    W1 = W1.sub(dW1.mul(rate));
    b1 = b1.sub(db1.mul(rate));
    w2 = w2.sub(dw2.mul(rate));
    b2 -= rate * delta2;
  }
  return { W1, b1, w2, b2, losses };
}
