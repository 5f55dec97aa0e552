import type { Kernel } from "../gpu";

export const GATHER_SIZE = 64;

/** out[i] = x[index[i]], 0 where the index is -1. Parameters: [n]. */
export const gather: Kernel = {
  name: "gather",
  code: /* wgsl */ `
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> index: array<i32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;
@group(0) @binding(3) var<uniform> p: vec4u;
@compute @workgroup_size(${GATHER_SIZE})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let i = (group.x + group.y * groups.x) * ${GATHER_SIZE}u + local;
  if (i >= p.x) { return; }
  let at = index[i];
  var value = 0.0;
  if (at >= 0) { value = x[u32(at)]; }
  out[i] = value;
}`,
};

/**
 * gather's adjoint without atomics, which WGSL lacks for floats: the sources of each output were sorted together, those
 * of output o are source[first[o]] .. source[first[o + 1] - 1]. Parameters: [outputs].
 */
export const scatter: Kernel = {
  name: "scatter",
  code: /* wgsl */ `
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> first: array<i32>;
@group(0) @binding(2) var<storage, read> source: array<i32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;
@group(0) @binding(4) var<uniform> p: vec4u;
@compute @workgroup_size(${GATHER_SIZE})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let o = (group.x + group.y * groups.x) * ${GATHER_SIZE}u + local;
  if (o >= p.x) { return; }
  var total = 0.0;
  for (var k = first[o]; k < first[o + 1u]; k++) { total += x[u32(source[u32(k)])]; }
  out[o] = total;
}`,
};
