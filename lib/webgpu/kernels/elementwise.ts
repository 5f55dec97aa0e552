import { family } from "../gpu";
import { HELPERS } from "./helpers";

export const ELEMENTWISE_SIZE = 128;
/** Axes that a broadcast may have, once neighbours that can be walked together are merged: more would not fit the parameters. */
export const MAX_AXES = 7;

const reads = (inputs: number): number[] => Array.from({ length: inputs }, (_, i) => i);
/** Where the parameters hold an input's offset and its stride. */
const letters = ["y", "z", "w"];
const HEAD = /* wgsl */ `
@compute @workgroup_size(${ELEMENTWISE_SIZE})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let i = (group.x + group.y * groups.x) * ${ELEMENTWISE_SIZE}u + local;`;

function top(inputs: number, expression: string, axes: number, types: readonly string[], out: string): string {
  return /* wgsl */ `
struct Params { n: vec4u, more: vec4u, axes: array<vec4u, ${Math.max(1, 2 * axes)}> }
${reads(inputs).map((i) => `@group(0) @binding(${i}) var<storage, read> in${i}: array<${types[i]}>;`).join("\n")}
@group(0) @binding(${inputs}) var<storage, read_write> out: array<${out}>;
@group(0) @binding(${inputs + 1}) var<uniform> p: Params;
${HELPERS}
fn f(${reads(inputs).map((k) => `x${k}: f32`).join(", ")}) -> f32 { let s = bitcast<f32>(p.more.y); return ${expression}; }
${HEAD}`;
}

/**
 * out[i] = expression of x0, x1, x2 and the number s, each input read with strides of its own: broadcasting, transposes
 * and slices are strides.
 *
 * Parameters: [n, offset0, offset1, offset2], [outOffset, s, -, -], then for each axis, last first,
 * [size, stride0, stride1, stride2] and [outStride, -, -, -] alternately.
 */
export const elementwise = family((name: string, inputs: number, expression: string, axes: number) => ({
  name,
  code: /* wgsl */ `${top(inputs, expression, axes, Array<string>(inputs).fill("f32"), "f32")}
  if (i >= p.n.x) { return; }
${reads(inputs).map((k) => `  var i${k} = p.n.${letters[k]};`).join("\n")}
  var o = p.more.x;
  var rest = i;
  for (var d = 0u; d < ${axes}u; d++) {
    let axis = p.axes[2u * d];
    let c = rest % axis.x;
    rest = rest / axis.x;
${reads(inputs).map((k) => `    i${k} += c * axis.${letters[k]};`).join("\n")}
    o += c * p.axes[2u * d + 1u].x;
  }
  out[o] = f(${reads(inputs).map((k) => `in${k}[i${k}]`).join(", ")});
}`,
}));

/**
 * The same where each input is either as long as the output, in the same order, or a single number: four at a time, no
 * index arithmetic. Buffers are a multiple of four numbers long, so the last four need no care.
 * Parameters: [n, offset0, offset1, offset2], [-, s, -, -].
 */
export const elementwiseFlat = family((name: string, expression: string, single: readonly boolean[]) => ({
  name: `${name}, flat`,
  code: /* wgsl */ `${top(single.length, expression, 0, single.map((one) => (one ? "f32" : "vec4f")), "vec4f")}
  if (4u * i >= p.n.x) { return; }
${single.map((one, k) => `  let x${k} = ${one ? `vec4f(in${k}[p.n.${letters[k]}])` : `in${k}[p.n.${letters[k]} / 4u + i]`};`).join("\n")}
  out[i] = vec4f(${["x", "y", "z", "w"].map((c) => `f(${single.map((_, k) => `x${k}.${c}`).join(", ")})`).join(", ")});
}`,
}));
