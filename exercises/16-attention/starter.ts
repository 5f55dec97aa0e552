import { tensor, type Tensor } from "gradbook";

/** q, k [B, T, d], v [B, T, dv] -> o [B, T, dv] and the weights p [B, T, T]. Causal: query i sees keys 0..i only. */
export function attentionForward(q: Tensor, k: Tensor, v: Tensor, causal: boolean): { o: Tensor; p: Tensor } {
  throw new Error("not written yet");
}

/** dO [B, T, dv], and p [B, T, T] from the forward -> dq, dk [B, T, d], dv [B, T, dv]. */
export function attentionBackward(
  dO: Tensor, q: Tensor, k: Tensor, v: Tensor, p: Tensor,
): { dq: Tensor; dk: Tensor; dv: Tensor } {
  throw new Error("not written yet");
}
