import type { Tensor } from "../tensor";

/**
 * Which neurons of a ReLU layer are dead on a batch: no row makes them positive, so no gradient reaches their weights.
 * @param a activations after the ReLU, [rows, neurons] (higher ranks are taken as rows).
 */
export function deadNeurons(a: Tensor): { dead: number[]; fraction: number } {
  const width = a.shape[a.shape.length - 1];
  const alive = a.reshape(-1, width).max(0);
  const dead = Array.from(alive.data, (x, i) => (x > 0 || Number.isNaN(x) ? -1 : i)).filter((i) => i >= 0);
  return { dead, fraction: dead.length / width };
}

/**
 * The correlation of gradients at inputs `lag` apart along a line: 1 for a smooth function, near 0 for white noise.
 * Shattered gradients are this falling with depth (Balduzzi et al. 2017; reference, gradient flow problems).
 * @param gradients dy/dx at equally spaced x, [points].
 */
export function gradientCorrelation(gradients: ArrayLike<number>, lag = 1): number {
  const n = gradients.length;
  if (!(Number.isInteger(lag) && lag > 0 && lag < n)) {
    throw new Error(`gradientCorrelation: lag is ${lag}, expected a whole number from 1 to ${n - 1}`);
  }
  let mean = 0;
  for (let i = 0; i < n; i++) mean += gradients[i] / n;
  let together = 0, alone = 0;
  for (let i = 0; i < n; i++) {
    alone += (gradients[i] - mean) ** 2 / n;
    if (i + lag < n) together += ((gradients[i] - mean) * (gradients[i + lag] - mean)) / (n - lag);
  }
  return together / alone;
}
