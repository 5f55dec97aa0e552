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
  const norm = Math.sqrt(gradients.reduce((sum, g) => sum + g.norm() ** 2, 0));
  const scale = norm > maxNorm ? maxNorm / norm : 1;
  return { norm, gradients: gradients.map((g) => g.mul(scale)) };
}

/** Loss and gradient of the whole batch, from its micro-batches. */
export function accumulatedGradient(W: Tensor, microBatches: Batch[]): { loss: number; dW: Tensor } {
  const B = microBatches.reduce((sum, { X }) => sum + X.shape[0], 0);
  let loss = 0;
  let dW = W.mul(0);
  for (const { X, T } of microBatches) {
    const share = X.shape[0] / B;
    const part = gradientOf(W, X, T);
    loss += share * part.loss;
    dW = dW.add(part.dW.mul(share));
  }
  return { loss, dW };
}

/** One walk through the batches, G of them an update, gradients clipped to maxNorm; the loss of each update. */
export function trainEpoch(
  model: Model, optimizer: Optimizer, batches: Batch[], G: number, maxNorm: number,
): number[] {
  const losses: number[] = [];
  model.train();
  for (const parameter of model.parameters) parameter.requiresGrad = true;
  for (let start = 0; start < batches.length; start += G) {
    optimizer.zeroGrad();
    let sum = 0;
    for (const batch of batches.slice(start, start + G)) {
      const loss = model.loss(batch);
      loss.backward(1 / G);
      sum += loss.value;
    }
    // After the last micro-batch, before the step.
    const clipped = clipByGlobalNorm(model.parameters.map((p) => p.grad), maxNorm);
    model.parameters.forEach((p, j) => (p.grad = clipped.gradients[j]));
    optimizer.step();
    losses.push(sum / G);
  }
  return losses;
}
