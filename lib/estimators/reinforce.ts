import { checkInterrupt } from "../interrupt";
import { tensor, type Rng, type Tensor } from "../tensor";
import { softmaxScore } from "./fisher";

export interface ReinforceOptions {
  readonly rng: Rng;
  readonly samples?: number;
  /**
   * What is taken off each loss before it weighs a score; any number that does not depend on that sample leaves the
   * estimate unbiased. "leave-one-out": the mean loss of the other samples. "mean": the mean of all, which depends on
   * the sample itself and so shrinks the estimate by 1 - 1 / samples.
   */
  readonly baseline?: "none" | "mean" | "leave-one-out" | number;
}

export interface ReinforceResult {
  /** The estimate of d E[loss] / d logits, [K]. */
  readonly gradient: Tensor;
  /** The variance of one sample's contribution, element by element, [K]: the estimate's own is that over `samples`. */
  readonly variance: Tensor;
  /** The mean loss. */
  readonly loss: number;
}

/**
 * The score-function estimator (Williams 1992; Math for LLMs, section 8.3): a gradient through a sample, from losses
 * alone.
 *
 *     d/dlogits E[L(z)] = E[(L(z) - b) d log p(z) / d logits],   d log p(z) / d logits = one-hot(z) - p
 *
 * @param logits [K] of a categorical distribution; for Bernoulli(sigmoid(t)) use [0, t].
 * @param loss of each outcome 0..K-1; called once for each sample.
 */
export function reinforce(
  logits: Tensor, loss: (z: number) => number, { rng, samples = 1000, baseline = "none" }: ReinforceOptions,
): ReinforceResult {
  checkLogits("reinforce", logits);
  if (!(Number.isInteger(samples) && samples > 0)) throw new Error(`reinforce: samples is ${samples}, expected a whole number above 0`);
  if (baseline === "leave-one-out" && samples < 2) throw new Error("reinforce: samples is 1, expected at least 2 for leave-one-out");
  const K = logits.size;
  const p = probabilities(logits);
  const drawn = Array.from({ length: samples }, () => {
    checkInterrupt();
    const z = rng.choice(p);
    return { z, loss: loss(z) };
  });
  const total = drawn.reduce((sum, d) => sum + d.loss, 0);
  const base = (own: number): number =>
    typeof baseline === "number" ? baseline
      : baseline === "mean" ? total / samples
        : baseline === "leave-one-out" ? (total - own) / (samples - 1) : 0;
  const sum = new Float64Array(K), squares = new Float64Array(K);
  for (const { z, loss: own } of drawn) {
    const weight = own - base(own);
    for (let k = 0; k < K; k++) {
      const part = weight * ((k === z ? 1 : 0) - p[k]);
      sum[k] += part;
      squares[k] += part * part;
    }
  }
  return {
    gradient: tensor(sum.map((s) => s / samples), [K]),
    variance: tensor(squares.map((q, k) => q / samples - (sum[k] / samples) ** 2), [K]),
    loss: total / samples,
  };
}

/** The same gradient exactly, by summing over all K outcomes: sum_z p(z) L(z) (one-hot(z) - p). */
export function exactPolicyGradient(logits: Tensor, loss: (z: number) => number): Tensor {
  checkLogits("exactPolicyGradient", logits);
  const p = probabilities(logits);
  return Array.from(p, (pz, z) => softmaxScore(logits, z).mul(pz * loss(z))).reduce((a, b) => a.add(b));
}

function checkLogits(who: string, logits: Tensor): void {
  if (logits.rank !== 1 || logits.size === 0) throw new Error(`${who}: logits has shape [${logits.shape.join(", ")}], expected [K]`);
}

function probabilities(logits: Tensor): Float64Array {
  const e = logits.sub(logits.max()).exp();
  return Float64Array.from(e.div(e.sum()).data);
}
