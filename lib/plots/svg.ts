/**
 * A static picture of a figure, without plotly.js: what nbconvert, a code host and the classic Notebook show.
 * Colours are mid-tones on a transparent ground, so that the same picture reads on white and on black.
 */
import { colorAt, inkOn, GRID, INK, PALETTE, SEQUENTIAL, type Scale } from "./color";
import type { Annotation, Axis, BarTrace, Datum, HeatmapTrace, HistogramTrace, Layout, ScatterTrace, Trace } from "./spec";
import { linearTicks, logTicks, short, type Tick } from "./ticks";

const FONT = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif";
const r = (v: number): string => String(Math.round(v * 10) / 10);

export const escapeXml = (s: string): string =>
  s.replace(/[&<>"']/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" })[c]!);

interface TextStyle { size?: number; anchor?: "start" | "middle" | "end"; color?: string; rotate?: number; bold?: boolean }
function text(x: number, y: number, content: string, { size = 12, anchor = "middle", color = INK, rotate, bold }: TextStyle = {}): string {
  const lines = content.split("<br>").map((line) => line.replace(/<[^>]*>/g, ""));
  const turn = rotate === undefined ? "" : ` transform="rotate(${rotate} ${r(x)} ${r(y)})"`;
  const body = lines.length === 1 ? escapeXml(lines[0]!)
    : lines.map((line, i) => `<tspan x="${r(x)}" dy="${i === 0 ? 0 : r(size * 1.25)}">${escapeXml(line)}</tspan>`).join("");
  return `<text x="${r(x)}" y="${r(y)}" font-size="${size}" text-anchor="${anchor}" fill="${color}"${bold ? ' font-weight="600"' : ""}${turn}>${body}</text>`;
}

/** One direction of a panel: turns a datum into a pixel. */
interface Projection { of(value: Datum): number | undefined; ticks: Tick[]; pixel(tick: Tick): number; band: number }

function values(axis: Axis, traces: Trace[], key: "x" | "y", stacked = false): Datum[] {
  if (stacked && key === "y") {
    const sums = new Map<string, number>();
    for (const t of traces) if (t.type === "bar") t.x.forEach((v, i) => sums.set(String(v), (sums.get(String(v)) ?? 0) + (t.y[i] ?? 0)));
    return [0, ...sums.values()];
  }
  return traces.flatMap((trace): Datum[] => {
    if (trace.type === "histogram") {
      const bars = bin(trace);
      return key === "x" ? bars.flatMap((b) => [b.from, b.to]) : [0, ...bars.map((b) => b.height)];
    }
    if (trace.type === "heatmap") {
      const count = key === "x" ? (trace.z[0]?.length ?? 0) : trace.z.length;
      const given = trace[key];
      if (given?.some((v) => typeof v === "string")) return given;
      const at = (given as number[] | undefined) ?? Array.from({ length: count }, (_, i) => i);
      const half = at.length > 1 ? Math.abs(at[1]! - at[0]!) / 2 : 0.5;
      return at.length === 0 ? [] : [Math.min(...at) - half, Math.max(...at) + half];
    }
    const own: Datum[] = trace[key];
    if (trace.type === "bar" && axis.type !== "category") {
      if (key === "y") return [...own, ...(axis.type === "log" ? [] : [0])];
      const numbers = own.filter((v): v is number => typeof v === "number");
      if (numbers.length === own.length && numbers.length > 0) {
        const half = numbers.length > 1 ? Math.abs(numbers[1]! - numbers[0]!) / 2 : 0.5;
        return [Math.min(...numbers) - half, Math.max(...numbers) + half];
      }
    }
    if (trace.type === "scatter" && key === "y" && trace.error_y) {
      return own.flatMap((v, i) => typeof v === "number" ? [v - trace.error_y!.array[i]!, v + trace.error_y!.array[i]!] : []);
    }
    return own;
  });
}

