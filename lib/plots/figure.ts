import { DIVERGING, GRID, INK, PALETTE, SEQUENTIAL } from "./color";
import { bundleOf, type MimeBundle } from "./display";
import type { Axis, Layout, Trace } from "./spec";
import { heatRange, toSvg } from "./svg";
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

  toJSON(): { data: Trace[]; layout: Layout } {
    return { data: this.data, layout: this.layout };
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

const axis = (given: Axis = {}): Axis => ({ gridcolor: GRID, linecolor: INK, zerolinecolor: GRID, automargin: true, ...(given.type === "log" ? { exponentformat: "power" } : {}), ...given });

const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "x"] as const;

/** Numbers that JSON cannot hold become gaps; lines and bars get a colour and, told apart without colour, a marker. */
function dressed(trace: Trace, index: number): Trace {
  const color = PALETTE[index % PALETTE.length]!;
  const finite = <T>(v: T): T | null => (typeof v === "number" && !Number.isFinite(v) ? null : v);
  switch (trace.type) {
    case "scatter":
      return {
        ...trace, x: trace.x.map(finite), y: trace.y.map(finite), line: { color, width: 2, ...trace.line },
        marker: { color: trace.line?.color ?? color, size: 6, symbol: SYMBOLS[index % SYMBOLS.length]!, ...trace.marker },
      };
    case "bar": return { ...trace, y: trace.y.map(finite), marker: { color, ...trace.marker } };
    case "histogram": return { ...trace, x: trace.x.filter(Number.isFinite), marker: { color, ...trace.marker } };
    case "heatmap": {
      const z = trace.z.map((row) => row.map(finite));
      const [lo, hi] = heatRange({ ...trace, z });
      const signed = lo < 0;
      const most = Math.max(-lo, hi);
      return {
        colorscale: (signed ? DIVERGING : SEQUENTIAL).map(([t, c]) => [t, c] as [number, string]), xgap: 1, ygap: 1,
        zmin: signed ? -most : lo, zmax: signed ? most : hi, ...trace, z,
      };
    }
  }
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
