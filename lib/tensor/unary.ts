/** Functions of one number, each with its derivative as a tensor operation, so that it can be differentiated again. */

import type { Tensor } from "./tensor";

export interface Unary {
  readonly f: (x: number) => number;
  readonly derivative: (x: Tensor) => Tensor;
}

export type UnaryName =
  | "exp" | "expm1" | "log" | "log1p" | "sqrt" | "abs" | "sign" | "sin" | "cos" | "tanh" | "sigmoid" | "erf"
  | "floor" | "round";

/** 1 / (1 + exp(-x)), without overflow on either side. */
export function sigmoidOf(x: number): number {
  if (x >= 0) return 1 / (1 + Math.exp(-x));
  const e = Math.exp(x);
  return e / (1 + e);
}

const TWO_OVER_SQRT_PI = 1.1283791670955126;

/**
 * erf to double precision (relative error below 1e-15).
 * |x| < 2.5: Kummer's series, erf x = 2/sqrt(pi) exp(-x^2) sum of x^(2n+1) 2^n / (2n+1)!! (all terms positive).
 * Beyond: erfc by its continued fraction (Abramowitz and Stegun 7.1.14), evaluated from the bottom.
 */
export function erfOf(x: number): number {
  if (x !== x) return NaN;
  const a = Math.abs(x);
  if (a > 6) return Math.sign(x);
  if (a < 2.5) {
    let term = a;
    let sum = a;
    for (let n = 1; term > sum * 1e-17; n++) {
      term *= (2 * a * a) / (2 * n + 1);
      sum += term;
    }
    return Math.sign(x) * TWO_OVER_SQRT_PI * Math.exp(-a * a) * sum;
  }
  let tail = a;
  for (let n = 60; n >= 1; n--) tail = a + n / 2 / tail;
  return Math.sign(x) * (1 - Math.exp(-a * a) / (Math.sqrt(Math.PI) * tail));
}

/** Halves go to the even neighbour, as in IEEE 754, NumPy and PyTorch. */
function roundHalfEven(x: number): number {
  const rounded = Math.round(x);
  return Math.abs(x % 1) === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}

/** The derivative of a step function: 0, and NaN for NaN. */
const flat = (x: Tensor): Tensor => x.sub(x);

export const unaryFunctions: Record<UnaryName, Unary> = {
  exp: { f: Math.exp, derivative: (x) => x.exp() },
  expm1: { f: Math.expm1, derivative: (x) => x.exp() },
  log: { f: Math.log, derivative: (x) => x.pow(-1) },
  log1p: { f: Math.log1p, derivative: (x) => x.add(1).pow(-1) },
  sqrt: { f: Math.sqrt, derivative: (x) => x.pow(-0.5).mul(0.5) },
  abs: { f: Math.abs, derivative: (x) => x.sign() },
  sign: { f: Math.sign, derivative: flat },
  sin: { f: Math.sin, derivative: (x) => x.cos() },
  cos: { f: Math.cos, derivative: (x) => x.sin().neg() },
  tanh: { f: Math.tanh, derivative: (x) => x.tanh().square().neg().add(1) },
  sigmoid: { f: sigmoidOf, derivative: (x) => x.sigmoid().mul(x.neg().sigmoid()) },
  erf: { f: erfOf, derivative: (x) => x.square().neg().exp().mul(TWO_OVER_SQRT_PI) },
  floor: { f: Math.floor, derivative: flat },
  round: { f: roundHalfEven, derivative: flat },
};
