import { concat, full, zeros, type Tensor } from "gradbook";

/** q, k [T, d], v [T, dv] -> o [T, dv] and lse [T], tile by tile of `block` rows and columns. */
export function flashForward(q: Tensor, k: Tensor, v: Tensor, block: number): { o: Tensor; lse: Tensor } {
  throw new Error("not written yet");
}

/** One tile's share, of the shapes of qi [bq, d], kj [bk, d] and vj [bk, dv]; dOi [bq, dv], lsei, deltai [bq]. */
export function backwardTile(
  qi: Tensor, kj: Tensor, vj: Tensor, dOi: Tensor, lsei: Tensor, deltai: Tensor,
): { dqi: Tensor; dkj: Tensor; dvj: Tensor } {
  throw new Error("not written yet");
}

/** dO, o [T, dv], lse [T] -> dq, dk [T, d], dv [T, dv], never holding more than a tile of P. */
export function flashBackward(
  dO: Tensor, q: Tensor, k: Tensor, v: Tensor, o: Tensor, lse: Tensor, block: number,
): { dq: Tensor; dk: Tensor; dv: Tensor } {
  throw new Error("not written yet");
}
