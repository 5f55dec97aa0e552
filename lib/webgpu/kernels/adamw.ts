import type { Kernel } from "../gpu";

export const ADAMW_SIZE = 64;

/**
 * AdamW in place (with decay 0 it is Adam):
 *
 *     g = scale g                                         below 1 where gradients are clipped
 *     w = w - lr decay w
 *     m = b1 m + (1 - b1) g,   v = b2 v + (1 - b2) g^2
 *     w = w - lr (m / c1) / (sqrt(v / c2) + eps)          c1 = 1 - b1^t, c2 = 1 - b2^t
 */
export const adamw: Kernel = {
  name: "adamw",
  code: /* wgsl */ `
struct Params { n: u32, lr: f32, b1: f32, b2: f32, eps: f32, decay: f32, c1: f32, c2: f32, scale: f32 }
@group(0) @binding(0) var<storage, read> g: array<f32>;
@group(0) @binding(1) var<storage, read_write> w: array<f32>;
@group(0) @binding(2) var<storage, read_write> m: array<f32>;
@group(0) @binding(3) var<storage, read_write> v: array<f32>;
@group(0) @binding(4) var<uniform> p: Params;
@compute @workgroup_size(${ADAMW_SIZE})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let i = (group.x + group.y * groups.x) * ${ADAMW_SIZE}u + local;
  if (i >= p.n) { return; }
  let d = p.scale * g[i];
  let m1 = p.b1 * m[i] + (1.0 - p.b1) * d;
  let v1 = p.b2 * v[i] + (1.0 - p.b2) * d * d;
  m[i] = m1;
  v[i] = v1;
  w[i] = w[i] * (1.0 - p.lr * p.decay) - p.lr * (m1 / p.c1) / (sqrt(v1 / p.c2) + p.eps);
}`,
};
