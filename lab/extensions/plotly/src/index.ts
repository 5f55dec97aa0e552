/**
 * Renders application/vnd.plotly.v1+json. plotly.js is loaded with the first figure, figures follow their cell's width and the
 * theme, an update to a figure is drawn into the same plot, and at most one drawing is under way for each figure.
 */
import type { IRenderMime } from "@jupyterlab/rendermime-interfaces";
import { Widget } from "@lumino/widgets";
import type { Figure, Plotly } from "./plotly";
import { onThemeChange, themed } from "./theme";
import { leastWidth } from "./width";

const MIME_TYPE = "application/vnd.plotly.v1+json";

let loading: Promise<Plotly> | undefined;

function load(): Promise<Plotly> {
  loading ??= import(/* webpackChunkName: "plotly-js" */ "plotly.js/dist/plotly.min.js").then((module) => module.default as Plotly);
  return loading;
}

class PlotWidget extends Widget implements IRenderMime.IRenderer {
  readonly #plot = document.createElement("div");
  readonly #sizes = new ResizeObserver(() => this.#resize());
  readonly #unsubscribe = onThemeChange(() => void this.#draw());
  #figure: Figure | undefined;
  #plotly: Plotly | undefined;
  #drawing: Promise<void> | undefined;
  #again = false;
  #width = 0;

  constructor() {
    super();
    this.addClass("gradbook-plot");
    this.node.append(this.#plot);
    this.#sizes.observe(this.node);
  }

  /** Called for a new output and for each update_display_data. */
  renderModel(model: IRenderMime.IMimeModel): Promise<void> {
    this.#figure = model.data[MIME_TYPE] as unknown as Figure;
    return this.#draw();
  }

  /** A figure that arrives while one is being drawn replaces those that wait: only the newest is worth drawing. */
  #draw(): Promise<void> {
    if (this.#drawing) {
      this.#again = true;
      return this.#drawing;
    }
    this.#drawing = this.#drawNewest().finally(() => (this.#drawing = undefined));
    return this.#drawing;
  }

  async #drawNewest(): Promise<void> {
    do {
      this.#again = false;
      try {
        const plotly = await load();
        if (this.isDisposed || !this.#figure) return;
        this.#plotly = plotly;
        const { data = [], layout = {}, config = {}, frames } = this.#figure;
        if (!Array.isArray(data)) throw new Error("its data is not a list of traces");
        this.#plot.style.minWidth = `${leastWidth(data, layout)}px`;
        // plotly.js keeps its own state in what it is given; the notebook's copy must stay as it is.
        const copy = structuredClone({ data, layout });
        await plotly.react(this.#plot, copy.data, themed(this.node, copy.layout), { responsive: false, displaylogo: false, ...config });
        if (Array.isArray(frames) && frames.length > 0) await plotly.addFrames(this.#plot, structuredClone(frames));
        this.#width = this.node.clientWidth;
        this.node.querySelector(".gradbook-plot-failed")?.remove();
      } catch (error) {
        this.#fail(error as Error);
      }
    } while (this.#again && !this.isDisposed);
  }

  #fail(error: Error): void {
    const message = this.node.querySelector(".gradbook-plot-failed") ?? document.createElement("div");
    message.className = "gradbook-plot-failed";
    message.textContent = `This figure could not be drawn: ${error.message}`;
    this.node.prepend(message);
  }

  /** Follows the cell's width, unless the figure names its own. */
  #resize(): void {
    const width = this.node.clientWidth;
    if (!this.#plotly || width === 0 || width === this.#width || this.#figure?.layout?.width !== undefined) return;
    this.#width = width;
    this.#plotly.Plots.resize(this.#plot);
  }

  override dispose(): void {
    if (this.isDisposed) return;
    this.#sizes.disconnect();
    this.#unsubscribe();
    this.#plotly?.purge(this.#plot);
    super.dispose();
  }
}

const extension: IRenderMime.IExtension = {
  id: "gradbook-plotly:factory",
  description: "Draws plotly.js figures.",
  rendererFactory: {
    // plotly.js draws text as text and keeps links to http, https and mailto, so that a figure needs no trust.
    safe: true,
    mimeTypes: [MIME_TYPE],
    // Before the html that stands beside it for other front ends.
    defaultRank: 40,
    createRenderer: () => new PlotWidget(),
  },
  dataType: "json",
  fileTypes: [
    {
      name: "plotly",
      displayName: "Plotly figure",
      mimeTypes: [MIME_TYPE],
      extensions: [".plotly", ".plotly.json"],
    },
  ],
  documentWidgetFactoryOptions: {
    name: "Plotly",
    primaryFileType: "plotly",
    fileTypes: ["plotly"],
    defaultFor: ["plotly"],
  },
};

export default extension;
