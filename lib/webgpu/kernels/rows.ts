import type { Kernel } from "../gpu";

/** Invocations that share a row. */
export const ROW_SIZE = 64;

/**
 * The start of every kernel that gives a workgroup a row: `row`, `local`, and `sumOf` and `maxOf`, which join the values of
 * all its invocations. Where the GPU has subgroups of at least four, a subgroup adds up its own values first.
 */
function rowKernel(name: string, bindings: string, params: string, body: string, subgroups: boolean): Kernel {
  const join = (kind: "sum" | "max"): string => {
    const [of, both] = kind === "sum" ? ["subgroupAdd(v)", "a + b"] : ["subgroupMax(v)", "max(a, b)"];
    const tree = (width: string, get: string): string => `
  for (var w = ${width}; w > 0u; w /= 2u) {
    if (${get} < w) { let a = shared_[${get}]; let b = shared_[${get} + w]; shared_[${get}] = ${both}; }
    workgroupBarrier();
  }`;
    return subgroups ? /* wgsl */ `
fn ${kind}Of(v: f32, local: u32, lane: u32, lanes: u32) -> f32 {
  let own = ${of};
  workgroupBarrier();
  if (lane == 0u) { shared_[local / lanes] = own; }
  workgroupBarrier();
  var total = shared_[0];
  for (var g = 1u; g < ${ROW_SIZE}u / lanes; g++) { let a = total; let b = shared_[g]; total = ${both}; }
  return total;
}` : /* wgsl */ `
fn ${kind}Of(v: f32, local: u32, lane: u32, lanes: u32) -> f32 {
  workgroupBarrier();
  shared_[local] = v;
  workgroupBarrier();${tree(`${ROW_SIZE / 2}u`, "local")}
  return shared_[0];
}`;
  };
  return {
    name,
    code: /* wgsl */ `${subgroups ? "enable subgroups;" : ""}
struct Params { ${params} }
${bindings}
var<workgroup> shared_: array<f32, ${ROW_SIZE}>;
${join("sum")}
${join("max")}
@compute @workgroup_size(${ROW_SIZE})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32${
      subgroups ? ", @builtin(subgroup_invocation_id) lane: u32, @builtin(subgroup_size) lanes: u32" : ""}) {
  ${subgroups ? "" : "let lane = 0u; let lanes = 0u;"}
  let row = group.x + group.y * groups.x;
  if (row >= p.rows) { return; }
${body}
}`,
  };
}

const read = (binding: number, ...names: string[]): string =>
  names.map((name, i) => `@group(0) @binding(${binding + i}) var<storage, read> ${name}: array<f32>;`).join("\n");
const write = (binding: number, ...names: string[]): string =>
  names.map((name, i) => `@group(0) @binding(${binding + i}) var<storage, read_write> ${name}: array<f32>;`).join("\n");
const uniform = (binding: number): string => `@group(0) @binding(${binding}) var<uniform> p: Params;`;
const eachOf = (n: string, body: string): string => `  for (var j = local; j < ${n}; j += ${ROW_SIZE}u) { ${body} }`;

/** y = softmax(x), a row -infinity throughout gives zeros. Parameters: [rows, n, bits of -infinity]. */
export const softmax = (subgroups: boolean): Kernel => rowKernel(
  "softmax", `${read(0, "x")}\n${write(1, "y")}\n${uniform(2)}`, "rows: u32, n: u32, lowest: u32, unused: u32", `
  let base = row * p.n;
  var m = bitcast<f32>(p.lowest);
${eachOf("p.n", "m = max(m, x[base + j]);")}
  let top = maxOf(m, local, lane, lanes);
  let shift = select(top, 0.0, top == bitcast<f32>(p.lowest));
  var s = 0.0;
${eachOf("p.n", "let e = exp(x[base + j] - shift); y[base + j] = e; s += e;")}
  let total = sumOf(s, local, lane, lanes);
  let scale = 1.0 / select(total, 1.0, total == 0.0);
${eachOf("p.n", "y[base + j] *= scale;")}`, subgroups);

/** dx = y (dy - sum(y dy)). Parameters: [rows, n]. */
export const softmaxBackward = (subgroups: boolean): Kernel => rowKernel(
  "softmax backward", `${read(0, "y", "dy")}\n${write(2, "dx")}\n${uniform(3)}`, "rows: u32, n: u32, unused0: u32, unused1: u32", `
  let base = row * p.n;
  var s = 0.0;
${eachOf("p.n", "s += y[base + j] * dy[base + j];")}
  let inner = sumOf(s, local, lane, lanes);
${eachOf("p.n", "dx[base + j] = y[base + j] * (dy[base + j] - inner);")}`, subgroups);

