import { defineLayer } from "./layer";
import { anyNumber } from "./options";

/**
 * The rectifier that lets a little through, so that no unit dies.
 *
 *     y = x where x > 0, else slope x
 *     dx = dy where x > 0, else slope dy
 *
 * Shapes: x [...] -> y [...].
 * Source: backpropagation reference, Gradient Flow Problems (dead neurons).
 */
export const leakyRelu = defineLayer({
  name: "leakyRelu",
  inputs: { x: "[...]" },
  output: "[...]",
  options: { slope: anyNumber(0.01) },

  forward({ x }, { slope }) {
    return { y: x.select(x.gt(0), x.mul(slope)), saved: undefined };
  },

  backward(dy, { x }, _, { slope }) {
    return { dx: dy.select(x.gt(0), dy.mul(slope)) };
  },

  jvp({ x: dx }, { x }, _, { slope }) {
    return dx.select(x.gt(0), dx.mul(slope));
  },
});
