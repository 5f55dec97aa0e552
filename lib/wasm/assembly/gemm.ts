/**
 * General matrix product: c[m, n] = alpha * op(a) op(b) + bias, or c += that.
 *
 * Both operands are first copied ("packed") into the order in which the innermost loop reads them, which also
 * takes care of transposes and edges: what a tile lacks is zero. tile.ts has the innermost loop.
 */

import { columnsOf, MR, ROW, tile } from "./tile";
import { bytes } from "./vector";

/** A block of a (MC x KC) stays in the second-level cache, a panel of b (KC x columns of a tile) in the first. */
const MC: i32 = 96;
const KC: i32 = 256;
const NC: i32 = 1024;

/** Bytes that `gemm` needs beside its operands. */
export function gemmScratch(): i32 {
  return (MC * KC + KC * NC + MR * columnsOf<f64>()) * 8;
}

/** Where they lie. Each thread has an instance of this module, and so a place of its own. */
let scratch: usize = 0;

export function setScratch(at: usize): void {
  scratch = at;
}

/** Four rows of four f32, a step apart, stored as four columns. */
@inline function transpose4(from: usize, step: usize, to: usize, toStep: usize): void {
  const r0 = v128.load(from);
  const r1 = v128.load(from + step);
  const r2 = v128.load(from + 2 * step);
  const r3 = v128.load(from + 3 * step);
  const low01 = v128.shuffle<f32>(r0, r1, 0, 4, 1, 5);
  const low23 = v128.shuffle<f32>(r2, r3, 0, 4, 1, 5);
  const high01 = v128.shuffle<f32>(r0, r1, 2, 6, 3, 7);
  const high23 = v128.shuffle<f32>(r2, r3, 2, 6, 3, 7);
  v128.store(to, v128.shuffle<f32>(low01, low23, 0, 1, 4, 5));
  v128.store(to + toStep, v128.shuffle<f32>(low01, low23, 2, 3, 6, 7));
  v128.store(to + 2 * toStep, v128.shuffle<f32>(high01, high23, 0, 1, 4, 5));
  v128.store(to + 3 * toStep, v128.shuffle<f32>(high01, high23, 2, 3, 6, 7));
}

/** A column of a panel of a: MR numbers, a step apart. */
@inline function packColumn<T>(from: usize, step: usize, to: usize): void {
  store<T>(to, load<T>(from));
  store<T>(to + sizeof<T>(), load<T>(from + step));
  store<T>(to + 2 * sizeof<T>(), load<T>(from + 2 * step));
  store<T>(to + 3 * sizeof<T>(), load<T>(from + 3 * step));
  if (MR > 4) {
    store<T>(to + 4 * sizeof<T>(), load<T>(from + 4 * step));
    store<T>(to + 5 * sizeof<T>(), load<T>(from + 5 * step));
  }
}

/** Copies rows [i0, i0 + mc) and columns [p0, p0 + kc) of op(a) as panels of MR rows, k by k. */
function packA<T>(trans: bool, a: usize, lda: i32, i0: i32, p0: i32, mc: i32, kc: i32, out: usize): void {
  // From one row of op(a) to the next, and from one column to the next, in bytes.
  const rowStep = bytes<T>(trans ? 1 : lda);
  const colStep = bytes<T>(trans ? lda : 1);
  /** Four rows are copied at a time. Of six the last four overlap the first, and write the same there. */
  const second = bytes<T>(MR - 4);
  for (let i = 0; i < mc; i += MR) {
    const rows = min(MR, mc - i);
    let from = a + <usize>(i0 + i) * rowStep + <usize>p0 * colStep;
    if (rows == MR) {
      let p = 0;
      if (sizeof<T>() == 4 && trans) {
        // A row of the panel lies in a row of a.
        for (; p < kc; p++) {
          v128.store(out, v128.load(from));
          if (MR > 4) v128.store(out + second, v128.load(from + second));
          out += bytes<T>(MR);
          from += colStep;
        }
      } else if (sizeof<T>() == 4) {
        for (; p + 4 <= kc; p += 4) {
          transpose4(from, rowStep, out, bytes<T>(MR));
          if (MR > 4) transpose4(from + <usize>(MR - 4) * rowStep, rowStep, out + second, bytes<T>(MR));
          out += 4 * bytes<T>(MR);
          from += 16;
        }
      }
      for (; p < kc; p++) {
        packColumn<T>(from, rowStep, out);
        out += bytes<T>(MR);
        from += colStep;
      }
    } else {
      for (let p = 0; p < kc; p++) {
        for (let r = 0; r < MR; r++) {
          store<T>(out, r < rows ? load<T>(from + <usize>r * rowStep) : <T>0);
          out += sizeof<T>();
        }
        from += colStep;
      }
    }
  }
}

