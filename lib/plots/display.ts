/** How the library shows things: objects carry their own MIME bundle, and a front end that can update in place registers a hook. */
export type MimeBundle = Record<string, unknown>;

/** A picture as every front end can show it: an image, HTML that needs no network and survives a sanitiser, and text. */
export function bundleOf(svg: string, text: string, label = "figure"): MimeBundle {
  const source = encodeURIComponent(svg).replace(/%20/g, " ").replace(/%3D/g, "=").replace(/%3A/g, ":").replace(/%2F/g, "/").replace(/%2C/g, ",").replace(/'/g, "%27");
  const alt = label.replace(/<[^>]*>/g, " ").replace(/[&"<>]/g, (c) => ({ "&": "&amp;", '"': "&quot;", "<": "&lt;", ">": "&gt;" })[c]!);
  return {
    "text/html": `<img alt="${alt}" style="max-width:100%" src="data:image/svg+xml;charset=utf-8,${source}">`,
    "image/svg+xml": svg,
    "text/plain": text,
  };
}

export interface ShowOptions { display_id?: string; update?: boolean }
/** What a front end registers as globalThis[Symbol.for("gradbook.display")]: shows a value, or replaces what was shown under the same id. */
export type Show = (value: unknown, options?: ShowOptions) => void;

const HOOK = Symbol.for("gradbook.display");

/** The registered front end, if there is one. */
export const front = (): Show | undefined => (globalThis as Record<symbol, unknown>)[HOOK] as Show | undefined;

let shown = 0;

/**
 * A place on the page whose content can be replaced.
 * Without a front end that can do so (a plain script), only the last content is printed, when it is done.
 */
export class Place {
  private readonly id = `gradbook-${Date.now().toString(36)}-${++shown}`;
  private started = false;

  set(value: unknown): void {
    front()?.(value, { display_id: this.id, ...(this.started ? { update: true } : {}) });
    this.started = true;
  }
}

/** Lets the front end send what was shown, also in a loop that otherwise never waits. */
export const breathe = (): Promise<void> => new Promise((resolve) => { setTimeout(resolve, 0); });
