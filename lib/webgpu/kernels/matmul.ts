import { family } from "../gpu";
import { HELPERS } from "./helpers";

/** Tiles of c that a workgroup can compute: 16 x 16 invocations of 8 x 8 or 4 x 4 numbers, or 8 x 8 of 4 x 4. */
export type Tile = 128 | 64 | 32;

/** What is decided when the shader is written; the rest are parameters. */
export interface MatmulTraits {
  readonly tile: Tile;
  readonly transA: boolean;
  readonly transB: boolean;
  /** The matrices' stored rows are a multiple of 4 long, so that four numbers are read at a time. */
  readonly wideA: boolean;
  readonly wideB: boolean;
  readonly wideC: boolean;
  /** A number for each column of c, or for each row. */
  readonly bias?: "column" | "row";
  /** A second output: an expression of c's numbers, and of another matrix's where two are named. */
  readonly then?: Epilogue;
  /** Behind c, the sum of each row of op(a), which is db beside dW = dy^T x. */
  readonly rowSums?: boolean;
}

/** What is worked out of c before it leaves the registers: an activation, a residual added, an activation's backward. */
export interface Epilogue {
  readonly name: string;
  /** Of x0, x1 and the number s. */
  readonly expression: string;
  /** Whether c is x0 or x1; the other of the two, where there is one, is another matrix of c's layout. */
  readonly own: 0 | 1;
  readonly other: boolean;
}

/** Between rows of workgroup memory, so that writing a column does not meet the same bank twice. */
const PAD = 4;

const letters = ["x", "y", "z", "w"];
const list = (n: number, f: (i: number) => string): string => Array.from({ length: n }, (_, i) => f(i)).join("\n");

/**
 * c[m, n] = op(a) op(b) + bias, for each of a batch; beside it f(c, another matrix), or the sums of op(a)'s rows.
 *
 * A workgroup computes a tile of c. Step by step along k it holds a strip of op(a) and one of op(b) in workgroup memory,
 * where each number is read by a whole row or column of invocations. An invocation reads four neighbours at a time and
 * keeps its 8 x 8 (4 x 4) numbers of c in registers: rows 4 y .. 4 y + 3 of each block of 4 * SIDE, columns likewise. The
 * next strips are fetched into registers while the present ones are multiplied. Edges: what lies outside a matrix is 0.
 *
 * The workgroups of a batch are counted in bands of 8 rows of tiles, so that those that run at the same time share strips.
 *
 * Parameters: [m, n, k, k of one part], [stride of a, of b, of c from one of the batch to the next, parts], [tiles along m,
 * tiles along n, the epilogue's s, workgroups], [where the sums are]. k can be cut into parts, each a matrix of its own: see
 * `product`.
 */
