import type { Tensor } from "../tensor";

/** Gradients or parameters by name; what has none (a frozen parameter) may be undefined. */
export type Tensors = Readonly<Record<string, Tensor | undefined>>;

const present = (tensors: Tensors): [string, Tensor][] =>
  Object.entries(tensors).filter((entry): entry is [string, Tensor] => entry[1] !== undefined);

/** The norm of all the numbers as one vector: sqrt of the sum of squares over every tensor. */
export function globalNorm(tensors: Tensors): number {
  return Math.hypot(...present(tensors).map(([, t]) => t.norm()));
}

/**
 * The 2-norm of each gradient (or parameter) by name, and of all together (Math for LLMs, appendix F.3: per-layer analysis).
 * A vanished layer shows as a norm near 0, an exploded one as a huge norm, a broken one as NaN.
 */
export function tensorNorms(gradients: Tensors): { total: number; each: Record<string, number> } {
  return {
    total: globalNorm(gradients),
    each: Object.fromEntries(present(gradients).map(([name, t]) => [name, t.norm()])),
  };
}

/**
 * How far each parameter moved against its own size: |after - before| / |before|. Around 1e-3 is the usual advice:
 * far above, the learning rate is too high; far below, the parameter hardly learns.
 * `before` are copies taken before the step (`t.clone()`).
 */
export function updateRatios(before: Tensors, after: Tensors): Record<string, number> {
  return Object.fromEntries(present(before).map(([name, t]) => {
    const moved = after[name];
    if (!moved) throw new Error(`updateRatios: after has no ${name}, expected the names of before`);
    return [name, moved.sub(t).norm() / t.norm()];
  }));
}
