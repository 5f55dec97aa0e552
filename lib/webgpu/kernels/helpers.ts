/** WGSL functions that expressions use. NaN is told from its bits, since a shader compiler may assume that floats are finite. */
export const HELPERS = /* wgsl */ `
fn isNan(x: f32) -> bool { return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u; }
/** tanh overflows on some drivers beyond 44. */
fn tanhOf(x: f32) -> f32 { return tanh(clamp(x, -20.0, 20.0)) + (x - x); }
fn sigmoidOf(x: f32) -> f32 {
  let e = exp(-abs(x));
  return select(e, 1.0, x >= 0.0) / (1.0 + e) + 0.0 * x;
}
/** Abramowitz and Stegun 7.1.26, to 1.5e-7. */
fn erfOf(x: f32) -> f32 {
  let a = abs(x);
  let t = 1.0 / (1.0 + 0.3275911 * a);
  let poly = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t;
  return sign(x) * (1.0 - poly * exp(-a * a)) + (x - x);
}
fn log1pOf(x: f32) -> f32 {
  return select(log(1.0 + x), x * (1.0 - x * (0.5 - x * (0.33333334 - x * 0.25))), abs(x) < 0.01);
}
fn compared(x: f32, y: f32, holds: bool) -> f32 {
  if (isNan(x) || isNan(y)) { return x + y; }
  return select(0.0, 1.0, holds);
}
fn selected(mask: f32, x: f32, y: f32) -> f32 {
  if (isNan(mask)) { return mask; }
  return select(x, y, mask == 0.0);
}
fn positive(x: f32) -> f32 { return compared(x, 0.0, x > 0.0); }
fn powerOf(x: f32, n: f32) -> f32 {
  if (n == 2.0) { return x * x; }
  if (n == -0.5) { return inverseSqrt(x); }
  if (n == 0.5) { return sqrt(x); }
  if (n == -1.0) { return 1.0 / x; }
  let odd = floor(n) == n && fract(abs(n) * 0.5) != 0.0;
  return select(1.0, -1.0, odd && x < 0.0) * pow(abs(x), n) + (x - x);
}`;