function project(axis: Axis, all: Datum[], from: number, to: number): Projection {
  const strings = all.filter((v): v is string => typeof v === "string");
  if (strings.length > 0 || axis.type === "category") {
    const names = [...new Set(all.filter((v) => v !== null).map(String))];
    if (axis.autorange === "reversed") [from, to] = [to, from];
    const step = (to - from) / Math.max(1, names.length);
    const at = (i: number): number => from + (i + 0.5) * step;
    return {
      of: (v) => { const i = names.indexOf(String(v)); return i < 0 ? undefined : at(i); },
      ticks: names.map((label, i) => ({ at: i, label })), pixel: (tick) => at(tick.at), band: Math.abs(step),
    };
  }
  const log = axis.type === "log";
  const scale = (v: number): number => (log ? Math.log10(v) : v);
  const numbers = all.filter((v): v is number => typeof v === "number" && Number.isFinite(scale(v))).map(scale);
  let [lo, hi] = axis.range ?? [Infinity, -Infinity];
  if (!axis.range) {
    for (const v of numbers) { if (v < lo) lo = v; if (v > hi) hi = v; }
    if (!(lo <= hi)) [lo, hi] = [0, 1];
    if (hi - lo < 1e-12 * Math.max(1, Math.abs(hi))) { const room = log ? 0.5 : Math.abs(hi) * 0.1 || 1; lo -= room; hi += room; }
  }
  if (axis.autorange === "reversed") [from, to] = [to, from];
  const pixel = (v: number): number => from + ((v - lo) / (hi - lo)) * (to - from);
  const least = typeof axis.dtick === "number" ? axis.dtick : 0;
  const ticks = axis.tickvals
    ? axis.tickvals.map((v, i) => ({ at: scale(v), label: axis.ticktext?.[i] ?? short(v) }))
    : log ? logTicks(lo, hi) : linearTicks(lo, hi, Math.min(Math.abs(to - from) < 220 ? 4 : 6, least ? Math.max(1, (hi - lo) / least) : Infinity));
  return {
    of: (v) => (typeof v === "number" && Number.isFinite(scale(v)) ? pixel(scale(v)) : undefined),
    ticks: ticks.filter((t) => t.at >= lo - 1e-9 && t.at <= hi + 1e-9), pixel: (tick) => pixel(tick.at), band: 0,
  };
}

/** Room around the data where the axis begins at the data itself (lines, points); none for bars, histograms and heat maps. */
function padded(axis: Axis, all: Datum[], traces: Trace[], key: "x" | "y"): Datum[] {
  if (axis.range || all.some((v) => typeof v === "string")) return all;
  if (traces.some((t) => t.type === "heatmap" || (t.type !== "scatter" && key === "x"))) return all;
  const scale = axis.type === "log" ? Math.log10 : (v: number): number => v;
  const back = axis.type === "log" ? (v: number): number => 10 ** v : (v: number): number => v;
  let [lo, hi] = [Infinity, -Infinity];
  for (const v of all) {
    if (typeof v !== "number" || !Number.isFinite(scale(v))) continue;
    lo = Math.min(lo, scale(v)); hi = Math.max(hi, scale(v));
  }
  if (!(hi > lo)) return all;
  const room = (hi - lo) * (key === "x" ? 0.02 : 0.05);
  const bars = traces.every((t) => t.type !== "scatter");
  return [...all, back(bars && lo === 0 ? 0 : lo - room), back(hi + room)];
}

interface Bin { from: number; to: number; height: number }
/** Equal bins over the data (or as xbins says), counted or normalised as histnorm says. */
export function bin(trace: HistogramTrace): Bin[] {
  const finite = trace.x.filter(Number.isFinite);
  if (finite.length === 0) return [];
  let { start, end, size } = trace.xbins ?? { start: 0, end: 0, size: 0 };
  if (!trace.xbins) {
    [start, end] = finite.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [Infinity, -Infinity]);
    size = (end - start) / Math.min(40, Math.max(1, Math.ceil(Math.sqrt(finite.length)))) || 1;
  }
  const bins: Bin[] = Array.from({ length: Math.max(1, Math.ceil((end - start) / size - 1e-9)) }, (_, i) =>
    ({ from: start + i * size, to: start + (i + 1) * size, height: 0 }));
  for (const v of finite) {
    const i = Math.min(bins.length - 1, Math.floor((v - start) / size));
    if (i >= 0 && v <= end + size * 1e-9) bins[i]!.height++;
  }
  const unit = trace.histnorm === "probability" ? finite.length : trace.histnorm === "probability density" ? finite.length * size : 1;
  for (const b of bins) b.height /= unit;
  return bins;
}

