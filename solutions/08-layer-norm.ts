import { Tensor, zeros } from "gradbook";

/** Each row normalised, then scaled and shifted: X [N, d], gamma [d], beta [d]; s is sqrt(variance + eps), [N, 1]. */
export function layerNormForward(
  X: Tensor, gamma: Tensor, beta: Tensor, eps: number,
): { y: Tensor; xhat: Tensor; s: Tensor } {
  const centred = X.sub(X.mean(1, true));
  const s = centred.square().mean(1, true).add(eps).sqrt();
  const xhat = centred.div(s);
  return { y: xhat.mul(gamma).add(beta), xhat, s };
}

/** From dY [N, d] to dgamma [d], dbeta [d] and dX [N, d]. */
export function layerNormBackward(
  dY: Tensor, X: Tensor, gamma: Tensor, eps: number,
): { dgamma: Tensor; dbeta: Tensor; dX: Tensor } {
  const { xhat, s } = layerNormForward(X, gamma, zeros(gamma.shape), eps);
  // Every row uses gamma and beta, so their gradients are sums over rows.
  const dgamma = dY.mul(xhat).sum(0);
  const dbeta = dY.sum(0);
  const g = dY.mul(gamma);
  const throughMean = g.mean(1, true);
  const throughVariance = xhat.mul(g.mul(xhat).mean(1, true));
  return { dgamma, dbeta, dX: g.sub(throughMean).sub(throughVariance).div(s) };
}
