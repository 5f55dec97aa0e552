import type { Kernel } from "../gpu";

/** How a workgroup cuts a product: TILE x TILE outputs, STEP along k at a time, 16 x 16 invocations. */
export interface MatmulShape {
  readonly tile: 32 | 64 | 128;
  readonly step: 8 | 16;
}

/**
 * c[m, n] = op(a) op(b) + bias, for each of a batch (z).
 *
 * A workgroup computes a tile of c. Step by step along k it copies a strip of a and one of b into workgroup memory, where
 * each number is read `tile` times; each invocation keeps (tile / 16)^2 outputs in registers. Its rows and columns lie 16
 * apart, so that neighbours read and write neighbouring addresses. Edges: what lies outside a matrix is 0.
 *
 * Parameters: [m, n, k, -], [stride of a, of b, of c from one of the batch to the next, -].
 */
export function matmul({ tile, step }: MatmulShape, transA: boolean, transB: boolean, bias: boolean): Kernel {
  const own = tile / 16;
  const each = (tile * step) / 256;
  const list = (n: number, f: (i: number) => string): string => Array.from({ length: n }, (_, i) => f(i)).join("\n");
  // Neighbouring invocations read neighbouring addresses: along the stored matrix's last axis.
  const load = (matrix: "a" | "b", alongTile: boolean): string => {
    const place = alongTile ? `let r = at % ${tile}u; let s = at / ${tile}u;` : `let s = at % ${step}u; let r = at / ${step}u;`;
    const [rows, row, first] = matrix === "a" ? ["p.m", "row0 + r", "baseA"] : ["p.n", "column0 + r", "baseB"];
    const index = alongTile ? `k * ${rows} + line` : `line * p.k + k`;
    return list(each, (i) => `    { let at = local + ${256 * i}u; ${place} let line = ${row}; let k = k0 + s;
      var v = 0.0; if (line < ${rows} && k < p.k) { v = ${matrix}[${first} + ${index}]; } strip${matrix.toUpperCase()}[s * ${tile}u + r] = v; }`);
  };
  return {
    name: `matmul ${transA ? "T" : "N"}${transB ? "T" : "N"} ${tile}`,
    code: /* wgsl */ `
struct Params { m: u32, n: u32, k: u32, unused0: u32, strideA: u32, strideB: u32, strideC: u32, unused1: u32 }
@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>;
${bias ? "@group(0) @binding(2) var<storage, read> bias: array<f32>;" : ""}
@group(0) @binding(${bias ? 3 : 2}) var<storage, read_write> c: array<f32>;
@group(0) @binding(${bias ? 4 : 3}) var<uniform> p: Params;
var<workgroup> stripA: array<f32, ${tile * step}>;
var<workgroup> stripB: array<f32, ${tile * step}>;
@compute @workgroup_size(16, 16)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) id: vec3u, @builtin(local_invocation_index) local: u32) {
  let row0 = group.y * ${tile}u;
  let column0 = group.x * ${tile}u;
  let baseA = group.z * p.strideA;
  let baseB = group.z * p.strideB;
${list(own * own, (i) => `  var c${i} = 0.0;`)}
  for (var k0 = 0u; k0 < p.k; k0 += ${step}u) {
${load("a", transA)}
${load("b", !transB)}
    workgroupBarrier();
    for (var s = 0u; s < ${step}u; s++) {
${list(own, (i) => `      let a${i} = stripA[s * ${tile}u + id.y + ${16 * i}u];`)}
${list(own, (j) => `      let b${j} = stripB[s * ${tile}u + id.x + ${16 * j}u];`)}
${list(own * own, (i) => `      c${i} = fma(a${Math.floor(i / own)}, b${i % own}, c${i});`)}
    }
    workgroupBarrier();
  }
${list(own * own, (i) => {
  const [r, s] = [Math.floor(i / own), i % own];
  return `  { let i = row0 + id.y + ${16 * r}u; let j = column0 + id.x + ${16 * s}u;
    if (i < p.m && j < p.n) { c[group.z * p.strideC + i * p.n + j] = c${i}${bias ? " + bias[j]" : ""}; } }`;
})}
}`,
  };
}
