import { oneHot, tensor, zeros, type Tensor } from "gradbook";

/** Put in the numbers of the functions you have mended: a function that is not listed is not graded. */
export const mended: number[] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];

/** 1. y = (x W1ᵀ) W2ᵀ, all square: dy, x [B, n], W1, W2 [n, n] -> dx [B, n]. */
export function composedBackward(dy: Tensor, W1: Tensor, W2: Tensor): Tensor {
  return dy.matmul(W2).matmul(W1);
}

/** 2. h = x Wᵀ, y = h Wᵀ, one W for both: dy, x [B, n], W [n, n] -> dx [B, n], dW [n, n]. */
export function sharedBackward(dy: Tensor, x: Tensor, W: Tensor): { dx: Tensor; dW: Tensor } {
  const h = x.matmul(W.T);
  const dh = dy.matmul(W);
  let dW = dy.T.matmul(h);
  dW = dW.add(dh.T.matmul(x));
  return { dx: dh.matmul(W), dW };
}

/** 3. y = x Wᵀ + b: dy [B, out], x [B, in], W [out, in] -> dx [B, in], dW [out, in], db [out]. */
export function linearBackward(dy: Tensor, x: Tensor, W: Tensor): { dx: Tensor; dW: Tensor; db: Tensor } {
  return { dx: dy.matmul(W), dW: dy.T.matmul(x), db: dy.sum(0) };
}

/** 4. y = max(0, x): dy, x of any one shape -> dx. */
export function reluBackward(dy: Tensor, x: Tensor): Tensor {
  return dy.mul(x.gt(0));
}

/** 5. y = tanh(x): dy, x of any one shape -> dx. */
export function tanhBackward(dy: Tensor, x: Tensor): Tensor {
  return dy.mul(x.tanh().square().neg().add(1));
}

/** 6. The mean over N rows of -log softmax(logits)[target]: logits [N, K], N targets -> dlogits [N, K]. */
export function crossEntropyBackward(logits: Tensor, targets: number[]): Tensor {
  const [N, K] = logits.shape;
  const e = logits.sub(logits.max(-1, true)).exp();
  const p = e.div(e.sum(-1, true));
  return p.sub(oneHot(targets, K)).div(N);
}

/** 7. y = softmax(x) over the last axis: dy, y [B, K] -> dx [B, K]. */
export function softmaxBackward(dy: Tensor, y: Tensor): Tensor {
  return y.mul(dy.sub(dy.mul(y).sum(-1, true)));
}

/**
 * 8. y = gamma x̂ + beta, x̂ = (x - mean) / sqrt(variance + 1e-5) over the last axis:
 * dy, x [B, d], gamma [d] -> dx [B, d], dgamma, dbeta [d].
 */
export function layerNormBackward(dy: Tensor, x: Tensor, gamma: Tensor): { dx: Tensor; dgamma: Tensor; dbeta: Tensor } {
  const centred = x.sub(x.mean(-1, true));
  const sigma = centred.square().mean(-1, true).add(1e-5).sqrt();
  const xhat = centred.div(sigma);
  const g = dy.mul(gamma);
  const dx = g.sub(g.mean(-1, true)).sub(xhat.mul(g.mul(xhat).mean(-1, true))).div(sigma);
  return { dx, dgamma: dy.mul(xhat).sum(0), dbeta: dy.sum(0) };
}

/** 9. o = p v, p = softmax(q kᵀ / √d): dO, v [T, dv], q, k [T, d], p [T, T] -> dq, dk [T, d], dv [T, dv]. */
export function scoresBackward(
  dO: Tensor, q: Tensor, k: Tensor, v: Tensor, p: Tensor,
): { dq: Tensor; dk: Tensor; dv: Tensor } {
  const dp = dO.matmul(v.T);
  const ds = p.mul(dp.sub(dp.mul(p).sum(-1, true)));
  const dscores = ds.div(Math.sqrt(q.shape[1]));
  return { dq: dscores.matmul(k), dk: dscores.T.matmul(q), dv: p.T.matmul(dO) };
}

/** 10. h = E[ids]: dh [N, d], ids N whole numbers below V -> dE [V, d]. */
export function lookupBackward(dh: Tensor, ids: number[], V: number): Tensor {
  const d = dh.shape[1];
  const dE = zeros(V, d);
  ids.forEach((id, n) => {
    for (let j = 0; j < d; j++) dE.data[id * d + j] += dh.data[n * d + j];
  });
  return dE;
}

/** 11. y = mask x / (1 - p), mask of 0 and 1 with probability p of 0: dy, mask of one shape -> dx. */
export function dropoutBackward(dy: Tensor, mask: Tensor, p: number): Tensor {
  return dy.mul(mask).div(1 - p);
}

/** 12. Clips the gradients of a model to a norm of at most maxNorm, all of them together; returns them in order. */
export function clipGradients(gradients: Tensor[], maxNorm: number): Tensor[] {
  const norm = Math.sqrt(gradients.reduce((sum, g) => sum + g.norm() ** 2, 0));
  return gradients.map((g) => g.mul(Math.min(1, maxNorm / norm)));
}
