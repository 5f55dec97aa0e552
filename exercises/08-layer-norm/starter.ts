import { Tensor } from "gradbook";

/** Each row normalised, then scaled and shifted: X [N, d], gamma [d], beta [d]; s is sqrt(variance + eps), [N, 1]. */
export function layerNormForward(
  X: Tensor, gamma: Tensor, beta: Tensor, eps: number,
): { y: Tensor; xhat: Tensor; s: Tensor } {
  throw new Error("not written yet");
}

/** From dY [N, d] to dgamma [d], dbeta [d] and dX [N, d]. */
export function layerNormBackward(
  dY: Tensor, X: Tensor, gamma: Tensor, eps: number,
): { dgamma: Tensor; dbeta: Tensor; dX: Tensor } {
  throw new Error("not written yet");
}
