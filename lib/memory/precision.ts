import { globalNorm } from "../diagnostics";
import { Tensor, tensor } from "../tensor";

/** A binary floating-point format: how many bits for the exponent, how many for the fraction. */
export interface FloatFormat {
  readonly name: string;
  readonly exponentBits: number;
  readonly fractionBits: number;
  /** The greatest finite number. */
  readonly max: number;
  /** The least number with a full fraction. */
  readonly smallestNormal: number;
  /** The least number above 0. */
  readonly smallest: number;
  /** The gap between 1 and the next number. */
  readonly epsilon: number;
}

function format(name: string, exponentBits: number, fractionBits: number): FloatFormat {
  const bias = 2 ** (exponentBits - 1) - 1;
  return {
    name, exponentBits, fractionBits,
    max: (2 - 2 ** -fractionBits) * 2 ** bias,
    smallestNormal: 2 ** (1 - bias),
    smallest: 2 ** (1 - bias - fractionBits),
    epsilon: 2 ** -fractionBits,
  };
}

/** IEEE half precision: 5 exponent bits, so nothing above 65504 and nothing below 6e-8. */
export const float16 = format("float16", 5, 10);
/** Brain float: float32's 8 exponent bits and range, 7 fraction bits. */
export const bfloat16 = format("bfloat16", 8, 7);

export const formats: Readonly<Record<string, FloatFormat>> = { float16, bfloat16 };

/**
 * x as the format would hold it: to the nearest number that it has, halves to the even one, subnormals below the
 * normal range, infinity from max + half a step on. NaN stays NaN, -0 stays -0.
 */
export function roundTo(x: number, { fractionBits, smallestNormal, max }: FloatFormat): number {
  const size = Math.abs(x);
  if (size === 0 || !Number.isFinite(x)) return x;
  // In a subnormal the step is that of the least normal exponent.
  const exponent = size < smallestNormal ? Math.log2(smallestNormal) : exponentOf(size);
  const step = 2 ** (exponent - fractionBits);
  const steps = size / step;
  const floor = Math.floor(steps), over = steps - floor;
  const rounded = (over > 0.5 || (over === 0.5 && floor % 2 === 1) ? floor + 1 : floor) * step;
  return Math.sign(x) * (rounded > max ? Infinity : rounded);
}

/** The e of 2^e <= x < 2^(e+1), exactly: Math.log2 may round up just below a power of two. */
function exponentOf(x: number): number {
  const e = Math.floor(Math.log2(x));
  return 2 ** e > x ? e - 1 : e;
}

/** A tensor's numbers rounded to the format; dtype and shape stay, so this emulates storage, not speed. */
export function castThrough(t: Tensor, to: FloatFormat): Tensor {
  return t.map((x) => roundTo(x, to));
}

/** Weights kept twice: exact masters that the optimiser updates, and the rounded copies that the model runs on. */
export interface MasterWeights<P extends Record<string, Tensor>> {
  readonly master: P;
  /** The masters as the format holds them, rounded anew at each read. */
  readonly model: P;
}

/**
 * Master weights (Math for LLMs, section 7.4): an update smaller than half a step of the format would be rounded
 * away if it were added to the rounded weight; added to the master it is kept, and shows once enough have come.
 */
export function masterWeights<P extends Record<string, Tensor>>(weights: P, to: FloatFormat): MasterWeights<P> {
  const master = Object.fromEntries(Object.entries(weights).map(([name, t]) => [name, t.clone()])) as P;
  return {
    master,
    get model() {
      return Object.fromEntries(Object.entries(master).map(([name, t]) => [name, castThrough(t, to)])) as P;
    },
  };
}

export interface LossScaler {
  /** Multiply the loss (or dy) by this before the backward. */
  readonly scale: number;
  /** Steps skipped so far. */
  readonly skipped: number;
  /**
   * Takes the gradients of the scaled loss. Returns them divided by the scale, or undefined when one of them has
   * overflowed to an infinity or NaN: skip the step. Adjusts the scale either way.
   */
  unscale<G extends Readonly<Record<string, Tensor>>>(gradients: G): G | undefined;
}

/**
 * Dynamic loss scaling: halve after an overflow and skip that step, double after `growthInterval` good steps.
 * Needed for float16, whose small gradients would become 0; bfloat16 has float32's range and does without.
 */
export function lossScaler({ scale = 2 ** 16, growth = 2, backoff = 0.5, growthInterval = 2000 } = {}): LossScaler {
  if (!(scale > 0)) throw new Error(`lossScaler: scale is ${scale}, expected a number above 0`);
  let good = 0, skipped = 0;
  return {
    get scale() { return scale; },
    get skipped() { return skipped; },
    unscale(gradients) {
      if (!Number.isFinite(globalNorm(gradients))) {
        scale *= backoff;
        good = 0;
        skipped++;
        return undefined;
      }
      const by = scale;
      if (++good === growthInterval) {
        scale *= growth;
        good = 0;
      }
      return Object.fromEntries(Object.entries(gradients).map(([name, g]) =>
        [name, tensor(Float64Array.from(g.data, (x) => x / by), g.shape)])) as typeof gradients;
    },
  };
}
