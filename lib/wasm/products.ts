/** Products and sums that several layers share, on addresses. */

import type { DType } from "../tensor";
import type { Frame } from "./memory";
import type { Wasm } from "./module";

/** A row-major matrix at an address; `ld` is the elements from one row to the next. */
export interface Matrix {
  readonly at: number;
  readonly ld: number;
}

export const matrix = (at: number, ld: number): Matrix => ({ at, ld });

/** c[m, n] = alpha op(a) op(b), where a `T` in `kind` transposes: "NT" is a b^T. Added to c when `add`. */
export function multiply(
  { kernels }: Wasm, { scratch }: Frame, dtype: DType, kind: "NN" | "NT" | "TN", m: number, n: number, k: number,
  a: Matrix, b: Matrix, c: Matrix, { alpha = 1, add = false } = {},
): void {
  const gemm = dtype === "float64" ? kernels.gemm_f64 : kernels.gemm_f32;
  gemm(kind[0] === "T" ? 1 : 0, kind[1] === "T" ? 1 : 0, m, n, k, alpha, a.at, a.ld, b.at, b.ld, add ? 1 : 0, c.at, c.ld, scratch);
}

/** y[m, out] = x W^T + b, in f32. */
export function affine(w: Wasm, f: Frame, m: number, inner: number, out: number, x: number, W: number, b: number | undefined, y: number): void {
  multiply(w, f, "float32", "NT", m, out, inner, matrix(x, inner), matrix(W, inner), matrix(y, out));
  if (b !== undefined) w.kernels.addRows(m, out, y, b);
}
