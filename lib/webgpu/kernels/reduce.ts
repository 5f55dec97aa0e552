import { family } from "../gpu";

export const REDUCE_SIZE = 64;

export type Reduction = "sum" | "max" | "min";

const start = { sum: "0.0", max: "bitcast<f32>(p.n.w)", min: "bitcast<f32>(p.n.w)" };
const join = { sum: "a + b", max: "select(max(a, b), a + b, isNan(a) || isNan(b))", min: "select(min(a, b), a + b, isNan(a) || isNan(b))" };

/**
 * The sum or extreme of each output's elements. `together`: one workgroup an output, whose 64 invocations walk the
 * elements and then join in a tree; otherwise one invocation an output, which is better where outputs lie next to each
 * other (the sum over a batch).
 *
 * So that few outputs of many elements keep a GPU busy too, the elements can be cut into parts: out is then [parts, outputs].
 *
 * Parameters: [outputs, elements of each, elements of a part, bits of the value to start from], then [size, stride] of each
 * kept axis and of each reduced axis, last first, as [size, stride, -, -].
 */
export const reduction = family((kind: Reduction, kept: number, reduced: number, together: boolean) => {
  const place = (name: string, first: number, count: number): string => `
fn ${name}(index: u32) -> u32 {
  var rest = index;
  var at = 0u;
${Array.from({ length: count }, (_, d) => (d < count - 1
    ? `  at += (rest % p.axes[${first + d}].x) * p.axes[${first + d}].y;\n  rest = rest / p.axes[${first + d}].x;`
    : `  at += rest * p.axes[${first + d}].y;`)).join("\n")}
  return at;
}`;
  return {
    name: together ? kind : `${kind} of columns`,
    code: /* wgsl */ `
struct Params { n: vec4u, axes: array<vec4u, ${Math.max(1, kept + reduced)}> }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;
@group(0) @binding(2) var<uniform> p: Params;
${together ? `var<workgroup> partial: array<f32, ${REDUCE_SIZE}>;` : ""}
fn isNan(v: f32) -> bool { return (bitcast<u32>(v) & 0x7fffffffu) > 0x7f800000u; }
fn joined(a: f32, b: f32) -> f32 { return ${join[kind]}; }
${place("placeOfOutput", 0, kept)}
${place("placeOfElement", kept, reduced)}
@compute @workgroup_size(${REDUCE_SIZE})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let g = group.x + group.y * groups.x;
  let o = ${together ? "g" : `g * ${REDUCE_SIZE}u + local`};
  let part = o / p.n.x;
  if (part > 0u && part * p.n.z >= p.n.y) { return; }
  let base = placeOfOutput(o % p.n.x);
  let end = min((part + 1u) * p.n.z, p.n.y);
  var total = ${start[kind]};
  for (var r = part * p.n.z${together ? " + local" : ""}; r < end; r += ${together ? `${REDUCE_SIZE}u` : "1u"}) {
    total = joined(total, x[base + placeOfElement(r)]);
  }
${together ? `
  partial[local] = total;
  workgroupBarrier();
  for (var width = ${REDUCE_SIZE / 2}u; width > 0u; width /= 2u) {
    if (local < width) { partial[local] = joined(partial[local], partial[local + width]); }
    workgroupBarrier();
  }
  if (local == 0u) { out[o] = partial[0]; }` : "  out[o] = total;"}
}`,
  };
});
