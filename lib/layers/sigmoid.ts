import type { Tensor } from "../tensor";
import { defineLayer } from "./layer";

/**
 * The logistic function, element by element.
 *
 *     y = 1 / (1 + exp(-x))
 *     dx = dy y (1 - y)              at most dy / 4, at x = 0
 *
 * Shapes: x [...] -> y [...].
 * Source: Math for LLMs, section 5.2.
 */
export const sigmoid = defineLayer({
  name: "sigmoid",
  inputs: { x: "[...]" },
  output: "[...]",

  forward({ x }) {
    const y = x.sigmoid();
    return { y, saved: { y } };
  },

  backward(dy, _, { y }) {
    return { dx: dy.mul(slope(y)) };
  },

  jvp({ x: dx }, _, { y }) {
    return dx.mul(slope(y));
  },
});

const slope = (y: Tensor): Tensor => y.mul(y.neg().add(1));
