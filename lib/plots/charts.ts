/** The figures of the course, each one call. Values may be arrays or tensors (anything with data and shape). */
import { Figure, look, type Look } from "./figure";
import type { Axis, BarTrace, Datum, HeatmapTrace, HistogramTrace, Layout, ScatterTrace, Trace } from "./spec";
import { wrapped } from "./svg";
import { short } from "./ticks";

interface TensorLike { readonly data: ArrayLike<number>; readonly shape: readonly number[] }
export type Vector = ArrayLike<number> | TensorLike;
export type Matrix = ArrayLike<ArrayLike<number>> | TensorLike;
/** One curve, or several by name. */
export type Curves = Vector | Record<string, Vector>;

const isTensor = (v: unknown): v is TensorLike =>
  typeof v === "object" && v !== null && "data" in v && "shape" in v && typeof (v as TensorLike).data === "object";

const isVector = (v: unknown): v is Vector => isTensor(v) || Array.isArray(v) || (ArrayBuffer.isView(v) && !(v instanceof DataView));

function vector(caller: string, name: string, v: Vector): number[] {
  if (isTensor(v)) return Array.from(v.data, Number);
  if (!isVector(v)) throw new TypeError(`${caller}: ${name} is ${describe(v)}, it should be an array of numbers or a tensor`);
  return Array.from(v, Number);
}

function matrix(caller: string, v: Matrix): number[][] {
  if (isTensor(v)) {
    if (v.shape.length > 2) throw new RangeError(`${caller}: the tensor has shape [${v.shape.join(", ")}], it should have one or two dimensions`);
    const columns = v.shape.at(-1) ?? 1;
    const rows = v.shape.length === 2 ? v.shape[0]! : 1;
    return Array.from({ length: rows }, (_, i) => Array.from({ length: columns }, (_, j) => Number(v.data[i * columns + j])));
  }
  if (!Array.isArray(v)) throw new TypeError(`${caller}: the matrix is ${describe(v)}, it should be an array of rows or a tensor`);
  const rows = v.map((row: unknown) => (isVector(row) ? vector(caller, "a row", row) : [Number(row)]));
  if (rows.some((row) => row.length !== rows[0]!.length)) {
    throw new RangeError(`${caller}: the rows have lengths ${[...new Set(rows.map((row) => row.length))].join(" and ")}, they should be equal`);
  }
  return rows;
}

const describe = (v: unknown): string => (v === null ? "null" : typeof v === "object" ? "an object" : typeof v === "string" ? `"${v}"` : String(v));

function curves(caller: string, given: Curves): [string | undefined, number[]][] {
  if (isVector(given)) return [[undefined, vector(caller, "values", given)]];
  if (typeof given !== "object" || given === null) throw new TypeError(`${caller}: values is ${describe(given)}, it should be an array, a tensor or a record of them`);
  return Object.entries(given).map(([name, values]) => [name, vector(caller, name, values)]);
}

export interface ChartOptions {
  title?: string;
  /** Axis labels, with units. */
  x?: string; y?: string;
  logX?: boolean; logY?: boolean;
  /** Pixels. */
  height?: number;
}

function layoutOf(options: ChartOptions, x = "", y = ""): Layout {
  const named = (text: string, log?: boolean): Axis => ({ ...(text && { title: { text } }), ...(log && { type: "log" as const }) });
  return {
    ...(options.title && { title: { text: options.title } }), ...(options.height && { height: options.height }),
    xaxis: named(options.x ?? x, options.logX), yaxis: named(options.y ?? y, options.logY),
  };
}

/**
 * Lines, one a name, over common x values.
 * @param x the positions, or undefined for 0, 1, 2, ...
 * @throws when a curve is longer or shorter than x
 */
export function lines(x: ArrayLike<number> | ArrayLike<string> | TensorLike | undefined, values: Curves, options: ChartOptions & { markers?: boolean } = {}): Figure {
  const at = x === undefined ? undefined : isTensor(x) ? vector("lines", "x", x) : (Array.from(x as ArrayLike<Datum>) as Datum[]);
  return new Figure(curves("lines", values).map(([name, y]): ScatterTrace => {
    if (at && at.length !== y.length) throw new RangeError(`lines: ${name ?? "values"} has ${y.length} values, x has ${at.length}`);
    return { type: "scatter", mode: options.markers ? "lines+markers" : "lines", x: at ?? y.map((_, i) => i), y, ...(name !== undefined && { name }) };
  }), layoutOf(options));
}