/** At most about `limit` points of a line: the least and the greatest of each bucket, so that spikes stay. */
function thin(points: [number, number][], limit = 800): [number, number][] {
  if (points.length <= limit) return points;
  const width = Math.ceil(points.length / (limit / 2));
  const kept: [number, number][] = [];
  for (let i = 0; i < points.length; i += width) {
    const bucket = points.slice(i, i + width);
    const low = bucket.reduce((a, b) => (b[1] < a[1] ? b : a));
    const high = bucket.reduce((a, b) => (b[1] > a[1] ? b : a));
    kept.push(...(low === high ? [low] : low[0] < high[0] ? [low, high] : [high, low]));
  }
  return kept;
}

const DASH = { solid: "", dash: "7 4", dot: "2 3", dashdot: "7 3 2 3" } as const;

function symbol(kind: string | undefined, x: number, y: number, size: number, fill: string): string {
  const h = size / 2;
  switch (kind) {
    case "square": return `<rect x="${r(x - h)}" y="${r(y - h)}" width="${r(size)}" height="${r(size)}" fill="${fill}"/>`;
    case "diamond": return `<path d="M${r(x)} ${r(y - h * 1.2)}L${r(x + h * 1.2)} ${r(y)}L${r(x)} ${r(y + h * 1.2)}L${r(x - h * 1.2)} ${r(y)}Z" fill="${fill}"/>`;
    case "triangle-up": return `<path d="M${r(x)} ${r(y - h)}L${r(x + h)} ${r(y + h)}L${r(x - h)} ${r(y + h)}Z" fill="${fill}"/>`;
    case "x": return `<path d="M${r(x - h)} ${r(y - h)}L${r(x + h)} ${r(y + h)}M${r(x - h)} ${r(y + h)}L${r(x + h)} ${r(y - h)}" stroke="${fill}" stroke-width="2"/>`;
    default: return `<circle cx="${r(x)}" cy="${r(y)}" r="${r(h)}" fill="${fill}"/>`;
  }
}

function drawScatter(trace: ScatterTrace, color: string, X: Projection, Y: Projection, floor: number): string {
  const mode = trace.mode ?? "lines";
  const runs: [number, number][][] = [[]];
  const points: { x: number; y: number; i: number }[] = [];
  trace.x.forEach((v, i) => {
    const [px, py] = [X.of(v), Y.of(trace.y[i] ?? null)];
    if (px === undefined || py === undefined) { if (runs.at(-1)!.length > 0) runs.push([]); return; }
    runs.at(-1)!.push([px, py]);
    points.push({ x: px, y: py, i });
  });
  const out: string[] = [];
  if (mode.includes("lines")) {
    for (const run of runs.map((one) => thin(one))) {
      if (run.length === 0) continue;
      const path = run.map(([x, y], i) =>
        i === 0 ? `M${r(x)} ${r(y)}` : trace.line?.shape === "hv" ? `H${r(x)}V${r(y)}` : `L${r(x)} ${r(y)}`).join("");
      if (trace.fill) out.push(`<path d="${path}L${r(run.at(-1)![0])} ${r(floor)}L${r(run[0]![0])} ${r(floor)}Z" fill="${color}" fill-opacity="0.2"/>`);
      const dash = DASH[trace.line?.dash ?? "solid"];
      out.push(`<path d="${path}" fill="none" stroke="${color}" stroke-width="${trace.line?.width ?? 2}" stroke-linejoin="round"${dash && ` stroke-dasharray="${dash}"`}/>`);
    }
  }
  if (trace.error_y) {
    for (const { x, i } of points) {
      const middle = trace.y[i] as number;
      const [a, b] = [Y.of(middle - trace.error_y.array[i]!), Y.of(middle + trace.error_y.array[i]!)];
      if (a !== undefined && b !== undefined) out.push(`<path d="M${r(x)} ${r(a)}V${r(b)}" stroke="${color}" stroke-width="1.5"/>`);
    }
  }
  const step = mode.includes("lines") ? Math.ceil(points.length / 80) : Math.ceil(points.length / 3000);
  points.forEach((p, i) => {
    if (mode.includes("markers") && i % step === 0) out.push(symbol(trace.marker?.symbol, p.x, p.y, trace.marker?.size ?? 6, color));
    if (mode.includes("text") && trace.text?.[p.i]) out.push(text(p.x, p.y + 4, trace.text[p.i]!, { size: 11 }));
  });
  return out.join("");
}

