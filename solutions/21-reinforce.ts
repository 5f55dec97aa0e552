import { type Rng } from "gradbook";

const sigmoidOf = (theta: number): number => 1 / (1 + Math.exp(-theta));

/** d/dθ of the expected cost, p = σ(θ): l1 with probability p, l0 with 1 - p. */
export function exactGradient(theta: number, l0: number, l1: number): number {
  const p = sigmoidOf(theta);
  return p * (1 - p) * (l1 - l0);
}

/** Mean of (L_i - b) s_i over N tosses z (0 or 1) with their costs. */
export function estimate(theta: number, z: number[], losses: number[], b: number): number {
  const p = sigmoidOf(theta);
  let sum = 0;
  for (let i = 0; i < z.length; i++) sum += (losses[i] - b) * (z[i] - p);
  return sum / z.length;
}

/** The baseline of least variance. */
export function bestBaseline(theta: number, l0: number, l1: number): number {
  const p = sigmoidOf(theta);
  const weight1 = p * (1 - p) ** 2;
  const weight0 = (1 - p) * p ** 2;
  return (weight1 * l1 + weight0 * l0) / (weight1 + weight0);
}

/** As `estimate`, each sample with the mean cost of the others as its baseline. */
export function leaveOneOut(theta: number, z: number[], losses: number[]): number {
  const p = sigmoidOf(theta);
  const N = z.length;
  const total = losses.reduce((a, b) => a + b, 0);
  let sum = 0;
  for (let i = 0; i < N; i++) sum += (losses[i] - (total - losses[i]) / (N - 1)) * (z[i] - p);
  return sum / N;
}

/** N tosses of your own, L = z², no baseline. */
export function sampledGradient(theta: number, N: number, random: Rng): number {
  const p = sigmoidOf(theta);
  const z = Array.from({ length: N }, () => (random.uniform() < p ? 1 : 0));
  return estimate(theta, z, z.map((value) => value ** 2), 0);
}
