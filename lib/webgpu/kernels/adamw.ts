import { family } from "../gpu";

export const ADAMW_SIZE = 64;
const index = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

/**
 * AdamW in place (with decay 0 it is Adam), for `count` parameters at once:
 *
 *     g = scale g                                         below 1 where gradients are clipped
 *     w = w - lr decay w
 *     m = b1 m + (1 - b1) g,   v = b2 v + (1 - b2) g^2
 *     w = w - lr (m / c1) / (sqrt(v / c2) + eps)          c1 = 1 - b1^t, c2 = 1 - b2^t
 *
 * m and v hold the moments of all of them, one after the other. Four numbers at a time: buffers are a multiple of that long.
 * Parameters: the numbers above, then for each parameter [its first workgroup, the first that is not its own, its numbers,
 * where its moments begin, counted in fours].
 */
export const adamw = family((count: number) => ({
  name: "adamw",
  code: /* wgsl */ `
struct Params { lr: f32, b1: f32, b2: f32, eps: f32, decay: f32, c1: f32, c2: f32, scale: f32, each: array<vec4u, ${count}> }
${index(count).map((i) => `@group(0) @binding(${2 * i}) var<storage, read> g${i}: array<vec4f>;
@group(0) @binding(${2 * i + 1}) var<storage, read_write> w${i}: array<vec4f>;`).join("\n")}
@group(0) @binding(${2 * count}) var<storage, read_write> m: array<vec4f>;
@group(0) @binding(${2 * count + 1}) var<storage, read_write> v: array<vec4f>;
@group(0) @binding(${2 * count + 2}) var<uniform> p: Params;
fn stepped(w: vec4f, g: vec4f, i: u32) -> vec4f {
  let d = p.scale * g;
  let m1 = p.b1 * m[i] + (1.0 - p.b1) * d;
  let v1 = p.b2 * v[i] + (1.0 - p.b2) * d * d;
  m[i] = m1;
  v[i] = v1;
  return w * (1.0 - p.lr * p.decay) - p.lr * (m1 / p.c1) / (sqrt(v1 / p.c2) + p.eps);
}
@compute @workgroup_size(${ADAMW_SIZE})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let number = group.x + group.y * groups.x;
${index(count).map((k) => `  if (number >= p.each[${k}].x && number < p.each[${k}].y) {
    let i = (number - p.each[${k}].x) * ${ADAMW_SIZE}u + local;
    if (4u * i < p.each[${k}].z) { w${k}[i] = stepped(w${k}[i], g${k}[i], p.each[${k}].w + i); }
  }`).join("\n")}
}`,
}));
