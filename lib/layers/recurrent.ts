/** What the recurrent layers share: time steps, and where truncated backpropagation cuts. */

import { stack, zeros, type Tensor } from "../tensor";

/** Time step t of [B, T, n]: [B, n]. */
export const step = (x: Tensor, t: number): Tensor => x.at(t, 1);

/** Time steps [B, n], one after the other: [B, T, n]. */
export function steps(parts: readonly Tensor[], B: number, n: number, dtype: Tensor["dtype"]): Tensor {
  return parts.length ? stack(parts, 1) : zeros([B, 0, n], dtype as "float64");
}

/**
 * Truncated backpropagation through time: the sequence is cut into chunks of `truncate` steps, and the state that
 * enters a chunk (but for the first, whose state is an input) counts as a constant. True where step t starts a chunk.
 */
export function cutBefore(t: number, truncate: number | undefined): boolean {
  return truncate !== undefined && t > 0 && t % truncate === 0;
}

/** The columns of gate i of [..., gates * H]. */
export const gate = (z: Tensor, i: number, H: number): Tensor => z.slice(i * H, (i + 1) * H, -1);

/** The slope of a sigmoid whose value is y. */
export const ofSigmoid = (y: Tensor): Tensor => y.mul(y.neg().add(1));

/** The slope of a tanh whose value is y. */
export const ofTanh = (y: Tensor): Tensor => y.square().neg().add(1);
