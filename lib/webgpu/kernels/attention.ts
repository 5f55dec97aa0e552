import { family } from "../gpu";

/** Query (or key) rows of a workgroup, one an invocation. */
export const ATTENTION_ROWS = 64;
/** Heads wider than this would not fit an invocation's registers. */
export const MAX_HEAD = 128;

const PARAMS = /* wgsl */ `
struct Params { t: u32, s: u32, causal: u32, scale: f32, lowest: u32, tiles: u32, total: u32, unused: u32 }`;

/** The frame of all three: which row this invocation owns, of which of the batch. */
const MAIN = /* wgsl */ `
@compute @workgroup_size(${ATTENTION_ROWS})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let number = group.x + group.y * groups.x;
  if (number >= p.total) { return; }
  let batch = number / p.tiles;
  let begin = (number % p.tiles) * ${ATTENTION_ROWS}u;
  let own = begin + local;`;

/** Rows of `width` numbers as vectors of four; what lies beyond the width is 0. */
const cellsOf = (width: number): number => Math.ceil(width / 4);

const letters = ["x", "y", "z", "w"];
const components = (width: number, f: (letter: string, i: number) => string): string =>
  letters.map((letter, i) => (i === 0 ? f(letter, i) : `if (4u * c + ${i}u < ${width}u) { ${f(letter, i)} }`)).join(" ");

/** A buffer of rows that are read: `nameAt(row, c)` is the row's c-th vector. */
function source(binding: number, name: string, width: number): string {
  return width % 4 === 0
    ? `@group(0) @binding(${binding}) var<storage, read> ${name}: array<vec4f>;
fn ${name}At(row: u32, c: u32) -> vec4f { return ${name}[row * ${width / 4}u + c]; }`
    : `@group(0) @binding(${binding}) var<storage, read> ${name}: array<f32>;
fn ${name}At(row: u32, c: u32) -> vec4f {
  var cell = vec4f();
  ${components(width, (letter, i) => `cell.${letter} = ${name}[row * ${width}u + 4u * c + ${i}u];`)}
  return cell;
}`;
}

/** A buffer of rows that are written: `namePut(row, c, v)`. */
function target(binding: number, name: string, width: number): string {
  return width % 4 === 0
    ? `@group(0) @binding(${binding}) var<storage, read_write> ${name}: array<vec4f>;
fn ${name}Put(row: u32, c: u32, v: vec4f) { ${name}[row * ${width / 4}u + c] = v; }`
    : `@group(0) @binding(${binding}) var<storage, read_write> ${name}: array<f32>;
fn ${name}Put(row: u32, c: u32, v: vec4f) {
  ${components(width, (letter, i) => `${name}[row * ${width}u + 4u * c + ${i}u] = v.${letter};`)}
}`;
}

/** How many rows of the other side are in workgroup memory at a time: 16 KiB are promised. */
const tileOf = (d: number, e: number): number => (cellsOf(d) + cellsOf(e) > 48 ? 8 : 16);

/** Copies rows [first, first + tile) of a matrix into workgroup memory; rows beyond the end are 0. */
function loadTile(to: string, from: string, width: number, tile: number, rows: string, scale = ""): string {
  const cells = cellsOf(width);
  return `    for (var e = local; e < ${tile * cells}u; e += ${ATTENTION_ROWS}u) {
      let r = first + e / ${cells}u;
      var cell = vec4f();
      if (r < ${rows}) { cell = ${from}At(batch * ${rows} + r, e % ${cells}u)${scale}; }
      ${to}[e] = cell;
    }`;
}

const four = (f: (i: number) => string, between = "\n"): string => [0, 1, 2, 3].map(f).join(between);

/** Four rows' products with an invocation's own row, `result` = [row r . own, ..., row r + 3 . own]. */
function dots(result: string, own: string, tile: string, width: number): string {
  const cells = cellsOf(width);
  return `${four((i) => `      var ${result}${i} = vec4f();`)}
      for (var c = 0u; c < ${cells}u; c++) {
        let mine = ${own}[c];
${four((i) => `        ${result}${i} = fma(mine, ${tile}[(r + ${i}u) * ${cells}u + c], ${result}${i});`)}
      }
      let ${result} = vec4f(${four((i) => `dot(${result}${i}, vec4f(1.0))`, ", ")});`;
}

/** total += the sum of four rows, each with its weight. */
function accumulate(total: string, weights: string, tile: string, width: number): string {
  const cells = cellsOf(width);
  const sum = letters.reduce((rest, letter, i) => `fma(vec4f(${weights}.${letter}), ${tile}[(r + ${i}u) * ${cells}u + c], ${rest})`, `${total}[c]`);
  return `      for (var c = 0u; c < ${cells}u; c++) { ${total}[c] = ${sum}; }`;
}