function drawBars(traces: { trace: BarTrace; color: string }[], X: Projection, Y: Projection, floor: number, layout: Layout): string {
  const numbers = traces[0]!.trace.x.filter((v): v is number => typeof v === "number").map((v) => X.of(v)!);
  const band = X.band || (numbers.length > 1 ? Math.abs(numbers[1]! - numbers[0]!) : 40);
  const overlay = layout.barmode === "overlay" || layout.barmode === "stack";
  const width = (band * 0.8) / (overlay ? 1 : traces.length);
  const base = new Map<string, number>();
  return traces.map(({ trace, color }, k) => trace.x.map((v, i) => {
    const px = X.of(v);
    const value = trace.y[i];
    if (px === undefined || value === null || value === undefined) return "";
    const under = layout.barmode === "stack" ? (base.get(String(v)) ?? 0) : 0;
    base.set(String(v), under + value);
    const top = Y.of(under + value);
    const bottom = under === 0 ? (Y.of(0) ?? floor) : Y.of(under)!;
    if (top === undefined) return "";
    const left = px - (overlay ? width / 2 : (band * 0.8) / 2 - k * width);
    const label = trace.text?.[i] === undefined ? "" : text(left + width / 2, Math.min(top, bottom) - 4, trace.text[i]!, { size: 11 });
    return `<rect x="${r(left)}" y="${r(Math.min(top, bottom))}" width="${r(width)}" height="${r(Math.abs(top - bottom))}" fill="${color}" fill-opacity="${trace.opacity ?? 1}"/>${label}`;
  }).join("")).join("");
}

/** The corners of the line around a histogram's bars, from the floor to the floor; between two of them it goes across, then up or down. */
export function outline(trace: HistogramTrace): [x: number, y: number][] {
  const bars = bin(trace);
  if (bars.length === 0) return [];
  const last = bars.at(-1)!;
  return [[bars[0]!.from, 0], ...bars.map((b): [number, number] => [b.from, b.height]), [last.to, last.height], [last.to, 0]];
}

function drawHistogram(trace: HistogramTrace, color: string, X: Projection, Y: Projection, floor: number): string {
  const path = outline(trace).map(([x, y], i) => {
    const [px, py] = [X.of(x)!, Y.of(y) ?? floor];
    return i === 0 ? `M${r(px)} ${r(py)}` : `H${r(px)}V${r(py)}`;
  }).join("");
  return `<path d="${path}" fill="${color}" fill-opacity="0.3" stroke="${color}" stroke-width="1.5"/>`;
}

/** The range a heat map's colours stand for: as given, else the data's. */
export function heatRange(trace: HeatmapTrace): [number, number] {
  const all = trace.z.flat().filter((v): v is number => v !== null && Number.isFinite(v));
  const lo = trace.zmin ?? all.reduce((a, b) => Math.min(a, b), Infinity);
  const hi = trace.zmax ?? all.reduce((a, b) => Math.max(a, b), -Infinity);
  return Number.isFinite(lo) && Number.isFinite(hi) ? (hi > lo ? [lo, hi] : [lo - 0.5, hi + 0.5]) : [0, 1];
}

