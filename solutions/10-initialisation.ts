import { tensor, Tensor, type Rng } from "gradbook";

export type Scheme = "lecun" | "xavier" | "he";

/** The standard deviation of a scheme's weights. */
export function weightStd(scheme: Scheme, fanIn: number, fanOut: number): number {
  const variances = { lecun: 1 / fanIn, xavier: 2 / (fanIn + fanOut), he: 2 / fanIn };
  return Math.sqrt(variances[scheme]);
}

/** The variance of a uniform distribution on [-a, a] is a²/3. */
export function uniformBound(std: number): number {
  return Math.sqrt(3) * std;
}

/** Normal weights [fanOut, fanIn], one random.normal() each, row by row. */
export function drawWeights(scheme: Scheme, fanIn: number, fanOut: number, random: Rng): Tensor {
  const std = weightStd(scheme, fanIn, fanOut);
  return tensor(Float64Array.from({ length: fanOut * fanIn }, () => std * random.normal()), [fanOut, fanIn]);
}

/** Second moments of the outputs of layers 0 to L; layer 0 is the input. */
export function forwardMoments(
  widths: number[], stds: number[], q0: number, activation: "linear" | "relu",
): number[] {
  const kept = activation === "relu" ? 1 / 2 : 1;
  const q = [q0];
  stds.forEach((std, i) => q.push(kept * widths[i] * std ** 2 * q[i]));
  return q;
}

/** Second moments of the gradients at the outputs of layers 0 to L, from the one at layer L. */
export function backwardMoments(
  widths: number[], stds: number[], gL: number, activation: "linear" | "relu",
): number[] {
  const kept = activation === "relu" ? 1 / 2 : 1;
  const g = [gL];
  for (let l = stds.length; l >= 1; l--) g.unshift(kept * widths[l] * stds[l - 1] ** 2 * g[0]);
  return g;
}
