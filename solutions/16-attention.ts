import { tensor, type Tensor } from "gradbook";

/** q, k [B, T, d], v [B, T, dv] -> o [B, T, dv] and the weights p [B, T, T]. Causal: query i sees keys 0..i only. */
export function attentionForward(q: Tensor, k: Tensor, v: Tensor, causal: boolean): { o: Tensor; p: Tensor } {
  const [, T, d] = q.shape;
  let s = q.matmul(k.T).div(Math.sqrt(d));
  if (causal) {
    const mask = Array.from({ length: T }, (_, i) => Array.from({ length: T }, (_, j) => (j > i ? -Infinity : 0)));
    s = s.add(tensor(mask));
  }
  const e = s.sub(s.max(-1, true)).exp();
  const p = e.div(e.sum(-1, true));
  return { o: p.matmul(v), p };
}

/** dO [B, T, dv], and p [B, T, T] from the forward -> dq, dk [B, T, d], dv [B, T, dv]. */
export function attentionBackward(
  dO: Tensor, q: Tensor, k: Tensor, v: Tensor, p: Tensor,
): { dq: Tensor; dk: Tensor; dv: Tensor } {
  const dv = p.T.matmul(dO);
  const dp = dO.matmul(v.T);
  const ds = p.mul(dp.sub(p.mul(dp).sum(-1, true)));
  const dscores = ds.div(Math.sqrt(q.shape[2]));
  return { dq: dscores.matmul(k), dk: dscores.T.matmul(q), dv };
}