/**
 * Flash attention: y = softmax(scale q k^T) v without the [T, S] scores ever in memory. Each invocation owns a query
 * and walks over the keys, four at a time, with a running maximum m, a running sum l and an unfinished y that is rescaled
 * whenever m grows:
 *
 *     m' = max(m, s);  l' = l e^(m - m') + e^(s - m');  y' = y e^(m - m') + e^(s - m') v
 *
 * Kept for the backward: m and l of each query, [batch, T, 2]. Their log-sum-exp m + log l would do, but at scores of
 * thousands it loses in float32 the digits that P = e^(s - m) / l keeps.
 * Shapes: q [batch, T, d], k [batch, S, d], v [batch, S, e] -> y [batch, T, e].
 */
export const flashForward = family((d: number, e: number) => {
  const [D, E, tile] = [cellsOf(d), cellsOf(e), tileOf(d, e)];
  return {
    name: `flash attention ${d} ${e}`,
    code: /* wgsl */ `${PARAMS}
${source(0, "q", d)}
${source(1, "k", d)}
${source(2, "v", e)}
${target(3, "y", e)}
@group(0) @binding(4) var<storage, read_write> kept: array<vec2f>;
@group(0) @binding(5) var<uniform> p: Params;
var<workgroup> kTile: array<vec4f, ${tile * D}>;
var<workgroup> vTile: array<vec4f, ${tile * E}>;
${MAIN}
  let row = batch * p.t + min(own, p.t - 1u);
  let lowest = bitcast<f32>(p.lowest);
  var query: array<vec4f, ${D}>;
  for (var c = 0u; c < ${D}u; c++) { query[c] = qAt(row, c) * p.scale; }
  var total: array<vec4f, ${E}>;
  for (var c = 0u; c < ${E}u; c++) { total[c] = vec4f(); }
  var m = lowest;
  var l = 0.0;
  // The keys that this query sees, and those that some query of the workgroup sees.
  let seen = select(p.s, min(p.s, own + 1u), p.causal == 1u);
  let last = select(p.s, min(p.s, begin + ${ATTENTION_ROWS}u), p.causal == 1u);
  for (var first = 0u; first < last; first += ${tile}u) {
    workgroupBarrier();
${loadTile("kTile", "k", d, tile, "p.s")}
${loadTile("vTile", "v", e, tile, "p.s")}
    workgroupBarrier();
    for (var r = 0u; r < ${tile}u; r += 4u) {
      let j = first + r;
      if (j >= seen) { break; }
${dots("product", "query", "kTile", d)}
      let s = select(product, vec4f(lowest), vec4u(j, j + 1u, j + 2u, j + 3u) >= vec4u(seen));
      let top = max(m, max(max(s.x, s.y), max(s.z, s.w)));
      let keep = select(exp(m - top), 0.0, m == lowest);
      let add = select(exp(s - top), vec4f(), s == vec4f(lowest));
      l = l * keep + dot(add, vec4f(1.0));
      for (var c = 0u; c < ${E}u; c++) { total[c] *= keep; }
${accumulate("total", "add", "vTile", e)}
      m = top;
    }
  }
  if (own < p.t) {
    let scale = 1.0 / select(l, 1.0, l == 0.0);
    for (var c = 0u; c < ${E}u; c++) { yPut(row, c, total[c] * scale); }
    kept[row] = vec2f(m, l);
  }
}`,
  };
});

/**
 * dq, one query an invocation. P is recomputed from what was kept, and D = rowsum(dy y), which the next kernel reads too,
 * replaces the row sum of P dP:
 *
 *     P = e^(s - m) / l;  dS = P (dy v^T - D);  dq = scale dS k
 *
 * A second kernel owns the keys: WGSL cannot add floats atomically, so one kernel cannot do both.
 */
