import type { Tensor } from "../tensor";
import { gpu } from "./connect";
import { squares, SQUARES_PARTS } from "./kernels/squares";
import { floats, GpuTensor } from "./tensor";

/** The sum of each tensor's squares, [tensors]: gradients' norms before the root. */
export function sumsOfSquares(tensors: readonly Tensor[]): Tensor {
  const sums = GpuTensor.allocate([tensors.length, SQUARES_PARTS]);
  const most = gpu().limits.buffers - 1;
  for (let first = 0; first < tensors.length; first += most) {
    const some = tensors.slice(first, first + most);
    gpu().run(squares(some.length), {
      buffers: [...some.map((t) => floats(t).binding), sums.binding],
      params: [first, ...some.map((t) => t.size)],
      groups: [some.length * SQUARES_PARTS],
    });
  }
  return sums.sum(-1);
}
