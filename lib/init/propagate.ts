import { checkInterrupt } from "../interrupt";
import { randn, type Rng, type Tensor } from "../tensor";
import type { Initializer } from ".";

export interface VarianceOptions {
  readonly init: Initializer;
  readonly activation: "identity" | "relu" | "tanh" | "sigmoid";
  readonly generator: Rng;
  readonly depth?: number;
  readonly width?: number;
  /** Rows of the batch over which the mean is taken. */
  readonly samples?: number;
}

export interface VarianceReport {
  /** E[z^2] of layer l's pre-activations, over that of layer 1. */
  readonly forward: number[];
  /** E[delta^2] of the gradient at layer l's pre-activations, over that of the last layer. */
  readonly backward: number[];
}

const activations = {
  identity: { f: (z: Tensor) => z, slope: (z: Tensor) => z.map(() => 1) },
  relu: { f: (z: Tensor) => z.maximum(0), slope: (z: Tensor) => z.gt(0) },
  tanh: { f: (z: Tensor) => z.tanh(), slope: (z: Tensor) => z.tanh().square().neg().add(1) },
  sigmoid: { f: (z: Tensor) => z.sigmoid(), slope: (z: Tensor) => z.sigmoid().mul(z.neg().sigmoid()) },
};

/**
 * Measures what section 6.3 derives: sends a random batch through `depth` layers and a random gradient back, and
 * reports how the second moments change from layer to layer.
 *
 *     z[l] = a[l-1] W[l]^T,  a[l] = f(z[l]);   delta[l] = (delta[l+1] W[l+1]) o f'(z[l])
 *
 * The document writes Var(relu(z)) = Var(z) / 2. It is the second moment E[relu(z)^2] that is halved; the variance of
 * relu(z) itself is (1/2 - 1/(2 pi)) Var(z). He's 2 / in restores the second moment.
 */
export function propagateVariance(options: VarianceOptions): VarianceReport {
  const { init, activation, generator, depth = 20, width = 128, samples = 64 } = options;
  const { f, slope } = activations[activation];
  const moment = (t: Tensor): number => t.square().mean().item();

  const W = Array.from({ length: depth }, () => init([width, width], generator));
  const z: Tensor[] = [];
  let a = randn([samples, width], generator);
  for (const w of W) {
    checkInterrupt();
    z.push(a.matmul(w.T));
    a = f(z[z.length - 1]);
  }
  let delta = randn([samples, width], generator).mul(slope(z[depth - 1]));
  const back = [moment(delta)];
  for (let l = depth - 2; l >= 0; l--) {
    checkInterrupt();
    delta = delta.matmul(W[l + 1]).mul(slope(z[l]));
    back.unshift(moment(delta));
  }
  return {
    forward: z.map((t) => moment(t) / moment(z[0])),
    backward: back.map((m) => m / back[depth - 1]),
  };
}
