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

/** The sum of the four lanes. */
@inline export function sum4(v: v128): f32 {
  return (f32x4.extract_lane(v, 0) + f32x4.extract_lane(v, 1)) + (f32x4.extract_lane(v, 2) + f32x4.extract_lane(v, 3));
}

/** The greatest of the four lanes. */
@inline export function max4(v: v128): f32 {
  return max(max(f32x4.extract_lane(v, 0), f32x4.extract_lane(v, 1)), max(f32x4.extract_lane(v, 2), f32x4.extract_lane(v, 3)));
}

/** Added to a number below 2^22 it leaves the nearest whole number in the lowest bits: 1.5 * 2^23. */
const ROUNDER: f32 = 12582912;

/**
 * e^x, to 2 units in the last place: e^x = 2^n e^r with n = round(x / ln 2), |r| <= ln 2 / 2, and a polynomial for e^r
 * (the coefficients of Cephes' expf). Above 88.4 it is infinite, below -87.3 it is 0, NaN stays NaN.
 */
@inline export function exp4(given: v128): v128 {
  const x = f32x4.pmin(given, f32s(88.7));
  const rounded = fma<f32>(x, f32s(1.44269504), f32s(ROUNDER));
  const n = f32x4.sub(rounded, f32s(ROUNDER));
  // ln 2 in two parts, so that the subtraction loses nothing.
  let r = f32x4.sub(x, f32x4.mul(n, f32s(0.693359375)));
  r = fma<f32>(n, f32s(2.12194440e-4), r);
  let p = f32s(1.9875691500e-4);
  p = fma<f32>(p, r, f32s(1.3981999507e-3));
  p = fma<f32>(p, r, f32s(8.3334519073e-3));
  p = fma<f32>(p, r, f32s(4.1665795894e-2));
  p = fma<f32>(p, r, f32s(1.6666665459e-1));
  p = fma<f32>(p, r, f32s(5.0000001201e-1));
  p = fma<f32>(p, f32x4.mul(r, r), f32x4.add(r, f32s(1)));
  const power = i32x4.shl(i32x4.add(rounded, i32x4.splat(127)), 23);
  return v128.andnot(f32x4.mul(p, power), f32x4.lt(x, f32s(-87.3)));
}

/** 1 / (1 + e^-x) */
@inline export function sigmoid4(x: v128): v128 {
  return f32x4.div(f32s(1), f32x4.add(f32s(1), exp4(f32x4.neg(x))));
}

/** tanh x: a polynomial near 0, where 1 - 2 / (e^2x + 1) would cancel (the coefficients of Cephes' tanhf). */
@inline export function tanh4(x: v128): v128 {
  const z = f32x4.mul(x, x);
  let p = f32s(-5.70498872745e-3);
  p = fma<f32>(p, z, f32s(2.06390887954e-2));
  p = fma<f32>(p, z, f32s(-5.37397155531e-2));
  p = fma<f32>(p, z, f32s(1.33314422036e-1));
  p = fma<f32>(p, z, f32s(-3.33332819422e-1));
  const near = fma<f32>(f32x4.mul(p, z), x, x);
  const far = f32x4.sub(f32s(1), f32x4.div(f32s(2), f32x4.add(exp4(f32x4.add(x, x)), f32s(1))));
  return v128.bitselect(near, far, f32x4.lt(f32x4.abs(x), f32s(0.625)));
}

/** The error function, to 1.5e-7 (Abramowitz and Stegun 7.1.26). */
@inline export function erf4(x: v128): v128 {
  const a = f32x4.abs(x);
  const t = f32x4.div(f32s(1), fma<f32>(f32s(0.3275911), a, f32s(1)));
  let p = f32s(1.061405429);
  p = fma<f32>(p, t, f32s(-1.453152027));
  p = fma<f32>(p, t, f32s(1.421413741));
  p = fma<f32>(p, t, f32s(-0.284496736));
  p = fma<f32>(p, t, f32s(0.254829592));
  const tail = f32x4.mul(f32x4.mul(p, t), exp4(f32x4.neg(f32x4.mul(a, a))));
  const magnitude = f32x4.sub(f32s(1), tail);
  // The sign bit of x on the magnitude.
  return v128.bitselect(x, magnitude, i32x4.splat(<i32>0x80000000));
}
