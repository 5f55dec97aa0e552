import type { Kernel } from "../gpu";

/** Query (or key) rows of a workgroup, one an invocation. */
export const ATTENTION_ROWS = 64;
/** Rows of the other side that are in workgroup memory at a time. */
const TILE = 16;
/** Heads wider than this would not fit an invocation's registers. */
export const MAX_HEAD = 128;

const PARAMS = /* wgsl */ `
struct Params { t: u32, s: u32, causal: u32, scale: f32, lowest: u32, unused0: u32, unused1: u32, unused2: u32 }`;

/** Copies rows [first, first + TILE) of a matrix into workgroup memory; rows beyond the end are 0. */
function loadTile(to: string, from: string, width: number, rows: string, base: string): string {
  return `    for (var e = local; e < ${TILE * width}u; e += ${ATTENTION_ROWS}u) {
      let r = first + e / ${width}u;
      var x = 0.0;
      if (r < ${rows}) { x = ${from}[${base} + r * ${width}u + e % ${width}u]; }
      ${to}[e] = x;
    }`;
}

/**
 * Flash attention: y = softmax(scale q k^T) v without the [T, S] scores ever in memory. Each invocation owns a query
 * and walks over the keys with a running maximum m, a running sum l and an unfinished y that is rescaled whenever m grows:
 *
 *     m' = max(m, s);  l' = l e^(m - m') + e^(s - m');  y' = y e^(m - m') + e^(s - m') v
 *
 * Kept for the backward: m and l of each query, [batch, T, 2]. Their log-sum-exp m + log l would do, but at scores of
 * thousands it loses in float32 the digits that P = e^(s - m) / l keeps.
 * Shapes: q [batch, T, d], k [batch, S, d], v [batch, S, e] -> y [batch, T, e].
 */
export function flashForward(d: number, e: number): Kernel {
  return {
    name: `flash attention ${d} ${e}`,
    code: /* wgsl */ `${PARAMS}
@group(0) @binding(0) var<storage, read> q: array<f32>;
@group(0) @binding(1) var<storage, read> k: array<f32>;
@group(0) @binding(2) var<storage, read> v: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
@group(0) @binding(4) var<storage, read_write> kept: array<vec2f>;
@group(0) @binding(5) var<uniform> p: Params;
var<workgroup> kTile: array<f32, ${TILE * d}>;
var<workgroup> vTile: array<f32, ${TILE * e}>;
@compute @workgroup_size(${ATTENTION_ROWS})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32) {
  let i = group.x * ${ATTENTION_ROWS}u + local;
  let batch = group.y;
  let mine = i < p.t;
  let qBase = (batch * p.t + min(i, p.t - 1u)) * ${d}u;
  let kBase = batch * p.s * ${d}u;
  let vBase = batch * p.s * ${e}u;
  let lowest = bitcast<f32>(p.lowest);
  var query: array<f32, ${d}>;
  for (var c = 0u; c < ${d}u; c++) { query[c] = q[qBase + c] * p.scale; }
  var total: array<f32, ${e}>;
  for (var c = 0u; c < ${e}u; c++) { total[c] = 0.0; }
  var m = lowest;
  var l = 0.0;
  let last = select(p.s, min(p.s, (group.x + 1u) * ${ATTENTION_ROWS}u), p.causal == 1u);
  for (var first = 0u; first < last; first += ${TILE}u) {
    workgroupBarrier();
${loadTile("kTile", "k", d, "p.s", "kBase")}
${loadTile("vTile", "v", e, "p.s", "vBase")}
    workgroupBarrier();
    for (var r = 0u; r < ${TILE}u; r++) {
      let j = first + r;
      if (j >= p.s || (p.causal == 1u && j > i)) { break; }
      var s = 0.0;
      for (var c = 0u; c < ${d}u; c++) { s = fma(query[c], kTile[r * ${d}u + c], s); }
      let top = max(m, s);
      let keep = select(exp(m - top), 0.0, m == lowest);
      let add = select(exp(s - top), 0.0, s == lowest);
      l = l * keep + add;
      for (var c = 0u; c < ${e}u; c++) { total[c] = fma(total[c], keep, add * vTile[r * ${e}u + c]); }
      m = top;
    }
  }
  if (mine) {
    let scale = 1.0 / select(l, 1.0, l == 0.0);
    for (var c = 0u; c < ${e}u; c++) { y[(batch * p.t + i) * ${e}u + c] = total[c] * scale; }
    kept[batch * p.t + i] = vec2f(m, l);
  }
}`,
  };
}

