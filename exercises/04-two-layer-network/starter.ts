import { Tensor } from "gradbook";

/** Shapes: W1 [h, n], b1 [h], w2 [h], x [n]; b2 and y are numbers. */
export function networkForward(
  W1: Tensor, b1: Tensor, w2: Tensor, b2: number, x: Tensor, y: number,
): { z1: Tensor; a1: Tensor; yhat: number; loss: number } {
  throw new Error("not written yet");
}

/** Error signals and gradients: delta2 (a number), dw2 [h], delta1 [h], dW1 [h, n], db1 [h], dx [n]. */
export function networkBackward(
  W1: Tensor, b1: Tensor, w2: Tensor, b2: number, x: Tensor, y: number,
): { delta2: number; dw2: Tensor; delta1: Tensor; dW1: Tensor; db1: Tensor; dx: Tensor } {
  throw new Error("not written yet");
}

/** Gradient descent: the parameters after `steps` updates, and the loss before each of them. */
export function trainNetwork(
  W1: Tensor, b1: Tensor, w2: Tensor, b2: number, x: Tensor, y: number, rate: number, steps: number,
): { W1: Tensor; b1: Tensor; w2: Tensor; b2: number; losses: number[] } {
  throw new Error("not written yet");
}
