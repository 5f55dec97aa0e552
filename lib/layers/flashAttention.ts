import { concat, full, zeros, zerosLike, type Tensor } from "../tensor";
import { checkMask, masked, scaleOf } from "./attention";
import { defineLayer } from "./layer";
import { count, flag, optionalTensor } from "./options";

/**
 * Attention in tiles. The result is attention's, but no [T, S] matrix is ever held: the forward keeps one number a
 * query, the log-sum-exp of its scores, and the backward works each tile of P out again from it. Memory is O(T).
 *
 * Forward, for one tile of queries, over the tiles of keys (online softmax; m, l, a are the running maximum, sum and
 * weighted sum):
 *
 *     S = q k^T / sqrt(d)                    m' = max(m, rowmax S)
 *     E = exp(S - m')                        l' = l exp(m - m') + rowsum E
 *     a' = a exp(m - m') + E v               at the end: y = a / l, lse = m + log l
 *
 * Backward, tile by tile:
 *
 *     P = exp(S - lse)                       D = rowsum(dy o y), which equals rowsum(P o dP)
 *     dS = P o (dy v^T - D)
 *     dq += dS k / sqrt(d)                   dk += dS^T q / sqrt(d)                  dv += P^T dy
 *
 * Options as attention has them, and `tile`, the rows and columns of a tile.
 *
 * Shapes: q [..., T, d], k [..., S, d], v [..., S, dv] -> y [..., T, dv]; saved: lse [..., T, 1] and y.
 * Sources: Math for LLMs, section 7.3; Dao et al., "FlashAttention" (2022), algorithms 1 and 4; Milakov and
 * Gimelshein, "Online normalizer calculation for softmax" (2018).
 */
export const flashAttention = defineLayer({
  name: "flashAttention",
  inputs: { q: "[..., T, d]", k: "[..., S, d]", v: "[..., S, dv]" },
  output: "[..., T, dv]",
  options: { causal: flag(false), mask: optionalTensor(), tile: count(1, 64) },
  check: ({ q, k }, { mask }) => checkMask(q, k, mask),

  forward({ q, k, v }, options) {
    const ys: Tensor[] = [];
    const lses: Tensor[] = [];
    for (const queries of tiles(rowsOf(q), options.tile)) {
      const qi = part(q, queries).mul(scaleOf(q));
      let m = full([...qi.shape.slice(0, -1), 1], -Infinity, q.dtype);
      let l = zeros(m.shape, q.dtype);
      let a = zeros([...qi.shape.slice(0, -1), v.shape[v.rank - 1]], q.dtype);
      for (const keys of keyTiles(k, queries, options)) {
        const S = scores(qi, part(k, keys), queries, keys, options);
        const next = m.maximum(S.max(-1, true));
        // A query that has seen only masked keys so far keeps 0 in the exponent's place, for -inf - -inf is NaN.
        const finite = next.select(next.gt(-Infinity), 0);
        const E = S.sub(finite).exp();
        const shrink = m.sub(finite).exp();
        l = l.mul(shrink).add(E.sum(-1, true));
        a = a.mul(shrink).add(E.matmul(part(v, keys)));
        m = next;
      }
      const some = l.eq(0).neg().add(1);
      ys.push(a.div(l.select(some, 1)));
      // A query that may look nowhere: exp(S - infinity) = 0 is its P.
      lses.push(m.add(l.log()).select(some, Infinity));
    }
    const y = ys.length ? concat(ys, -2) : zeros([...q.shape.slice(0, -1), v.shape[v.rank - 1]], q.dtype);
    return { y, saved: { y, lse: lses.length ? concat(lses, -2) : zeros([...q.shape.slice(0, -1), 1], q.dtype) } };
  },

  backward(dy, { q, k, v }, { y, lse }, options) {
    const D = dy.mul(y).sum(-1, true);
    const dqs: Tensor[] = [];
    const dks = tiles(rowsOf(k), options.tile).map((keys) => zerosLike(part(k, keys)));
    const dvs = tiles(rowsOf(k), options.tile).map((keys) => zerosLike(part(v, keys)));
    for (const queries of tiles(rowsOf(q), options.tile)) {
      const qi = part(q, queries).mul(scaleOf(q));
      const dyi = part(dy, queries);
      let dqi = zerosLike(qi);
      keyTiles(k, queries, options).forEach((keys, j) => {
        const [kj, vj] = [part(k, keys), part(v, keys)];
        const P = scores(qi, kj, queries, keys, options).sub(part(lse, queries)).exp();
        const dS = dyi.matmul(vj.T).sub(part(D, queries)).mul(P);
        dqi = dqi.add(dS.matmul(kj));
        dks[j] = dks[j].add(dS.T.matmul(qi));
        dvs[j] = dvs[j].add(P.T.matmul(dyi));
      });
      dqs.push(dqi.mul(scaleOf(q)));
    }
    return { dq: joined(dqs, q), dk: joined(dks, k), dv: joined(dvs, v) };
  },

  // dy = (P o dS) v + P dv - rowsum(P o dS) y, summed over the tiles of keys.
  jvp({ q: dq, k: dk, v: dv }, { q, k, v }, { y, lse }, options) {
    const dys = tiles(rowsOf(q), options.tile).map((queries) => {
      const qi = part(q, queries).mul(scaleOf(q));
      const dqi = part(dq, queries).mul(scaleOf(q));
      const yi = part(y, queries);
      let sum = zerosLike(yi);
      for (const keys of keyTiles(k, queries, options)) {
        const [kj, vj] = [part(k, keys), part(v, keys)];
        const P = scores(qi, kj, queries, keys, options).sub(part(lse, queries)).exp();
        const PdS = dqi.matmul(kj.T).add(qi.matmul(part(dk, keys).T)).mul(P);
        sum = sum.add(PdS.matmul(vj)).add(P.matmul(part(dv, keys))).sub(PdS.sum(-1, true).mul(yi));
      }
      return sum;
    });
    return joined(dys, y);
  },
});

interface Tile { readonly start: number; readonly end: number }
interface Masking { readonly causal: boolean; readonly mask?: Tensor; readonly tile: number }

const rowsOf = (t: Tensor): number => t.shape[t.rank - 2];

function tiles(rows: number, size: number): Tile[] {
  return Array.from({ length: Math.ceil(rows / size) }, (_, i) => ({ start: i * size, end: Math.min((i + 1) * size, rows) }));
}

/** The tiles of keys that a tile of queries looks at: with a causal mask, none that lies wholly in the future. */
function keyTiles(k: Tensor, queries: Tile, { causal, tile }: Masking): Tile[] {
  return tiles(rowsOf(k), tile).filter(({ start }) => !causal || start < queries.end);
}

/** Rows start to end of the second-last axis. */
const part = (t: Tensor, { start, end }: Tile): Tensor => t.slice(start, end, -2);

/** One tile of scores, masked; qi is scaled already. */
function scores(qi: Tensor, kj: Tensor, queries: Tile, keys: Tile, { causal, mask }: Masking): Tensor {
  const own = mask?.slice(queries.start, queries.end, -2).slice(keys.start, keys.end, -1);
  return masked(qi.matmul(kj.T), causal, own, queries.start, keys.start);
}

const joined = (parts: readonly Tensor[], like: Tensor): Tensor => (parts.length ? concat(parts, -2) : zerosLike(like));
