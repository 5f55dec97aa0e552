import { Tensor } from "gradbook";

/** y = x + W2 tanh(W1 x): dy [n], x [n], W1 [h, n], W2 [n, h]. */
export function blockBackward(dy: Tensor, x: Tensor, W1: Tensor, W2: Tensor): { dW2: Tensor; dW1: Tensor; dx: Tensor } {
  throw new Error("not written yet");
}

/** From dL/dx_L [n] to dL/dx_0 [n]: the branch of block l has the Jacobian Js[l - 1] [n, n]. */
export function stackBackward(dy: Tensor, Js: Tensor[]): Tensor {
  throw new Error("not written yet");
}

/** The same gradient by length of path: entry k [n] sums over all paths through exactly k branches. */
export function pathsByLength(dy: Tensor, Js: Tensor[]): Tensor[] {
  throw new Error("not written yet");
}
