import { breathe, front, Place } from "./display";
import { Figure } from "./figure";
import type { Layout, ScatterTrace } from "./spec";

export interface LiveOptions {
  title?: string; x?: string; y?: string;
  /** Logarithmic y axis. */
  log?: boolean;
  /** Names of the curves, in order; others are added as they come. */
  curves?: string[];
  /** At most so many redraws a second. */
  rate?: number;
}

/**
 * Curves that grow while a loop runs, redrawn in place.
 *
 *     const plot = livePlot({ title: "Training", x: "step", y: "loss (nats)" });
 *     for (let step = 0; step < 500; step++) await plot.add(step, { loss });
 *     plot.done();
 *
 * Awaiting `add` lets the notebook draw; without await the picture appears at the end.
 */
export class LivePlot {
  private readonly place = new Place();
  private readonly curves = new Map<string, { x: number[]; y: number[] }>();
  private readonly pause: number;
  private drawn = 0;

  constructor(private readonly options: LiveOptions = {}) {
    this.pause = 1000 / (options.rate ?? 15);
    for (const name of options.curves ?? []) this.curves.set(name, { x: [], y: [] });
  }

  /** One point for each named curve at x. Resolves at once unless the picture is redrawn. */
  async add(x: number, values: Record<string, number>): Promise<void> {
    for (const [name, y] of Object.entries(values)) {
      let curve = this.curves.get(name);
      if (!curve) this.curves.set(name, (curve = { x: [], y: [] }));
      curve.x.push(x);
      curve.y.push(y);
    }
    if (Date.now() - this.drawn < this.pause) return;
    this.place.set(this.figure());
    this.drawn = Date.now();
    await breathe();
  }

  /** The curves so far as an ordinary figure. */
  figure(): Figure {
    const { title, x, y, log } = this.options;
    const layout: Layout = { xaxis: { title: { text: x ?? "step" } }, yaxis: { title: { text: y ?? "value" }, ...(log ? { type: "log" } : {}) } };
    if (title) layout.title = { text: title };
    return new Figure([...this.curves].map(([name, curve]): ScatterTrace =>
      ({ type: "scatter", mode: "lines", name, x: [...curve.x], y: [...curve.y] })), layout);
  }

  /** Draws the last points. Call it after the loop. */
  done(): void {
    this.place.set(this.figure());
    if (!front()) console.log(this.figure().toString());
  }
}

export const livePlot = (options?: LiveOptions): LivePlot => new LivePlot(options);

/**
 * A picture that is replaced as a whole: `const frame = liveFigure(); await frame.show(heatmap(a));`.
 * Each `show` resolves after the notebook had a chance to draw.
 */
export function liveFigure(): { show(value: unknown): Promise<void> } {
  const place = new Place();
  return { show: (value) => { place.set(value); return breathe(); } };
}
