import type { Layout } from "./plotly";

interface Named { name?: string; showlegend?: boolean }

/** Pixels that a legend takes beside the panels. */
function legendWidth(data: readonly unknown[], layout: Layout): number {
  const names = (data as Named[]).filter((trace) => trace.showlegend !== false).map((trace) => trace.name?.length ?? 0);
  return layout.showlegend ? 60 + 7 * Math.max(0, ...names) : 0;
}

/** The width below which the panels of a figure would write over each other; in a narrower cell the figure scrolls. */
export function leastWidth(data: readonly unknown[], layout: Layout): number {
  const starts = Object.entries(layout).filter(([name]) => /^xaxis\d*$/.test(name))
    .map(([, axis]) => (axis as { domain?: [number, number] } | undefined)?.domain?.[0] ?? 0);
  const panels = new Set(starts).size;
  return panels > 1 ? 270 + 90 * panels + legendWidth(data, layout) : 0;
}
