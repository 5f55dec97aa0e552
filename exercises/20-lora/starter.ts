import { type Tensor } from "gradbook";

/** dy [N, m], x [N, n], W [m, n], A [r, n], B [m, r] -> dB [m, r], dA [r, n], dx [N, n]. */
export function loraBackward(
  dy: Tensor, x: Tensor, W: Tensor, A: Tensor, B: Tensor, alpha: number,
): { dB: Tensor; dA: Tensor; dx: Tensor } {
  throw new Error("not written yet");
}

/** How many numbers get a gradient: W of [m, n] itself, or A [r, n] and B [m, r]. */
export function loraCounts(m: number, n: number, r: number): { full: number; lora: number } {
  throw new Error("not written yet");
}

/** Gradient descent on A and B; W is frozen. x [N, n], target [N, m]. One loss a step, before its change. */
export function trainLora(
  x: Tensor, target: Tensor, W: Tensor, A: Tensor, B: Tensor, alpha: number, lr: number, steps: number,
): { losses: number[]; A: Tensor; B: Tensor } {
  throw new Error("not written yet");
}

/** Gradient descent on W. x [N, n], target [N, m], W [m, n]. One loss a step, before its change. */
export function trainFull(x: Tensor, target: Tensor, W: Tensor, lr: number, steps: number): { losses: number[]; W: Tensor } {
  throw new Error("not written yet");
}
