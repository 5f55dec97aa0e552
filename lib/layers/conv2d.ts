import { defineLayer } from "./layer";
import { both, pair, type Pair } from "./options";
import { checkWindows, outputSize, repeatPositions, windowPositions, type Windows } from "./windows";
import type { Tensor } from "../tensor";

/**
 * Convolution (as in all of deep learning, correlation: the kernel is not turned round).
 *
 *     y[n, o, i, j] = b[o] + sum over c, u, v of W[o, c, u, v] x[n, c, i stride + u - padding, j stride + v - padding]
 *
 * Each window of x is laid out as a column (im2col), after which it is a matrix product:
 *
 *     cols [N, C kh kw, P]           P = OH OW windows
 *     y = W cols + b                 W as [O, C kh kw]
 *
 *     dW = sum over n of dy cols^T
 *     dcols = W^T dy
 *     dx = every window's column added back to where it was read (col2im)
 *     db = sum of dy over n, i, j
 *
 * Shapes: x [N, C, H, W], W [O, C, kh, kw], b? [O] -> y [N, O, OH, OW], OH = floor((H + 2 padding - kh) / stride) + 1.
 * Source: Dumoulin and Visin, "A guide to convolution arithmetic for deep learning" (2016).
 */
export const conv2d = defineLayer({
  name: "conv2d",
  inputs: { x: "[N, C, height, width]", W: "[O, C, kh, kw]", b: "[O]?" },
  output: "[N, O, OH, OW]",
  options: { stride: pair(1, 1), padding: pair(0, 0) },

  check({ x, W }, options) {
    if (W.shape[2] === 0 || W.shape[3] === 0) return `W has shape [${W.shape.join(", ")}], its kernel is empty`;
    return checkWindows(x.shape[2], x.shape[3], windowsOf(W, options));
  },

  forward({ x, W, b }, options) {
    const { positions, N, O, K, OH, OW } = layout(x, W, options);
    const cols = x.gather(positions, [N, K, OH * OW]);
    const y = W.reshape(O, K).matmul(cols);
    return { y: (b ? y.add(b.reshape(O, 1)) : y).reshape(N, O, OH, OW), saved: { cols, positions } };
  },

  backward(dy, { x, W, b }, { cols, positions }, options) {
    const { N, O, K, OH, OW } = layout(x, W, options, positions);
    const g = dy.reshape(N, O, OH * OW);
    return {
      dx: () => W.reshape(O, K).T.matmul(g).scatter(positions, x.shape),
      dW: () => g.matmul(cols.T).sum(0).reshape(W.shape),
      db: b && (() => g.sum([0, 2])),
    };
  },

  jvp({ x: dx, W: dW, b: db }, { x, W }, { cols, positions }, options) {
    const { N, O, K, OH, OW } = layout(x, W, options, positions);
    const dcols = dx.gather(positions, [N, K, OH * OW]);
    const dy = W.reshape(O, K).matmul(dcols).add(dW.reshape(O, K).matmul(cols));
    return (db ? dy.add(db.reshape(O, 1)) : dy).reshape(N, O, OH, OW);
  },
});

interface Options { readonly stride: Pair; readonly padding: Pair }

function windowsOf(W: Tensor, { stride, padding }: Options): Windows {
  return { kernel: [W.shape[2], W.shape[3]], stride: both(stride), padding: both(padding) };
}

/** The sizes, and where in x each entry of cols is read. */
function layout(x: Tensor, W: Tensor, options: Options, known?: Int32Array) {
  const [N, C, height, width] = x.shape;
  const [O, , kh, kw] = W.shape;
  const windows = windowsOf(W, options);
  const positions = known ?? repeatPositions(windowPositions(height, width, windows), N * C, height * width);
  return { positions, N, O, K: C * kh * kw, OH: outputSize(height, 0, windows), OW: outputSize(width, 1, windows) };
}
