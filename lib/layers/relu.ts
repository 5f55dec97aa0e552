import { defineLayer } from "./layer";

/**
 * The rectifier, element by element.
 *
 *     y = max(x, 0)
 *     dx = dy where x > 0, else 0        (the subgradient 0 at x = 0, as PyTorch has it)
 *
 * Shapes: x [...] -> y [...].
 * Source: Math for LLMs, section 5.2.
 */
export const relu = defineLayer({
  name: "relu",
  inputs: { x: "[...]" },
  output: "[...]",

  forward({ x }) {
    return { y: x.maximum(0), saved: undefined };
  },

  backward(dy, { x }) {
    return { dx: dy.select(x.gt(0), 0) };
  },

  jvp({ x: dx }, { x }) {
    return dx.select(x.gt(0), 0);
  },
});