/** Copies rows [p0, p0 + kc) and columns [j0, j0 + nc) of op(b) as panels as wide as a tile, k by k. */
function packB<T>(trans: bool, b: usize, ldb: i32, p0: i32, j0: i32, kc: i32, nc: i32, out: usize): void {
  const NR = columnsOf<T>();
  const rowStep = bytes<T>(trans ? 1 : ldb);
  const colStep = bytes<T>(trans ? ldb : 1);
  for (let j = 0; j < nc; j += NR) {
    const columns = min(NR, nc - j);
    let from = b + <usize>p0 * rowStep + <usize>(j0 + j) * colStep;
    if (columns == NR && !trans) {
      for (let p = 0; p < kc; p++) {
        v128.store(out, v128.load(from));
        v128.store(out, v128.load(from, 16), 16);
        if (ROW > 32) {
          v128.store(out, v128.load(from, 32), 32);
          v128.store(out, v128.load(from, 48), 48);
        }
        out += ROW;
        from += rowStep;
      }
    } else if (columns == NR) {
      // Transposed: each column of op(b) is a contiguous row of b.
      let done = 0;
      if (sizeof<T>() == 4) {
        for (; done + 4 <= kc; done += 4) {
          const to = out + <usize>done * ROW;
          const at = from + bytes<T>(done);
          transpose4(at, colStep, to, ROW);
          transpose4(at + 4 * colStep, colStep, to + 16, ROW);
          if (ROW > 32) {
            transpose4(at + 8 * colStep, colStep, to + 32, ROW);
            transpose4(at + 12 * colStep, colStep, to + 48, ROW);
          }
        }
      }
      for (let s = 0; s < NR; s++) {
        let to = out + <usize>done * ROW + bytes<T>(s);
        let at = from + <usize>s * colStep + bytes<T>(done);
        for (let p = done; p < kc; p++) {
          store<T>(to, load<T>(at));
          to += ROW;
          at += sizeof<T>();
        }
      }
      out += <usize>kc * ROW;
    } else {
      for (let p = 0; p < kc; p++) {
        for (let s = 0; s < NR; s++) {
          store<T>(out, s < columns ? load<T>(from + <usize>s * colStep) : <T>0);
          out += sizeof<T>();
        }
        from += rowStep;
      }
    }
  }
}

/**
 * c[m, n] = alpha * op(a)[m, k] op(b)[k, n] + bias[n], added to c when `add`. Row-major; `lda`, `ldb`, `ldc` are the
 * elements from one stored row to the next, so a head's slice of a wider matrix is an operand like any other. A bias at
 * address 0 is none.
 */
export function gemm<T>(
  transA: bool, transB: bool, m: i32, n: i32, k: i32, alpha: T,
  a: usize, lda: i32, b: usize, ldb: i32, bias: usize, add: bool, c: usize, ldc: i32,
): void {
  const NR = columnsOf<T>();
  const packedA = scratch;
  const packedB = packedA + bytes<T>(MC * KC);
  const edge = packedB + bytes<T>(KC * NC);
  for (let j0 = 0; j0 < n; j0 += NC) {
    const nc = min(NC, n - j0);
    // Even without a single k there is one round: it writes zeros, and the bias.
    for (let p0 = 0; p0 < max(k, 1); p0 += KC) {
      const kc = min(KC, k - p0);
      const adds = add || p0 > 0;
      packB<T>(transB, b, ldb, p0, j0, kc, nc, packedB);
      for (let i0 = 0; i0 < m; i0 += MC) {
        const mc = min(MC, m - i0);
        packA<T>(transA, a, lda, i0, p0, mc, kc, packedA);
        for (let j = 0; j < nc; j += NR) {
          const bp = packedB + bytes<T>(j * kc);
          const columns = min(NR, nc - j);
          const shift: usize = bias && p0 == 0 ? bias + bytes<T>(j0 + j) : 0;
          for (let i = 0; i < mc; i += MR) {
            const ap = packedA + bytes<T>(i * kc);
            const rows = min(MR, mc - i);
            const to = c + bytes<T>((i0 + i) * ldc + j0 + j);
            if (rows == MR && columns == NR) {
              tile<T>(kc, alpha, ap, bp, shift, adds, to, bytes<T>(ldc));
            } else {
              tile<T>(kc, alpha, ap, bp, 0, false, edge, ROW);
              for (let r = 0; r < rows; r++) {
                for (let s = 0; s < columns; s++) {
                  const at = to + bytes<T>(r * ldc + s);
                  let x = load<T>(edge + <usize>r * ROW + bytes<T>(s));
                  if (shift) x += load<T>(shift + bytes<T>(s));
                  store<T>(at, adds ? load<T>(at) + x : x);
                }
              }
            }
          }
        }
      }
    }
  }
}
