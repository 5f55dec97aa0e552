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

const BLOCK: i32 = 64;

@inline function at(p: usize, j: i32): usize {
  return p + (<usize>j << 2);
}

/** How many keys the query rows up to `end` may see. */
@inline function visible(causal: bool, end: i32, t: i32): i32 {
  return causal ? end : t;
}

export function attention(
  t: i32, d: i32, e: i32, causal: bool, scale: f32, q: usize, ldq: i32, k: usize, ldk: i32, v: usize, ldv: i32,
  o: usize, ldo: i32, p: usize, scratch: usize,
): void {
  for (let i0 = 0; i0 < t; i0 += BLOCK) {
    const rows = min(BLOCK, t - i0);
    const keys = visible(causal, i0 + rows, t);
    const block = at(p, i0 * t);
    gemm<f32>(false, true, rows, keys, d, scale, at(q, i0 * ldq), ldq, k, ldk, false, block, t, scratch);
    for (let i = 0; i < rows; i++) {
      const row = at(block, i * t);
      const seen = visible(causal, i0 + i + 1, t);
      softmaxRow(seen, row, row);
      memory.fill(at(row, seen), 0, <usize>(t - seen) << 2);
    }
    gemm<f32>(false, false, rows, e, keys, 1, block, t, v, ldv, false, at(o, i0 * ldo), ldo, scratch);
  }
}

/** Bytes of work space that the backward needs beside `scratch`. */
export function attentionWork(t: i32): i32 {
  return min(BLOCK, t) * t * 4;
}

export function attentionBackward(
  t: i32, d: i32, e: i32, causal: bool, scale: f32, q: usize, ldq: i32, k: usize, ldk: i32, v: usize, ldv: i32,
  p: usize, dout: usize, ldo: i32, dq: usize, lddq: i32, dk: usize, lddk: i32, dv: usize, lddv: i32, work: usize, scratch: usize,
): void {
  for (let i = 0; i < t; i++) {
    memory.fill(at(dk, i * lddk), 0, <usize>d << 2);
    memory.fill(at(dv, i * lddv), 0, <usize>e << 2);
  }
  for (let i0 = 0; i0 < t; i0 += BLOCK) {
    const rows = min(BLOCK, t - i0);
    const keys = visible(causal, i0 + rows, t);
    const block = at(p, i0 * t);
    const up = at(dout, i0 * ldo);
    gemm<f32>(true, false, keys, e, rows, 1, block, t, up, ldo, true, dv, lddv, scratch);
    gemm<f32>(false, true, rows, keys, e, 1, up, ldo, v, ldv, false, work, keys, scratch);
    for (let i = 0; i < rows; i++) {
      const row = at(work, i * keys);
      softmaxRowBackward(keys, at(block, i * t), row, row, scale);
    }
    gemm<f32>(false, false, rows, d, keys, 1, work, keys, k, ldk, false, at(dq, i0 * lddq), lddq, scratch);
    gemm<f32>(true, false, keys, d, rows, 1, work, keys, at(q, i0 * ldq), ldq, true, dk, lddk, scratch);
  }
}
