/** The part of plotly.js that is used here. */
export interface Plotly {
  react(node: HTMLElement, data: unknown[], layout: Layout, config: object): Promise<unknown>;
  addFrames(node: HTMLElement, frames: unknown[]): Promise<unknown>;
  purge(node: HTMLElement): void;
  Plots: { resize(node: HTMLElement): void };
}

export interface Layout {
  width?: number;
  height?: number;
  autosize?: boolean;
  template?: unknown;
  [name: string]: unknown;
}

export interface Figure {
  data?: unknown[];
  layout?: Layout;
  config?: object;
  frames?: unknown[];
}
