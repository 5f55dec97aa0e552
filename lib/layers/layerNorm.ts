import { unbroadcast } from "../tensor";
import { defineLayer } from "./layer";
import { nonNegative } from "./options";

/**
 * Normalises each row (token) to mean 0 and variance 1, then scales and shifts.
 *
 *     xhat = (x - mean) r                  r = 1 / sqrt(variance + eps), the biased variance
 *     y = gamma xhat + beta
 *
 *     g = dy gamma                         the gradient in xhat
 *     dx = r (g - mean(g) - xhat mean(g xhat))
 *     dgamma = sum over rows of dy xhat
 *     dbeta = sum over rows of dy
 *
 * The two means are what moving x does to the mean and to the variance: the gradient has no part along either.
 *
 * Shapes: x [..., d], gamma [d], beta [d] -> y [..., d].
 * Sources: Math for LLMs, section 5.4; arXiv 2512.23329 (D_prev of layer norm).
 */
export const layerNorm = defineLayer({
  name: "layerNorm",
  inputs: { x: "[..., d]", gamma: "[d]", beta: "[d]" },
  output: "[..., d]",
  options: { eps: nonNegative(1e-5) },

  forward({ x, gamma, beta }, { eps }) {
    const centred = x.sub(x.mean(-1, true));
    const r = centred.square().mean(-1, true).add(eps).pow(-0.5);
    const xhat = centred.mul(r);
    return { y: xhat.mul(gamma).add(beta), saved: { xhat, r } };
  },

  backward(dy, { gamma, beta }, { xhat, r }) {
    const dx = () => {
      const g = dy.mul(gamma);
      return g.sub(g.mean(-1, true)).sub(xhat.mul(g.mul(xhat).mean(-1, true))).mul(r);
    };
    return {
      dx,
      dgamma: () => unbroadcast(dy.mul(xhat), gamma.shape),
      dbeta: () => unbroadcast(dy, beta.shape),
    };
  },

  jvp({ x: dx, gamma: dgamma, beta: dbeta }, { gamma }, { xhat, r }) {
    const dxhat = dx.sub(dx.mean(-1, true)).sub(xhat.mul(dx.mul(xhat).mean(-1, true))).mul(r);
    return dxhat.mul(gamma).add(xhat.mul(dgamma)).add(dbeta);
  },
});
