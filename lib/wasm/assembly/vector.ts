/** What the kernels share: addresses, multiply-add, exp, tanh and erf of four f32 at a time, sums across lanes. */

/** The bytes that n numbers take. */
@inline export function bytes<T>(n: i32): usize {
  return <usize>n * sizeof<T>();
}

/** a * b + c: fused where the module is built with relaxed SIMD, two roundings where not. */
@inline export function fma<T>(a: v128, b: v128, c: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return v128.relaxed_madd<T>(a, b, c);
  return v128.add<T>(v128.mul<T>(a, b), c);
}

@inline export function f32s(x: f32): v128 {
  return f32x4.splat(x);
}

/**
 * A constant in each lane, by its address: `const ONE = memory.data<f32>([1])`. V8 12 and later make a constant vector anew
 * at each use, in several steps, which makes e^x take 1.6 times as long; a load costs next to nothing.
 */
@inline export function constant(at: usize): v128 {
  return v128.load32_splat(at);
}

/** The n-th coefficient of a polynomial, by the address of the first. */
@inline function coefficient(first: usize, n: i32): v128 {
  return constant(first + (<usize>n << 2));
}

export const ONE = memory.data<f32>([1]);
export const HALF = memory.data<f32>([0.5]);
const TWO = memory.data<f32>([2]);

/** The sum of the four lanes. */
@inline export function sum4(v: v128): f32 {
  return (f32x4.extract_lane(v, 0) + f32x4.extract_lane(v, 1)) + (f32x4.extract_lane(v, 2) + f32x4.extract_lane(v, 3));
}

/** The greatest of the four lanes. */
@inline export function max4(v: v128): f32 {
  return max(max(f32x4.extract_lane(v, 0), f32x4.extract_lane(v, 1)), max(f32x4.extract_lane(v, 2), f32x4.extract_lane(v, 3)));
}

/** Added to a number below 2^22 it leaves the nearest whole number in the lowest bits: 1.5 * 2^23. */
const ROUNDER = memory.data<f32>([12582912]);
/** What a float's exponent bits say of 2^0. */
const EXPONENT_0 = memory.data<i32>([127]);
const LOG2_E = memory.data<f32>([1.44269504]);
/** ln 2 in two parts, so that a multiple of it can be subtracted without loss. */
const LN2_HIGH = memory.data<f32>([0.693359375]);
const LN2_LOW = memory.data<f32>([2.12194440e-4]);
/** Above the first e^x is infinite, below the second it is 0. */
const EXP_MOST = memory.data<f32>([88.7]);
const EXP_LEAST = memory.data<f32>([-87.3]);
/** Cephes' expf: e^r = 1 + r + r^2 P(r), the highest power first. */
const EXP = memory.data<f32>([1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1]);

/**
 * e^x, to 2 units in the last place: e^x = 2^n e^r with n = round(x / ln 2), |r| <= ln 2 / 2. Above 88.4 it is infinite,
 * below -87.3 it is 0, NaN stays NaN.
 */
@inline export function exp4(given: v128): v128 {
  const x = f32x4.pmin(given, constant(EXP_MOST));
  const rounded = fma<f32>(x, constant(LOG2_E), constant(ROUNDER));
  const n = f32x4.sub(rounded, constant(ROUNDER));
  let r = f32x4.sub(x, f32x4.mul(n, constant(LN2_HIGH)));
  r = fma<f32>(n, constant(LN2_LOW), r);
  let p = coefficient(EXP, 0);
  p = fma<f32>(p, r, coefficient(EXP, 1));
  p = fma<f32>(p, r, coefficient(EXP, 2));
  p = fma<f32>(p, r, coefficient(EXP, 3));
  p = fma<f32>(p, r, coefficient(EXP, 4));
  p = fma<f32>(p, r, coefficient(EXP, 5));
  p = fma<f32>(p, f32x4.mul(r, r), f32x4.add(r, constant(ONE)));
  const power = i32x4.shl(i32x4.add(rounded, constant(EXPONENT_0)), 23);
  return v128.andnot(f32x4.mul(p, power), f32x4.lt(x, constant(EXP_LEAST)));
}

/** 1 / (1 + e^-x) */
@inline export function sigmoid4(x: v128): v128 {
  return f32x4.div(constant(ONE), f32x4.add(constant(ONE), exp4(f32x4.neg(x))));
}

/** Below this tanh is a polynomial, since 1 - 2 / (e^2x + 1) would cancel. */
const TANH_NEAR = memory.data<f32>([0.625]);
/** Cephes' tanhf: tanh x = x + x^3 P(x^2). */
const TANH = memory.data<f32>([-5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1]);

@inline export function tanh4(x: v128): v128 {
  const z = f32x4.mul(x, x);
  let p = coefficient(TANH, 0);
  p = fma<f32>(p, z, coefficient(TANH, 1));
  p = fma<f32>(p, z, coefficient(TANH, 2));
  p = fma<f32>(p, z, coefficient(TANH, 3));
  p = fma<f32>(p, z, coefficient(TANH, 4));
  const near = fma<f32>(f32x4.mul(p, z), x, x);
  const far = f32x4.sub(constant(ONE), f32x4.div(constant(TWO), f32x4.add(exp4(f32x4.add(x, x)), constant(ONE))));
  return v128.bitselect(near, far, f32x4.lt(f32x4.abs(x), constant(TANH_NEAR)));
}

/** Abramowitz and Stegun 7.1.26: erf x = 1 - t P(t) e^(-x^2) with t = 1 / (1 + 0.3275911 x), to 1.5e-7. */
const ERF_T = memory.data<f32>([0.3275911]);
/** A float's sign bit. */
const SIGN = memory.data<u32>([0x80000000]);
const ERF = memory.data<f32>([1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592]);

@inline export function erf4(x: v128): v128 {
  const a = f32x4.abs(x);
  const t = f32x4.div(constant(ONE), fma<f32>(constant(ERF_T), a, constant(ONE)));
  let p = coefficient(ERF, 0);
  p = fma<f32>(p, t, coefficient(ERF, 1));
  p = fma<f32>(p, t, coefficient(ERF, 2));
  p = fma<f32>(p, t, coefficient(ERF, 3));
  p = fma<f32>(p, t, coefficient(ERF, 4));
  const tail = f32x4.mul(f32x4.mul(p, t), exp4(f32x4.neg(f32x4.mul(a, a))));
  const magnitude = f32x4.sub(constant(ONE), tail);
  return v128.bitselect(x, magnitude, constant(SIGN));
}