/**
 * dq, one query an invocation. P is recomputed from what was kept, and D = rowsum(dy y), which the next kernel reads too,
 * replaces the row sum of P dP:
 *
 *     P = e^(s - m) / l;  dS = P (dy v^T - D);  dq = scale dS k
 *
 * A second kernel owns the keys: WGSL cannot add floats atomically, so one kernel cannot do both.
 */
export function flashBackwardQuery(d: number, e: number): Kernel {
  return {
    name: `flash attention dq ${d} ${e}`,
    code: /* wgsl */ `${PARAMS}
@group(0) @binding(0) var<storage, read> q: array<f32>;
@group(0) @binding(1) var<storage, read> k: array<f32>;
@group(0) @binding(2) var<storage, read> v: array<f32>;
@group(0) @binding(3) var<storage, read> dy: array<f32>;
@group(0) @binding(4) var<storage, read> y: array<f32>;
@group(0) @binding(5) var<storage, read> kept: array<vec2f>;
@group(0) @binding(6) var<storage, read_write> dq: array<f32>;
@group(0) @binding(7) var<storage, read_write> inner: array<f32>;
@group(0) @binding(8) var<uniform> p: Params;
var<workgroup> kTile: array<f32, ${TILE * d}>;
var<workgroup> vTile: array<f32, ${TILE * e}>;
@compute @workgroup_size(${ATTENTION_ROWS})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32) {
  let i = group.x * ${ATTENTION_ROWS}u + local;
  let batch = group.y;
  let mine = i < p.t;
  let row = batch * p.t + min(i, p.t - 1u);
  let kBase = batch * p.s * ${d}u;
  let vBase = batch * p.s * ${e}u;
  var query: array<f32, ${d}>;
  var total: array<f32, ${d}>;
  for (var c = 0u; c < ${d}u; c++) { query[c] = q[row * ${d}u + c] * p.scale; total[c] = 0.0; }
  var up: array<f32, ${e}>;
  // In the order in which dP is summed below, so that dP - D is 0 where all attention is on one key.
  var D = 0.0;
  for (var c = 0u; c < ${e}u; c++) { up[c] = dy[row * ${e}u + c]; D = fma(up[c], y[row * ${e}u + c], D); }
  let m = kept[row].x;
  let l = kept[row].y;
  let last = select(p.s, min(p.s, (group.x + 1u) * ${ATTENTION_ROWS}u), p.causal == 1u);
  for (var first = 0u; first < last; first += ${TILE}u) {
    workgroupBarrier();
${loadTile("kTile", "k", d, "p.s", "kBase")}
${loadTile("vTile", "v", e, "p.s", "vBase")}
    workgroupBarrier();
    for (var r = 0u; r < ${TILE}u; r++) {
      let j = first + r;
      if (j >= p.s || (p.causal == 1u && j > i)) { break; }
      var s = 0.0;
      for (var c = 0u; c < ${d}u; c++) { s = fma(query[c], kTile[r * ${d}u + c], s); }
      var dP = 0.0;
      for (var c = 0u; c < ${e}u; c++) { dP = fma(up[c], vTile[r * ${e}u + c], dP); }
      let P = select(exp(s - m) / l, 0.0, l == 0.0);
      let dS = P * (dP - D) * p.scale;
      for (var c = 0u; c < ${d}u; c++) { total[c] = fma(dS, kTile[r * ${d}u + c], total[c]); }
    }
  }
  if (mine) {
    for (var c = 0u; c < ${d}u; c++) { dq[row * ${d}u + c] = total[c]; }
    inner[row] = D;
  }
}`,
  };
}

