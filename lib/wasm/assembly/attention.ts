/**
 * Attention of one head, in blocks of query rows; rows may lie apart (`ld...`, in elements), so that heads are slices of
 * wider matrices and nothing is copied.
 *
 *     P = softmax(scale q k^T)          above the diagonal 0 when causal: those scores are never computed
 *     o = P v
 *
 *     dv = P^T do
 *     dP = do v^T
 *     dS = P (dP - rowsum(P dP))        element by element
 *     dq = scale dS k,   dk = scale dS^T q
 *
 * Shapes: q, k [T, d], v [T, e] -> o [T, e]; P [T, T] is kept for the backward.
 */

import { gemm } from "./gemm";
import { softmaxRow, softmaxRowBackward } from "./rows";

/** Query rows of a block: whole tiles of a product, whichever tile it is. */
const BLOCK: i32 = 48;

@inline function at(p: usize, j: i32): usize {
  return p + (<usize>j << 2);
}

/** How many keys the query rows up to `end` may see. */
@inline function visible(causal: bool, end: i32, t: i32): i32 {
  return causal ? end : t;
}

export function attention(
  t: i32, d: i32, e: i32, causal: bool, scale: f32, q: usize, ldq: i32, k: usize, ldk: i32, v: usize, ldv: i32,
  o: usize, ldo: i32, p: usize,
): void {
  for (let i0 = 0; i0 < t; i0 += BLOCK) {
    const rows = min(BLOCK, t - i0);
    const keys = visible(causal, i0 + rows, t);
    const block = at(p, i0 * t);
    gemm<f32>(false, true, rows, keys, d, scale, at(q, i0 * ldq), ldq, k, ldk, 0, false, block, t);
    for (let i = 0; i < rows; i++) {
      const row = at(block, i * t);
      const seen = visible(causal, i0 + i + 1, t);
      softmaxRow(seen, row, row);
      memory.fill(at(row, seen), 0, <usize>(t - seen) << 2);
    }
    gemm<f32>(false, false, rows, e, keys, 1, block, t, v, ldv, 0, false, at(o, i0 * ldo), ldo);
  }
}

/** Bytes of work space that the backward needs beside `scratch`. */
export function attentionWork(t: i32): i32 {
  return min(BLOCK, t) * t * 4;
}

export function attentionBackward(
  t: i32, d: i32, e: i32, causal: bool, scale: f32, q: usize, ldq: i32, k: usize, ldk: i32, v: usize, ldv: i32,
  p: usize, dout: usize, ldo: i32, dq: usize, lddq: i32, dk: usize, lddk: i32, dv: usize, lddv: i32, work: usize,
): void {
  // From the last block, which sees every key, so that dk and dv are written once before they are added to.
  for (let i0 = (t - 1) / BLOCK * BLOCK; i0 >= 0; i0 -= BLOCK) {
    const rows = min(BLOCK, t - i0);
    const keys = visible(causal, i0 + rows, t);
    const adds = i0 + BLOCK < t;
    const block = at(p, i0 * t);
    const up = at(dout, i0 * ldo);
    gemm<f32>(true, false, keys, e, rows, 1, block, t, up, ldo, 0, adds, dv, lddv);
    gemm<f32>(false, true, rows, keys, e, 1, up, ldo, v, ldv, 0, false, work, keys);
    for (let i = 0; i < rows; i++) {
      const row = at(work, i * keys);
      softmaxRowBackward(keys, at(block, i * t), row, row, scale);
    }
    gemm<f32>(false, false, rows, d, keys, 1, work, keys, k, ldk, 0, false, at(dq, i0 * lddq), lddq);
    gemm<f32>(true, false, keys, d, rows, 1, work, keys, at(q, i0 * ldq), ldq, 0, adds, dk, lddk);
  }
}
