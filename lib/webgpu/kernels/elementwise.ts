import type { Kernel } from "../gpu";

export const ELEMENTWISE_SIZE = 64;
/** Axes that a broadcast may have, once neighbours that can be walked together are merged. */
export const MAX_AXES = 8;

/**
 * out[i] = expression of x0, x1, x2, each read with strides of its own: broadcasting, transposes and slices are strides.
 *
 * Parameters: [n, offset0, offset1, offset2], [outOffset, scalar, -, -], then for each axis, last first,
 * [size, stride0, stride1, stride2] and [outStride, -, -, -] alternately.
 */
export function elementwise(name: string, inputs: number, expression: string, axes: number): Kernel {
  const reads = Array.from({ length: inputs }, (_, i) => i);
  const letters = ["y", "z", "w"];
  return {
    name,
    code: /* wgsl */ `
struct Params { n: vec4u, more: vec4u, axes: array<vec4u, ${Math.max(1, 2 * axes)}> }
${reads.map((i) => `@group(0) @binding(${i}) var<storage, read> in${i}: array<f32>;`).join("\n")}
@group(0) @binding(${inputs}) var<storage, read_write> out: array<f32>;
@group(0) @binding(${inputs + 1}) var<uniform> p: Params;
${HELPERS}
@compute @workgroup_size(${ELEMENTWISE_SIZE})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let i = (group.x + group.y * groups.x) * ${ELEMENTWISE_SIZE}u + local;
  if (i >= p.n.x) { return; }
  let s = bitcast<f32>(p.more.y);
${reads.map((k) => `  var i${k} = p.n.${letters[k]};`).join("\n")}
  var o = p.more.x;
  var rest = i;
  for (var d = 0u; d < ${axes}u; d++) {
    let axis = p.axes[2u * d];
    let c = rest % axis.x;
    rest = rest / axis.x;
${reads.map((k) => `    i${k} += c * axis.${letters[k]};`).join("\n")}
    o += c * p.axes[2u * d + 1u].x;
  }
${reads.map((k) => `  let x${k} = in${k}[i${k}];`).join("\n")}
  out[o] = ${expression};
}`,
  };
}

/** Written on bits, since a shader compiler may assume that floats are finite. */
const HELPERS = /* wgsl */ `
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
fn compared(x: f32, y: f32, holds: bool) -> f32 {
  if (isNan(x) || isNan(y)) { return x + y; }
  return select(0.0, 1.0, holds);
}
fn selected(mask: f32, x: f32, y: f32) -> f32 {
  if (isNan(mask)) { return mask; }
  return select(x, y, mask == 0.0);
}
fn powerOf(x: f32, n: f32) -> f32 {
  if (n == 2.0) { return x * x; }
  if (n == -0.5) { return inverseSqrt(x); }
  if (n == 0.5) { return sqrt(x); }
  if (n == -1.0) { return 1.0 / x; }
  let odd = floor(n) == n && fract(abs(n) * 0.5) != 0.0;
  return select(1.0, -1.0, odd && x < 0.0) * pow(abs(x), n) + (x - x);
}`;
