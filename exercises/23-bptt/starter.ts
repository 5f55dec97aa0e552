import { concat, stack, zeros, type Tensor } from "gradbook";

/** What the forward keeps: x [B, T, I], h0 [B, H], h [B, T, H], Wx [H, I], Wh [H, H]. */
export interface RnnCache {
  x: Tensor;
  h0: Tensor;
  h: Tensor;
  Wx: Tensor;
  Wh: Tensor;
}

/** dh [B, T, H] -> dx [B, T, I], dh0 [B, H], dWx [H, I], dWh [H, H], db [H]. */
export function bptt(dh: Tensor, cache: RnnCache): Record<"dx" | "dh0" | "dWx" | "dWh" | "db", Tensor> {
  throw new Error("not written yet");
}

/** As bptt; no gradient crosses from a chunk of k steps into the one before it. */
export function truncatedBptt(dh: Tensor, cache: RnnCache, k: number): Record<"dx" | "dh0" | "dWx" | "dWh" | "db", Tensor> {
  throw new Error("not written yet");
}

/** dhT [H], h [T, H], Wh [H, H] -> the T norms of the gradients with respect to h_1, ..., h_T. */
export function gradientNorms(dhT: Tensor, h: Tensor, Wh: Tensor): number[] {
  throw new Error("not written yet");
}

/** One step of an LSTM: dh, dc and all of cache [B, H] -> da [B, 4H] (i, f, g, o), dcPrev [B, H]. */
export function lstmStepBackward(
  dh: Tensor, dc: Tensor, cache: Record<"i" | "f" | "g" | "o" | "c" | "cPrev", Tensor>,
): { da: Tensor; dcPrev: Tensor } {
  throw new Error("not written yet");
}
