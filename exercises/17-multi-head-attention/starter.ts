import { concat, type Tensor } from "gradbook";

/** Given: [B, H, T, dh] -> [B, T, H dh], the inverse of splitHeads. */
export function mergeHeads(x: Tensor): Tensor {
  const [B, H, T, dh] = x.shape;
  return x.transpose([0, 2, 1, 3]).reshape(B, T, H * dh);
}

/** x [B, T, C] -> [B, H, T, C / H]. */
export function splitHeads(x: Tensor, heads: number): Tensor {
  throw new Error("not written yet");
}

/**
 * One head, rows are tokens: a [T, C], q, k, v [T, d], rho [T, T], wq, wk, wv [C, d].
 * D [T, d] is the gradient with respect to o.
 * Returns dwq, dwk, dwv [C, d], dbq, dbk, dbv [d], da [T, C].
 */
export function rowWiseGradients(
  a: Tensor, q: Tensor, k: Tensor, v: Tensor, rho: Tensor, wq: Tensor, wk: Tensor, wv: Tensor, D: Tensor,
): Record<"dwq" | "dbq" | "dwk" | "dbk" | "dwv" | "dbv" | "da", Tensor> {
  throw new Error("not written yet");
}

/** What the forward keeps: x, o [B, T, C], q, k, v [B, H, T, dh], p [B, H, T, T], Wqkv [3C, C], Wo [C, C]. */
export interface MultiHeadCache {
  x: Tensor;
  Wqkv: Tensor;
  Wo: Tensor;
  heads: number;
  q: Tensor;
  k: Tensor;
  v: Tensor;
  p: Tensor;
  o: Tensor;
}

/** dy [B, T, C] -> dWo [C, C], dbo [C], dWqkv [3C, C], dbqkv [3C], dx [B, T, C]. */
export function multiHeadBackward(
  dy: Tensor, cache: MultiHeadCache,
): Record<"dWo" | "dbo" | "dWqkv" | "dbqkv" | "dx", Tensor> {
  throw new Error("not written yet");
}
