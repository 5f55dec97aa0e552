import { type Rng } from "gradbook";

/** d/dθ of the expected cost, p = σ(θ): l1 with probability p, l0 with 1 - p. */
export function exactGradient(theta: number, l0: number, l1: number): number {
  throw new Error("not written yet");
}

/** Mean of (L_i - b) s_i over N tosses z (0 or 1) with their costs. */
export function estimate(theta: number, z: number[], losses: number[], b: number): number {
  throw new Error("not written yet");
}

/** The baseline of least variance. */
export function bestBaseline(theta: number, l0: number, l1: number): number {
  throw new Error("not written yet");
}

/** As `estimate`, each sample with the mean cost of the others as its baseline. */
export function leaveOneOut(theta: number, z: number[], losses: number[]): number {
  throw new Error("not written yet");
}

/** N tosses of your own, L = z², no baseline. */
export function sampledGradient(theta: number, N: number, random: Rng): number {
  throw new Error("not written yet");
}
