import type { Tensor } from "../tensor";
import { defineLayer } from "./layer";

/**
 * The sigmoid linear unit (swish).
 *
 *     y = x s                        s = sigmoid(x)
 *     dx = dy s (1 + x (1 - s))
 *
 * Shapes: x [...] -> y [...].
 * Source: Math for LLMs, section 5.2.
 */
export const silu = defineLayer({
  name: "silu",
  inputs: { x: "[...]" },
  output: "[...]",

  forward({ x }) {
    const s = x.sigmoid();
    return { y: x.mul(s), saved: { s } };
  },

  backward(dy, { x }, { s }) {
    return { dx: dy.mul(slope(x, s)) };
  },

  jvp({ x: dx }, { x }, { s }) {
    return dx.mul(slope(x, s));
  },
});

const slope = (x: Tensor, s: Tensor): Tensor => s.mul(x.mul(s.neg().add(1)).add(1));