export const flashBackwardQuery = family((d: number, e: number) => {
  const [D, E, tile] = [cellsOf(d), cellsOf(e), tileOf(d, e)];
  return {
    name: `flash attention dq ${d} ${e}`,
    code: /* wgsl */ `${PARAMS}
${source(0, "q", d)}
${source(1, "k", d)}
${source(2, "v", e)}
${source(3, "dy", e)}
${source(4, "y", e)}
@group(0) @binding(5) var<storage, read> kept: array<vec2f>;
${target(6, "dq", d)}
@group(0) @binding(7) var<storage, read_write> inner: array<f32>;
@group(0) @binding(8) var<uniform> p: Params;
var<workgroup> kTile: array<vec4f, ${tile * D}>;
var<workgroup> vTile: array<vec4f, ${tile * E}>;
${MAIN}
  let row = batch * p.t + min(own, p.t - 1u);
  var query: array<vec4f, ${D}>;
  var total: array<vec4f, ${D}>;
  for (var c = 0u; c < ${D}u; c++) { query[c] = qAt(row, c) * p.scale; total[c] = vec4f(); }
  var up: array<vec4f, ${E}>;
  // In the order in which dP is summed below, so that dP - D is 0 where all attention is on one key.
  var terms = vec4f();
  for (var c = 0u; c < ${E}u; c++) { up[c] = dyAt(row, c); terms = fma(up[c], yAt(row, c), terms); }
  let D = dot(terms, vec4f(1.0));
  let m = kept[row].x;
  let l = kept[row].y;
  let seen = select(p.s, min(p.s, own + 1u), p.causal == 1u);
  let last = select(p.s, min(p.s, begin + ${ATTENTION_ROWS}u), p.causal == 1u);
  for (var first = 0u; first < last; first += ${tile}u) {
    workgroupBarrier();
${loadTile("kTile", "k", d, tile, "p.s")}
${loadTile("vTile", "v", e, tile, "p.s")}
    workgroupBarrier();
    for (var r = 0u; r < ${tile}u; r += 4u) {
      let j = first + r;
      if (j >= seen) { break; }
${dots("s", "query", "kTile", d)}
${dots("dP", "up", "vTile", e)}
      let hidden = vec4u(j, j + 1u, j + 2u, j + 3u) >= vec4u(seen);
      let P = select(exp(s - m) / l, vec4f(), hidden | vec4<bool>(l == 0.0));
      let dS = select(P * (dP - D) * p.scale, vec4f(), hidden);
${accumulate("total", "dS", "kTile", d)}
    }
  }
  if (own < p.t) {
    for (var c = 0u; c < ${D}u; c++) { dqPut(row, c, total[c]); }
    inner[row] = D;
  }
}`,
  };
});

/** dk = dS^T (scale q) and dv = P^T dy, one key an invocation, over tiles of queries. */
export const flashBackwardKey = family((d: number, e: number) => {
  const [D, E, tile] = [cellsOf(d), cellsOf(e), tileOf(d, e)];
  return {
    name: `flash attention dk dv ${d} ${e}`,
    code: /* wgsl */ `${PARAMS}
${source(0, "q", d)}
${source(1, "k", d)}
${source(2, "v", e)}
${source(3, "dy", e)}
@group(0) @binding(4) var<storage, read> kept: array<vec2f>;
@group(0) @binding(5) var<storage, read> inner: array<f32>;
${target(6, "dk", d)}
${target(7, "dv", e)}
@group(0) @binding(8) var<uniform> p: Params;
var<workgroup> qTile: array<vec4f, ${tile * D}>;
var<workgroup> upTile: array<vec4f, ${tile * E}>;
/** m, l and D of the queries. */
var<workgroup> keptTile: array<vec3f, ${tile}>;
${MAIN}
  let row = batch * p.s + min(own, p.s - 1u);
  var key: array<vec4f, ${D}>;
  var totalK: array<vec4f, ${D}>;
  for (var c = 0u; c < ${D}u; c++) { key[c] = kAt(row, c); totalK[c] = vec4f(); }
  var value: array<vec4f, ${E}>;
  var totalV: array<vec4f, ${E}>;
  for (var c = 0u; c < ${E}u; c++) { value[c] = vAt(row, c); totalV[c] = vec4f(); }
  // Causal: a key is seen by no query before it.
  let start = select(0u, begin, p.causal == 1u);
  let since = select(0u, own, p.causal == 1u);
  for (var first = start; first < p.t; first += ${tile}u) {
    workgroupBarrier();
${loadTile("qTile", "q", d, tile, "p.t", " * p.scale")}
${loadTile("upTile", "dy", e, tile, "p.t")}
    if (local < ${tile}u) {
      let i = first + local;
      keptTile[local] = vec3f();
      if (i < p.t) { keptTile[local] = vec3f(kept[batch * p.t + i], inner[batch * p.t + i]); }
    }
    workgroupBarrier();
    for (var r = 0u; r < ${tile}u; r += 4u) {
      let i = first + r;
      if (i >= p.t) { break; }
      if (i + 4u <= since) { continue; }
${dots("s", "key", "qTile", d)}
${dots("dP", "value", "upTile", e)}
      let m = vec4f(${four((i) => `keptTile[r + ${i}u].x`, ", ")});
      let l = vec4f(${four((i) => `keptTile[r + ${i}u].y`, ", ")});
      let D = vec4f(${four((i) => `keptTile[r + ${i}u].z`, ", ")});
      let query = vec4u(i, i + 1u, i + 2u, i + 3u);
      let hidden = (query < vec4u(since)) | (query >= vec4u(p.t));
      let P = select(exp(s - m) / l, vec4f(), hidden | (l == vec4f()));
      let dS = select(P * (dP - D), vec4f(), hidden);
${accumulate("totalK", "dS", "qTile", d)}
${accumulate("totalV", "P", "upTile", e)}
    }
  }
  if (own < p.s) {
    for (var c = 0u; c < ${D}u; c++) { dkPut(row, c, totalK[c]); }
    for (var c = 0u; c < ${E}u; c++) { dvPut(row, c, totalV[c]); }
  }
}`,
  };
});