function drawHeatmap(trace: HeatmapTrace, box: Box, X: Projection, Y: Projection): string {
  const [lo, hi] = heatRange(trace);
  const scale: Scale = trace.colorscale ?? SEQUENTIAL;
  const [rows, columns] = [trace.z.length, trace.z[0]?.length ?? 0];
  const [w, h] = [box.w / Math.max(1, columns), box.h / Math.max(1, rows)];
  const gap = Math.min(w, h) > 18 ? (trace.xgap ?? 1) : 0;
  // One path a colour, of 64, and one rectangle for neighbours alike: many cells would make a large picture otherwise.
  const cells = new Map<string, { x: number; y: number; w: number }[]>();
  const labels: string[] = [];
  trace.z.forEach((row, i) => row.forEach((v, j) => {
    const [cx, cy] = [X.of(trace.x?.[j] ?? j), Y.of(trace.y?.[i] ?? i)];
    if (v === null || cx === undefined || cy === undefined) return;
    const fill = colorAt(scale, Math.round(((v - lo) / (hi - lo)) * 64) / 64);
    const own = cells.get(fill) ?? [];
    cells.set(fill, own);
    const last = own.at(-1);
    const [x, y] = [cx - w / 2, cy - h / 2];
    if (gap === 0 && last?.y === y && Math.abs(last.x + last.w - x) < 1e-6) last.w += w;
    else own.push({ x, y, w: w - gap });
    const label = trace.text?.[i]?.[j];
    const size = !label || h <= 13 ? 0 : w > label.length * 6 ? 11 : w > label.length * 5.4 ? 8.5 : 0;
    if (size > 0) labels.push(text(cx, cy + 4, label!, { size, color: inkOn(fill) }));
  }));
  const out = [...cells].map(([fill, own]) =>
    `<path d="${own.map((c) => `M${r(c.x)} ${r(c.y)}h${r(c.w)}v${r(h - gap)}h${r(-c.w)}z`).join("")}" fill="${fill}" shape-rendering="crispEdges"/>`);
  out.push(...labels);
  if (trace.showscale !== false) {
    const [thick, steps] = [trace.colorbar?.thickness ?? 12, 40];
    const left = box.x + box.w + thick;
    for (let i = 0; i < steps; i++) {
      const y = box.y + box.h - ((i + 1) / steps) * box.h;
      out.push(`<rect x="${r(left)}" y="${r(y)}" width="${thick}" height="${r(box.h / steps + 0.6)}" fill="${colorAt(scale, (i + 0.5) / steps)}"/>`);
    }
    for (const tick of linearTicks(lo, hi, 4)) {
      out.push(text(left + thick + 4, box.y + box.h - ((tick.at - lo) / (hi - lo)) * box.h + 4, tick.label, { size: 10, anchor: "start" }));
    }
    if (trace.colorbar?.title) out.push(text(left, box.y - 6, trace.colorbar.title.text, { size: 10, anchor: "start" }));
  }
  return out.join("");
}

const lineCount = (content: string): number => content.split("<br>").length;

interface Box { x: number; y: number; w: number; h: number }

const axisOf = (layout: Layout, id: string): Axis =>
  (layout as Record<string, Axis | undefined>)[`${id[0]}axis${id.slice(1)}`] ?? {};

/** What a trace is drawn with: its own colour, else the next of the palette. */
export function traceColor(trace: Trace, index: number): string {
  if (trace.type === "heatmap") return PALETTE[0];
  const lined = trace.type === "scatter" && trace.mode !== "markers";
  const own = lined ? (trace.line?.color ?? trace.marker?.color) : trace.marker?.color;
  return own ?? PALETTE[index % PALETTE.length]!;
}

/** A name in lines of at most about `width` characters. */
export function wrapped(name: string, width: number): string[] {
  const lines = [""];
  for (const word of name.replace(/<[^>]*>/g, " ").split(" ")) {
    const line = lines.at(-1)!;
    if (line === "") lines[lines.length - 1] = word;
    else if (line.length + 1 + word.length <= width) lines[lines.length - 1] = `${line} ${word}`;
    else lines.push(word);
  }
  return lines;
}