/** dk = scale dS^T q and dv = P^T dy, one key an invocation, over tiles of queries. */
export function flashBackwardKey(d: number, e: number): Kernel {
  return {
    name: `flash attention dk dv ${d} ${e}`,
    code: /* wgsl */ `${PARAMS}
@group(0) @binding(0) var<storage, read> q: array<f32>;
@group(0) @binding(1) var<storage, read> k: array<f32>;
@group(0) @binding(2) var<storage, read> v: array<f32>;
@group(0) @binding(3) var<storage, read> dy: array<f32>;
@group(0) @binding(4) var<storage, read> kept: array<vec2f>;
@group(0) @binding(5) var<storage, read> inner: array<f32>;
@group(0) @binding(6) var<storage, read_write> dk: array<f32>;
@group(0) @binding(7) var<storage, read_write> dv: array<f32>;
@group(0) @binding(8) var<uniform> p: Params;
var<workgroup> qTile: array<f32, ${TILE * d}>;
var<workgroup> upTile: array<f32, ${TILE * e}>;
var<workgroup> keptTile: array<vec2f, ${TILE}>;
var<workgroup> innerTile: array<f32, ${TILE}>;
@compute @workgroup_size(${ATTENTION_ROWS})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32) {
  let j = group.x * ${ATTENTION_ROWS}u + local;
  let batch = group.y;
  let mine = j < p.s;
  let row = batch * p.s + min(j, p.s - 1u);
  let qBase = batch * p.t * ${d}u;
  let upBase = batch * p.t * ${e}u;
  var key: array<f32, ${d}>;
  var totalK: array<f32, ${d}>;
  for (var c = 0u; c < ${d}u; c++) { key[c] = k[row * ${d}u + c]; totalK[c] = 0.0; }
  var value: array<f32, ${e}>;
  var totalV: array<f32, ${e}>;
  for (var c = 0u; c < ${e}u; c++) { value[c] = v[row * ${e}u + c]; totalV[c] = 0.0; }
  // Causal: a key is seen by no query before it.
  let start = select(0u, group.x * ${ATTENTION_ROWS}u, p.causal == 1u);
  for (var first = start; first < p.t; first += ${TILE}u) {
    workgroupBarrier();
${loadTile("qTile", "q", d, "p.t", "qBase")}
${loadTile("upTile", "dy", e, "p.t", "upBase")}
    if (local < ${TILE}u && first + local < p.t) {
      keptTile[local] = kept[batch * p.t + first + local];
      innerTile[local] = inner[batch * p.t + first + local];
    }
    workgroupBarrier();
    for (var r = 0u; r < ${TILE}u; r++) {
      let i = first + r;
      if (i >= p.t) { break; }
      if (p.causal == 1u && j > i) { continue; }
      var s = 0.0;
      for (var c = 0u; c < ${d}u; c++) { s = fma(qTile[r * ${d}u + c] * p.scale, key[c], s); }
      var dP = 0.0;
      for (var c = 0u; c < ${e}u; c++) { dP = fma(upTile[r * ${e}u + c], value[c], dP); }
      let P = select(exp(s - keptTile[r].x) / keptTile[r].y, 0.0, keptTile[r].y == 0.0);
      let dS = P * (dP - innerTile[r]) * p.scale;
      for (var c = 0u; c < ${d}u; c++) { totalK[c] = fma(dS, qTile[r * ${d}u + c], totalK[c]); }
      for (var c = 0u; c < ${e}u; c++) { totalV[c] = fma(P, upTile[r * ${e}u + c], totalV[c]); }
    }
  }
  if (mine) {
    for (var c = 0u; c < ${d}u; c++) { dk[row * ${d}u + c] = totalK[c]; }
    for (var c = 0u; c < ${e}u; c++) { dv[row * ${e}u + c] = totalV[c]; }
  }
}`,
  };
}
