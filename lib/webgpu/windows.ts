/** Layers of sliding windows on the GPU: no index is worked out on the cpu. */

import type { Implementation } from "../layers/device";
import { both, type Pair } from "../layers/options";
import { outputSize, type Windows } from "../layers/windows";
import type { Tensor } from "../tensor";
import { gpu } from "./connect";
import { grid } from "./gpu";
import { col2im, im2col } from "./kernels/im2col";
import { maxPool, maxPoolBackward } from "./kernels/maxPool";
import { WINDOW_SIZE } from "./kernels/windows";
import { product } from "./products";
import { floats, GpuTensor } from "./tensor";

/** The sizes of the result, and all that the kernels are told. */
function sizes(x: Tensor, windows: Windows): { OH: number; OW: number; params: number[] } {
  const [H, W] = x.shape.slice(2);
  const [OH, OW] = [outputSize(H, 0, windows), outputSize(W, 1, windows)];
  return { OH, OW, params: [H, W, OH, OW, ...windows.kernel, ...windows.stride, ...windows.padding] };
}

/** One invocation for each number of a result. */
const over = (t: GpuTensor, params: readonly number[]) => ({ params: [t.size, ...params], groups: grid(Math.ceil(t.size / WINDOW_SIZE)) });

type Convolution = { x: Tensor; W: Tensor; b?: Tensor };
type ConvolutionOptions = { stride: Pair; padding: Pair };

function convolution({ x, W }: Convolution, { stride, padding }: ConvolutionOptions) {
  const [N, C] = x.shape;
  const [O, , kh, kw] = W.shape;
  return { N, O, K: C * kh * kw, ...sizes(x, { kernel: [kh, kw], stride: both(stride), padding: both(padding) }) };
}

export const conv2d: Implementation = {
  forward({ x, W, b }: Convolution, options: ConvolutionOptions) {
    const { N, O, K, OH, OW, params } = convolution({ x, W }, options);
    const cols = GpuTensor.allocate([N, K, OH * OW]);
    gpu().run(im2col, { buffers: [floats(x).binding, cols.binding], ...over(cols, params) });
    const y = product(floats(W), cols, { m: O, n: OH * OW, k: K, batch: N, sharedA: true, bias: b && floats(b), biasOf: "row" });
    return { y: y.reshape(N, O, OH, OW), saved: { cols } };
  },

  backward(dy, { x, W, b }: Convolution, { cols }: { cols: GpuTensor }, options: ConvolutionOptions) {
    const { N, O, K, OH, OW, params } = convolution({ x, W }, options);
    const P = OH * OW;
    const up = floats(dy);
    return {
      dx() {
        const dcols = product(floats(W), up, { m: K, n: P, k: O, batch: N, transA: true, sharedA: true });
        const dx = GpuTensor.allocate(x.shape);
        gpu().run(col2im, { buffers: [dcols.binding, dx.binding], ...over(dx, params) });
        return dx;
      },
      dW: () => product(up, cols, { m: O, n: K, k: P, batch: N, transB: true }).reshape(N, O * K).sum(0).reshape(W.shape),
      db: b && (() => up.reshape(N, O, P).sum([0, 2])),
    };
  },
};

type PoolOptions = { kernel: Pair; stride?: Pair };

const pool = (x: Tensor, { kernel, stride }: PoolOptions) => sizes(x, { kernel: both(kernel), stride: both(stride ?? kernel), padding: [0, 0] });

export const maxPool2d: Implementation = {
  forward({ x }: { x: Tensor }, options: PoolOptions) {
    const { OH, OW, params } = pool(x, options);
    const shape = [x.shape[0], x.shape[1], OH, OW];
    const [y, found] = [GpuTensor.allocate(shape), GpuTensor.allocate(shape, "int32")];
    gpu().run(maxPool, { buffers: [floats(x), y, found].map((t) => t.binding), ...over(y, params) });
    return { y, saved: { found } };
  },

  backward(dy, { x }: { x: Tensor }, { found }: { found: GpuTensor }, options: PoolOptions) {
    const dx = GpuTensor.allocate(x.shape);
    gpu().run(maxPoolBackward, { buffers: [floats(dy), found, dx].map((t) => t.binding), ...over(dx, pool(x, options).params) });
    return { dx };
  },
};
