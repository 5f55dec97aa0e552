/** Notebook files, nbformat 4 of any minor version: read, checked and written the way Jupyter's own nbformat does. */
import { randomUUID } from "node:crypto";
import JSON5 from "json5";
import { HttpError } from "./errors.js";

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
type Obj = { [key: string]: Json };

export interface Cell extends Obj {
  cell_type: string;
  source: string | string[];
  metadata: Obj;
}

export interface Notebook extends Obj {
  nbformat: number;
  nbformat_minor: number;
  metadata: Obj;
  cells: Cell[];
}

/** An empty notebook, as the launcher makes it. */
export function emptyNotebook(): Notebook {
  return { cells: [], metadata: {}, nbformat: 4, nbformat_minor: 5 };
}

/** The notebook in a file's text. A file that is none is answered with what is wrong and where. */
export function parseNotebook(text: string, name: string): Notebook {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new HttpError(400, `${name} is not a notebook: ${jsonFault(text)}`);
  }
  checkNotebook(value, name);
  for (const cell of value.cells) joinLines(cell);
  return value;
}

/** Format 4.5 wants an id in every cell. */
export function ensureIds(notebook: Notebook): void {
  if (notebook.nbformat_minor >= 5) for (const cell of notebook.cells) cell.id ??= randomUUID().slice(0, 8);
}

/** The text of a notebook's file: keys sorted, one blank of indent, multi-line strings as lists of lines, so that diffs stay small. */
export function formatNotebook(notebook: Notebook): string {
  const cells = notebook.cells.map((cell) => {
    const { trusted: _, ...metadata } = cell.metadata;
    const copy: Obj = { ...cell, metadata, source: splitLines(cell.source) };
    if (notebook.nbformat_minor < 5) delete copy.id;
    if (Array.isArray(cell.outputs)) copy.outputs = (cell.outputs as Obj[]).map(splitOutput);
    return copy;
  });
  const { signature: _, ...metadata } = notebook.metadata;
  return JSON.stringify(sortKeys({ ...notebook, metadata, cells }), undefined, 1) + "\n";
}

/** Throws one sentence when `value` is no notebook that Jupyter could open again. */
export function checkNotebook(value: unknown, name: string): asserts value is Notebook {
  const refuse = (what: string): never => {
    throw new HttpError(400, `${name} is not a valid notebook: ${what}`);
  };
  if (!isObject(value)) return refuse(`its top level is ${kind(value)}, not an object`);
  const { nbformat, nbformat_minor: minor, cells, metadata } = value;
  if (typeof nbformat !== "number") return refuse(`nbformat is ${kind(nbformat)}, not a number`);
  if (nbformat !== 4) return refuse(`it has format ${nbformat}; only format 4 can be opened (\`jupyter nbconvert --to notebook\` upgrades older ones)`);
  if (!Number.isInteger(minor)) return refuse(`nbformat_minor is ${kind(minor)}, not an integer`);
  if (!isObject(metadata)) return refuse(`metadata is ${kind(metadata)}, not an object`);
  if (!Array.isArray(cells)) return refuse(`cells is ${kind(cells)}, not a list`);
  cells.forEach((cell: unknown, i) => {
    const at = `cell ${i + 1}`;
    if (!isObject(cell)) return refuse(`${at} is ${kind(cell)}, not an object`);
    if (!["code", "markdown", "raw"].includes(cell.cell_type as string)) return refuse(`${at} has cell_type ${JSON.stringify(cell.cell_type)}, not code, markdown or raw`);
    if (!isText(cell.source)) return refuse(`${at} has a source that is ${kind(cell.source)}, not text or a list of lines`);
    if (!isObject(cell.metadata)) return refuse(`${at} has metadata that is ${kind(cell.metadata)}, not an object`);
    if (cell.id !== undefined && (typeof cell.id !== "string" || !/^[a-zA-Z0-9-_]{1,64}$/.test(cell.id))) return refuse(`${at} has the id ${JSON.stringify(cell.id)}, not 1 to 64 letters, digits, - or _`);
    if (cell.cell_type !== "code") return;
    if (!Array.isArray(cell.outputs)) return refuse(`${at} has outputs that are ${kind(cell.outputs)}, not a list`);
    if (cell.execution_count !== null && !Number.isInteger(cell.execution_count)) return refuse(`${at} has an execution_count that is ${kind(cell.execution_count)}, not an integer or null`);
    cell.outputs.forEach((output: unknown, j) => checkOutput(output, `output ${j + 1} of ${at}`, refuse));
  });
}

