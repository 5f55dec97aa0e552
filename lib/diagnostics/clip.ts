import type { Tensor } from "../tensor";
import { globalNorm } from "./norms";

type Named = Readonly<Record<string, Tensor>>;

function checkThreshold(who: string, threshold: number): void {
  if (!(threshold > 0)) throw new Error(`${who}: the threshold is ${threshold}, expected a number above 0`);
}

const mapAll = <G extends Named>(gradients: G, f: (g: Tensor) => Tensor): G =>
  Object.fromEntries(Object.entries(gradients).map(([name, g]) => [name, f(g)])) as G;

/**
 * Scales all gradients by min(1, maxNorm / |g|), |g| over all of them together: the direction stays.
 * PyTorch's clip_grad_norm_ divides by |g| + 1e-6 and is that much smaller.
 * Source: Math for LLMs, section 6.5; handbook, section 5.
 * @returns the clipped gradients and the norm before clipping, which is what one logs.
 */
export function clipGlobalNorm<G extends Named>(gradients: G, maxNorm: number): { gradients: G; norm: number } {
  checkThreshold("clipGlobalNorm", maxNorm);
  const norm = globalNorm(gradients);
  const scale = norm > maxNorm ? maxNorm / norm : Number.isNaN(norm) ? NaN : 1;
  return { gradients: scale === 1 ? gradients : mapAll(gradients, (g) => g.mul(scale)), norm };
}

/** Clips each tensor by its own norm. Changes the proportions between layers (Math for LLMs, mistake 8). */
export function clipPerLayer<G extends Named>(gradients: G, maxNorm: number): G {
  checkThreshold("clipPerLayer", maxNorm);
  return mapAll(gradients, (g) => {
    const norm = g.norm();
    return norm > maxNorm ? g.mul(maxNorm / norm) : g;
  });
}

/** Holds every single number between -limit and limit. Changes the direction. */
export function clipValue<G extends Named>(gradients: G, limit: number): G {
  checkThreshold("clipValue", limit);
  return mapAll(gradients, (g) => g.clip(-limit, limit));
}
