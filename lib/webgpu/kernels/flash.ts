/** What the three kernels of attention have in common: how rows are shared out, found, fetched and multiplied. */

export interface FlashTraits {
  /** Width of a row of q and k, and of v. */
  readonly d: number;
  readonly e: number;
  /** Every row starts at a multiple of 4 numbers and is such a multiple long: four are read at a time. */
  readonly wide: boolean;
  /** Rows that a workgroup owns, of queries or of keys. */
  readonly rows: number;
  /** Invocations that share a row, each with a part of its columns: a power of 2. */
  readonly share: number;
  /** Rows of the other side that are in workgroup memory at a time. */
  readonly tile: number;
}

/** Heads wider than this go by the plain definition. */
export const MAX_HEAD = 128;
/** Numbers of its rows that an invocation keeps in registers. NVIDIA's have 255 registers; products and places need some too. */
const MOST_KEPT = 128;
const MOST_ROWS = 64;
const MOST_TILE = 16;

/** Rows as vectors of four; what lies beyond the width is 0. */
const cellsOf = (width: number): number => Math.ceil(width / 4);

/** Vectors of a row that one invocation keeps, and that a row has in workgroup memory. */
export const ownOf = (width: number, share: number): number => Math.ceil(cellsOf(width) / share);
const rowOf = (width: number, share: number): number => share * ownOf(width, share);

/** Bytes of workgroup memory: a tile, what invocations of a row tell each other (two products), three numbers a row. */
const bytesOf = ({ d, e, rows, share, tile }: FlashTraits): number =>
  16 * (tile * (rowOf(d, share) + rowOf(e, share) + 1) + (share > 1 ? 2 * rows * share : 0));

/** Which sizes fit the device; `kept` is how many numbers a row needs, of both widths together. */
export function flashTraits(
  d: number, e: number, wide: boolean, kept: number, { invocations, workgroupBytes }: { invocations: number; workgroupBytes: number },
): FlashTraits {
  let share = 1;
  while (kept / share > MOST_KEPT) share *= 2;
  let rows = MOST_ROWS;
  while (rows * share > invocations) rows /= 2;
  let tile = MOST_TILE;
  const traits = (): FlashTraits => ({ d, e, wide, rows, share, tile });
  while (tile > 4 && bytesOf(traits()) > workgroupBytes) tile /= 2;
  return traits();
}

/**
 * The parameters. A place says where a tensor's rows are: [its start, steps from one of the outer batch to the next, of the
 * inner batch (a head), of the rows], in numbers, so that heads lie where a linear map left them.
 */
export const params = (...places: string[]): string => /* wgsl */ `
struct Params { t: u32, s: u32, causal: u32, scale: f32, lowest: u32, tiles: u32, total: u32, heads: u32, ${places.map((name) => `${name}: vec4u`).join(", ")} }
fn placeOf(place: vec4u, batch: u32, row: u32) -> u32 {
  return place.x + (batch / p.heads) * place.y + (batch % p.heads) * place.z + row * place.w;
}`;

/** The frame: which row this invocation owns a part of, of which of the batch. */
export const main = ({ rows, share }: FlashTraits): string => /* wgsl */ `
@compute @workgroup_size(${rows * share})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let number = group.x + group.y * groups.x;
  if (number >= p.total) { return; }
  let batch = number / p.tiles;
  let begin = (number % p.tiles) * ${rows}u;
  let line = local % ${rows}u;
  let part = local / ${rows}u;
  let own = begin + line;`;

const letters = ["x", "y", "z", "w"];
export const list = (n: number, f: (i: number) => string, between = "\n"): string => Array.from({ length: n }, (_, i) => f(i)).join(between);
const four = (f: (i: number) => string, between = "\n"): string => list(4, f, between);

/** A buffer of rows that are read: `nameAt(at, c)` is the c-th vector of the row that starts at `at`. */
export function source(binding: number, name: string, width: number, { wide, share }: FlashTraits): string {
  const cells = cellsOf(width);
  const padded = cells % share !== 0;
  return `@group(0) @binding(${binding}) var<storage, read> ${name}: array<${wide ? "vec4f" : "f32"}>;
fn ${name}At(at: u32, c: u32) -> vec4f {
  var cell = vec4f();
  ${wide
    ? `${padded ? `if (c < ${cells}u) ` : ""}{ cell = ${name}[at / 4u + c]; }`
    : letters.map((letter, i) => `if (4u * c + ${i}u < ${width}u) { cell.${letter} = ${name}[at + 4u * c + ${i}u]; }`).join(" ")}
  return cell;
}`;
}

/** Writes to a buffer of rows: `namePut(at, c, v)`. */
export function put(name: string, buffer: string, width: number, { wide, share }: FlashTraits): string {
  const cells = cellsOf(width);
  return `fn ${name}Put(at: u32, c: u32, v: vec4f) {
  ${wide
    ? `${cells % share !== 0 ? `if (c < ${cells}u) ` : ""}{ ${buffer}[at / 4u + c] = v; }`
    : letters.map((letter, i) => `if (4u * c + ${i}u < ${width}u) { ${buffer}[at + 4u * c + ${i}u] = v.${letter}; }`).join(" ")}
}`;
}

