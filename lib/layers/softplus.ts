import { defineLayer } from "./layer";

/**
 * The smooth rectifier.
 *
 *     y = log(1 + exp(x)) = max(x, 0) + log(1 + exp(-|x|))     the second form cannot overflow
 *     dx = dy sigmoid(x)
 *
 * Shapes: x [...] -> y [...].
 * Source: Math for LLMs, section 5.2.
 */
export const softplus = defineLayer({
  name: "softplus",
  inputs: { x: "[...]" },
  output: "[...]",

  forward({ x }) {
    return { y: x.maximum(0).add(x.abs().neg().exp().log1p()), saved: undefined };
  },

  backward(dy, { x }) {
    return { dx: dy.mul(x.sigmoid()) };
  },

  jvp({ x: dx }, { x }) {
    return dx.mul(x.sigmoid());
  },
});
