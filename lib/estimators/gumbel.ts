import { Tensor, type Rng } from "../tensor";

export interface GumbelOptions {
  readonly rng: Rng;
  /** The temperature: towards 0 samples become one-hot and gradients wild. */
  readonly tau?: number;
  /** One-hot forward, soft backward: a straight-through estimator. */
  readonly hard?: boolean;
}

export interface GumbelCache {
  readonly soft: Tensor;
  readonly tau: number;
}

/**
 * A differentiable sample from a categorical distribution (Jang et al. 2017; Maddison et al. 2017).
 *
 *     g = -log(-log u), u uniform;   soft = softmax((logits + g) / tau);   y = soft, or its one-hot when hard
 *     dlogits = soft o (dy - sum(dy o soft)) / tau
 *
 * argmax(logits + g) is an exact sample of softmax(logits); tau only softens it. With g held fixed the backward is the
 * derivative of `soft`; when hard it is declared, not derived.
 * Shapes: logits [..., K] -> y [..., K].
 */
export const gumbelSoftmax = {
  forward({ logits }: { logits: Tensor }, { rng, tau = 1, hard = false }: GumbelOptions): { y: Tensor; cache: GumbelCache } {
    if (!(tau > 0)) throw new Error(`gumbelSoftmax: tau is ${tau}, expected a number above 0`);
    // u is 0 with probability 2^-53; the floor keeps g finite then.
    const noise = logits.map(() => -Math.log(-Math.log(Math.max(rng.uniform(), Number.MIN_VALUE))));
    const z = logits.add(noise).div(tau);
    const e = z.sub(z.max(-1, true)).exp();
    const soft = e.div(e.sum(-1, true));
    return { y: hard ? oneHotOfMax(soft) : soft, cache: { soft, tau } };
  },
  backward(dy: Tensor, { soft, tau }: GumbelCache): { dlogits: Tensor } {
    if (String(dy.shape) !== String(soft.shape)) {
      throw new Error(`gumbelSoftmax: dy has shape [${dy.shape.join(", ")}], y has shape [${soft.shape.join(", ")}]`);
    }
    return { dlogits: soft.mul(dy.sub(dy.mul(soft).sum(-1, true))).div(tau) };
  },
};

function oneHotOfMax(soft: Tensor): Tensor {
  const K = soft.shape[soft.rank - 1];
  const best = soft.argmax(-1).data;
  const out = new Float64Array(soft.size);
  for (let r = 0; r < best.length; r++) out[r * K + best[r]] = 1;
  return new Tensor(out, soft.shape);
}
