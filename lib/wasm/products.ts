/** Products that several layers share, on addresses. */

import type { DType } from "../tensor";
import { wasm } from "./module";

/** A row-major matrix at an address; `ld` is the elements from one row to the next. */
export interface Matrix {
  readonly at: number;
  readonly ld: number;
}

export const matrix = (at: number, ld: number): Matrix => ({ at, ld });

/**
 * c[m, n] = op(a) op(b) + bias[n], where a `T` in `kind` transposes: "NT" is a b^T. No bias is address 0.
 * Threads take rows of c, or columns where there are more of them.
 */
export function multiply(
  dtype: DType, kind: "NN" | "NT" | "TN", m: number, n: number, k: number, a: Matrix, b: Matrix, c: Matrix, bias = 0,
): void {
  const { threads } = wasm();
  const [kernel, bytes] = dtype === "float64" ? ["gemm_f64", 8] : ["gemm_f32", 4];
  const [transA, transB] = [+(kind[0] === "T"), +(kind[1] === "T")];
  const rowOfA = bytes * (transA ? 1 : a.ld);
  const columnOfB = bytes * (transB ? b.ld : 1);
  const byRows = m >= n;
  threads.run(threads.pieces(byRows ? m : n, 2 * k * (byRows ? n : m), 32).map(([from, count]) => byRows
    ? [kernel, transA, transB, count, n, k, 1, a.at + from * rowOfA, a.ld, b.at, b.ld, bias, 0, c.at + from * c.ld * bytes, c.ld]
    : [kernel, transA, transB, m, count, k, 1, a.at, a.ld, b.at + from * columnOfB, b.ld, bias && bias + from * bytes, 0, c.at + from * bytes, c.ld]));
}
