import type { Kernel } from "../gpu";

/** How a workgroup walks a row; decided from the row's length by `rowTraits`. */
export interface RowTraits {
  /** Whether values are joined by subgroup operations first. */
  readonly subgroups: boolean;
  /** Four numbers at a time; the row's length is then a multiple of 4. */
  readonly wide: boolean;
  /** Invocations that share a row. */
  readonly size: 64 | 256;
  /** Cells (of one or four numbers) that each invocation keeps in registers; 0: the row is too long and is read again. */
  readonly held: number;
}

/** The most cells that an invocation keeps. */
const MOST_HELD = 16;

/** How rows of n numbers are walked on a GPU that has subgroups or not, and so many invocations to a workgroup. */
export function rowTraits(n: number, subgroups: boolean, invocations: number): RowTraits {
  const wide = n % 4 === 0;
  const cells = wide ? n / 4 : n;
  const size = cells <= 512 || invocations < 256 ? 64 : 256;
  const each = Math.max(1, Math.ceil(cells / size));
  return { subgroups, wide, size, held: each <= MOST_HELD ? each : 0 };
}

interface Row {
  /** Type of a cell. */
  readonly T: "vec4f" | "f32";
  /** Reads the row of a buffer into registers, where it fits. */
  hold(name: string): string;
  /** `body` for each cell j of the row that belongs to this invocation; `of(name)` is a held buffer's cell. */
  each(body: (of: (name: string) => string) => string): string;
  /** A name for the result of a pass that the next pass reads: a register if the row is held, else a buffer's cell. */
  readonly again: (name: string, buffer: string) => string;
  /** Sum and greatest of a cell's numbers. */
  sum(cell: string): string;
  max(cell: string): string;
}

function rowOf({ wide, size, held }: RowTraits): Row {
  const cells = (f: (i: number) => string): string => Array.from({ length: held }, (_, i) => f(i)).join("\n");
  const at = (i: number): string => `let j = local + ${i * size}u; if (j < cells)`;
  const T = wide ? "vec4f" : "f32";
  return {
    T,
    hold: (name) => cells((i) => `  var ${name}${i} = ${T}(); { ${at(i)} { ${name}${i} = ${name}[base + j]; } }`),
    each: (body) => held > 0
      ? cells((i) => `  { ${at(i)} { ${body((name) => `${name}${i}`)} } }`)
      : `  for (var j = local; j < cells; j += ${size}u) { ${body((name) => `${name}[base + j]`)} }`,
    again: (name, buffer) => (held > 0 ? name : buffer),
    sum: (cell) => (wide ? `dot(${cell}, vec4f(1.0))` : cell),
    max: (cell) => (wide ? `max(max(${cell}.x, ${cell}.y), max(${cell}.z, ${cell}.w))` : cell),
  };
}

/**
 * The frame of every kernel that gives a workgroup a row: `row`, `local`, `base` (the row's first cell) and `cells`, and
 * `sumOf` and `maxOf`, which join a value of each invocation. Where the GPU has subgroups, a subgroup joins its own first.
 */
export function rowKernel(
  name: string, traits: RowTraits, reads: readonly string[], writes: readonly string[], params: string, body: (row: Row) => string,
): Kernel {
  const { subgroups, size } = traits;
  const row = rowOf(traits);
  const join = (kind: "sum" | "max"): string => {
    const [own, both] = kind === "sum" ? ["subgroupAdd(v)", "a + b"] : ["subgroupMax(v)", "max(a, b)"];
    return subgroups ? /* wgsl */ `
fn ${kind}Of(v: f32, local: u32, lane: u32, lanes: u32) -> f32 {
  let own = ${own};
  workgroupBarrier();
  if (lane == 0u) { joined[local / lanes] = own; }
  workgroupBarrier();
  var total = joined[0];
  for (var g = 1u; g < ${size}u / lanes; g++) { let a = total; let b = joined[g]; total = ${both}; }
  return total;
}` : /* wgsl */ `
fn ${kind}Of(v: f32, local: u32, lane: u32, lanes: u32) -> f32 {
  workgroupBarrier();
  joined[local] = v;
  workgroupBarrier();
  for (var w = ${size / 2}u; w > 0u; w /= 2u) {
    if (local < w) { let a = joined[local]; let b = joined[local + w]; joined[local] = ${both}; }
    workgroupBarrier();
  }
  return joined[0];
}`;
  };
  const bindings = [
    ...reads.map((r) => `var<storage, read> ${r}`),
    ...writes.map((w) => `var<storage, read_write> ${w}`),
    "var<uniform> p: Params",
  ].map((binding, i) => `@group(0) @binding(${i}) ${binding};`).join("\n");
  return {
    name,
    code: /* wgsl */ `${subgroups ? "enable subgroups;" : ""}
struct Params { ${params} }
${bindings}
var<workgroup> joined: array<f32, ${size}>;
${join("sum")}
${join("max")}
@compute @workgroup_size(${size})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32${
      subgroups ? ", @builtin(subgroup_invocation_id) lane: u32, @builtin(subgroup_size) lanes: u32" : ""}) {
  ${subgroups ? "" : "let lane = 0u; let lanes = 0u;"}
  let row = group.x + group.y * groups.x;
  if (row >= p.rows) { return; }
  let cells = p.n${traits.wide ? " / 4u" : ""};
  let base = row * cells;
${body(row)}
}`,
  };
}

/** Bindings of one element type. */
export const arrays = (T: string, ...names: string[]): string[] => names.map((name) => `${name}: array<${T}>`);
/** The element type of a row's cells. */
export const typeOf = ({ wide }: RowTraits): string => (wide ? "vec4f" : "f32");
