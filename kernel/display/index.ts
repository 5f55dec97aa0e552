/** What a cell can show, with Deno's names: display, html, md, svg, image. */
import { readFileSync } from "node:fs";
import { DISPLAY, isBundle, toBundle, type Displayable, type MimeBundle } from "./bundle";
import { currentOutput, type DisplayOptions } from "./output";

export { DISPLAY, isBundle, textOf, toBundle, type Displayable, type MimeBundle } from "./bundle";
export { currentOutput, withOutput, type DisplayOptions, type Output } from "./output";
export { Batch, captureStreams } from "./streams";
export { narrow, PANEL, POPUP } from "./narrow";
export { loadTslab } from "./tslab";

export interface ShowOptions extends DisplayOptions {
  /** The value is a MIME bundle already. */
  raw?: boolean;
}

/**
 * Shows a value below the running cell, as a cell's last expression would be shown.
 * @returns a promise only when the value's own display method does: a cell may end in display(...) and show nothing else
 */
export function display(value: unknown, options: ShowOptions = {}): Promise<void> | undefined {
  const { raw, ...rest } = options;
  if (raw && !isBundle(value)) {
    throw new TypeError(`display: with { raw: true } the value should be an object of MIME types, it is ${typeof value}`);
  }
  if (rest.update && rest.display_id === undefined) throw new TypeError("display: { update: true } needs the display_id of what to replace");
  const output = currentOutput();
  const bundle = raw ? value as MimeBundle : toBundle(value);
  if (bundle instanceof Promise) return bundle.then((data) => output?.display(data, rest));
  // At once: a loop that never waits can draw, too.
  output?.display(bundle, rest);
  return undefined;
}

/** Empties the running cell's output; with `wait` only when the next output comes. */
export function clearOutput(wait = false): void {
  currentOutput()?.clear(wait);
}

/** Asks for a line of text in the notebook: `const name = await input("Your name? ")`. */
export function input(prompt = "", options: { password?: boolean } = {}): Promise<string> {
  const output = currentOutput();
  if (!output) return Promise.reject(new Error("input: there is no cell to ask in"));
  return output.input(prompt, options.password ?? false);
}

function displayable(bundle: MimeBundle): Displayable {
  return { [DISPLAY]: () => bundle };
}

function template(type: string) {
  return (strings: TemplateStringsArray | string, ...values: unknown[]): Displayable =>
    displayable({ [type]: typeof strings === "string" ? strings : String.raw({ raw: strings }, ...values) });
}

/** Markdown: md`# Title` */
export const md = template("text/markdown");
/** HTML: html`<b>bold</b>` */
export const html = template("text/html");
/** A drawing: svg`<svg>...</svg>` */
export const svg = template("image/svg+xml");

const SIGNATURES: [type: string, bytes: number[]][] = [
  ["image/png", [0x89, 0x50, 0x4e, 0x47]], ["image/jpeg", [0xff, 0xd8, 0xff]], ["image/gif", [0x47, 0x49, 0x46, 0x38]],
];

/** A PNG, JPEG or GIF picture from a file's path or its bytes. */
export function image(source: string | Uint8Array): Displayable {
  const bytes = typeof source === "string" ? readFileSync(source) : source;
  const type = SIGNATURES.find(([, signature]) => signature.every((byte, i) => bytes[i] === byte))?.[0];
  if (!type) throw new TypeError(`image: ${typeof source === "string" ? source : "the data"} is not a PNG, JPEG or GIF picture`);
  return displayable({ [type]: Buffer.from(bytes).toString("base64") });
}
