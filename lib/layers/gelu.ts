import type { Tensor } from "../tensor";
import { defineLayer } from "./layer";

/**
 * The Gaussian error linear unit, with the exact normal distribution.
 *
 *     y = x Phi(x)                   Phi(x) = (1 + erf(x / sqrt 2)) / 2, the normal distribution
 *     dx = dy (Phi(x) + x phi(x))    phi(x) = exp(-x^2 / 2) / sqrt(2 pi), its density
 *
 * Shapes: x [...] -> y [...].
 * Sources: Hendrycks and Gimpel, "Gaussian error linear units" (2016); Math for LLMs, section 5.2.
 */
export const gelu = defineLayer({
  name: "gelu",
  inputs: { x: "[...]" },
  output: "[...]",

  forward({ x }) {
    const Phi = x.mul(Math.SQRT1_2).erf().add(1).mul(0.5);
    return { y: x.mul(Phi), saved: { Phi } };
  },

  backward(dy, { x }, { Phi }) {
    return { dx: dy.mul(slope(x, Phi)) };
  },

  jvp({ x: dx }, { x }, { Phi }) {
    return dx.mul(slope(x, Phi));
  },
});

function slope(x: Tensor, Phi: Tensor): Tensor {
  const phi = x.square().mul(-0.5).exp().div(Math.sqrt(2 * Math.PI));
  return Phi.add(x.mul(phi));
}