/** A buffer of rows that are written. */
export const target = (binding: number, name: string, width: number, traits: FlashTraits): string =>
  `@group(0) @binding(${binding}) var<storage, read_write> ${name}: array<${traits.wide ? "vec4f" : "f32"}>;\n${put(name, name, width, traits)}`;

/** Workgroup memory for a tile of rows. */
export const tileOf = (name: string, width: number, { tile, share }: FlashTraits): string =>
  `var<workgroup> ${name}Tile: array<vec4f, ${tile * rowOf(width, share)}>;`;

/** Copies rows [first, first + tile) of a matrix into workgroup memory; rows beyond the end are 0. */
export function loadTile(name: string, width: number, end: string, { rows, share, tile }: FlashTraits, scale = ""): string {
  const cells = rowOf(width, share);
  return `    for (var e = local; e < ${tile * cells}u; e += ${rows * share}u) {
      let r = first + e / ${cells}u;
      var cell = vec4f();
      if (r < ${end}) { cell = ${name}At(placeOf(p.${name}, batch, r), e % ${cells}u)${scale}; }
      ${name}Tile[e] = cell;
    }`;
}

/** The walk of a query over the keys that it sees, and their values: a tile at a time, and of that four rows from row j on. */
export function overKeys(traits: FlashTraits, body: string): string {
  const { d, e, rows, share, tile } = traits;
  return /* wgsl */ `
  // The keys that this query sees, and those that some query of the workgroup sees.
  let seen = select(p.s, min(p.s, own + 1u), p.causal == 1u);
  let last = select(p.s, min(p.s, begin + ${rows}u), p.causal == 1u);
  for (var first = 0u; first < last; first += ${tile}u) {
    workgroupBarrier();
${loadTile("k", d, "p.s", traits)}
${loadTile("v", e, "p.s", traits)}
    workgroupBarrier();
    for (var r = 0u; r < ${tile}u; r += 4u) {
      let j = first + r;
      if (j >= ${share === 1 ? "seen" : "last"}) { break; }
${body}
    }
  }`;
}

/** Registers for this invocation's part of a row: name0, name1, ... */
export const keep = (name: string, width: number, traits: FlashTraits, value: (c: string) => string = () => "vec4f()"): string => {
  const own = ownOf(width, traits.share);
  return list(own, (i) => `  var ${name}${i} = ${value(cell(i, own, traits))};`);
};
/** Which of the row's vectors is this invocation's i-th. */
export const cell = (i: number, own: number, { share }: FlashTraits): string => (share === 1 ? `${i}u` : `part * ${own}u + ${i}u`);

/** Four rows' products with an invocation's part of its own row: [row r . own, ..., row r + 3 . own]. */
export function dots(result: string, own: string, tile: string, width: number, traits: FlashTraits): string {
  const [mine, cells] = [ownOf(width, traits.share), rowOf(width, traits.share)];
  return `${four((i) => `      var ${result}${i} = vec4f();`)}
${list(mine, (c) => four((i) => `      ${result}${i} = fma(${own}${c}, ${tile}Tile[(r + ${i}u) * ${cells}u + ${cell(c, mine, traits)}], ${result}${i});`))}
      var ${result} = vec4f(${four((i) => `dot(${result}${i}, vec4f(1.0))`, ", ")});`;
}

/** total += the sum of four rows, each with its weight. */
export function accumulate(total: string, weights: string, tile: string, width: number, traits: FlashTraits): string {
  const [mine, cells] = [ownOf(width, traits.share), rowOf(width, traits.share)];
  return list(mine, (c) => `      ${total}${c} = ${letters.reduce(
    (rest, letter, i) => `fma(vec4f(${weights}.${letter}), ${tile}Tile[(r + ${i}u) * ${cells}u + ${cell(c, mine, traits)}], ${rest})`, `${total}${c}`)};`);
}

/** Workgroup memory in which invocations that share a row tell each other their parts of `sums` vectors. */
export const parts = (sums: number, { rows, share }: FlashTraits): string =>
  (share === 1 ? "" : `var<workgroup> told: array<vec4f, ${sums * rows * share}>;`);

/** Turns parts of sums into the sums, added in the same order by every invocation of a row. All of a workgroup must come by. */
export function join(names: readonly string[], { rows, share }: FlashTraits): string {
  if (share === 1) return "";
  const all = rows * share;
  return `      workgroupBarrier();
${names.map((name, n) => `      told[${n * all}u + local] = ${name};`).join("\n")}
      workgroupBarrier();
${names.map((name, n) => `      ${name} = ${list(share, (i) => `told[${n * all + i * rows}u + line]`, " + ")};`).join("\n")}`;
}
