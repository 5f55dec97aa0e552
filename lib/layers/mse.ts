import { defineLayer } from "./layer";
import { oneOf } from "./options";
import { reduced, spread, type Reduction } from "./reduction";

/**
 * The squared error.
 *
 *     y = mean of (x - target)^2         or its sum, or each one, by `reduction`
 *     dx = 2 (x - target) dy / n         n = number of elements for the mean, 1 otherwise
 *     dtarget = -dx                      only when asked for: { frozen: [] }
 *
 * Shapes: x [...], target [...] -> y [] (or [...] when reduction is "none").
 */
export const mse = defineLayer({
  name: "mse",
  inputs: { x: "[...]", target: "[...]" },
  output: "[]",
  options: { reduction: oneOf<Reduction>(["mean", "sum", "none"], "mean") },
  frozen: ["target"],

  forward({ x, target }, { reduction }) {
    const error = x.sub(target);
    return { y: reduced(error.square(), reduction), saved: { error } };
  },

  backward(dy, { x }, { error }, { reduction }) {
    const dx = error.mul(2).mul(spread(dy, x.shape, reduction));
    return { dx, dtarget: () => dx.neg() };
  },

  jvp({ x: dx, target: dtarget }, _, { error }, { reduction }) {
    return reduced(error.mul(2).mul(dx.sub(dtarget)), reduction);
  },
});
