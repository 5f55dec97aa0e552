/** Sliding windows over images: which element of x each place of each window reads. */

export interface Windows {
  readonly kernel: readonly [number, number];
  readonly stride: readonly [number, number];
  readonly padding: readonly [number, number];
}

/** Rows or columns of the result: floor((size + 2 padding - kernel) / stride) + 1. */
export function outputSize(size: number, axis: 0 | 1, { kernel, stride, padding }: Windows): number {
  return Math.floor((size + 2 * padding[axis] - kernel[axis]) / stride[axis]) + 1;
}

/** What is wrong with the windows, if they do not fit the image. */
export function checkWindows(H: number, W: number, windows: Windows): string | undefined {
  const { kernel, padding } = windows;
  if (outputSize(H, 0, windows) >= 1 && outputSize(W, 1, windows) >= 1) return undefined;
  return `the kernel [${kernel.join(", ")}] does not fit x's [${H}, ${W}] with padding [${padding.join(", ")}]`;
}

/**
 * For one image [H, W]: positions[(place in the window) * P + window], with P windows in all, row by row;
 * -1 where the window hangs over the edge (padding).
 */
export function windowPositions(H: number, W: number, windows: Windows): Int32Array {
  const { kernel: [kh, kw], stride: [sh, sw], padding: [ph, pw] } = windows;
  const [OH, OW] = [outputSize(H, 0, windows), outputSize(W, 1, windows)];
  const at = new Int32Array(kh * kw * OH * OW);
  let o = 0;
  for (let u = 0; u < kh; u++) {
    for (let v = 0; v < kw; v++) {
      for (let i = 0; i < OH; i++) {
        for (let j = 0; j < OW; j++, o++) {
          const row = i * sh + u - ph;
          const column = j * sw + v - pw;
          at[o] = row >= 0 && row < H && column >= 0 && column < W ? row * W + column : -1;
        }
      }
    }
  }
  return at;
}

/** The same for `images` images one after the other. */
export function repeatPositions(one: Int32Array, images: number, imageSize: number): Int32Array {
  const at = new Int32Array(images * one.length);
  for (let n = 0, o = 0; n < images; n++) {
    for (let i = 0; i < one.length; i++, o++) at[o] = one[i] < 0 ? -1 : one[i] + n * imageSize;
  }
  return at;
}
