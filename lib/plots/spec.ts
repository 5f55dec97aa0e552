/**
 * The part of plotly.js's figure format (https://plotly.com/javascript/reference/) that gradbook's figures use.
 * What stands here is drawn by plotly.js in JupyterLab and by svg.ts everywhere else; keep the two in step.
 */
export type Datum = number | string | null;

interface OfAnyKind { name?: string; showlegend?: boolean; opacity?: number; xaxis?: `x${number | ""}`; yaxis?: `y${number | ""}`; hovertemplate?: string }

export interface ScatterTrace extends OfAnyKind {
  type: "scatter"; mode?: "lines" | "markers" | "lines+markers" | "text" | "markers+text";
  x: Datum[]; y: (number | null)[]; text?: string[];
  line?: { color?: string; width?: number; dash?: "solid" | "dash" | "dot" | "dashdot"; shape?: "linear" | "hv" };
  marker?: { color?: string; size?: number; symbol?: "circle" | "square" | "diamond" | "triangle-up" | "x" };
  error_y?: { type: "data"; array: number[]; visible?: boolean };
  fill?: "tozeroy";
}
export interface BarTrace extends OfAnyKind { type: "bar"; x: Datum[]; y: (number | null)[]; marker?: { color?: string }; text?: string[]; textposition?: "outside"; cliponaxis?: boolean }
export interface HistogramTrace extends OfAnyKind {
  type: "histogram"; x: number[]; marker?: { color?: string }; histnorm?: "" | "probability" | "probability density";
  autobinx?: boolean; xbins?: { start: number; end: number; size: number };
}
export interface HeatmapTrace extends OfAnyKind {
  type: "heatmap"; z: (number | null)[][]; x?: Datum[]; y?: Datum[]; colorscale?: [number, string][];
  zmin?: number; zmax?: number; showscale?: boolean; text?: string[][]; texttemplate?: string; xgap?: number; ygap?: number;
  colorbar?: { title?: { text: string }; len?: number; x?: number; xpad?: number; thickness?: number; tickfont?: { size?: number } };
}
export type Trace = ScatterTrace | BarTrace | HistogramTrace | HeatmapTrace;

export interface Axis {
  title?: { text: string }; type?: "linear" | "log" | "category"; range?: [number, number]; domain?: [number, number];
  autorange?: boolean | "reversed"; anchor?: string; showgrid?: boolean; zeroline?: boolean; dtick?: number | string;
  tickvals?: number[]; ticktext?: string[]; scaleanchor?: string; gridcolor?: string; linecolor?: string; zerolinecolor?: string;
  constrain?: "domain"; automargin?: boolean; exponentformat?: "power" | "e"; nticks?: number; visible?: boolean; tickformat?: string;
}
export interface Annotation {
  text: string; x: number; y: number; xref?: string; yref?: string; showarrow?: boolean;
  xanchor?: "left" | "center" | "right"; yanchor?: "top" | "middle" | "bottom"; font?: { size?: number; color?: string };
}
export interface Layout {
  title?: { text: string }; barmode?: "group" | "overlay" | "stack"; showlegend?: boolean; height?: number; width?: number;
  annotations?: Annotation[]; paper_bgcolor?: string; plot_bgcolor?: string; font?: { color?: string; size?: number };
  margin?: { l?: number; r?: number; t?: number; b?: number }; colorway?: string[]; legend?: { orientation?: "h" | "v"; x?: number; y?: number };
  xaxis?: Axis; yaxis?: Axis; [axis: `xaxis${number}`]: Axis; [axis: `yaxis${number}`]: Axis;
}
