/** A seeded generator of random numbers: the same seed gives the same numbers on every machine. */

import { formatShape } from "./shape";

export interface Rng {
  /** Uniform on [0, 1). */
  uniform(): number;
  /** Standard normal. */
  normal(): number;
  /** A whole number, lo <= n < hi. */
  integer(lo: number, hi: number): number;
  /** Shuffles the list in place (Fisher-Yates) and returns it. */
  shuffle<T>(list: T[]): T[];
  /** A whole number below `weights.length`, drawn in proportion to the weights. */
  choice(weights: ArrayLike<number>): number;
  /** An independent generator whose stream follows from this one's. */
  fork(): Rng;
  /** The generator's state, from which `rng.from(state)` goes on; for checkpointing a forward that draws. */
  state(): RngState;
}

export interface RngState {
  readonly words: readonly [number, number, number, number];
  readonly spare: number | null;
}

function fromState(initial: RngState): Rng {
  let [a, b, c, d] = initial.words;
  let spare = initial.spare;

  // xoshiro128** 1.1, Blackman and Vigna, "Scrambled linear pseudorandom number generators" (2021).
  const next = (): number => {
    const scrambled = Math.imul(rotl(Math.imul(b, 5), 7), 9) >>> 0;
    const t = b << 9;
    c ^= a;
    d ^= b;
    b ^= c;
    a ^= d;
    c ^= t;
    d = rotl(d, 11);
    return scrambled;
  };

  const self: Rng = {
    // 53 random bits, the precision of a double.
    uniform: () => ((next() >>> 5) * 67108864 + (next() >>> 6)) / 9007199254740992,
    normal: () => {
      if (spare !== null) {
        const kept = spare;
        spare = null;
        return kept;
      }
      // Marsaglia's polar method: a point in the unit disc gives two independent normals.
      for (;;) {
        const u = 2 * self.uniform() - 1;
        const v = 2 * self.uniform() - 1;
        const s = u * u + v * v;
        if (s > 0 && s < 1) {
          const scale = Math.sqrt((-2 * Math.log(s)) / s);
          spare = v * scale;
          return u * scale;
        }
      }
    },
    integer: (lo, hi) => {
      if (!Number.isInteger(lo) || !Number.isInteger(hi) || hi <= lo) {
        throw new Error(`rng.integer: the range is ${formatShape([lo, hi])}, it should be two whole numbers, lo < hi`);
      }
      return lo + Math.floor(self.uniform() * (hi - lo));
    },
    shuffle: (list) => {
      for (let i = list.length - 1; i > 0; i--) {
        const j = self.integer(0, i + 1);
        [list[i], list[j]] = [list[j], list[i]];
      }
      return list;
    },
    choice: (weights) => {
      let total = 0;
      for (let i = 0; i < weights.length; i++) total += weights[i];
      if (!(total > 0) || total === Infinity) {
        throw new Error(`rng.choice: the weights sum to ${total}, they should sum to a positive number`);
      }
      let left = self.uniform() * total;
      let last = 0;
      for (let i = 0; i < weights.length; i++) {
        if (weights[i] <= 0) continue;
        last = i;
        left -= weights[i];
        if (left < 0) break;
      }
      return last;
    },
    fork: () => rng(next()),
    state: () => ({ words: [a, b, c, d], spare }),
  };
  return self;
}

function rotl(x: number, k: number): number {
  return (x << k) | (x >>> (32 - k));
}

/** A generator seeded with a whole number. */
export function rng(seed: number): Rng {
  if (!Number.isInteger(seed)) throw new Error(`rng: the seed is ${seed}, it should be a whole number`);
  // splitmix32 spreads the seed over the four words.
  let z = (seed ^ Math.floor(seed / 4294967296)) | 0;
  const word = (): number => {
    z = (z + 0x9e3779b9) | 0;
    let t = z ^ (z >>> 16);
    t = Math.imul(t, 0x21f0aaad);
    t ^= t >>> 15;
    t = Math.imul(t, 0x735a2d97);
    return (t ^ (t >>> 15)) | 0;
  };
  return fromState({ words: [word(), word(), word(), word()], spare: null });
}

/** A generator that goes on where `state` was taken. */
rng.from = (state: RngState): Rng => fromState(state);
