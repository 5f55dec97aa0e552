import { Tensor } from "gradbook";

/** The mean of -log softmax(logits)[target]: logits [B, K], B targets from 0 to K - 1. */
export function crossEntropy(logits: Tensor, targets: number[]): number {
  throw new Error("not written yet");
}

/** The gradient of crossEntropy with respect to the logits, [B, K]. */
export function crossEntropyBackward(logits: Tensor, targets: number[]): Tensor {
  throw new Error("not written yet");
}

/** Softmax alone: from dL/dp [B, K] and p [B, K] to dL/dlogits [B, K]. */
export function softmaxBackward(dp: Tensor, p: Tensor): Tensor {
  throw new Error("not written yet");
}
