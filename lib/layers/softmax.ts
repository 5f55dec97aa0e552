import type { Tensor } from "../tensor";
import { defineLayer } from "./layer";

/**
 * Softmax over the last axis.
 *
 *     y_i = exp(x_i - m) / sum_j exp(x_j - m)       m = max(x), so that no exponential overflows
 *     dx = y o (dy - sum_j dy_j y_j)                 a row-wise dot product, broadcast back over the row
 *
 * A row that is -infinity throughout (fully masked) gives zeros, not NaN: nothing is attended to.
 *
 * Shapes: x [..., n] -> y [..., n].
 * Sources: Math for LLMs, section 5.5 (softmax_backward); arXiv 2512.23329 (its row-wise dot product).
 */
export const softmax = defineLayer({
  name: "softmax",
  inputs: { x: "[..., n]" },
  output: "[..., n]",

  forward({ x }) {
    const y = softmaxRows(x);
    return { y, saved: { y } };
  },

  backward(dy, _, { y }) {
    return { dx: softmaxBackward(dy, y) };
  },

  // The Jacobian diag(y) - y y^T is symmetric: forward mode is the same formula.
  jvp({ x: dx }, _, { y }) {
    return softmaxBackward(dx, y);
  },
});

/** Softmax of each row. */
export function softmaxRows(x: Tensor): Tensor {
  const e = x.sub(finiteMax(x)).exp();
  const sum = e.sum(-1, true);
  return e.div(sum.select(sum.eq(0).neg().add(1), 1));
}

/** y o (dy - sum(dy o y)), row by row. */
export function softmaxBackward(dy: Tensor, y: Tensor): Tensor {
  return y.mul(dy.sub(dy.mul(y).sum(-1, true)));
}

/** Each row's maximum, 0 for a row of -infinity, so that x - m stays -infinity there. */
export function finiteMax(x: Tensor): Tensor {
  const m = x.max(-1, true);
  return m.select(m.gt(-Infinity), 0);
}
