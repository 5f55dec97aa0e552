import type { Kernel } from "../gpu";

export const GATHER_SIZE = 64;

const HEAD = /* wgsl */ `
@compute @workgroup_size(${GATHER_SIZE})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let o = (group.x + group.y * groups.x) * ${GATHER_SIZE}u + local;
  if (o >= p.n) { return; }
  let row = o / p.width;
  let column = o % p.width;`;

/** Row r of out is row index[r] of x, or 0 where the index is -1. Parameters: [numbers in out, numbers in a row]. */
export const gather: Kernel = {
  name: "gather",
  code: /* wgsl */ `
struct Params { n: u32, width: u32, unused0: u32, unused1: u32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> index: array<i32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;
@group(0) @binding(3) var<uniform> p: Params;
${HEAD}
  let at = index[row];
  var value = 0.0;
  if (at >= 0) { value = x[u32(at) * p.width + column]; }
  out[o] = value;
}`,
};

/**
 * gather's adjoint without atomics, which WGSL lacks for floats: the sources of each row were sorted together, those of
 * row r of out are the rows source[first[r]] .. source[first[r + 1] - 1] of x.
 * Parameters: [numbers in out, numbers in a row].
 */
export const scatter: Kernel = {
  name: "scatter",
  code: /* wgsl */ `
struct Params { n: u32, width: u32, unused0: u32, unused1: u32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> first: array<i32>;
@group(0) @binding(2) var<storage, read> source: array<i32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;
@group(0) @binding(4) var<uniform> p: Params;
${HEAD}
  var total = 0.0;
  for (var k = first[row]; k < first[row + 1u]; k++) { total += x[u32(source[u32(k)]) * p.width + column]; }
  out[o] = total;
}`,
};
