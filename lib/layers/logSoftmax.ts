import type { Tensor } from "../tensor";
import { defineLayer } from "./layer";
import { finiteMax } from "./softmax";

/**
 * The logarithm of softmax over the last axis, without ever taking the logarithm of a number that underflowed.
 *
 *     y_i = x_i - m - log sum_j exp(x_j - m)         m = max(x)
 *     dx = dy - exp(y) sum_j dy_j
 *
 * Shapes: x [..., n] -> y [..., n].
 * Source: Math for LLMs, section 5.3 (the log-sum-exp trick).
 */
export const logSoftmax = defineLayer({
  name: "logSoftmax",
  inputs: { x: "[..., n]" },
  output: "[..., n]",

  forward({ x }) {
    const y = logSoftmaxRows(x);
    return { y, saved: { y } };
  },

  backward(dy, _, { y }) {
    return { dx: dy.sub(y.exp().mul(dy.sum(-1, true))) };
  },

  jvp({ x: dx }, _, { y }) {
    return dx.sub(y.exp().mul(dx).sum(-1, true));
  },
});

/** The logarithm of softmax of each row; -infinity throughout for a row of -infinity. */
export function logSoftmaxRows(x: Tensor): Tensor {
  const z = x.sub(finiteMax(x));
  const sum = z.exp().sum(-1, true);
  return z.sub(sum.select(sum.eq(0).neg().add(1), 1).log());
}
