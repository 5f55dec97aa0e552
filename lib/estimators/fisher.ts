/** The score function, Fisher information and the natural gradient (Math for LLMs, appendix J). */
import { eye, oneHot, tensor, type Tensor } from "../tensor";

/**
 * d log p(z) / d logits = one-hot(z) - p of a softmax. The loss -log p has the opposite gradient, p - one-hot(z);
 * appendix J.2's line equates the two signs.
 * @param logits [K]. @returns [K].
 */
export function softmaxScore(logits: Tensor, z: number): Tensor {
  const e = logits.sub(logits.max()).exp();
  return oneHot([z], logits.size).reshape(logits.size).sub(e.div(e.sum()));
}

/**
 * F = sum over outcomes of p s s^T, s = d log p / d theta: the covariance of the score, whose mean is 0.
 * @param p probability of each outcome, [K]. @param scores [K, n]. @returns [n, n].
 */
export function fisherInformation(p: Tensor, scores: Tensor): Tensor {
  if (p.rank !== 1 || scores.rank !== 2 || scores.shape[0] !== p.size) {
    throw new Error(`fisherInformation: scores has shape [${scores.shape.join(", ")}], expected [${p.size}, n]`);
  }
  return scores.T.matmul(scores.mul(p.reshape(p.size, 1)));
}

/** The Fisher information of a softmax in its logits: diag(p) - p p^T, [K, K]. Also the Hessian of -log p. */
export function softmaxFisher(logits: Tensor): Tensor {
  const e = logits.sub(logits.max()).exp();
  const p = e.div(e.sum());
  const K = p.size;
  return eye(K).mul(p.reshape(1, K)).sub(p.reshape(K, 1).matmul(p.reshape(1, K)));
}

/**
 * The natural gradient (F + damping I)^-1 g (Amari 1998): steepest descent as the distribution measures distance, the
 * same step whatever the parametrisation. By Cholesky, O(n^3). A softmax's F is singular (adding a constant to all
 * logits changes nothing), so it needs damping.
 * @param F [n, n], symmetric. @param g [n]. @throws if F + damping I is not positive definite.
 */
export function naturalGradient(F: Tensor, g: Tensor, damping = 0): Tensor {
  const n = g.size;
  if (F.rank !== 2 || F.shape[0] !== n || F.shape[1] !== n) {
    throw new Error(`naturalGradient: F has shape [${F.shape.join(", ")}], expected [${n}, ${n}]`);
  }
  // F + damping I = L L^T
  const L = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = F.data[i * n + j] + (i === j ? damping : 0);
      for (let k = 0; k < j; k++) sum -= L[i * n + k] * L[j * n + k];
      if (i === j && !(sum > 1e-14)) {
        throw new Error(`naturalGradient: F + ${damping} I is not positive definite, expected more damping`);
      }
      L[i * n + j] = i === j ? Math.sqrt(sum) : sum / L[j * n + j];
    }
  }
  const x = Float64Array.from(g.data);
  for (let i = 0; i < n; i++) {
    for (let k = 0; k < i; k++) x[i] -= L[i * n + k] * x[k];
    x[i] /= L[i * n + i];
  }
  for (let i = n - 1; i >= 0; i--) {
    for (let k = i + 1; k < n; k++) x[i] -= L[k * n + i] * x[k];
    x[i] /= L[i * n + i];
  }
  return tensor(x, g.shape);
}
