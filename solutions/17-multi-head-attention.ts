import { concat, type Tensor } from "gradbook";

/** Given: [B, H, T, dh] -> [B, T, H dh], the inverse of splitHeads. */
export function mergeHeads(x: Tensor): Tensor {
  const [B, H, T, dh] = x.shape;
  return x.transpose([0, 2, 1, 3]).reshape(B, T, H * dh);
}

/** x [B, T, C] -> [B, H, T, C / H]. */
export function splitHeads(x: Tensor, heads: number): Tensor {
  const [B, T, C] = x.shape;
  return x.reshape(B, T, heads, C / heads).transpose([0, 2, 1, 3]);
}

/**
 * One head, rows are tokens: a [T, C], q, k, v [T, d], rho [T, T], wq, wk, wv [C, d].
 * D [T, d] is the gradient with respect to o.
 * Returns dwq, dwk, dwv [C, d], dbq, dbk, dbv [d], da [T, C].
 */
export function rowWiseGradients(
  a: Tensor, q: Tensor, k: Tensor, v: Tensor, rho: Tensor, wq: Tensor, wk: Tensor, wv: Tensor, D: Tensor,
): Record<"dwq" | "dbq" | "dwk" | "dbk" | "dwv" | "dbv" | "da", Tensor> {
  const Drho = D.matmul(v.T);
  const Dcausal = Drho.sub(Drho.mul(rho).sum(-1, true)).mul(rho);
  const Draw = Dcausal.div(Math.sqrt(q.shape[1]));
  const dq = Draw.matmul(k);
  const dk = Draw.T.matmul(q);
  const dv = rho.T.matmul(D);
  return {
    dwq: a.T.matmul(dq),
    dbq: dq.sum(0),
    dwk: Draw.matmul(a).T.matmul(q),
    dbk: dk.sum(0),
    dwv: rho.matmul(a).T.matmul(D),
    dbv: D.sum(0),
    da: dq.matmul(wq.T).add(dk.matmul(wk.T)).add(dv.matmul(wv.T)),
  };
}

/** What the forward keeps: x, o [B, T, C], q, k, v [B, H, T, dh], p [B, H, T, T], Wqkv [3C, C], Wo [C, C]. */
export interface MultiHeadCache {
  x: Tensor;
  Wqkv: Tensor;
  Wo: Tensor;
  heads: number;
  q: Tensor;
  k: Tensor;
  v: Tensor;
  p: Tensor;
  o: Tensor;
}

/** dy [B, T, C] -> dWo [C, C], dbo [C], dWqkv [3C, C], dbqkv [3C], dx [B, T, C]. */
export function multiHeadBackward(
  dy: Tensor, cache: MultiHeadCache,
): Record<"dWo" | "dbo" | "dWqkv" | "dbqkv" | "dx", Tensor> {
  const { x, Wqkv, Wo, heads, q, k, v, p, o } = cache;
  const C = x.shape[2];
  const flat = (t: Tensor): Tensor => t.reshape(-1, t.shape[2]);

  const dWo = flat(dy).T.matmul(flat(o));
  const dbo = flat(dy).sum(0);
  const dO = splitHeads(dy.matmul(Wo), heads);

  const dv = p.T.matmul(dO);
  const dp = dO.matmul(v.T);
  const ds = p.mul(dp.sub(p.mul(dp).sum(-1, true))).div(Math.sqrt(C / heads));
  const dq = ds.matmul(k);
  const dk = ds.T.matmul(q);

  const dqkv = concat([mergeHeads(dq), mergeHeads(dk), mergeHeads(dv)], 2);
  return { dWo, dbo, dWqkv: flat(dqkv).T.matmul(flat(x)), dbqkv: flat(dqkv).sum(0), dx: dqkv.matmul(Wqkv) };
}
