/** Completion, inspection and completeness of a cell, from the language service. Offsets are UTF-16 units here. */
import type ts from "typescript";
import type { Compiler } from "./compiler";

export interface Completion {
  text: string;
  type: string;
  signature?: string;
  documentation?: string;
}

export interface Completions {
  start: number;
  end: number;
  items: Completion[];
}

const MAX_ITEMS = 400;
/** Details cost about a millisecond each. */
const DETAILED_ITEMS = 12;

/** JupyterLab's names for what TypeScript calls a kind. */
const KINDS: Record<string, string> = {
  const: "const", let: "variable", var: "variable", "local var": "variable", function: "function", "local function": "function",
  method: "method", property: "property", getter: "property", setter: "property", class: "class", interface: "interface",
  type: "type", enum: "enum", "enum member": "enum-member", module: "module", keyword: "keyword", alias: "variable",
  parameter: "parameter", "primitive type": "type", "type parameter": "type", string: "text",
};

function rank(name: string, prefix: string): number {
  if (name.startsWith(prefix)) return 0;
  if (name.toLowerCase().startsWith(prefix.toLowerCase())) return 1;
  return 2;
}

function join(parts: readonly ts.SymbolDisplayPart[] | undefined): string {
  return (parts ?? []).map(({ text }) => text).join("");
}

export function complete(compiler: Compiler, code: string, offset: number): Completions {
  const { service, file, position, start } = compiler.at(code, offset);
  const found = service.getCompletionsAtPosition(file, position, { includeCompletionsWithInsertText: false });
  const word = /[\p{ID_Continue}$]*$/u.exec(code.slice(0, offset))![0];
  const span = found?.optionalReplacementSpan;
  const from = span && span.start <= position ? span.start - start : offset - word.length;
  const prefix = code.slice(from, offset);
  const end = span ? Math.max(offset, span.start + span.length - start) : offset;
  // Another case is only offered when nothing begins with what was typed.
  const best = found?.entries.some(({ name }) => rank(name, prefix) === 0) ? 0 : 1;
  const entries = (found?.entries ?? [])
    .filter(({ name, kind }) => !/^(?:\$gradbook|__cell_)/.test(name) && kind !== "warning" && rank(name, prefix) <= best)
    .sort((a, b) => rank(a.name, prefix) - rank(b.name, prefix) || a.sortText.localeCompare(b.sortText) || (a.name < b.name ? -1 : 1))
    .slice(0, MAX_ITEMS);
  const items = entries.map((entry, i): Completion => {
    const item: Completion = { text: entry.name, type: KINDS[entry.kind] ?? entry.kind };
    const details = i < DETAILED_ITEMS
      ? service.getCompletionEntryDetails(file, position, entry.name, {}, entry.source, {}, entry.data) : undefined;
    if (details) {
      item.signature = join(details.displayParts).replace(/\n(?:import|export) .*$/s, "");
      if (entry.kind === "alias") item.type = KINDS[/^\(alias\) (\w+)/.exec(item.signature)?.[1] ?? ""] ?? item.type;
      item.signature = item.signature.replace(/^\(alias\) /, "");
      const documentation = join(details.documentation);
      if (documentation) item.documentation = documentation;
    }
    return item;
  });
  return { start: from, end, items };
}

export interface Inspection {
  signature: string;
  documentation: string;
}

/** The symbol at `offset`, or, within a call's parentheses, the function that is called. */
export function inspect(compiler: Compiler, code: string, offset: number): Inspection | undefined {
  const { service, file, position } = compiler.at(code, offset);
  const info = service.getQuickInfoAtPosition(file, position) ?? (position > 0 ? service.getQuickInfoAtPosition(file, position - 1) : undefined);
  if (info && info.kind !== "") {
    const tags = (info.tags ?? []).map(({ name, text }) => {
      const words = join(text);
      const [, param, rest] = name === "param" ? /^(\S+)\s*([\s\S]*)$/.exec(words) ?? [] : [];
      return param ? `- \`${param}\`: ${rest.replace(/^[-:]\s*/, "")}` : `- *${name}* ${words}`;
    });
    const signature = join(info.displayParts).replace(/^\(alias\) /, "").replace(/\nimport .*$/s, "");
    return { signature, documentation: [join(info.documentation), tags.join("\n")].filter(Boolean).join("\n\n") };
  }
  const help = service.getSignatureHelpItems(file, position, undefined);
  const item = help?.items[help.selectedItemIndex];
  if (!item) return undefined;
  const parameters = item.parameters.map(({ displayParts }) => join(displayParts)).join(join(item.separatorDisplayParts));
  return {
    signature: join(item.prefixDisplayParts) + parameters + join(item.suffixDisplayParts),
    documentation: join(item.documentation),
  };
}

export type Completeness = { status: "complete" | "invalid" | "unknown" } | { status: "incomplete"; indent: string };

/** Unterminated: a string template, a comment, a regular expression at the end, text that breaks off. */
const UNTERMINATED = new Set([1160, 1010, 1126, 1161]);

/** Whether Enter should run the code or continue it. */
export function isComplete(ts: typeof import("typescript"), code: string): Completeness {
  const source = ts.createSourceFile("cell.ts", code, ts.ScriptTarget.Latest, false, ts.ScriptKind.TS);
  const { parseDiagnostics } = source as unknown as { parseDiagnostics: ts.DiagnosticWithLocation[] };
  if (parseDiagnostics.length === 0) return { status: "complete" };
  const end = code.trimEnd().length;
  const breaksOff = parseDiagnostics.every(({ start, code: number }) => start >= end || UNTERMINATED.has(number));
  if (!breaksOff) return { status: "invalid" };
  const lines = code.split("\n");
  const last = lines.findLast((line) => line.trim() !== "") ?? "";
  const indent = /^\s*/.exec(last)![0];
  return { status: "incomplete", indent: /[{[(]\s*(?:\/\/.*)?$/.test(last) || /=>\s*$/.test(last) ? `${indent}  ` : indent };
}
