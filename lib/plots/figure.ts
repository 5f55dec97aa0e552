import { DIVERGING, GRID, INK, PALETTE, SEQUENTIAL } from "./color";
import { bundleOf, type MimeBundle } from "./display";
import type { Axis, Datum, HistogramTrace, Layout, ScatterTrace, Trace } from "./spec";
import { heatRange, outline, toSvg } from "./svg";
import { short } from "./ticks";

/** A figure for plotly.js that can also draw itself without it. */
export class Figure {
  readonly data: Trace[];
  readonly layout: Layout;

  /**
   * @param data plotly traces: scatter, bar, histogram, heatmap (numbers that are not finite become gaps)
   * @param layout plotly layout; colours, margins and the background are filled in
   */
  constructor(data: Trace[], layout: Layout = {}) {
    this.data = data.map((trace, i) => dressed(trace, i));
    this.layout = {
      height: 400, margin: { l: 70, r: 20, t: layout.title ? 50 : 20, b: 60 }, colorway: [...PALETTE],
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: INK }, ...layout,
    };
    for (const { xaxis = "x", yaxis = "y" } of data) {
      for (const id of [xaxis, yaxis]) {
        const key = `${id[0] as "x" | "y"}axis${id.slice(1)}` as "xaxis";
        this.layout[key] = axis(this.layout[key]);
      }
    }
  }

  /** The static picture, 700 x 400 unless the layout says otherwise. */
  toSvg(): string {
    return toSvg(this.data, this.layout);
  }

  /** What plotly.js draws: seven digits of each number, and of a histogram its outline instead of its sample. */
  toJSON(): { data: Trace[]; layout: Layout } {
    return { data: this.data.map((trace) => brief(trace.type === "histogram" ? outlined(trace) : trace)), layout: this.layout };
  }

  /** The text twin: title, axes and one line a trace with its range and shape. */
  toString(): string {
    const { title, xaxis, yaxis } = this.layout;
    const axes = [xaxis?.title?.text, yaxis?.title?.text && `${yaxis.title.text}${yaxis.type === "log" ? " (log)" : ""}`].filter(Boolean);
    const panels = this.layout.annotations?.filter((note) => note.xref === "paper").map((note) => note.text).join(" | ");
    const head = [title?.text ?? (panels || "figure"), axes.length === 2 ? `${axes[1]} against ${axes[0]}` : axes[0]].filter(Boolean).join(" · ");
    const width = Math.max(0, ...this.data.map((t) => t.name?.length ?? 0));
    return [head.replace(/<[^>]*>/g, " "), ...this.data.map((t) => `  ${(t.name ?? "").padEnd(width)}  ${summary(t, this.layout)}`)].join("\n");
  }

  [Symbol.for("Jupyter.display")](): MimeBundle {
    return { "application/vnd.plotly.v1+json": this.toJSON(), ...bundleOf(this.toSvg(), this.toString(), this.layout.title?.text) };
  }
}

const axis = (given: Axis = {}): Axis => ({ gridcolor: GRID, linecolor: INK, zerolinecolor: GRID, automargin: true, ...(given.type === "log" ? { exponentformat: "power", nticks: 5 } : {}), ...given });

const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "x"] as const;

export interface Look { color: string; symbol: (typeof SYMBOLS)[number]; dash: "solid" | "dash" }
/** How a trace looks that says nothing of it: told apart by colour, by marker, and past the last colour by dashes. */
export const look = (index: number): Look =>
  ({ color: PALETTE[index % PALETTE.length]!, symbol: SYMBOLS[index % SYMBOLS.length]!, dash: index < PALETTE.length ? "solid" : "dash" });

/** Numbers that JSON cannot hold become gaps; lines, bars and points get their look. */
function dressed(trace: Trace, index: number): Trace {
  const { color, symbol, dash } = look(index);
  const finite = <T>(v: T): T | null => (typeof v === "number" && !Number.isFinite(v) ? null : v);
  switch (trace.type) {
    case "scatter":
      return {
        ...trace, x: trace.x.map(finite), y: trace.y.map(finite), line: { color, width: 2, ...(dash !== "solid" && !trace.line?.color && { dash }), ...trace.line },
        marker: { color: trace.line?.color ?? color, size: 6, symbol, ...trace.marker },
      };
    case "bar": return { ...trace, y: trace.y.map(finite), marker: { color, ...trace.marker } };
    case "histogram": return { ...trace, x: trace.x.filter(Number.isFinite), marker: { color, ...trace.marker } };
    case "heatmap": {
      const z = trace.z.map((row) => row.map(finite));
      const [lo, hi] = heatRange({ ...trace, z });
      const signed = lo < 0;
      const most = Math.max(-lo, hi);
      const gap = z.length > 24 || (z[0]?.length ?? 0) > 24 ? 0 : 1;
      return {
        colorscale: (signed ? DIVERGING : SEQUENTIAL).map(([t, c]) => [t, c] as [number, string]), xgap: gap, ygap: gap,
        zmin: signed ? -most : lo, zmax: signed ? most : hi, ...trace, z,
      };
    }
  }
}

const seven = <T>(v: T): T | number => (typeof v === "number" && !Number.isInteger(v) ? Number(v.toPrecision(7)) : v);

/** A trace with no more digits than a picture or a hover shows. */
function brief(trace: Trace): Trace {
  if (trace.type === "heatmap") return { ...trace, z: trace.z.map((row) => row.map(seven)) };
  if (trace.type === "histogram") return { ...trace, x: trace.x.map(seven) };
  return { ...trace, x: trace.x.map(seven) as Datum[], y: trace.y.map(seven) };
}

/** A histogram as the line around its bars, so that several of them can be read over each other. */
function outlined(trace: HistogramTrace): ScatterTrace {
  const { name, showlegend, xaxis, yaxis, marker } = trace;
  const points = outline(trace);
  return {
    type: "scatter", mode: "lines", x: points.map(([x]) => x), y: points.map(([, y]) => y), fill: "tozeroy",
    line: { shape: "hv", width: 1.5, ...(marker?.color && { color: marker.color }) },
    ...(name !== undefined && { name }), ...(showlegend !== undefined && { showlegend }), ...(xaxis && { xaxis }), ...(yaxis && { yaxis }),
  };
}

const BLOCKS = "▁▂▃▄▅▆▇█";
function summary(trace: Trace, layout: Layout): string {
  const log = layout.yaxis?.type === "log";
  if (trace.type === "heatmap") {
    const [lo, hi] = heatRange(trace);
    return `${trace.z.length} × ${trace.z[0]?.length ?? 0}, from ${short(lo)} to ${short(hi)}`;
  }
  const values = (trace.type === "histogram" ? trace.x : trace.y).filter((v): v is number => typeof v === "number" && (!log || v > 0));
  if (values.length === 0) return "no values";
  const [lo, hi] = values.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [Infinity, -Infinity]);
  if (trace.type === "histogram") return `${values.length} values from ${short(lo)} to ${short(hi)}, mean ${short(values.reduce((a, b) => a + b, 0) / values.length)}`;
  const scale = log ? Math.log10 : (v: number): number => v;
  const cells = Math.min(40, values.length);
  const spark = Array.from({ length: cells }, (_, i) => {
    const v = scale(values[Math.round((i * (values.length - 1)) / Math.max(1, cells - 1))]!);
    return BLOCKS[Math.min(7, Math.floor(((v - scale(lo)) / (scale(hi) - scale(lo) || 1)) * 8))];
  }).join("");
  return `${spark}  first ${short(values[0]!)}, last ${short(values.at(-1)!)}`;
}
