/** Errors as a notebook shows them: places in cells, the source line underlined, causes below. */
import { inspect } from "node:util";
import type { Diagnostic } from "./compiler";
import type { Position } from "./positions";

export interface CellError {
  ename: string;
  evalue: string;
  traceback: string[];
}

/** Thrown by a magic whose own TypeScript failed: the cell then fails in the same way. */
export class CellFailure extends Error {
  constructor(readonly error: CellError) {
    super(error.evalue);
  }
}

const RED = "\u001b[31m";
const DIM = "\u001b[2m";
const OFF = "\u001b[0m";

/** Where a stack frame's script comes from: a cell (by label) or a TypeScript file, and the place in it; undefined for code to leave out. */
export interface FrameSource {
  locate(script: string, position: Position): { label: string; position: Position; source?: string } | undefined;
  /** Frames of the kernel itself and of Node's insides. */
  isInternal(frame: string): boolean;
}

/** `line | source` with a caret line below. */
function excerpt(sourceLine: string, line: number, column: number, length: number): string[] {
  const gutter = String(line);
  const pad = sourceLine.slice(0, column - 1).replace(/[^\t]/g, " ");
  return [
    `  ${gutter} | ${sourceLine}`,
    `  ${" ".repeat(gutter.length)} | ${pad}${RED}${"~".repeat(Math.max(1, length))}${OFF}`,
  ];
}

export function typeErrors(diagnostics: readonly Diagnostic[], cellLabel: string): CellError {
  const traceback = diagnostics.flatMap(({ file, line, column, length, message, sourceLine, code }) => [
    `${RED}TypeScript error${OFF} in ${file ?? cellLabel}:${line}:${column}: ${message} ${DIM}(TS${code})${OFF}`,
    ...excerpt(sourceLine, line, column, length),
  ]);
  const [first] = diagnostics;
  const more = diagnostics.length > 1 ? ` (and ${diagnostics.length - 1} more)` : "";
  return {
    ename: "TypeScriptError",
    evalue: `${first.file ?? cellLabel}:${first.line}:${first.column}: ${first.message}${more}`,
    traceback,
  };
}

function isErrorLike(value: unknown): value is Error {
  // Errors of another realm, and those that libraries make without the class, are no instances of it.
  const { name, message, stack } = Object(value) as Partial<Error>;
  return value instanceof Error || [name, message, stack].every((part) => typeof part === "string");
}

/** The stack's frames in the student's terms, and the source around the innermost of them. */
function frames(error: Error, sources: FrameSource): { lines: string[]; source: string[] } {
  const lines: string[] = [];
  let source: string[] = [];
  for (const line of String(error.stack).split("\n")) {
    if (!/^\s+at /.test(line) || sources.isInternal(line)) continue;
    const place = /([^\s()]+):(\d+):(\d+)\)?$/.exec(line);
    if (!place) {
      lines.push(line);
      continue;
    }
    const found = sources.locate(place[1], { line: Number(place[2]), column: Number(place[3]) });
    if (!found) continue;
    const { label, position, source: text } = found;
    const shown = line.replace(`${place[1]}:${place[2]}:${place[3]}`, `${label}:${position.line}:${position.column}`)
      // Functions are called as properties of the global object, which says nothing to the reader.
      .replace(/at (async )?(?:Proxy|Object|globalThis|global)\.(?=\w)/, "at $1")
      .replace(/at (?:async )?(?:eval|Object\.<anonymous>|<anonymous>) \((.*)\)$/, "at $1");
    lines.push(shown);
    if (source.length === 0 && text !== undefined) {
      const all = text.split("\n");
      const around = [position.line - 1, position.line, position.line + 1].filter((n) => all[n - 1] !== undefined);
      const width = String(around.at(-1) ?? 0).length;
      source = around.map((n) => `${n === position.line ? `${RED}-->${OFF}` : "   "} ${String(n).padStart(width)} | ${all[n - 1]}`);
    }
  }
  return { lines, source };
}

const DEPTH = 5;

function describe(error: unknown, sources: FrameSource, outer: readonly unknown[] = []): string[] {
  if (!isErrorLike(error)) return [`${RED}Thrown${OFF}: ${inspect(error)}`];
  const heading = `${RED}${error.name}${OFF}: ${error.message}`;
  if (outer.includes(error)) return [`${heading} ${DIM}(as above)${OFF}`];
  const { lines, source } = frames(error, sources);
  const out = [heading, ...source, ...lines];
  const extra = Object.keys(error).filter((key) => !["name", "message", "stack", "cause", "errors"].includes(key));
  if (extra.length > 0) {
    const properties = Object.fromEntries(extra.map((key) => [key, (error as unknown as Record<string, unknown>)[key]]));
    out.push(`  with ${inspect(properties, { maxStringLength: 200 })}`);
  }
  if (outer.length >= DEPTH) return out;
  const path = [...outer, error];
  if (error.cause !== undefined) out.push("caused by", ...describe(error.cause, sources, path));
  if (error instanceof AggregateError) {
    error.errors.slice(0, DEPTH).forEach((inner, i) => out.push(`error ${i + 1} of ${error.errors.length}`, ...describe(inner, sources, path)));
  }
  return out;
}

export function thrownError(error: unknown, sources: FrameSource): CellError {
  const ename = isErrorLike(error) ? String(error.name) : "Thrown";
  const evalue = isErrorLike(error) ? String(error.message) : inspect(error);
  try {
    return { ename, evalue, traceback: describe(error, sources) };
  } catch {
    // A student's error object may throw from its own getters.
    return { ename, evalue, traceback: [`${ename}: ${evalue}`] };
  }
}