function checkOutput(output: unknown, at: string, refuse: (what: string) => never): void {
  if (!isObject(output)) return refuse(`${at} is ${kind(output)}, not an object`);
  switch (output.output_type) {
    case "stream":
      if (typeof output.name !== "string" || !isText(output.text)) refuse(`${at} is a stream without a name or text`);
      break;
    case "display_data":
    case "execute_result":
      if (!isObject(output.data) || !isObject(output.metadata)) refuse(`${at} lacks data or metadata`);
      break;
    case "error":
      if (typeof output.ename !== "string" || typeof output.evalue !== "string" || !Array.isArray(output.traceback)) refuse(`${at} is an error without ename, evalue or traceback`);
      break;
    default:
      refuse(`${at} has output_type ${JSON.stringify(output.output_type)}`);
  }
}

function isObject(value: unknown): value is Record<string, unknown> & Obj {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isText(value: unknown): boolean {
  return typeof value === "string" || (Array.isArray(value) && value.every((line) => typeof line === "string"));
}

function kind(value: unknown): string {
  if (value === undefined) return "missing";
  if (value === null) return "null";
  if (Array.isArray(value)) return "a list";
  return typeof value === "object" ? "an object" : `a ${typeof value}`;
}

/** Where JSON breaks. The built-in parser does not say; JSON5's does, and breaks no earlier. */
function jsonFault(text: string): string {
  if (text.trim() === "") return "the file is empty";
  let where = "";
  try {
    JSON5.parse(text);
  } catch (error) {
    where = ` at line ${(error as { lineNumber: number }).lineNumber}`;
  }
  return `its JSON breaks${where}; open it with the text editor to repair it`;
}

function joinLines(cell: Cell): void {
  if (Array.isArray(cell.source)) cell.source = cell.source.join("");
  for (const output of (cell.outputs ?? []) as Obj[]) {
    if (Array.isArray(output.text)) output.text = output.text.join("");
    if (!isObject(output.data)) continue;
    for (const [mime, value] of Object.entries(output.data)) {
      if (!isJsonMime(mime) && Array.isArray(value)) output.data[mime] = value.join("");
    }
  }
}

function splitOutput(output: Obj): Obj {
  const copy: Obj = { ...output };
  if (typeof copy.text === "string") copy.text = splitLines(copy.text);
  if (isObject(copy.data)) {
    copy.data = Object.fromEntries(Object.entries(copy.data).map(([mime, value]) => [mime, typeof value === "string" && !isJsonMime(mime) && !mime.startsWith("image/png") && !mime.startsWith("image/jpeg") ? splitLines(value) : value]));
  }
  return copy;
}

function isJsonMime(mime: string): boolean {
  return mime === "application/json" || mime.endsWith("+json");
}

/** Lines that keep their line ends; "" is no line at all. */
function splitLines(text: string | string[]): string[] {
  if (Array.isArray(text)) return text;
  return text === "" ? [] : text.split(/(?<=\n)/);
}

function sortKeys(value: Json): Json {
  if (Array.isArray(value)) return value.map(sortKeys);
  if (!isObject(value)) return value;
  const sorted: Obj = {};
  // defineProperty, because a key "__proto__" is data here like any other.
  for (const key of Object.keys(value).sort()) Object.defineProperty(sorted, key, { value: sortKeys(value[key]), enumerable: true, writable: true, configurable: true });
  return sorted;
}
