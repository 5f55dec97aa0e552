import type { Tensor } from "../tensor";

/** [..., d] as a matrix [N, d]: every leading axis is batch. */
export function rows(x: Tensor): Tensor {
  const d = x.shape[x.rank - 1];
  return x.reshape(x.size === 0 ? x.shape.slice(0, -1).reduce((a, b) => a * b, 1) : x.size / d, d);
}