export const matmul = family(({ tile, transA, transB, wideA, wideB, wideC, bias, then, rowSums }: MatmulTraits) => {
  const side = tile === 32 ? 8 : 16;
  const blocks = tile / (4 * side);
  const own = 4 * blocks;
  /** Numbers along k that are in workgroup memory at a time: each invocation fetches four of a strip. */
  const step = (4 * side ** 2) / tile;
  const row = (tile + PAD) / 4;

  // Along the stored matrix's rows, that is along k or along the tile: r is the place in the tile, s along k.
  const place = (alongTile: boolean): string => (alongTile
    ? `let r = 4u * (local % ${tile / 4}u); let s = local / ${tile / 4}u;`
    : `let s = 4u * (local % ${step / 4}u); let r = local / ${step / 4}u;`);
  const fetch = (matrix: "a" | "b", alongTile: boolean, wide: boolean): string => {
    const [size, first, base] = matrix === "a" ? ["p.m", "row0", "baseA"] : ["p.n", "column0", "baseB"];
    const left = alongTile ? `${size} - line` : "kEnd - k";
    return `    { ${place(alongTile)} let line = ${first} + r; let k = k0 + s; let at = ${base} + ${alongTile ? `k * ${size} + line` : "line * p.k + k"};
      ${matrix}Next = vec4f();
      if (line < ${size} && k < kEnd) { ${wide
        ? `${matrix}Next = ${matrix}[at / 4u];`
        : `${matrix}Next.x = ${matrix}[at]; let left = ${left};
        ${letters.slice(1).map((letter, i) => `if (left > ${i + 1}u) { ${matrix}Next.${letter} = ${matrix}[at + ${i + 1}u]; }`).join(" ")}`} } }`;
  };
  const store = (matrix: "a" | "b", alongTile: boolean): string => {
    const strip = `strip${matrix.toUpperCase()}`;
    return `    { ${place(alongTile)} ${alongTile
      ? `${strip}[s * ${row}u + r / 4u] = ${matrix}Next;`
      : letters.map((letter, j) => `${strip}[(s + ${j}u) * ${row}u + r / 4u][r % 4u] = ${matrix}Next.${letter};`).join(" ")} }`;
  };
  const strips = `${fetch("a", transA, wideA)}\n${fetch("b", !transB, wideB)}`;

  const c = (i: number, j: number): string => `c${i}_${j}`;
  const fma = list(own, (i) => list(blocks, (j) => `      ${c(i, j)} = fma(vec4f(a${i >> 2}.${letters[i % 4]}), b${j}, ${c(i, j)});`));
  const call = (c: string, other: string): string => `f(${!then?.other ? c : then.own === 0 ? `${c}, ${other}` : `${other}, ${c}`})`;
  const lineOf = (i: number): string => `row0 + ${4 * side * (i >> 2) + (i % 4)}u + 4u * y`;
  const write = list(own, (i) => list(blocks, (j) => {
    const [line, column] = [lineOf(i), `column0 + ${4 * side * j}u + 4u * x`];
    const added = (columns: string): string => (bias === "row" ? " + bias[i]" : bias ? ` + bias[${columns}]` : "");
    const element = (e: number): string => {
      const value = `${c(i, j)}.${letters[e]}${added(`j + ${e}u`)}`;
      return `if (j + ${e}u < p.n) { let v = ${value}; c[at + ${e}u] = v; ${then ? `after[at + ${e}u] = ${call("v", `other[at + ${e}u]`)};` : ""} }`;
    };
    const four = then && `${then.other ? "let w = other[at / 4u]; " : ""}after[at / 4u] = vec4f(${letters.map((l) => call(`v.${l}`, `w.${l}`)).join(", ")});`;
    return `  { let i = ${line}; let j = ${column}; let at = baseC + i * p.n + j; if (i < p.m) {
    ${wideC
      ? `if (j < p.n) { let v = ${c(i, j)}${added("j / 4u")}; c[at / 4u] = v; ${four ?? ""} }`
      : list(4, element)} } }`;
  }));
  const array = (wide: boolean): string => `array<${wide ? "vec4f" : "f32"}>`;
  const bindings = [
    `var<storage, read> a: ${array(wideA)};`,
    `var<storage, read> b: ${array(wideB)};`,
    ...(bias ? [`var<storage, read> bias: ${array(wideC && bias === "column")};`] : []),
    ...(then?.other ? [`var<storage, read> other: ${array(wideC)};`] : []),
    `var<storage, read_write> c: ${array(wideC)};`,
    ...(then ? [`var<storage, read_write> after: ${array(wideC)};`] : []),
    "var<uniform> p: Params;",
  ].map((binding, i) => `@group(0) @binding(${i}) ${binding}`).join("\n");

  return {
    name: `matmul ${transA ? "T" : "N"}${transB ? "T" : "N"} ${tile}${then ? ` ${then.name}` : ""}`,
    code: /* wgsl */ `
struct Params { m: u32, n: u32, k: u32, part: u32, strideA: u32, strideB: u32, strideC: u32, parts: u32, tilesM: u32, tilesN: u32, s: f32, total: u32, sums: u32 }
${bindings}
var<workgroup> stripA: array<vec4f, ${row * step}>;
var<workgroup> stripB: array<vec4f, ${row * step}>;
${then ? `${HELPERS}\nfn f(x0: f32${then.other ? ", x1: f32" : ""}) -> f32 { let s = p.s; return ${then.expression}; }` : ""}
@compute @workgroup_size(${side}, ${side})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_id) id: vec3u, @builtin(local_invocation_index) local: u32) {
  let number = group.x + group.y * groups.x;
  if (number >= p.total) { return; }
  let tiles = p.tilesM * p.tilesN;
  let z = number / tiles;
  let batch = z / p.parts;
  let kStart = (z % p.parts) * p.part;
  let kEnd = min(kStart + p.part, p.k);
  let within = number % tiles;
  let band = within / (8u * p.tilesN);
  let inBand = min(8u, p.tilesM - 8u * band);
  let row0 = (8u * band + (within % (8u * p.tilesN)) % inBand) * ${tile}u;
  let column0 = ((within % (8u * p.tilesN)) / inBand) * ${tile}u;
  let baseA = batch * p.strideA;
  let baseB = batch * p.strideB;
  let baseC = z * p.strideC;
  let x = id.x;
  let y = id.y;
${list(own * blocks, (i) => `  var ${c(Math.floor(i / blocks), i % blocks)} = vec4f();`)}
${rowSums ? list(blocks, (i) => `  var sum${i} = vec4f();`) : ""}
  var aNext = vec4f();
  var bNext = vec4f();
  var k0 = kStart;
${strips}
  for (; k0 < kEnd; ) {
${store("a", transA)}
${store("b", !transB)}
    workgroupBarrier();
    k0 += ${step}u;
${strips}
    for (var s = 0u; s < ${step}u; s++) {
${list(blocks, (i) => `      let a${i} = stripA[s * ${row}u + y + ${side * i}u];\n      let b${i} = stripB[s * ${row}u + x + ${side * i}u];`)}
${fma}
${rowSums ? list(blocks, (i) => `      sum${i} += a${i};`) : ""}
    }
    workgroupBarrier();
  }
${write}
${rowSums ? `  if (column0 == 0u && x == 0u) {\n    let at = baseC + p.sums;\n${wideC
      ? list(blocks, (i) => `    { let i = ${lineOf(4 * i)}; if (i < p.m) { c[(at + i) / 4u] = sum${i}; } }`)
      : list(own, (i) => `    { let i = ${lineOf(i)}; if (i < p.m) { c[at + i] = sum${i >> 2}.${letters[i % 4]}; } }`)}\n  }` : ""}
}`,
  };
});
