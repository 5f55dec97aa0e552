/** JupyterLab's colours, as a plotly.js template: what a figure sets itself stays as it is. */
import type { Layout } from "./plotly";

const DEFAULT_HEIGHT = 360;

/** The layout with the theme's colours behind its own. A figure that brings a template of its own keeps that. */
export function themed(node: HTMLElement, layout: Layout): Layout {
  const style = getComputedStyle(node);
  const colour = (name: string, otherwise: string) => style.getPropertyValue(name).trim() || otherwise;
  const text = colour("--jp-ui-font-color1", "#222");
  const grid = colour("--jp-border-color2", "#ddd");
  const axis = { gridcolor: grid, zerolinecolor: grid, linecolor: grid, automargin: true };
  const base = {
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: text, family: colour("--jp-ui-font-family", "sans-serif") },
    xaxis: axis,
    yaxis: axis,
    scene: { xaxis: axis, yaxis: axis, zaxis: axis },
    hoverlabel: { font: { family: colour("--jp-code-font-family", "monospace") } },
  };
  return {
    ...layout,
    template: layout.template ?? { layout: base },
    autosize: layout.width === undefined,
    height: layout.height ?? DEFAULT_HEIGHT,
  };
}

const listeners = new Set<() => void>();
let observer: MutationObserver | undefined;

/** JupyterLab notes the theme on the body; a renderer of MIME types is told nothing else about it. Returns what unsubscribes. */
export function onThemeChange(listener: () => void): () => void {
  if (!observer) {
    observer = new MutationObserver(() => listeners.forEach((notify) => notify()));
    observer.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-name"] });
  }
  listeners.add(listener);
  return () => listeners.delete(listener);
}
