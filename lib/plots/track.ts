import { breathe, front, Place, type MimeBundle } from "./display";

/** One state of a progress bar. */
class Bar {
  constructor(readonly label: string, readonly done: number, readonly total: number | undefined, readonly seconds: number, readonly over: boolean) {}

  private get share(): number { return this.total ? Math.min(1, this.done / this.total) : 0; }

  private get words(): string {
    const rate = this.done / Math.max(this.seconds, 1e-3);
    const left = this.over ? `${clock(this.seconds)}` : this.total && this.done > 0 ? `about ${clock((this.total - this.done) / rate)} left` : clock(this.seconds);
    const count = this.total === undefined ? String(this.done) : `${this.done}/${this.total}`;
    return `${count} · ${left}`;
  }

  toString(): string {
    if (this.total === undefined) return `${this.label} ${this.words}`.trim();
    const filled = Math.round(this.share * 24);
    return `${this.label} [${"█".repeat(filled)}${"·".repeat(24 - filled)}] ${this.words}`.trim();
  }

  [Symbol.for("Jupyter.display")](): MimeBundle {
    const label = this.label.replace(/[&<>]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;" })[c]!);
    const bar = this.total === undefined ? ""
      : `<span style="display:inline-block;width:16em;height:.7em;border-radius:.35em;background:rgba(128,128,128,.25);margin:0 .6em"><span style="display:block;width:${Math.round(this.share * 100)}%;height:100%;border-radius:.35em;background:#2a9d5c"></span></span>`;
    return { "text/html": `<div role="status">${label} ${bar}${this.words}</div>`, "text/plain": this.toString() };
  }
}

const clock = (seconds: number): string =>
  seconds < 10 ? `${seconds.toFixed(1)} s` : seconds < 90 ? `${Math.round(seconds)} s` : `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;

/** What `track` returns: walk it with `for ... of` or, where the loop should let the notebook draw, `for await ... of`. */
export interface Tracked<T> extends Iterable<T>, AsyncIterable<T> {}

/** What is to be walked, and what it says of itself where nobody walks it. */
class Track<T> implements Tracked<T> {
  constructor(private readonly items: Iterable<T> | AsyncIterable<T>, private readonly label: string, private readonly total: number | undefined) {}

  *[Symbol.iterator](): Iterator<T> {
    const bar = startBar(this.label, this.total);
    try { for (const item of this.items as Iterable<T>) { yield item; bar.step(); } } finally { bar.end(); }
  }

  async *[Symbol.asyncIterator](): AsyncIterator<T> {
    const bar = startBar(this.label, this.total);
    try { for await (const item of this.items as AsyncIterable<T>) { yield item; if (bar.step()) await breathe(); } } finally { bar.end(); }
  }

  toString(): string {
    const steps = this.total === undefined ? "" : ` over ${this.total} ${this.total === 1 ? "step" : "steps"}`;
    return `A progress bar${steps}, not started: write \`for await (const step of track(...)) { ... }\` to walk it.`;
  }

  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return this.toString();
  }
}

/** Shows an empty bar; `step` says whether it was drawn anew. */
function startBar(label: string, total: number | undefined): { step(): boolean; end(): void } {
  const began = Date.now();
  const place = new Place();
  const terminal = !front() && typeof process !== "undefined" && process.stderr?.isTTY;
  let [done, drawn] = [0, 0];
  const draw = (over: boolean): void => {
    const bar = new Bar(label, done, total, (Date.now() - began) / 1000, over);
    if (terminal) process.stderr.write(`\r\u001b[2K${bar.toString()}${over ? "\n" : ""}`);
    else place.set(bar);
    drawn = Date.now();
  };
  draw(false);
  return {
    step: () => { done++; if (Date.now() - drawn < 100) return false; draw(false); return true; },
    end: () => draw(true),
  };
}

/**
 * A progress bar over an iterable, an async iterable or a count; it updates in place.
 *
 *     for await (const step of track(500, "training")) { ... }
 *
 * @param items what to walk, or how many steps (then the values are 0, 1, ..., count - 1)
 */
export function track(count: number, label?: string): Tracked<number>;
export function track<T>(items: Iterable<T>, label?: string): Tracked<T>;
export function track<T>(items: AsyncIterable<T>, label?: string): AsyncIterable<T>;
export function track<T>(items: number | Iterable<T> | AsyncIterable<T>, label = ""): Tracked<T | number> {
  if (typeof items === "number") {
    if (!Number.isInteger(items) || items < 0) throw new RangeError(`track: count is ${items}, it should be a whole number of at least 0`);
    return track(Array.from({ length: items }, (_, i) => i), label);
  }
  if (items === null || typeof items !== "object" && typeof items !== "string"
    || !(Symbol.iterator in Object(items) || Symbol.asyncIterator in Object(items))) {
    throw new TypeError(`track: items is ${String(items)}, it should be iterable or a count`);
  }
  const total = Array.isArray(items) ? items.length : "size" in Object(items) ? (items as unknown as Set<T>).size : undefined;
  return new Track(items, label, total);
}
