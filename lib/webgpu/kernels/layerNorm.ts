import { family, type Kernel } from "../gpu";
import { arrays, rowKernel, typeOf, type RowTraits } from "./rows";

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

/**
 * dx = rstd (g - mean(g) - xhat mean(g xhat)), g = dy gamma; with `joined` also sum = dx + other, where two paths of a
 * gradient meet. Parameters: [rows, d].
 */
export const layerNormBackward = family((traits: RowTraits, joined: boolean) => rowKernel(
  `layer norm backward${joined ? ", joined" : ""}`, traits,
  [...arrays(typeOf(traits), "x", "gamma"), ...arrays("f32", "mean", "rstd"), ...arrays(typeOf(traits), "dy", ...(joined ? ["other"] : []))],
  arrays(typeOf(traits), "dx", ...(joined ? ["sum"] : [])), "rows: u32, n: u32, unused0: u32, unused1: u32",
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
${each((of) => `let d = r * (${of("dy")} * gamma[j] - gMean - (${of("x")} - mu) * r * hatMean); dx[base + j] = d;${
    joined ? " sum[base + j] = d + other[base + j];" : ""}`)}`));

/** Rows that one invocation of `layerNormParameters` adds up; what it leaves is summed by a second kernel. */
export const CHUNK = 64;
/** Columns of a workgroup of `layerNormParameters`. */
export const COLUMNS = 64;

/**
 * Sums over `CHUNK` rows of dy xhat and of dy: dgamma and dbeta once summed over the chunks. A chunk's row of `sums` holds
 * the first at 0 and the second at p.at. A workgroup is `COLUMNS` columns of one chunk.
 * Parameters: [rows, d, chunks, where dbeta is, length of a row of sums].
 */
export const layerNormParameters: Kernel = {
  name: "layer norm parameters",
  code: /* wgsl */ `
struct Params { rows: u32, d: u32, chunks: u32, at: u32, length: u32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> mean: array<f32>;
@group(0) @binding(2) var<storage, read> rstd: array<f32>;
@group(0) @binding(3) var<storage, read> dy: array<f32>;
@group(0) @binding(4) var<storage, read_write> sums: array<f32>;
@group(0) @binding(5) var<uniform> p: Params;
@compute @workgroup_size(${COLUMNS})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let number = group.x + group.y * groups.x;
  let across = (p.d + ${COLUMNS - 1}u) / ${COLUMNS}u;
  let j = (number % across) * ${COLUMNS}u + local;
  let chunk = number / across;
  if (j >= p.d || chunk >= p.chunks) { return; }
  var g = 0.0;
  var b = 0.0;
  for (var row = chunk * ${CHUNK}u; row < min((chunk + 1u) * ${CHUNK}u, p.rows); row++) {
    let up = dy[row * p.d + j];
    g += up * (x[row * p.d + j] - mean[row]) * rstd[row];
    b += up;
  }
  sums[chunk * p.length + j] = g;
  sums[chunk * p.length + p.at + j] = b;
}`,
};
