import type { Tensor } from "../tensor";
import { defineLayer } from "./layer";

const C = Math.sqrt(2 / Math.PI);
const A = 0.044715;

/**
 * The tanh approximation of GELU that GPT-2 uses.
 *
 *     y = x/2 (1 + t)                                   t = tanh(u),  u = sqrt(2/pi) (x + 0.044715 x^3)
 *     dx = dy ((1 + t)/2 + x/2 (1 - t^2) u')            u' = sqrt(2/pi) (1 + 3 * 0.044715 x^2)
 *
 * Shapes: x [...] -> y [...].
 * Source: Hendrycks and Gimpel, "Gaussian error linear units" (2016), section 2.
 */
export const geluTanh = defineLayer({
  name: "geluTanh",
  inputs: { x: "[...]" },
  output: "[...]",

  forward({ x }) {
    const u = x.square().mul(A).add(1).mul(x).mul(C);
    const t = u.tanh();
    return { y: x.mul(0.5).mul(t.add(1)), saved: { t } };
  },

  backward(dy, { x }, { t }) {
    return { dx: dy.mul(slope(x, t)) };
  },

  jvp({ x: dx }, { x }, { t }) {
    return dx.mul(slope(x, t));
  },
});

function slope(x: Tensor, t: Tensor): Tensor {
  const du = x.square().mul(3 * A).add(1).mul(C);
  return t.add(1).mul(0.5).add(x.mul(0.5).mul(t.square().neg().add(1)).mul(du));
}
