/** The module's exports. AssemblyScript exports no generics, so the products are named for each type. */

import { gemm } from "./gemm";

export { gemmScratch } from "./gemm";
export { activation, activationBackward, addRows, sumRows } from "./elementwise";
export { crossEntropy, crossEntropyBackward, layerNorm, layerNormBackward, softmax, softmaxBackward } from "./rows";
export { attention, attentionBackward, attentionWork } from "./attention";

export function gemm_f32(
  transA: bool, transB: bool, m: i32, n: i32, k: i32, alpha: f32,
  a: usize, lda: i32, b: usize, ldb: i32, add: bool, c: usize, ldc: i32, scratch: usize,
): void {
  gemm<f32>(transA, transB, m, n, k, alpha, a, lda, b, ldb, add, c, ldc, scratch);
}

export function gemm_f64(
  transA: bool, transB: bool, m: i32, n: i32, k: i32, alpha: f64,
  a: usize, lda: i32, b: usize, ldb: i32, add: bool, c: usize, ldc: i32, scratch: usize,
): void {
  gemm<f64>(transA, transB, m, n, k, alpha, a, lda, b, ldb, add, c, ldc, scratch);
}
