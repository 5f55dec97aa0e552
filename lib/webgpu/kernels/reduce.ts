import type { Kernel } from "../gpu";

export const REDUCE_SIZE = 64;

export type Reduction = "sum" | "max" | "min";

const start = { sum: "0.0", max: "bitcast<f32>(p.n.w)", min: "bitcast<f32>(p.n.w)" };
const join = { sum: "a + b", max: "select(max(a, b), a + b, isNan(a) || isNan(b))", min: "select(min(a, b), a + b, isNan(a) || isNan(b))" };

/**
 * The sum (or extreme) of each output's elements, one workgroup an output: 64 invocations walk the elements, then add
 * up in a tree.
 *
 * Parameters: [outputs, elements of each, -, bits of the value to start from], then [size, stride] of each kept axis and
 * of each reduced axis, last first, as [size, stride, -, -].
 */
export function reduceRows(kind: Reduction, kept: number, reduced: number): Kernel {
  return { name: kind, code: source(kind, kept, reduced, true) };
}

/** The same with one invocation an output: better where outputs lie next to each other (the sum over a batch). */
export function reduceColumns(kind: Reduction, kept: number, reduced: number): Kernel {
  return { name: `${kind} of columns`, code: source(kind, kept, reduced, false) };
}

function source(kind: Reduction, kept: number, reduced: number, together: boolean): string {
  return /* wgsl */ `
struct Params { n: vec4u, axes: array<vec4u, ${Math.max(1, kept + reduced)}> }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;
@group(0) @binding(2) var<uniform> p: Params;
${together ? `var<workgroup> partial: array<f32, ${REDUCE_SIZE}>;` : ""}
fn isNan(v: f32) -> bool { return (bitcast<u32>(v) & 0x7fffffffu) > 0x7f800000u; }
fn joined(a: f32, b: f32) -> f32 { return ${join[kind]}; }
fn place(index: u32, first: u32, count: u32) -> u32 {
  var rest = index;
  var at = 0u;
  for (var d = 0u; d < count; d++) {
    let axis = p.axes[first + d];
    at += (rest % axis.x) * axis.y;
    rest = rest / axis.x;
  }
  return at;
}
@compute @workgroup_size(${REDUCE_SIZE})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let g = group.x + group.y * groups.x;
  let o = ${together ? "g" : `g * ${REDUCE_SIZE}u + local`};
  if (o >= p.n.x) { return; }
  let base = place(o, 0u, ${kept}u);
  var total = ${start[kind]};
  for (var r = ${together ? "local" : "0u"}; r < p.n.y; r += ${together ? `${REDUCE_SIZE}u` : "1u"}) {
    total = joined(total, x[base + place(r, ${kept}u, ${reduced}u)]);
  }
${together ? `
  partial[local] = total;
  workgroupBarrier();
  for (var width = ${REDUCE_SIZE / 2}u; width > 0u; width /= 2u) {
    if (local < width) { partial[local] = joined(partial[local], partial[local + width]); }
    workgroupBarrier();
  }
  if (local == 0u) { out[o] = partial[0]; }` : "  out[o] = total;"}
}`;
}