export function toSvg(data: Trace[], layout: Layout): string {
  const [width, height] = [layout.width ?? 700, layout.height ?? 400];
  const named = data.map((trace, i) => ({ trace, color: traceColor(trace, i) })).filter(({ trace }) => trace.name && trace.showlegend !== false);
  const legend = layout.showlegend !== false && named.length > (layout.showlegend ? 0 : 1);
  const entries = named.map((entry) => ({ ...entry, lines: wrapped(entry.trace.name!, 30) }));
  const legendRoom = legend ? 34 + 6.6 * Math.max(...entries.flatMap(({ lines }) => lines.map((line) => line.length))) : 0;

  const ids = [...new Set(data.map((t) => `${t.xaxis ?? "x"} ${t.yaxis ?? "y"}`))].map((id) => id.split(" ") as [string, string]);
  const heat = data.some((t) => t.type === "heatmap" && t.showscale !== false);
  const longest = Math.max(0, ...data.flatMap((t) => (t.type === "heatmap" ? (t.y ?? []) : [])).map((v) => String(v).length));
  const above = Math.max(0, ...(layout.annotations ?? []).map((a) => (a.xref === "paper" && a.y >= 1 ? lineCount(a.text) : 0)));
  const below = 15 * (Math.max(1, ...ids.map(([id]) => lineCount(axisOf(layout, id).title?.text ?? ""))) - 1);
  const area: Box = { x: 68 + Math.max(0, longest - 4) * 5, y: (layout.title ? 44 : 18) + (above > 0 ? 2 + 16 * above : 0), w: 0, h: 0 };
  area.w = width - area.x - 16 - legendRoom - (heat ? 60 : 0);
  const names = data.flatMap((t) => (t.type === "bar" || t.type === "heatmap" ? (t.x ?? []) : [])).filter((v): v is string => typeof v === "string");
  const tilted = names.some((name) => name.length * 6.5 > area.w / new Set(names).size);
  if (tilted) {
    // The first label leans out to the left.
    const room = Math.max(0, names[0]!.length * 5 + 12 - area.x - area.w / (2 * new Set(names).size));
    area.x += room;
    area.w -= room;
  }
  area.h = height - area.y - (tilted ? Math.min(130, 46 + 3.2 * Math.max(...names.map((name) => name.length))) : 54) - below;

  const out: string[] = [];
  for (const [xid, yid] of ids) {
    const [xaxis, yaxis] = [axisOf(layout, xid), axisOf(layout, yid)];
    const members = data.map((trace, i) => ({ trace, color: traceColor(trace, i) }))
      .filter(({ trace }) => (trace.xaxis ?? "x") === xid && (trace.yaxis ?? "y") === yid);
    const traces = members.map((m) => m.trace);
    const [dx, dy] = [xaxis.domain ?? [0, 1], yaxis.domain ?? [0, 1]];
    const box: Box = { x: area.x + dx[0] * area.w, y: area.y + (1 - dy[1]) * area.h, w: (dx[1] - dx[0]) * area.w, h: (dy[1] - dy[0]) * area.h };
    const square = traces.find((t): t is HeatmapTrace => t.type === "heatmap");
    if (square && yaxis.scaleanchor) {
      const cell = Math.min(box.w / Math.max(1, square.z[0]?.length ?? 1), box.h / Math.max(1, square.z.length));
      const [w, h] = [cell * (square.z[0]?.length ?? 1), cell * square.z.length];
      box.x += (box.w - w) / 2; box.y += (box.h - h) / 2; box.w = w; box.h = h;
    }
    const X = project(xaxis, padded(xaxis, values(xaxis, traces, "x"), traces, "x"), box.x, box.x + box.w);
    const Y = project(yaxis, padded(yaxis, values(yaxis, traces, "y", layout.barmode === "stack"), traces, "y"), box.y + box.h, box.y);
    const floor = box.y + box.h;

    if (xaxis.visible !== false) {
      const fits = X.ticks.length > 1 ? Math.abs(X.pixel(X.ticks[1]!) - X.pixel(X.ticks[0]!)) : box.w;
      const widest = Math.max(...X.ticks.map((t) => t.label.length), 1) * 6.5;
      const every = X.band && widest > fits * 1.6 ? 1 : Math.max(1, Math.ceil(widest / fits));
      const tilt = X.band > 0 && widest > fits;
      X.ticks.forEach((tick, i) => {
        const x = X.pixel(tick);
        if (!square && !X.band) out.push(`<path d="M${r(x)} ${r(box.y)}V${r(floor)}" stroke="${GRID}"/>`);
        if (tilt) out.push(text(x + 3, floor + 14, tick.label, { size: 10, anchor: "end", rotate: -30 }));
        else if (i % every === 0) out.push(text(x, floor + 16, tick.label, { size: 11 }));
      });
      if (xaxis.title) out.push(text(box.x + box.w / 2, tilt ? height - 10 - below : floor + 36, xaxis.title.text, { size: 12 }));
    }
    if (yaxis.visible !== false) {
      const every = Y.ticks.length > 1 ? Math.max(1, Math.ceil(12 / Math.abs(Y.pixel(Y.ticks[1]!) - Y.pixel(Y.ticks[0]!)))) : 1;
      Y.ticks.forEach((tick, i) => {
        const y = Y.pixel(tick);
        if (!square && !Y.band) out.push(`<path d="M${r(box.x)} ${r(y)}H${r(box.x + box.w)}" stroke="${GRID}"/>`);
        if (i % every === 0) out.push(text(box.x - 7, y + 4, tick.label, { size: 11, anchor: "end" }));
      });
      const longest = Math.max(0, ...Y.ticks.map(({ label }) => label.length));
      if (yaxis.title) out.push(text(box.x - Math.min(56, 20 + longest * 6.2), box.y + box.h / 2, yaxis.title.text, { size: 12, rotate: -90 }));
    }

    for (const { trace } of members) if (trace.type === "heatmap") out.push(drawHeatmap(trace, box, X, Y));
    // Nothing is cut off unless a range was asked for; an <svg> clips without an id that other pictures could share.
    const cut = Boolean(xaxis.range ?? yaxis.range);
    if (cut) out.push(`<svg x="${r(box.x - 4)}" y="${r(box.y - 4)}" width="${r(box.w + 8)}" height="${r(box.h + 8)}" viewBox="${r(box.x - 4)} ${r(box.y - 4)} ${r(box.w + 8)} ${r(box.h + 8)}">`);
    const bars = members.filter((m): m is { trace: BarTrace; color: string } => m.trace.type === "bar");
    if (bars.length > 0) out.push(drawBars(bars, X, Y, floor, layout));
    for (const { trace, color } of members) {
      if (trace.type === "histogram") out.push(drawHistogram(trace, color, X, Y, floor));
      else if (trace.type === "scatter") out.push(drawScatter(trace, color, X, Y, floor));
    }
    if (cut) out.push("</svg>");
    if (!square && xaxis.visible !== false) out.push(`<path d="M${r(box.x)} ${r(box.y)}V${r(floor)}H${r(box.x + box.w)}" fill="none" stroke="${INK}"/>`);
    for (const note of layout.annotations ?? []) {
      if (note.xref !== xid || note.yref !== yid) continue;
      const [x, y] = [X.of(note.x), Y.of(note.y)];
      if (x !== undefined && y !== undefined) out.push(annotation(note, x, y));
    }
  }
  for (const note of layout.annotations ?? []) {
    if ((note.xref ?? "paper") === "paper") out.push(annotation(note, area.x + note.x * area.w, area.y + (1 - note.y) * area.h));
  }
  if (layout.title) out.push(text(area.x + area.w / 2, 24, layout.title.text, { size: 15, bold: true }));
  if (legend) {
    const left = width - legendRoom;
    let y = area.y + 10;
    for (const { trace, color, lines } of entries) {
      const isLine = trace.type === "scatter" && (trace.mode ?? "lines").includes("lines");
      const dash = trace.type === "scatter" ? DASH[trace.line?.dash ?? "solid"] : "";
      if (isLine) out.push(`<path d="M${r(left)} ${r(y)}h20" stroke="${color}" stroke-width="2.5"${dash && ` stroke-dasharray="${dash}"`}/>`);
      if (trace.type === "scatter" && trace.mode?.includes("markers")) out.push(symbol(trace.marker?.symbol, left + 10, y, 7, color));
      if (trace.type !== "scatter") out.push(`<rect x="${r(left + 4)}" y="${r(y - 6)}" width="12" height="12" fill="${color}" fill-opacity="${trace.opacity ?? 1}"/>`);
      out.push(text(left + 26, y + 4, lines.join("<br>"), { size: 11.5, anchor: "start" }));
      y += 5 + 14 * lines.length;
    }
  }
  const label = escapeXml((layout.title?.text ?? "figure").replace(/<[^>]*>/g, " "));
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="${label}" font-family="${FONT}">${out.join("")}</svg>`;
}

function annotation(note: Annotation, x: number, y: number): string {
  const anchor = { left: "start", center: "middle", right: "end" } as const;
  const size = note.font?.size ?? 12;
  const down = note.yanchor === "top" ? 12 : note.yanchor === "bottom" ? -4 - size * 1.25 * (lineCount(note.text) - 1) : 4;
  return text(x, y + down, note.text, { size, color: note.font?.color ?? INK, anchor: anchor[note.xanchor ?? "center"] });
}
