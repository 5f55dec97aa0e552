import { concat, full, zeros, type Tensor } from "gradbook";

/** q, k [T, d], v [T, dv] -> o [T, dv] and lse [T], tile by tile of `block` rows and columns. */
export function flashForward(q: Tensor, k: Tensor, v: Tensor, block: number): { o: Tensor; lse: Tensor } {
  const [T, d] = q.shape;
  const outputs: Tensor[] = [];
  const sums: Tensor[] = [];
  for (let i = 0; i < T; i += block) {
    const qi = q.slice(i, Math.min(i + block, T));
    let m = full([qi.shape[0], 1], -Infinity);
    let l = zeros([qi.shape[0], 1]);
    let a = zeros([qi.shape[0], v.shape[1]]);
    for (let j = 0; j < T; j += block) {
      const s = qi.matmul(k.slice(j, Math.min(j + block, T)).T).div(Math.sqrt(d));
      const larger = m.maximum(s.max(-1, true));
      const shrink = m.sub(larger).exp();
      const e = s.sub(larger).exp();
      l = l.mul(shrink).add(e.sum(-1, true));
      a = a.mul(shrink).add(e.matmul(v.slice(j, Math.min(j + block, T))));
      m = larger;
    }
    outputs.push(a.div(l));
    sums.push(m.add(l.log()).reshape(-1));
  }
  return { o: concat(outputs), lse: concat(sums) };
}

/** One tile's share, of the shapes of qi [bq, d], kj [bk, d] and vj [bk, dv]; dOi [bq, dv], lsei, deltai [bq]. */
export function backwardTile(
  qi: Tensor, kj: Tensor, vj: Tensor, dOi: Tensor, lsei: Tensor, deltai: Tensor,
): { dqi: Tensor; dkj: Tensor; dvj: Tensor } {
  const root = Math.sqrt(qi.shape[1]);
  const p = qi.matmul(kj.T).div(root).sub(lsei.reshape(-1, 1)).exp();
  const ds = p.mul(dOi.matmul(vj.T).sub(deltai.reshape(-1, 1))).div(root);
  return { dqi: ds.matmul(kj), dkj: ds.T.matmul(qi), dvj: p.T.matmul(dOi) };
}

/** dO, o [T, dv], lse [T] -> dq, dk [T, d], dv [T, dv], never holding more than a tile of P. */
export function flashBackward(
  dO: Tensor, q: Tensor, k: Tensor, v: Tensor, o: Tensor, lse: Tensor, block: number,
): { dq: Tensor; dk: Tensor; dv: Tensor } {
  const T = q.shape[0];
  const delta = dO.mul(o).sum(-1);
  const cuts = Array.from({ length: Math.ceil(T / block) }, (_, b) => [b * block, Math.min((b + 1) * block, T)]);
  const cut = (t: Tensor): Tensor[] => cuts.map(([start, end]) => t.slice(start, end));
  const [qs, ks, vs, dOs, lses, deltas] = [q, k, v, dO, lse, delta].map(cut);
  const dq = qs.map((t) => zeros(t.shape));
  const dk = ks.map((t) => zeros(t.shape));
  const dv = vs.map((t) => zeros(t.shape));
  for (let j = 0; j < cuts.length; j++) {
    for (let i = 0; i < cuts.length; i++) {
      const share = backwardTile(qs[i], ks[j], vs[j], dOs[i], lses[i], deltas[i]);
      dq[i] = dq[i].add(share.dqi);
      dk[j] = dk[j].add(share.dkj);
      dv[j] = dv[j].add(share.dvj);
    }
  }
  return { dq: concat(dq), dk: concat(dk), dv: concat(dv) };
}