/** Points: x and y of equal length, or several clouds by name. */
export function scatter(clouds: { x: Vector; y: Vector } | Record<string, { x: Vector; y: Vector }>, options: ChartOptions & { size?: number } = {}): Figure {
  const many = (isVector((clouds as { x: Vector }).x) ? { "": clouds } : clouds) as Record<string, { x: Vector; y: Vector }>;
  return new Figure(Object.entries(many).map(([name, cloud]): ScatterTrace => {
    const [x, y] = [vector("scatter", "x", cloud.x), vector("scatter", "y", cloud.y)];
    if (x.length !== y.length) throw new RangeError(`scatter: x has ${x.length} values, y has ${y.length}`);
    return { type: "scatter", mode: "markers", x, y, ...(name && { name }), marker: { size: options.size ?? 6 } };
  }), layoutOf(options));
}

/** Bars over labels; several series stand side by side. Numbers at uneven distances are labels like any other. */
export function bars(labels: readonly Datum[], values: Curves, options: ChartOptions & { stacked?: boolean; text?: boolean } = {}): Figure {
  const layout = layoutOf(options);
  const even = labels.every((v, i) => typeof v === "number" && (i < 2 || v - (labels[i - 1] as number) === (labels[1] as number) - (labels[0] as number)));
  if (!even) layout.xaxis = { ...layout.xaxis, type: "category" };
  return new Figure(curves("bars", values).map(([name, y]): BarTrace => {
    if (labels.length !== y.length) throw new RangeError(`bars: ${name ?? "values"} has ${y.length} values, labels has ${labels.length}`);
    return { type: "bar", x: [...labels], y, ...(name !== undefined && { name }), ...(options.text && { text: y.map((v) => short(v, 3)), textposition: "outside", cliponaxis: false }) };
  }), { ...layout, barmode: options.stacked ? "stack" : "group" });
}

/** How often values fall where; several samples lie over each other with common bins. */
export function histogram(values: Curves, options: ChartOptions & { bins?: number; density?: boolean } = {}): Figure {
  const samples = curves("histogram", values);
  const all = samples.flatMap(([, v]) => v).filter(Number.isFinite);
  const [lo, hi] = all.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [Infinity, -Infinity]);
  const size = (hi - lo) / (options.bins ?? 40) || 1;
  return new Figure(samples.map(([name, x]): HistogramTrace => ({
    type: "histogram", x, autobinx: false, xbins: { start: lo, end: hi, size }, histnorm: options.density ? "probability density" : "",
    opacity: samples.length > 1 ? 0.55 : 0.85, ...(name !== undefined && { name }),
  })), { ...layoutOf(options, "value", options.density ? "density" : "count"), barmode: "overlay" });
}

/**
 * A matrix as colours, row 0 on top. Signed values are blue below zero and red above, equally far; values of one sign go from dark to bright.
 * Up to about 12 columns the numbers stand in the cells. Rows and columns are named, or placed by numbers at even distances.
 */
export function heatmap(values: Matrix, options: ChartOptions & { rows?: Places; columns?: Places; zmin?: number; zmax?: number; unit?: string; text?: boolean } = {}): Figure {
  const z = matrix("heatmap", values);
  const [rows, columns] = [z.length, z[0]?.length ?? 0];
  if (options.rows && options.rows.length !== rows) throw new RangeError(`heatmap: rows has ${options.rows.length} names, the matrix has ${rows} rows`);
  if (options.columns && options.columns.length !== columns) throw new RangeError(`heatmap: columns has ${options.columns.length} names, the matrix has ${columns} columns`);
  const trace: HeatmapTrace = { type: "heatmap", z, ...unique("x", options.columns), ...unique("y", options.rows) };
  if (options.zmin !== undefined) trace.zmin = options.zmin;
  if (options.zmax !== undefined) trace.zmax = options.zmax;
  if (options.unit) trace.colorbar = { title: { text: options.unit } };
  if (options.text ?? (columns <= 12 && rows <= 16)) { trace.text = z.map((row) => row.map((v) => short(v, 3))); trace.texttemplate = "%{text}"; }
  const layout = layoutOf(options, "column", "row");
  layout.height = options.height ?? Math.min(520, Math.max(220, 130 + rows * 34));
  const axis = (count: number, names?: Places): Axis =>
    placed(names) ? {}
      : !names ? { dtick: step(count) }
        : new Set(names).size === names.length ? { type: "category" } : { type: "linear", tickvals: names.map((_, i) => i), ticktext: [...names] };
  layout.yaxis = { ...layout.yaxis, ...axis(rows, options.rows), ...(!placed(options.rows) && { autorange: "reversed" }) };
  layout.xaxis = { ...layout.xaxis, ...axis(columns, options.columns) };
  return new Figure([trace], layout);
}

type Places = readonly string[] | readonly number[];
const placed = (given?: Places): given is readonly number[] => typeof given?.[0] === "number";

const step = (count: number): number => Math.max(1, Math.ceil(count / 12));

/** Names that repeat (the same token twice) cannot be plotly's categories; they become tick labels instead. */
const unique = (key: "x" | "y", names?: Places): Partial<HeatmapTrace> =>
  (names && new Set<Datum>(names).size === names.length ? { [key]: [...names] } : {});

