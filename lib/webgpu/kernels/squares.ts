import { family } from "../gpu";

export const SQUARES_SIZE = 64;
/** Workgroups that share a tensor, each of which leaves a sum. */
export const SQUARES_PARTS = 64;
const index = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

/**
 * Sums of the squares of `count` tensors, each in `SQUARES_PARTS` parts that are still to be added: what gradients' norms are
 * made of. The last four numbers of a tensor may be partly another's. Parameters: [row of the first in sums, numbers of each].
 */
export const squares = family((count: number) => ({
  name: "squares",
  code: /* wgsl */ `
struct Params { first: u32, ${index(count).map((i) => `n${i}: u32`).join(", ")} }
${index(count).map((i) => `@group(0) @binding(${i}) var<storage, read> x${i}: array<vec4f>;`).join("\n")}
@group(0) @binding(${count}) var<storage, read_write> sums: array<f32>;
@group(0) @binding(${count + 1}) var<uniform> p: Params;
var<workgroup> partial: array<f32, ${SQUARES_SIZE}>;
fn squared(x: vec4f, i: u32, n: u32) -> f32 {
  let own = select(vec4f(), x, 4u * vec4u(i) + vec4u(0u, 1u, 2u, 3u) < vec4u(n));
  return dot(own, own);
}
@compute @workgroup_size(${SQUARES_SIZE})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32) {
  let which = group.x / ${SQUARES_PARTS}u;
  let start = (group.x % ${SQUARES_PARTS}u) * ${SQUARES_SIZE}u + local;
  var total = 0.0;
${index(count).map((k) => `  if (which == ${k}u) {
    for (var i = start; 4u * i < p.n${k}; i += ${SQUARES_PARTS * SQUARES_SIZE}u) { total += squared(x${k}[i], i, p.n${k}); }
  }`).join("\n")}
  partial[local] = total;
  workgroupBarrier();
  for (var width = ${SQUARES_SIZE / 2}u; width > 0u; width /= 2u) {
    if (local < width) { partial[local] += partial[local + width]; }
    workgroupBarrier();
  }
  if (local == 0u) { sums[p.first * ${SQUARES_PARTS}u + group.x] = partial[0]; }
}`,
}));
