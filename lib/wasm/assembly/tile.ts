/**
 * The innermost loop of a product: a tile of c is kept in registers while k goes by. At each k it loads a row of the panel
 * of b, splats one number of the panel of a after the other, and does a multiply-add for each vector of the tile.
 *
 * An engine that works on vectors of 128 bits has sixteen registers, which 4 rows of 2 vectors use best. One that joins
 * neighbouring vectors into one of 256 bits (scripts/wasm.ts builds the module with WIDE = 1 for it) has as many that are twice as
 * wide: 6 rows of 4 vectors, which are 2 joined ones, are twelve sums at a time, enough not to wait for one another. Stores
 * to neighbouring addresses are what tells such an engine which vectors belong together.
 */

import { fma } from "./vector";

/** Rows of a tile. */
export const MR: i32 = WIDE ? 6 : 4;
/** Bytes of a tile's row. */
export const ROW: usize = WIDE ? 64 : 32;

/** Columns of a tile. */
@inline export function columnsOf<T>(): i32 {
  return <i32>(ROW / sizeof<T>());
}

/** c = alpha x, or c += that, for two vectors; with the bias, if there is one, on top. */
@inline function put<T>(c: usize, alpha: v128, bias: usize, add: bool, x0: v128, x1: v128): void {
  let y0 = v128.mul<T>(alpha, x0);
  let y1 = v128.mul<T>(alpha, x1);
  if (bias) {
    y0 = v128.add<T>(y0, v128.load(bias));
    y1 = v128.add<T>(y1, v128.load(bias, 16));
  }
  if (add) {
    y0 = v128.add<T>(y0, v128.load(c));
    y1 = v128.add<T>(y1, v128.load(c, 16));
  }
  v128.store(c, y0);
  v128.store(c, y1, 16);
}

/** A tile's row of four vectors. */
@inline function put4<T>(c: usize, alpha: v128, bias: usize, add: bool, x0: v128, x1: v128, x2: v128, x3: v128): void {
  put<T>(c, alpha, bias, add, x0, x1);
  put<T>(c + 32, alpha, bias ? bias + 32 : 0, add, x2, x3);
}

/** c = alpha * (panel of a) (panel of b) + bias, or += that. `ldc` in bytes; no bias at address 0. */
export function tile<T>(kc: i32, alpha: T, ap: usize, bp: usize, bias: usize, add: bool, c: usize, ldc: usize): void {
  if (WIDE) tile6x4<T>(kc, alpha, ap, bp, bias, add, c, ldc);
  else tile4x2<T>(kc, alpha, ap, bp, bias, add, c, ldc);
}

@inline function tile4x2<T>(kc: i32, alpha: T, ap: usize, bp: usize, bias: usize, add: bool, c: usize, ldc: usize): void {
  const zero = v128.splat<T>(<T>0);
  let c00 = zero, c01 = zero, c10 = zero, c11 = zero, c20 = zero, c21 = zero, c30 = zero, c31 = zero;
  for (let p = 0; p < kc; p++) {
    const b0 = v128.load(bp);
    const b1 = v128.load(bp, 16);
    let a = v128.load_splat<T>(ap);
    c00 = fma<T>(a, b0, c00);
    c01 = fma<T>(a, b1, c01);
    a = v128.load_splat<T>(ap, sizeof<T>());
    c10 = fma<T>(a, b0, c10);
    c11 = fma<T>(a, b1, c11);
    a = v128.load_splat<T>(ap, 2 * sizeof<T>());
    c20 = fma<T>(a, b0, c20);
    c21 = fma<T>(a, b1, c21);
    a = v128.load_splat<T>(ap, 3 * sizeof<T>());
    c30 = fma<T>(a, b0, c30);
    c31 = fma<T>(a, b1, c31);
    ap += 4 * sizeof<T>();
    bp += 32;
  }
  const scale = v128.splat<T>(alpha);
  put<T>(c, scale, bias, add, c00, c01);
  put<T>(c + ldc, scale, bias, add, c10, c11);
  put<T>(c + 2 * ldc, scale, bias, add, c20, c21);
  put<T>(c + 3 * ldc, scale, bias, add, c30, c31);
}

@inline function tile6x4<T>(kc: i32, alpha: T, ap: usize, bp: usize, bias: usize, add: bool, c: usize, ldc: usize): void {
  const zero = v128.splat<T>(<T>0);
  let c00 = zero, c01 = zero, c02 = zero, c03 = zero, c10 = zero, c11 = zero, c12 = zero, c13 = zero;
  let c20 = zero, c21 = zero, c22 = zero, c23 = zero, c30 = zero, c31 = zero, c32 = zero, c33 = zero;
  let c40 = zero, c41 = zero, c42 = zero, c43 = zero, c50 = zero, c51 = zero, c52 = zero, c53 = zero;
  for (let p = 0; p < kc; p++) {
    const b0 = v128.load(bp);
    const b1 = v128.load(bp, 16);
    const b2 = v128.load(bp, 32);
    const b3 = v128.load(bp, 48);
    let a = v128.load_splat<T>(ap);
    c00 = fma<T>(a, b0, c00);
    c01 = fma<T>(a, b1, c01);
    c02 = fma<T>(a, b2, c02);
    c03 = fma<T>(a, b3, c03);
    a = v128.load_splat<T>(ap, sizeof<T>());
    c10 = fma<T>(a, b0, c10);
    c11 = fma<T>(a, b1, c11);
    c12 = fma<T>(a, b2, c12);
    c13 = fma<T>(a, b3, c13);
    a = v128.load_splat<T>(ap, 2 * sizeof<T>());
    c20 = fma<T>(a, b0, c20);
    c21 = fma<T>(a, b1, c21);
    c22 = fma<T>(a, b2, c22);
    c23 = fma<T>(a, b3, c23);
    a = v128.load_splat<T>(ap, 3 * sizeof<T>());
    c30 = fma<T>(a, b0, c30);
    c31 = fma<T>(a, b1, c31);
    c32 = fma<T>(a, b2, c32);
    c33 = fma<T>(a, b3, c33);
    a = v128.load_splat<T>(ap, 4 * sizeof<T>());
    c40 = fma<T>(a, b0, c40);
    c41 = fma<T>(a, b1, c41);
    c42 = fma<T>(a, b2, c42);
    c43 = fma<T>(a, b3, c43);
    a = v128.load_splat<T>(ap, 5 * sizeof<T>());
    c50 = fma<T>(a, b0, c50);
    c51 = fma<T>(a, b1, c51);
    c52 = fma<T>(a, b2, c52);
    c53 = fma<T>(a, b3, c53);
    ap += 6 * sizeof<T>();
    bp += 64;
  }
  const scale = v128.splat<T>(alpha);
  put4<T>(c, scale, bias, add, c00, c01, c02, c03);
  put4<T>(c + ldc, scale, bias, add, c10, c11, c12, c13);
  put4<T>(c + 2 * ldc, scale, bias, add, c20, c21, c22, c23);
  put4<T>(c + 3 * ldc, scale, bias, add, c30, c31, c32, c33);
  put4<T>(c + 4 * ldc, scale, bias, add, c40, c41, c42, c43);
  put4<T>(c + 5 * ldc, scale, bias, add, c50, c51, c52, c53);
}
