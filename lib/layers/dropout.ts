import { zeros } from "../tensor";
import { defineLayer } from "./layer";
import { fraction, requiredRng } from "./options";

/**
 * Drops each element with probability p and scales the others up, so that the mean stays (inverted dropout).
 *
 *     y = x m                        m = 0 with probability p, else 1 / (1 - p)
 *     dx = dy m                      the same m: the backward never draws
 *
 * Shapes: x [...] -> y [...].
 * Source: Srivastava et al., "Dropout" (2014).
 */
export const dropout = defineLayer({
  name: "dropout",
  inputs: { x: "[...]" },
  output: "[...]",
  options: { p: fraction(0.5), rng: requiredRng() },

  forward({ x }, { p, rng }) {
    const m = zeros(x.shape, x.dtype);
    for (let i = 0; i < m.size; i++) m.data[i] = rng.uniform() < p ? 0 : 1 / (1 - p);
    return { y: x.mul(m), saved: { m } };
  },

  backward(dy, _, { m }) {
    return { dx: dy.mul(m) };
  },

  jvp({ x: dx }, _, { m }) {
    return dx.mul(m);
  },
});
