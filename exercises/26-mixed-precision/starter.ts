import { type Tensor } from "gradbook";

/** Rounds to float16; given. */
export type Half = <T extends Tensor | number>(x: T) => T;

/** x [N, in], w [out, in], target [N, out] -> the scaled gradient of w, in float16, and the true one, unscaled. */
export function scaledGradient(
  half: Half, x: Tensor, w: Tensor, target: Tensor, S: number,
): { scaled: Tensor; dw: Tensor } {
  throw new Error("not written yet");
}

/** 1 if every number of every tensor is finite, else 0. */
export function isFinite16(gradients: Tensor[]): number {
  throw new Error("not written yet");
}

/** The loss scale after a step: finite is 1, or 0 after an overflow. */
export function updateScale(
  state: { S: number; good: number }, finite: number, growthInterval: number,
): { S: number; good: number } {
  throw new Error("not written yet");
}

/** Gradient descent in float16 with float32 master weights w. */
export function train(
  half: Half, x: Tensor, target: Tensor, w: Tensor, lr: number, S: number, steps: number,
): { w: Tensor; S: number; skipped: number } {
  throw new Error("not written yet");
}
