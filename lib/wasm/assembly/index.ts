/** The module's exports. AssemblyScript exports no generics, so the products are named for each type. */

import { gemm } from "./gemm";

export { gemmScratch, setScratch } from "./gemm";
export {
  add, copyRows, div, gelu, geluBackward, geluTanh, geluTanhBackward, leakyRelu, leakyReluBackward, mul, relu, reluBackward,
  sigmoid, sigmoidBackward, silu, siluBackward, sub, sumRows, tanh, tanhBackward,
} from "./elementwise";
export { embedding, embeddingBackward } from "./embedding";
export { crossEntropy, crossEntropyBackward, layerNorm, layerNormBackward, softmax, softmaxBackward } from "./rows";
export { attention, attentionBackward, attentionWork } from "./attention";
export { adam, momentum, sgd } from "./updates";

export function gemm_f32(
  transA: bool, transB: bool, m: i32, n: i32, k: i32, alpha: f32,
  a: usize, lda: i32, b: usize, ldb: i32, bias: usize, add: bool, c: usize, ldc: i32,
): void {
  gemm<f32>(transA, transB, m, n, k, alpha, a, lda, b, ldb, bias, add, c, ldc);
}

export function gemm_f64(
  transA: bool, transB: bool, m: i32, n: i32, k: i32, alpha: f64,
  a: usize, lda: i32, b: usize, ldb: i32, bias: usize, add: bool, c: usize, ldc: i32,
): void {
  gemm<f64>(transA, transB, m, n, k, alpha, a, lda, b, ldb, bias, add, c, ldc);
}
