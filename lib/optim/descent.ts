import { defineOptimizer, slot, type Optimizer } from "./optimizer";

export interface SgdOptions {
  readonly lr: number;
  readonly momentum?: number;
  /** Look ahead: step along g + momentum * v instead of v. */
  readonly nesterov?: boolean;
  readonly dampening?: number;
  readonly weightDecay?: number;
}

/**
 * Gradient descent, with momentum if asked for.
 *
 *     g += weightDecay w;   v = momentum v + (1 - dampening) g   (v = g at the first step)
 *     w -= lr v             (nesterov: lr (g + momentum v))
 */
export function sgd({ lr, momentum = 0, nesterov = false, dampening = 0, weightDecay = 0 }: SgdOptions): Optimizer {
  if (nesterov && !(momentum > 0 && dampening === 0)) {
    throw new Error(`sgd: nesterov with momentum ${momentum} and dampening ${dampening}, expected momentum above 0 and no dampening`);
  }
  return defineOptimizer("sgd", lr, ({ w, g, state, lr, t }) => {
    const v = momentum ? slot(state, "v", w.length) : undefined;
    for (let i = 0; i < w.length; i++) {
      const d = g[i] + weightDecay * w[i];
      if (!v) {
        w[i] -= lr * d;
        continue;
      }
      v[i] = t === 1 ? d : momentum * v[i] + (1 - dampening) * d;
      w[i] -= lr * (nesterov ? d + momentum * v[i] : v[i]);
    }
  }, undefined, { momentum, dampening, weightDecay, nesterov: +nesterov });
}

export interface AdaGradOptions {
  readonly lr?: number;
  readonly lrDecay?: number;
  readonly eps?: number;
  readonly weightDecay?: number;
}

/**
 * AdaGrad (Duchi et al. 2011): each weight's own rate, falling with all the squares it has seen.
 *
 *     s += g^2;   w -= lr / (1 + (t - 1) lrDecay) * g / (sqrt(s) + eps)
 */
export function adaGrad({ lr = 1e-2, lrDecay = 0, eps = 1e-10, weightDecay = 0 }: AdaGradOptions = {}): Optimizer {
  return defineOptimizer("adaGrad", lr, ({ w, g, state, lr, t }) => {
    const s = slot(state, "s", w.length);
    for (let i = 0; i < w.length; i++) {
      const d = g[i] + weightDecay * w[i];
      s[i] += d * d;
      w[i] -= ((lr / (1 + (t - 1) * lrDecay)) * d) / (Math.sqrt(s[i]) + eps);
    }
  });
}

export interface RmspropOptions {
  readonly lr?: number;
  readonly alpha?: number;
  readonly eps?: number;
  readonly momentum?: number;
  /** Divide by the standard deviation instead of the root mean square. */
  readonly centered?: boolean;
  readonly weightDecay?: number;
}

/**
 * RMSprop (Hinton 2012): AdaGrad that forgets.
 *
 *     s = alpha s + (1 - alpha) g^2;   w -= lr g / (sqrt(s) + eps)
 */
export function rmsprop(
  { lr = 1e-2, alpha = 0.99, eps = 1e-8, momentum = 0, centered = false, weightDecay = 0 }: RmspropOptions = {},
): Optimizer {
  return defineOptimizer("rmsprop", lr, ({ w, g, state, lr }) => {
    const s = slot(state, "s", w.length);
    const mean = centered ? slot(state, "mean", w.length) : undefined;
    const v = momentum ? slot(state, "v", w.length) : undefined;
    for (let i = 0; i < w.length; i++) {
      const d = g[i] + weightDecay * w[i];
      s[i] = alpha * s[i] + (1 - alpha) * d * d;
      if (mean) mean[i] = alpha * mean[i] + (1 - alpha) * d;
      const rms = Math.sqrt(mean ? s[i] - mean[i] * mean[i] : s[i]) + eps;
      if (v) v[i] = momentum * v[i] + d / rms;
      w[i] -= lr * (v ? v[i] : d / rms);
    }
  });
}
