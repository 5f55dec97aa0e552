import { defineOptimizer, slot, type Optimizer } from "./optimizer";

export interface AdamOptions {
  readonly lr?: number;
  readonly betas?: readonly [number, number];
  readonly eps?: number;
  readonly weightDecay?: number;
  /** Divide by the greatest second moment seen so far. */
  readonly amsgrad?: boolean;
}

/**
 * Adam (Kingma and Ba 2015): momentum over the root of a running mean square, both freed of their bias towards 0.
 *
 *     m = b1 m + (1 - b1) g;   v = b2 v + (1 - b2) g^2
 *     w -= lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)
 *
 * Two numbers of state for each weight. Weight decay here is added to the gradient, and so is divided by sqrt(v) too.
 */
export function adam(options: AdamOptions = {}): Optimizer {
  return moments("adam", { ...options, weightDecay: options.weightDecay ?? 0 }, false);
}

/** AdamW (Loshchilov and Hutter 2019): Adam, with the decay w -= lr weightDecay w kept out of the moments. */
export function adamW(options: AdamOptions = {}): Optimizer {
  return moments("adamW", { ...options, weightDecay: options.weightDecay ?? 0.01 }, true);
}

function moments(
  name: string, { lr = 1e-3, betas = [0.9, 0.999], eps = 1e-8, weightDecay = 0, amsgrad = false }: AdamOptions, decoupled: boolean,
): Optimizer {
  const [b1, b2] = betas;
  if (!(b1 >= 0 && b1 < 1 && b2 >= 0 && b2 < 1)) throw new Error(`${name}: betas are [${b1}, ${b2}], expected each from 0 up to, not including, 1`);
  return defineOptimizer(name, lr, ({ w, g, state, lr, t }) => {
    const m = slot(state, "m", w.length), v = slot(state, "v", w.length);
    const most = amsgrad ? slot(state, "vMax", w.length) : undefined;
    const unbias1 = 1 - b1 ** t, unbias2 = 1 - b2 ** t;
    for (let i = 0; i < w.length; i++) {
      if (decoupled) w[i] -= lr * weightDecay * w[i];
      const d = decoupled ? g[i] : g[i] + weightDecay * w[i];
      m[i] = b1 * m[i] + (1 - b1) * d;
      v[i] = b2 * v[i] + (1 - b2) * d * d;
      if (most) most[i] = Math.max(most[i], v[i]);
      w[i] -= (lr * (m[i] / unbias1)) / (Math.sqrt((most ?? v)[i] / unbias2) + eps);
    }
  }, undefined, { b1, b2, eps, weightDecay, amsgrad: +amsgrad });
}

/** Numbers that share one scale in an 8-bit state. */
export const BLOCK_8BIT = 256;

/** Eight bits reach down to this fraction of a block's greatest magnitude. */
const SMALLEST = 1e-7;

/**
 * Adam with m and v kept in 8 bits: 2 bytes of state for each weight instead of 8 in float32, and one scale for each
 * block of 256 (Dettmers et al. 2022, block-wise quantisation). The code is logarithmic: magnitudes from 1e-7 to 1 of
 * the block's greatest, m with a sign and 127 levels (12.8 % apart), v with 255 (6.5 % apart). A v above 0 never
 * rounds to 0, which would turn the division into an explosion.
 */
export function adam8bit({ lr = 1e-3, betas = [0.9, 0.999], eps = 1e-8 }: Omit<AdamOptions, "amsgrad" | "weightDecay"> = {}): Optimizer {
  const [b1, b2] = betas;
  return defineOptimizer("adam8bit", lr, ({ w, g, state, lr, t }) => {
    const blocks = Math.ceil(w.length / BLOCK_8BIT);
    const m8 = (state.m ??= new Int8Array(w.length)) as Int8Array;
    const v8 = (state.v ??= new Uint8Array(w.length)) as Uint8Array;
    const scaleM = slot(state, "scaleM", blocks), scaleV = slot(state, "scaleV", blocks);
    const unbias1 = 1 - b1 ** t, unbias2 = 1 - b2 ** t;
    const m = new Float64Array(BLOCK_8BIT), v = new Float64Array(BLOCK_8BIT);
    for (let block = 0; block < blocks; block++) {
      const from = block * BLOCK_8BIT, n = Math.min(BLOCK_8BIT, w.length - from);
      let greatestM = 0, greatestV = 0;
      for (let j = 0; j < n; j++) {
        const i = from + j;
        m[j] = b1 * Math.sign(m8[i]) * decode(Math.abs(m8[i]), 127) * scaleM[block] + (1 - b1) * g[i];
        v[j] = b2 * decode(v8[i], 255) * scaleV[block] + (1 - b2) * g[i] * g[i];
        greatestM = Math.max(greatestM, Math.abs(m[j]));
        greatestV = Math.max(greatestV, v[j]);
        w[i] -= (lr * (m[j] / unbias1)) / (Math.sqrt(v[j] / unbias2) + eps);
      }
      scaleM[block] = greatestM;
      scaleV[block] = greatestV;
      for (let j = 0; j < n; j++) {
        m8[from + j] = Math.sign(m[j]) * encode(Math.abs(m[j]) / greatestM, 127);
        v8[from + j] = encode(v[j] / greatestV, 255);
      }
    }
  });
}

/** A fraction from 0 to 1 as a level: 0 for 0, else 1..levels, evenly spaced in the logarithm. */
function encode(fraction: number, levels: number): number {
  if (!(fraction > 0)) return 0;
  return Math.max(1, Math.round(levels + ((levels - 1) * Math.log(fraction)) / -Math.log(SMALLEST)));
}

function decode(level: number, levels: number): number {
  return level === 0 ? 0 : SMALLEST ** ((levels - level) / (levels - 1));
}