/**
 * The loss of each row, log sum exp(x) - x[target], 0 where the target is ignored; `lse` is kept for the backward.
 * Parameters: [rows, n, ignored target, bits of -infinity].
 */
export const crossEntropy = (subgroups: boolean): Kernel => rowKernel(
  "cross-entropy", `${read(0, "x")}\n@group(0) @binding(1) var<storage, read> targets: array<i32>;\n${write(2, "loss", "lse")}\n${uniform(4)}`,
  "rows: u32, n: u32, ignored: i32, lowest: u32", `
  let base = row * p.n;
  var m = bitcast<f32>(p.lowest);
${eachOf("p.n", "m = max(m, x[base + j]);")}
  let top = maxOf(m, local, lane, lanes);
  var s = 0.0;
${eachOf("p.n", "s += exp(x[base + j] - top);")}
  let total = sumOf(s, local, lane, lanes);
  if (local == 0u) {
    let l = top + log(total);
    lse[row] = l;
    let t = targets[row];
    var value = 0.0;
    if (t != p.ignored) { value = l - x[base + u32(t)]; }
    loss[row] = value;
  }`, subgroups);

/** dx = (exp(x - lse) - onehot(target)) scale[row], 0 where the target is ignored. Parameters: [rows, n, ignored]. */
export const crossEntropyBackward: Kernel = rowKernel(
  "cross-entropy backward",
  `${read(0, "x")}\n@group(0) @binding(1) var<storage, read> targets: array<i32>;\n${read(2, "lse", "scale")}\n${write(4, "dx")}\n${uniform(5)}`,
  "rows: u32, n: u32, ignored: i32, unused: u32", `
  let base = row * p.n;
  let t = targets[row];
  let up = scale[row];
${eachOf("p.n", `
    var g = (exp(x[base + j] - lse[row]) - select(0.0, 1.0, i32(j) == t)) * up;
    if (t == p.ignored) { g = 0.0; }
    dx[base + j] = g;`)}`, false);

/** y = gamma (x - mean) rstd + beta; mean and rstd of each row are kept. Parameters: [rows, d, bits of eps]. */
export const layerNorm = (subgroups: boolean): Kernel => rowKernel(
  "layer norm", `${read(0, "x", "gamma", "beta")}\n${write(3, "y", "mean", "rstd")}\n${uniform(6)}`,
  "rows: u32, n: u32, eps: f32, unused: u32", `
  let base = row * p.n;
  var s = 0.0;
${eachOf("p.n", "s += x[base + j];")}
  let mu = sumOf(s, local, lane, lanes) / f32(p.n);
  var q = 0.0;
${eachOf("p.n", "let c = x[base + j] - mu; q += c * c;")}
  let r = 1.0 / sqrt(sumOf(q, local, lane, lanes) / f32(p.n) + p.eps);
${eachOf("p.n", "y[base + j] = (x[base + j] - mu) * r * gamma[j] + beta[j];")}
  if (local == 0u) { mean[row] = mu; rstd[row] = r; }`, subgroups);

/** dx = rstd (g - mean(g) - xhat mean(g xhat)), g = dy gamma. Parameters: [rows, d]. */
export const layerNormBackward = (subgroups: boolean): Kernel => rowKernel(
  "layer norm backward", `${read(0, "x", "gamma", "mean", "rstd", "dy")}\n${write(5, "dx")}\n${uniform(6)}`,
  "rows: u32, n: u32, unused0: u32, unused1: u32", `
  let base = row * p.n;
  let mu = mean[row];
  let r = rstd[row];
  var s = 0.0;
  var q = 0.0;
${eachOf("p.n", "let g = dy[base + j] * gamma[j]; s += g; q += g * (x[base + j] - mu) * r;")}
  let gMean = sumOf(s, local, lane, lanes) / f32(p.n);
  let hatMean = sumOf(q, local, lane, lanes) / f32(p.n);
${eachOf("p.n", "dx[base + j] = r * (dy[base + j] * gamma[j] - gMean - (x[base + j] - mu) * r * hatMean);")}`, subgroups);

/** Rows that one invocation of `layerNormParameters` adds up; what it leaves is summed by a second kernel. */
export const CHUNK = 64;

/**
 * Partial sums over `CHUNK` rows of dy xhat and of dy, each [chunks, d]: dgamma and dbeta once summed over the chunks.
 * Parameters: [rows, d]; one workgroup is 64 columns of one chunk.
 */
export const layerNormParameters: Kernel = {
  name: "layer norm parameters",
  code: /* wgsl */ `
${read(0, "x", "mean", "rstd", "dy")}
${write(4, "dgamma", "dbeta")}
@group(0) @binding(6) var<uniform> p: vec4u;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let j = id.x;
  let chunk = id.y;
  if (j >= p.y) { return; }
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
