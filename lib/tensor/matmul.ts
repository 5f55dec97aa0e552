/**
 * C = A B for row-major or transposed matrices.
 *
 * Plain JavaScript's best form: both matrices are packed into contiguous strips of four rows (A) or four columns (B),
 * and a 4 x 4 tile of C is kept in sixteen local variables, so each loaded number is used four times.
 */

import { checkInterrupt } from "../interrupt";
import type { Data } from "./tensor";

/** A matrix inside an array: element (i, j) is `data[offset + i * row + j * column]`. */
export interface Matrix {
  readonly data: Data;
  readonly offset: number;
  readonly row: number;
  readonly column: number;
}

const TILE = 4;
/** Columns of B worked on together, so that their strips stay in the second-level cache. */
const BLOCK = 64;
/** Below this many multiplications packing costs more than it saves. */
const SMALL = 2048;

/** out[offset + i * N + j] = sum over k of A(i, k) B(k, j); A is M x K, B is K x N. Sums are kept in doubles. */
export function matmulInto(out: Data, offset: number, a: Matrix, b: Matrix, M: number, N: number, K: number): void {
  if (M * N * K <= SMALL || M === 1 || N === 1) matmulSmall(out, offset, a, b, M, N, K);
  else matmulTiled(out, offset, a, b, M, N, K);
}

function matmulSmall(out: Data, offset: number, a: Matrix, b: Matrix, M: number, N: number, K: number): void {
  const { data: A, row: ar, column: ac } = a;
  const { data: B, row: br, column: bc } = b;
  for (let i = 0; i < M; i++) {
    for (let j = 0; j < N; j++) {
      let p = a.offset + i * ar;
      let q = b.offset + j * bc;
      let sum = 0;
      for (let k = 0; k < K; k++) {
        sum += A[p] * B[q];
        p += ac;
        q += br;
      }
      out[offset + i * N + j] = sum;
    }
  }
}

/** Strips of four lines: `strip s` holds, for each k, the four numbers of lines 4s .. 4s + 3; zeros past the end. */
function pack(m: Matrix, lines: number, K: number, lineStride: number, kStride: number, into: Float64Array): void {
  const { data } = m;
  let o = 0;
  for (let first = 0; first < lines; first += TILE) {
    const count = Math.min(TILE, lines - first);
    const start = m.offset + first * lineStride;
    if (count === TILE) {
      const l1 = lineStride;
      const l2 = 2 * lineStride;
      const l3 = 3 * lineStride;
      for (let k = 0, p = start; k < K; k++, p += kStride, o += TILE) {
        into[o] = data[p];
        into[o + 1] = data[p + l1];
        into[o + 2] = data[p + l2];
        into[o + 3] = data[p + l3];
      }
    } else {
      for (let k = 0, p = start; k < K; k++, p += kStride, o += TILE) {
        for (let l = 0; l < TILE; l++) into[o + l] = l < count ? data[p + l * lineStride] : 0;
      }
    }
  }
}

let packedA = new Float64Array(0);
let packedB = new Float64Array(0);

function matmulTiled(out: Data, offset: number, a: Matrix, b: Matrix, M: number, N: number, K: number): void {
  const needA = Math.ceil(M / TILE) * TILE * K;
  const needB = Math.ceil(N / TILE) * TILE * K;
  if (packedA.length < needA) packedA = new Float64Array(needA);
  if (packedB.length < needB) packedB = new Float64Array(needB);
  pack(a, M, K, a.row, a.column, packedA);
  pack(b, N, K, b.column, b.row, packedB);
  for (let jBlock = 0; jBlock < N; jBlock += BLOCK) {
    const jEnd = Math.min(jBlock + BLOCK, N);
    checkInterrupt();
    for (let i = 0; i < M; i += TILE) {
      for (let j = jBlock; j < jEnd; j += TILE) {
        tile(out, offset + i * N + j, N, packedA, i * K, packedB, j * K, K, Math.min(TILE, M - i), Math.min(TILE, N - j));
      }
    }
  }
}

function tile(
  out: Data, o: number, N: number,
  A: Float64Array, p: number, B: Float64Array, q: number,
  K: number, rows: number, columns: number,
): void {
  let c00 = 0, c01 = 0, c02 = 0, c03 = 0;
  let c10 = 0, c11 = 0, c12 = 0, c13 = 0;
  let c20 = 0, c21 = 0, c22 = 0, c23 = 0;
  let c30 = 0, c31 = 0, c32 = 0, c33 = 0;
  for (let k = 0; k < K; k++, p += TILE, q += TILE) {
    const b0 = B[q], b1 = B[q + 1], b2 = B[q + 2], b3 = B[q + 3];
    const a0 = A[p], a1 = A[p + 1], a2 = A[p + 2], a3 = A[p + 3];
    c00 += a0 * b0; c01 += a0 * b1; c02 += a0 * b2; c03 += a0 * b3;
    c10 += a1 * b0; c11 += a1 * b1; c12 += a1 * b2; c13 += a1 * b3;
    c20 += a2 * b0; c21 += a2 * b1; c22 += a2 * b2; c23 += a2 * b3;
    c30 += a3 * b0; c31 += a3 * b1; c32 += a3 * b2; c33 += a3 * b3;
  }
  if (rows === TILE && columns === TILE) {
    out[o] = c00; out[o + 1] = c01; out[o + 2] = c02; out[o + 3] = c03;
    o += N;
    out[o] = c10; out[o + 1] = c11; out[o + 2] = c12; out[o + 3] = c13;
    o += N;
    out[o] = c20; out[o + 1] = c21; out[o + 2] = c22; out[o + 3] = c23;
    o += N;
    out[o] = c30; out[o + 1] = c31; out[o + 2] = c32; out[o + 3] = c33;
    return;
  }
  const c = [c00, c01, c02, c03, c10, c11, c12, c13, c20, c21, c22, c23, c30, c31, c32, c33];
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) out[o + i * N + j] = c[i * TILE + j];
}
