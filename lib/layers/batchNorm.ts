import type { Tensor } from "../tensor";
import { defineLayer } from "./layer";
import { nonNegative } from "./options";

/**
 * Normalises each channel over the batch (and over positions, where x has any), then scales and shifts.
 *
 *     xhat = (x - mean) r                  r = 1 / sqrt(variance + eps), the biased variance
 *     y = gamma xhat + beta
 *
 *     g = dy gamma
 *     dx = r (g - mean(g) - xhat mean(g xhat))       all means over the batch, one a channel
 *     dgamma = sum over the batch of dy xhat
 *     dbeta = sum over the batch of dy
 *
 * Layer norm's formula with the axes exchanged: every example's gradient depends on the whole batch. These are the
 * statistics of training; with one example per channel xhat is 0 and so is dx.
 *
 * Shapes: x [N, C] or [N, C, ...], gamma [C], beta [C] -> y of x's shape.
 * Sources: Ioffe and Szegedy, "Batch normalization" (2015); Math for LLMs, section 6.6.
 */
export const batchNorm = defineLayer({
  name: "batchNorm",
  inputs: { x: "[N, C, ...]", gamma: "[C]", beta: "[C]" },
  output: "[N, C, ...]",
  options: { eps: nonNegative(1e-5) },

  forward({ x, gamma, beta }, { eps }) {
    const batch = batchAxes(x);
    const centred = x.sub(x.mean(batch, true));
    const r = centred.square().mean(batch, true).add(eps).pow(-0.5);
    const xhat = centred.mul(r);
    return { y: xhat.mul(perChannel(gamma, x)).add(perChannel(beta, x)), saved: { xhat, r } };
  },

  backward(dy, { x, gamma }, { xhat, r }) {
    const batch = batchAxes(x);
    const dx = () => {
      const g = dy.mul(perChannel(gamma, x));
      return g.sub(g.mean(batch, true)).sub(xhat.mul(g.mul(xhat).mean(batch, true))).mul(r);
    };
    return { dx, dgamma: () => dy.mul(xhat).sum(batch), dbeta: () => dy.sum(batch) };
  },

  jvp({ x: dx, gamma: dgamma, beta: dbeta }, { x, gamma }, { xhat, r }) {
    const batch = batchAxes(x);
    const dxhat = dx.sub(dx.mean(batch, true)).sub(xhat.mul(dx.mul(xhat).mean(batch, true))).mul(r);
    return dxhat.mul(perChannel(gamma, x)).add(xhat.mul(perChannel(dgamma, x))).add(perChannel(dbeta, x));
  },
});

/** Every axis but the channels'. */
const batchAxes = (x: Tensor): number[] => x.shape.map((_, i) => i).filter((i) => i !== 1);

/** [C] so that it broadcasts along x's axis 1. */
const perChannel = (t: Tensor, x: Tensor): Tensor => t.reshape(t.size, ...x.shape.slice(2).map(() => 1));
