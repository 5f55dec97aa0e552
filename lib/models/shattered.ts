import { linear } from "../layers";
import { linspace, ones, randn, type Rng } from "../tensor";
import { deepNet, type MlpConfig } from "./mlp";

/**
 * dy/dx along a line of inputs, for a net R -> R: a random deep net between a map in and a map out (Balduzzi et al.
 * 2017). In a plain ReLU net of growing depth neighbouring gradients lose their correlation, as white noise would;
 * skips keep it.
 * @returns [points] gradients at equally spaced x from -2 to 2, for `gradientCorrelation`.
 */
export function gradientsAlongLine(
  { depth, width, points = 256, ...rest }:
    { depth: number; width: number; points?: number } & Omit<MlpConfig, "widths" | "activateLast">, generator: Rng,
): Float64Array {
  const x = linspace(-2, 2, points).reshape(points, 1);
  const first = { W: randn([width, 1], generator), b: randn([width], generator) };
  const last = randn([1, width], generator).div(Math.sqrt(width));
  const enter = linear.forward({ x, ...first });
  const net = deepNet({ depth, width, ...rest }, generator);
  const { y, cache } = net.forward(enter.y);
  // The output map is a row vector, so dL/dy is that row at every point.
  const { dx } = net.backward(ones(y.shape).mul(last), cache);
  return Float64Array.from((linear.backward(dx, enter.cache) as { dx: typeof dx }).dx.data);
}