/**
 * Gradient norm against layer, on a log axis.
 * @param cases norms by case, from layer 1 (next to the input) to layer L: { sigmoid: [...], ReLU: [...] }
 */
export function gradientNorms(cases: Curves, options: ChartOptions = {}): Figure {
  return new Figure(curves("gradientNorms", cases).map(([name, y]): ScatterTrace =>
    ({ type: "scatter", mode: "lines+markers", x: y.map((_, i) => i + 1), y, ...(name !== undefined && { name }) })),
  layoutOf({ title: "Gradient norm against depth", logY: true, ...options }, "layer (1 is next to the input)", "gradient norm ‖∂L/∂·‖₂"));
}

/** Loss against step; several runs by name. */
export function lossCurve(losses: Curves, options: ChartOptions = {}): Figure {
  return lines(undefined, losses, { title: "Loss during training", x: "step", y: "loss", ...options });
}

/** A trace with another look, where its look was not chosen but given by its place. */
function relooked(trace: Exclude<Trace, HeatmapTrace>, from: Look, to: Look): Trace {
  if (trace.type !== "scatter") return trace.marker?.color === from.color ? { ...trace, marker: { color: to.color } } : trace;
  if (trace.line?.color !== from.color) return trace;
  const { dash, ...line } = trace.line;
  const kept = dash !== undefined && dash !== from.dash ? dash : to.dash;
  return { ...trace, line: { ...line, color: to.color, ...(kept !== "solid" && { dash: kept }) }, marker: { ...trace.marker, color: to.color, symbol: to.symbol } };
}

/** Characters of a title that fit over or under one of `count` figures in a narrow cell (28, 23 and 21 for two, three and four). */
const titleRoom = (count: number): number => Math.floor(14 + 28 / count);

/** A text that is longer than its room, in lines; one that brings its own markup stays as it is. */
const inLines = (content: string, room: number): string => (content.length <= room || content.includes("<") ? content : wrapped(content, room).join("<br>"));

/** Two to four figures side by side as one. A name has one look and one place in the legend; each figure keeps its title above it. */
export function beside(figures: readonly Figure[], options: { title?: string; height?: number } = {}): Figure {
  if (figures.length === 0) throw new RangeError("beside: figures is empty, it should hold at least one figure");
  const scales = figures.some(({ data }) => data.some((trace) => trace.type === "heatmap" && !trace.text));
  const gap = scales ? 0.16 : 0.12;
  const width = (1 - gap * (figures.length - 1)) / figures.length;
  const room = titleRoom(figures.length);
  const titles = figures.map((figure) => inLines(figure.layout.title?.text ?? "", room));
  const above = 16 * Math.max(...titles.map((title) => title.split("<br>").length - 1));
  const layout: Layout = { annotations: [], margin: { l: 70, r: 20, t: (options.title ? 70 : 36) + above, b: 60 }, height: options.height ?? 380, showlegend: true, ...(options.title && { title: { text: options.title } }) };
  const looks = new Map<string, Look>();
  const data = figures.flatMap((figure, k): Trace[] => {
    const n = (k === 0 ? "" : k + 1) as number;
    const left = k * (width + gap);
    const under = figure.layout.xaxis?.title?.text;
    layout[`xaxis${n}`] = { ...figure.layout.xaxis, ...(under && { title: { text: inLines(under, room) } }), domain: [left, left + width], anchor: `y${n}` };
    layout[`yaxis${n}`] = { ...figure.layout.yaxis, anchor: `x${n}` };
    const title = titles[k];
    if (title) layout.annotations!.push({ text: title, x: left + width / 2, y: 1, xref: "paper", yref: "paper", showarrow: false, xanchor: "center", yanchor: "bottom", font: { size: 13 } });
    if (figure.layout.barmode) layout.barmode = figure.layout.barmode;
    return figure.data.map((trace, i): Trace => {
      const own = { xaxis: `x${n}`, yaxis: `y${n}` } as const;
      if (trace.type === "heatmap") {
        // Where the numbers stand in the cells, no scale is needed.
        const scale = { x: left + width, xpad: 4, thickness: 8, tickfont: { size: 10 } };
        return { ...trace, ...own, ...(trace.text ? { showscale: false } : { colorbar: { ...trace.colorbar, ...scale } }) };
      }
      if (trace.name === undefined) return { ...trace, ...own, showlegend: false };
      const first = !looks.has(trace.name);
      if (first) looks.set(trace.name, look(looks.size));
      return { ...relooked(trace, look(i), looks.get(trace.name)!), ...own, ...(!first && { showlegend: false }) };
    });
  });
  if (![...data].some((trace) => trace.name)) layout.showlegend = false;
  return new Figure(data, layout);
}
