export { Figure } from "./figure";
export { bars, beside, gradientNorms, heatmap, histogram, lines, lossCurve, scatter } from "./charts";
export type { ChartOptions, Curves, Matrix, Vector } from "./charts";
export { livePlot, liveFigure, LivePlot, type LiveOptions } from "./live";
export { table, Table, type Cell } from "./table";
export { track, type Tracked } from "./track";
export { bundleOf, type MimeBundle, type Show, type ShowOptions } from "./display";
export type { Annotation, Axis, BarTrace, HeatmapTrace, HistogramTrace, Layout, ScatterTrace, Trace } from "./spec";
