import { tensor, Tensor, type Rng } from "gradbook";

export type Scheme = "lecun" | "xavier" | "he";

/** The standard deviation of a scheme's weights. */
export function weightStd(scheme: Scheme, fanIn: number, fanOut: number): number {
  throw new Error("not written yet");
}

/** The uniform distribution on [-a, a] with standard deviation std: its a. */
export function uniformBound(std: number): number {
  throw new Error("not written yet");
}

/** Normal weights [fanOut, fanIn], one random.normal() each, row by row. */
export function drawWeights(scheme: Scheme, fanIn: number, fanOut: number, random: Rng): Tensor {
  throw new Error("not written yet");
}

/** Second moments of the outputs of layers 0 to L; layer 0 is the input. */
export function forwardMoments(
  widths: number[], stds: number[], q0: number, activation: "linear" | "relu",
): number[] {
  throw new Error("not written yet");
}

/** Second moments of the gradients at the outputs of layers 0 to L, from the one at layer L. */
export function backwardMoments(
  widths: number[], stds: number[], gL: number, activation: "linear" | "relu",
): number[] {
  throw new Error("not written yet");
}
