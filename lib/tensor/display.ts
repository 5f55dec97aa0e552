/** How a tensor looks in a notebook: shape, dtype and its numbers over a heat map. */
import { formatShape, type Shape } from "./shape";

interface Shown { readonly shape: Shape; readonly dtype: string; readonly data: ArrayLike<number>; toString(): string }

/** Rows or columns of a slice that are written out at most: so many from the start, so many from the end. */
const EDGE = 8;
const SLICES = 4;
/** With more numbers than this the table starts folded. */
const FOLD = 200;
/** Blanks as wide as a point and as a digit. */
const [PUNCTUATION_SPACE, FIGURE_SPACE] = ["\u2008", "\u2007"];

/** The first and last `edge` of `count` indices, with -1 where some are left out. */
function picked(count: number, edge = EDGE): number[] {
  const all = Array.from({ length: count }, (_, i) => i);
  return count <= 2 * edge ? all : [...all.slice(0, edge), -1, ...all.slice(-edge)];
}

export function formatNumber(value: number, whole: boolean): string {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "NaN" : value > 0 ? "∞" : "-∞";
  if (whole) return String(value);
  if (Number.isInteger(value) && Math.abs(value) < 1e5) return String(value);
  const size = Math.abs(value);
  return size >= 1e5 || size < 1e-3 ? value.toExponential(2) : String(Number(value.toPrecision(size >= 1e4 ? 5 : 4)));
}

/**
 * A column of numbers with blanks behind them, so that the points stand below each other when all end at the right edge.
 *
 * point, digit: blanks as wide as a point and as a digit.
 */
export function alignPoints(column: readonly string[], point = " ", digit = " "): string[] {
  const decimals = (text: string): number => (/^-?\d+\.\d+$/.test(text) ? text.length - text.indexOf(".") - 1 : 0);
  const most = Math.max(0, ...column.map(decimals));
  return column.map((text) => {
    if (most === 0 || !/^-?[\d.]+$/.test(text)) return text;
    const own = decimals(text);
    return text + (own === 0 ? point : "") + digit.repeat(most - own);
  });
}

/** Blue below zero, red above, clearer the larger; transparent enough that the theme's own text colour reads on it. */
function ground(value: number, most: number): string {
  if (Number.isNaN(value)) return "background:rgba(214,40,40,.5)";
  if (value === 0 || most === 0) return "";
  const share = Math.min(1, Math.abs(value) / most);
  return `background:rgba(${value < 0 ? "45,120,220" : "225,75,45"},${(0.04 + 0.46 * share).toFixed(2)})`;
}

function slice(t: Shown, offset: number, rows: number, columns: number, most: number): string {
  const whole = t.dtype === "int32";
  const [shownRows, shownColumns] = [picked(rows), picked(columns)];
  const cell = "padding:.15em .5em;text-align:right;border:0;color:inherit;white-space:nowrap;font-variant-numeric:tabular-nums";
  const index = (i: number): string => `<th style="${cell};opacity:.55;font-weight:400">${i < 0 ? "…" : i}</th>`;
  const at = (i: number, j: number): number => t.data[offset + i * columns + j]!;
  const inColumn = shownColumns.map((j) => alignPoints(shownRows.map((i) => (i < 0 || j < 0 ? "…" : formatNumber(at(i, j), whole))), PUNCTUATION_SPACE, FIGURE_SPACE));
  const body = shownRows.map((i, row) => `<tr>${index(i)}${shownColumns.map((j, column) => {
    const look = i < 0 || j < 0 ? "opacity:.55" : ground(at(i, j), most);
    return `<td style="${cell};${look}">${inColumn[column]![row]}</td>`;
  }).join("")}</tr>`).join("");
  return `<table style="border-collapse:collapse;margin:.2em 0"><thead><tr><th></th>${shownColumns.map(index).join("")}</tr></thead><tbody>${body}</tbody></table>`;
}

/** The MIME bundle of a tensor: an HTML table that folds when large, and the text. */
export function displayTensor(t: Shown): { "text/html": string; "text/plain": string } {
  const { shape, dtype, data } = t;
  const size = data.length;
  let [lo, hi, sum, finite] = [Infinity, -Infinity, 0, 0];
  for (let i = 0; i < size; i++) {
    const v = data[i]!;
    if (!Number.isFinite(v)) continue;
    if (v < lo) lo = v;
    if (v > hi) hi = v;
    sum += v;
    finite++;
  }
  const whole = dtype === "int32";
  const facts = finite === 0 ? "" : ` · min ${formatNumber(lo, whole)} · mean ${formatNumber(sum / finite, false)} · max ${formatNumber(hi, whole)}`;
  const broken = size - finite > 0 ? ` · <b>${size - finite} not finite</b>` : "";
  const head = `<b>Tensor</b> ${formatShape(shape)} ${dtype}${size > 1 ? facts + broken : ""}`;
  if (size <= 1) {
    const only = size === 1 ? ` · ${formatNumber(data[0]!, whole)}` : " · empty";
    return { "text/html": `<div>${head}${only}</div>`, "text/plain": t.toString() };
  }

  const columns = shape.at(-1) ?? 1;
  const rows = shape.length > 1 ? shape.at(-2)! : 1;
  const count = rows * columns === 0 ? 0 : size / (rows * columns);
  const most = finite === 0 ? 0 : Math.max(Math.abs(lo), Math.abs(hi));
  const tables = picked(count, SLICES / 2).map((k) => {
    if (k < 0) return `<div style="opacity:.55">… ${count - SLICES} more</div>`;
    if (shape.length <= 2) return slice(t, 0, rows, columns, most);
    const where: number[] = [];
    for (let axis = shape.length - 3, rest = k; axis >= 0; axis--) {
      where.unshift(rest % shape[axis]!);
      rest = Math.floor(rest / shape[axis]!);
    }
    return `<div style="opacity:.7">[${where.join(", ")}, :, :]</div>${slice(t, k * rows * columns, rows, columns, most)}`;
  }).join("");
  return {
    "text/html": `<details${size <= FOLD ? " open" : ""}><summary style="cursor:pointer">${head}</summary><div style="overflow-x:auto">${tables}</div></details>`,
    "text/plain": t.toString(),
  };
}
