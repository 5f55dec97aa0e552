import { tensor, type Tensor } from "../tensor";
import { defineOptimizer, slot, type Optimizer } from "./optimizer";

export interface LarsOptions {
  readonly lr: number;
  readonly momentum?: number;
  readonly weightDecay?: number;
  /** How far a layer may move for its size. */
  readonly trust?: number;
}

/**
 * LARS (You et al. 2017): each tensor's rate follows |w| / |g|, so that every layer moves by the same fraction of its
 * size (Math for LLMs, appendix F.3).
 *
 *     local = trust |w| / (|g| + weightDecay |w|)     (1 where |w| or |g| is 0)
 *     v = momentum v + lr local (g + weightDecay w);   w -= v
 */
export function lars({ lr, momentum = 0.9, weightDecay = 0, trust = 0.001 }: LarsOptions): Optimizer {
  return defineOptimizer("lars", lr, ({ w, g, state, lr }) => {
    const v = slot(state, "v", w.length);
    let ww = 0, gg = 0;
    for (let i = 0; i < w.length; i++) {
      ww += w[i] * w[i];
      gg += g[i] * g[i];
    }
    const W = Math.sqrt(ww), G = Math.sqrt(gg);
    const local = W === 0 || G === 0 ? 1 : (trust * W) / (G + weightDecay * W);
    for (let i = 0; i < w.length; i++) {
      v[i] = momentum * v[i] + lr * local * (g[i] + weightDecay * w[i]);
      w[i] -= v[i];
    }
  });
}

export interface MuonOptions {
  readonly lr?: number;
  readonly momentum?: number;
  readonly nesterov?: boolean;
  /** Newton-Schulz iterations. */
  readonly iterations?: number;
}

/**
 * Muon (Jordan et al. 2024): for matrices [out, in] only; momentum, then the step with all its singular values
 * brought near 1. Vectors and embeddings go to AdamW.
 *
 *     v = momentum v + g;   u = g + momentum v (nesterov) or v
 *     w -= lr sqrt(max(1, out / in)) orthogonalize(u)
 *
 * The document calls it a Newton step and the iteration a root of the Hessian; it is neither: no curvature enters,
 * Newton-Schulz finds the nearest orthogonal matrix of the momentum.
 */
export function muon({ lr = 0.02, momentum = 0.95, nesterov = true, iterations = 5 }: MuonOptions = {}): Optimizer {
  return defineOptimizer("muon", lr, ({ w, g, shape, state, lr }) => {
    const v = slot(state, "v", w.length);
    const u = new Float64Array(w.length);
    for (let i = 0; i < w.length; i++) {
      v[i] = momentum * v[i] + g[i];
      u[i] = nesterov ? g[i] + momentum * v[i] : v[i];
    }
    const step = orthogonalize(tensor(u, shape), iterations).data;
    const scale = lr * Math.sqrt(Math.max(1, shape[0] / shape[1]));
    for (let i = 0; i < w.length; i++) w[i] -= scale * step[i];
  }, (parameter, w) => {
    if (w.rank !== 2) throw new Error(`muon: ${parameter} has shape [${w.shape.join(", ")}], expected a matrix; give the rest to adamW`);
  });
}

/**
 * X with its singular values brought to between 0.7 and 1.2, by Newton-Schulz with the quintic
 * X <- a X + (b A + c A^2) X, A = X X^T, whose coefficients rise fastest at 0. Matrix products only.
 */
export function orthogonalize(X: Tensor, iterations = 5): Tensor {
  const [a, b, c] = [3.4445, -4.775, 2.0315];
  const wide = X.shape[0] <= X.shape[1];
  let Y = wide ? X : X.T;
  Y = Y.div(Y.norm() + 1e-7);
  for (let i = 0; i < iterations; i++) {
    const A = Y.matmul(Y.T);
    Y = Y.mul(a).add(A.mul(b).add(A.matmul(A).mul(c)).matmul(Y));
  }
  return wide ? Y : Y.T;
}
