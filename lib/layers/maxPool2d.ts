import { defineLayer } from "./layer";
import { both, optionalPair, requiredPair, type Pair } from "./options";
import { checkWindows, outputSize, repeatPositions, windowPositions, type Windows } from "./windows";

/**
 * The greatest element of each window.
 *
 *     y[n, c, i, j] = max over u, v of x[n, c, i stride + u, j stride + v]
 *     dx = dy at the place that was the greatest (the first of equals), 0 elsewhere; overlapping windows add up
 *
 * The stride is the kernel's size where it is not given.
 *
 * Shapes: x [N, C, H, W] -> y [N, C, OH, OW], OH = floor((H - kernel) / stride) + 1.
 * Source: Dumoulin and Visin, "A guide to convolution arithmetic for deep learning" (2016).
 */
export const maxPool2d = defineLayer({
  name: "maxPool2d",
  inputs: { x: "[N, C, height, width]" },
  output: "[N, C, OH, OW]",
  options: { kernel: requiredPair(1), stride: optionalPair(1) },
  check: ({ x }, options) => checkWindows(x.shape[2], x.shape[3], windowsOf(options)),

  forward({ x }, options) {
    const [N, C, height, width] = x.shape;
    const windows = windowsOf(options);
    const shape = [N, C, outputSize(height, 0, windows), outputSize(width, 1, windows)];
    const places = windows.kernel[0] * windows.kernel[1];
    const P = shape[2] * shape[3];
    const positions = repeatPositions(windowPositions(height, width, windows), N * C, height * width);
    const best = x.gather(positions, [N * C, places, P]).argmax(1).data;
    // at[...] is where in x each y was found.
    const at = Int32Array.from(best, (place, i) => positions[(Math.floor(i / P) * places + place) * P + (i % P)]);
    return { y: x.gather(at, shape), saved: { at, shape } };
  },

  backward(dy, { x }, { at }) {
    return { dx: dy.scatter(at, x.shape) };
  },

  jvp({ x: dx }, _, { at, shape }) {
    return dx.gather(at, shape);
  },
});

function windowsOf({ kernel, stride }: { readonly kernel: Pair; readonly stride?: Pair }): Windows {
  return { kernel: both(kernel), stride: both(stride ?? kernel), padding: [0, 0] };
}
