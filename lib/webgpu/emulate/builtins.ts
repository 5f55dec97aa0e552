import { Scalar, ScalarName } from "./types";

const f = Math.fround;
const wrap = (type: ScalarName) => (type === "u32" ? (x: number) => x >>> 0 : type === "i32" ? (x: number) => x | 0 : (x: number) => x);
const even = (x: number): number => {
  const down = Math.floor(x);
  const rest = x - down;
  return rest < 0.5 ? down : rest > 0.5 ? down + 1 : down % 2 === 0 ? down : down + 1;
};

/** Functions that work component by component on floats. Each result is rounded to float32. */
const FLOAT: Record<string, (...x: number[]) => number> = {
  exp: Math.exp,
  exp2: (x) => 2 ** x,
  log: Math.log,
  log2: Math.log2,
  sqrt: Math.sqrt,
  inverseSqrt: (x) => 1 / Math.sqrt(x),
  sin: Math.sin,
  cos: Math.cos,
  tan: Math.tan,
  sinh: Math.sinh,
  cosh: Math.cosh,
  tanh: Math.tanh,
  asin: Math.asin,
  acos: Math.acos,
  atan: Math.atan,
  atan2: Math.atan2,
  floor: Math.floor,
  ceil: Math.ceil,
  round: even,
  trunc: Math.trunc,
  fract: (x) => x - Math.floor(x),
  pow: (x, y) => x ** y,
  fma: (a, b, c) => a * b + c,
  mix: (a, b, t) => f(a * f(1 - t)) + f(b * t),
  step: (edge, x) => (edge <= x ? 1 : 0),
  smoothstep: (lo, hi, x) => {
    const t = Math.min(Math.max((x - lo) / (hi - lo), 0), 1);
    return t * t * (3 - 2 * t);
  },
};
const FLOAT_ARITY: Record<string, number> = { atan2: 2, pow: 2, fma: 3, mix: 3, step: 2, smoothstep: 3 };

/** Functions that work component by component on any number. */
const NUMBER: Record<string, (...x: number[]) => number> = {
  abs: Math.abs,
  sign: Math.sign,
  min: Math.min,
  max: Math.max,
  clamp: (x, lo, hi) => Math.min(Math.max(x, lo), hi),
};
const NUMBER_ARITY: Record<string, number> = { abs: 1, sign: 1, min: 2, max: 2, clamp: 3 };

export interface Componentwise {
  arity: number;
  floatsOnly: boolean;
  make(of: Scalar): (...x: number[]) => number;
}

/** The component-wise built-in function of this name, if there is one. */
export function componentwise(name: string): Componentwise | undefined {
  if (Object.hasOwn(FLOAT, name)) {
    const g = FLOAT[name];
    return { arity: FLOAT_ARITY[name] ?? 1, floatsOnly: true, make: (of) => (of.name === "f32" ? (...x) => f(g(...x)) : g) };
  }
  if (Object.hasOwn(NUMBER, name)) {
    const g = NUMBER[name];
    return {
      arity: NUMBER_ARITY[name],
      floatsOnly: false,
      make: (of) => {
        const w = wrap(of.name);
        return (...x) => w(g(...x));
      },
    };
  }
  return undefined;
}

/** A read-modify-write on one atomic word; each returns the word's new value. */
export const ATOMICS: Record<string, (old: number, x: number) => number> = {
  atomicAdd: (a, b) => a + b,
  atomicSub: (a, b) => a - b,
  atomicMax: Math.max,
  atomicMin: Math.min,
  atomicAnd: (a, b) => a & b,
  atomicOr: (a, b) => a | b,
  atomicXor: (a, b) => a ^ b,
  atomicExchange: (_, b) => b,
};
