import { family, type Kernel } from "../gpu";

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

/** How rows of n numbers are walked. */
export function rowTraits(n: number, subgroups: boolean): RowTraits {
  const wide = n % 4 === 0;
  const cells = wide ? n / 4 : n;
  const size = cells <= 512 ? 64 : 256;
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
function rowKernel(
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

const arrays = (T: string, ...names: string[]): string[] => names.map((name) => `${name}: array<${T}>`);
const typeOf = ({ wide }: RowTraits): string => (wide ? "vec4f" : "f32");

/** y = softmax(x), a row -infinity throughout gives zeros. Parameters: [rows, n, bits of -infinity]. */
export const softmax = family((traits: RowTraits) => rowKernel(
  "softmax", traits, arrays(typeOf(traits), "x"), arrays(typeOf(traits), "y"), "rows: u32, n: u32, lowest: u32, unused: u32",
  ({ T, hold, each, again, sum, max }) => /* wgsl */ `
${hold("x")}
  var m = bitcast<f32>(p.lowest);
${each((of) => `m = max(m, ${max(of("x"))});`)}
  let top = maxOf(m, local, lane, lanes);
  let shift = select(top, 0.0, top == bitcast<f32>(p.lowest));
  var s = ${T}();
${each((of) => `let e = exp(${of("x")} - shift); ${of(again("x", "y"))} = e; s += e;`)}
  let total = sumOf(${sum("s")}, local, lane, lanes);
  let scale = 1.0 / select(total, 1.0, total == 0.0);
${each((of) => `y[base + j] = ${of(again("x", "y"))} * scale;`)}`));

/** dx = y (dy - sum(y dy)). Parameters: [rows, n]. */
export const softmaxBackward = family((traits: RowTraits) => rowKernel(
  "softmax backward", traits, arrays(typeOf(traits), "y", "dy"), arrays(typeOf(traits), "dx"), "rows: u32, n: u32, unused0: u32, unused1: u32",
  ({ T, hold, each, sum }) => /* wgsl */ `
${hold("y")}
${hold("dy")}
  var s = ${T}();
${each((of) => `s += ${of("y")} * ${of("dy")};`)}
  let inner = sumOf(${sum("s")}, local, lane, lanes);
${each((of) => `dx[base + j] = ${of("y")} * (${of("dy")} - inner);`)}`));

/**
 * The loss of each row, log sum exp(x) - x[target], 0 where the target is ignored; `lse` is kept for the backward.
 * Parameters: [rows, n, ignored target, bits of -infinity].
 */
export const crossEntropy = family((traits: RowTraits) => rowKernel(
  "cross-entropy", traits, [...arrays(typeOf(traits), "x"), "targets: array<i32>"], arrays("f32", "loss", "lse"),
  "rows: u32, n: u32, ignored: i32, lowest: u32",
  ({ T, hold, each, sum, max }) => /* wgsl */ `
${hold("x")}
  var m = bitcast<f32>(p.lowest);
${each((of) => `m = max(m, ${max(of("x"))});`)}
  let top = maxOf(m, local, lane, lanes);
  var s = ${T}();
${each((of) => `s += exp(${of("x")} - top);`)}
  let total = sumOf(${sum("s")}, local, lane, lanes);
  if (local == 0u) {
    let l = top + log(total);
    lse[row] = l;
    let t = targets[row];
    var value = 0.0;
    if (t != p.ignored) { value = l - ${traits.wide ? "x[base + u32(t) / 4u][u32(t) % 4u]" : "x[base + u32(t)]"}; }
    loss[row] = value;
  }`));

/** dx = (exp(x - lse) - onehot(target)) scale[row], 0 where the target is ignored. Parameters: [rows, n, ignored]. */
export const crossEntropyBackward = family((traits: RowTraits) => rowKernel(
  "cross-entropy backward", traits, [...arrays(typeOf(traits), "x"), "targets: array<i32>", ...arrays("f32", "lse", "scale")],
  arrays(typeOf(traits), "dx"), "rows: u32, n: u32, ignored: i32, unused: u32",
  ({ T, hold, each }) => /* wgsl */ `
${hold("x")}
  let t = targets[row];
  let up = scale[row];
  let l = lse[row];
${each((of) => `
    let here = ${traits.wide ? "vec4i(i32(4u * j)) + vec4i(0, 1, 2, 3) == vec4i(t)" : "i32(j) == t"};
    dx[base + j] = select((exp(${of("x")} - l) - select(${T}(), ${T}(1.0), here)) * up, ${T}(), t == p.ignored);`)}`));

/** y = gamma (x - mean) rstd + beta; mean and rstd of each row are kept. Parameters: [rows, d, bits of eps]. */
export const layerNorm = family((traits: RowTraits) => rowKernel(
  "layer norm", traits, arrays(typeOf(traits), "x", "gamma", "beta"), [...arrays(typeOf(traits), "y"), ...arrays("f32", "mean", "rstd")],
  "rows: u32, n: u32, eps: f32, unused: u32",
  ({ T, hold, each, sum }) => /* wgsl */ `
${hold("x")}
  var s = ${T}();
${each((of) => `s += ${of("x")};`)}
  let mu = sumOf(${sum("s")}, local, lane, lanes) / f32(p.n);
  var q = ${T}();
${each((of) => `let c = ${of("x")} - mu; q += c * c;`)}
  let r = 1.0 / sqrt(sumOf(${sum("q")}, local, lane, lanes) / f32(p.n) + p.eps);
${each((of) => `y[base + j] = (${of("x")} - mu) * r * gamma[j] + beta[j];`)}
  if (local == 0u) { mean[row] = mu; rstd[row] = r; }`));

/** dx = rstd (g - mean(g) - xhat mean(g xhat)), g = dy gamma. Parameters: [rows, d]. */
export const layerNormBackward = family((traits: RowTraits) => rowKernel(
  "layer norm backward", traits, [...arrays(typeOf(traits), "x", "gamma"), ...arrays("f32", "mean", "rstd"), ...arrays(typeOf(traits), "dy")],
  arrays(typeOf(traits), "dx"), "rows: u32, n: u32, unused0: u32, unused1: u32",
  ({ T, hold, each, sum }) => /* wgsl */ `
${hold("x")}
${hold("dy")}
  let mu = mean[row];
  let r = rstd[row];
  var s = ${T}();
  var q = ${T}();
${each((of) => `let g = ${of("dy")} * gamma[j]; s += g; q += g * (${of("x")} - mu) * r;`)}
  let gMean = sumOf(${sum("s")}, local, lane, lanes) / f32(p.n);
  let hatMean = sumOf(${sum("q")}, local, lane, lanes) / f32(p.n);
${each((of) => `dx[base + j] = r * (${of("dy")} * gamma[j] - gMean - (${of("x")} - mu) * r * hatMean);`)}`));

/** Rows that one invocation of `layerNormParameters` adds up; what it leaves is summed by a second kernel. */
export const CHUNK = 64;
/** Columns of a workgroup of `layerNormParameters`. */
export const COLUMNS = 64;

/**
 * Partial sums over `CHUNK` rows of dy xhat and of dy, each [chunks, d]: dgamma and dbeta once summed over the chunks.
 * Parameters: [rows, d, chunks]; a workgroup is `COLUMNS` columns of one chunk.
 */
export const layerNormParameters: Kernel = {
  name: "layer norm parameters",
  code: /* wgsl */ `
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> mean: array<f32>;
@group(0) @binding(2) var<storage, read> rstd: array<f32>;
@group(0) @binding(3) var<storage, read> dy: array<f32>;
@group(0) @binding(4) var<storage, read_write> dgamma: array<f32>;
@group(0) @binding(5) var<storage, read_write> dbeta: array<f32>;
@group(0) @binding(6) var<uniform> p: vec4u;
@compute @workgroup_size(${COLUMNS})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let number = group.x + group.y * groups.x;
  let across = (p.y + ${COLUMNS - 1}u) / ${COLUMNS}u;
  let j = (number % across) * ${COLUMNS}u + local;
  let chunk = number / across;
  if (j >= p.y || chunk >= p.z) { return; }
  var g = 0.0;
  var b = 0.0;
  for (var row = chunk * ${CHUNK}u; row < min((chunk + 1u) * ${CHUNK}u, p.x); row++) {
    let up = dy[row * p.y + j];
    g += up * (x[row * p.y + j] - mean[row]) * rstd[row];
    b += up;
  }
  dgamma[chunk * p.y + j] = g;
  dbeta[chunk * p.y + j] = b;
}`,
};
