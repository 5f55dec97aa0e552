import { Tensor } from "gradbook";

export interface Batch {
  X: Tensor;
  T: Tensor;
}
export interface Parameter {
  value: Tensor;
  grad: Tensor;
  requiresGrad: boolean;
}
export interface Model {
  parameters: Parameter[];
  train(): void;
  eval(): void;
  loss(batch: Batch): { value: number; backward(scale?: number): void };
}
export interface Optimizer {
  zeroGrad(): void;
  step(): void;
}

/** Given: Y = X Wᵀ with L = ½ mean over samples of |Y_n - T_n|²; X [B, n], T [B, m], W [m, n]. */
export function gradientOf(W: Tensor, X: Tensor, T: Tensor): { loss: number; dW: Tensor } {
  const error = X.matmul(W.T).sub(T);
  const B = X.shape[0];
  return { loss: error.square().sum().item() / (2 * B), dW: error.T.matmul(X).div(B) };
}

/** The norm of all gradients together, and the gradients scaled so that it is at most maxNorm. */
export function clipByGlobalNorm(gradients: Tensor[], maxNorm: number): { norm: number; gradients: Tensor[] } {
  throw new Error("not written yet");
}

/** Loss and gradient of the whole batch, from its micro-batches. */
export function accumulatedGradient(W: Tensor, microBatches: Batch[]): { loss: number; dW: Tensor } {
  throw new Error("not written yet");
}

/** One walk through the batches, G of them an update, gradients clipped to maxNorm; the loss of each update. */
export function trainEpoch(
  model: Model, optimizer: Optimizer, batches: Batch[], G: number, maxNorm: number,
): number[] {
  throw new Error("not written yet");
}
