import type { Tensor } from "../tensor";
import { defineLayer } from "./layer";

/**
 * The hyperbolic tangent, element by element.
 *
 *     y = tanh(x)
 *     dx = dy (1 - y^2)              at most dy, at x = 0
 *
 * Shapes: x [...] -> y [...].
 * Source: Math for LLMs, section 5.2.
 */
export const tanh = defineLayer({
  name: "tanh",
  inputs: { x: "[...]" },
  output: "[...]",

  forward({ x }) {
    const y = x.tanh();
    return { y, saved: { y } };
  },

  backward(dy, _, { y }) {
    return { dx: dy.mul(slope(y)) };
  },

  jvp({ x: dx }, _, { y }) {
    return dx.mul(slope(y));
  },
});

const slope = (y: Tensor): Tensor => y.square().neg().add(1);
