import { oneHot, Tensor } from "gradbook";

/** The mean of -log softmax(logits)[target]: logits [B, K], B targets from 0 to K - 1. */
export function crossEntropy(logits: Tensor, targets: number[]): number {
  const [B, K] = logits.shape;
  // After the shift the greatest logit of each row is 0, so the sum is at least 1 and at most K.
  const shifted = logits.sub(logits.max(1, true));
  const logSumExp = shifted.exp().sum(1).log();
  const atTarget = shifted.mul(oneHot(targets, K)).sum(1);
  return logSumExp.sub(atTarget).sum().item() / B;
}

/** (softmax - one-hot) / B. */
export function crossEntropyBackward(logits: Tensor, targets: number[]): Tensor {
  const [B, K] = logits.shape;
  const exponentials = logits.sub(logits.max(1, true)).exp();
  const p = exponentials.div(exponentials.sum(1, true));
  return p.sub(oneHot(targets, K)).div(B);
}

/** p ⊙ (dp - the sum of p ⊙ dp over the row). */
export function softmaxBackward(dp: Tensor, p: Tensor): Tensor {
  const weighted = p.mul(dp).sum(1, true);
  return p.mul(dp.sub(weighted));
}
