import { type Tensor } from "gradbook";

/** step * clip(round(w / step), -n, n), of any shape. */
export function quantize(w: Tensor, step: number, n: number): Tensor {
  throw new Error("not written yet");
}

/** The straight-through gradient with respect to w; dwhat has w's shape. */
export function quantizeBackward(dwhat: Tensor, w: Tensor, step: number, n: number): Tensor {
  throw new Error("not written yet");
}

/** ŵ = round(w), L = (ŵ - target)². */
export function steUpdate(w: number, target: number, lr: number): { loss: number; dw: number; next: number } {
  throw new Error("not written yet");
}

/** x [N, in], target [N, out], w [out, in]. One loss a step, before its change. */
export function trainQuantized(
  x: Tensor, target: Tensor, w: Tensor, step: number, n: number, lr: number, steps: number,
): { losses: number[]; w: Tensor } {
  throw new Error("not written yet");
}
