/** A value as the MIME types a front end may choose from. */
import { inspect } from "node:util";
import { rowsTable } from "./table";

/** MIME type to content: text for text types, objects for JSON types, base64 for images. */
export type MimeBundle = Record<string, unknown>;

/** Deno's protocol: an object with a method of this name shows itself. */
export const DISPLAY = Symbol.for("Jupyter.display");

export interface Displayable {
  [DISPLAY](): MimeBundle | Promise<MimeBundle>;
}

function isDisplayable(value: unknown): value is Displayable {
  return (typeof value === "object" || typeof value === "function") && value !== null
    && typeof (value as Partial<Displayable>)[DISPLAY] === "function";
}

export function textOf(value: unknown): string {
  return inspect(value, { depth: 4, maxArrayLength: 100, maxStringLength: 10_000, breakLength: 100 });
}

function normalize(bundle: MimeBundle): MimeBundle {
  const data: MimeBundle = {};
  for (const [type, content] of Object.entries(bundle)) {
    if (content === undefined || content === null) continue;
    data[type] = content instanceof Uint8Array ? Buffer.from(content).toString("base64") : content;
  }
  return data;
}

/** What to show for any value; a promise only when the value's own display method returns one. */
export function toBundle(value: unknown): MimeBundle | Promise<MimeBundle> {
  if (isDisplayable(value)) {
    try {
      const own = value[DISPLAY]();
      if (own instanceof Promise) return own.then((bundle) => (isBundle(bundle) ? normalize(bundle) : { "text/plain": textOf(value) }));
      if (isBundle(own)) return normalize(own);
    } catch (error) {
      return { "text/plain": `${textOf(value)}\n(its display method threw ${String(error)})` };
    }
  }
  const table = rowsTable(value);
  return table ? { "text/html": table, "text/plain": textOf(value) } : { "text/plain": textOf(value) };
}

export function isBundle(value: unknown): value is MimeBundle {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    && Object.keys(value).some((key) => /^[\w.+-]+\/[\w.+-]+/.test(key));
}
