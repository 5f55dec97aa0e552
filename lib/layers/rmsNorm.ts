import { unbroadcast } from "../tensor";
import { defineLayer } from "./layer";
import { nonNegative } from "./options";

/**
 * Scales each row to root mean square 1: layer norm without the mean.
 *
 *     xhat = x r                           r = 1 / sqrt(mean(x^2) + eps)
 *     y = gamma xhat
 *
 *     g = dy gamma
 *     dx = r (g - xhat mean(g xhat))
 *     dgamma = sum over rows of dy xhat
 *
 * Shapes: x [..., d], gamma [d] -> y [..., d].
 * Source: Zhang and Sennrich, "Root mean square layer normalization" (2019).
 */
export const rmsNorm = defineLayer({
  name: "rmsNorm",
  inputs: { x: "[..., d]", gamma: "[d]" },
  output: "[..., d]",
  options: { eps: nonNegative(1e-6) },

  forward({ x, gamma }, { eps }) {
    const r = x.square().mean(-1, true).add(eps).pow(-0.5);
    const xhat = x.mul(r);
    return { y: xhat.mul(gamma), saved: { xhat, r } };
  },

  backward(dy, { gamma }, { xhat, r }) {
    const dx = () => {
      const g = dy.mul(gamma);
      return g.sub(xhat.mul(g.mul(xhat).mean(-1, true))).mul(r);
    };
    return { dx, dgamma: () => unbroadcast(dy.mul(xhat), gamma.shape) };
  },

  jvp({ x: dx, gamma: dgamma }, { gamma }, { xhat, r }) {
    const dxhat = dx.sub(xhat.mul(dx.mul(xhat).mean(-1, true))).mul(r);
    return dxhat.mul(gamma).add(xhat.mul(dgamma));
  },
});
