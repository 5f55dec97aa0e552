/** Completion, inspection and completeness of a cell, from the language service. Offsets are UTF-16 units here. */
import type ts from "typescript";
import { parseCell } from "./analyze";
import type { Compiler } from "./compiler";
import { LayerExplainer, type Inspection } from "./layers";

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
  new: "class", parameter: "parameter", "primitive type": "type", "type parameter": "type", string: "text", script: "module", directory: "module",
};

function rank(name: string, prefix: string): number {
  if (name.startsWith(prefix)) return 0;
  if (name.toLowerCase().startsWith(prefix.toLowerCase())) return 1;
  return 2;
}

function join(parts: readonly ts.SymbolDisplayPart[] | undefined): string {
  return (parts ?? []).map(({ text }) => text).join("");
}

/** Without what the kernel's own imports add to a signature, and without the paths of modules. */
function readable(signature: string): string {
  return signature.replace(/^\(alias\) /, "").replace(/\n(?:import|export) .*$/s, "").replace(/\bimport\("[^"]*"\)\./g, "");
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
  const layers = layersIn(compiler, service, file);
  const items = entries.map((entry, i): Completion => {
    const item: Completion = { text: entry.name, type: KINDS[entry.kind] ?? entry.kind };
    const details = i < DETAILED_ITEMS
      ? service.getCompletionEntryDetails(file, position, entry.name, {}, entry.source, {}, entry.data) : undefined;
    if (details) {
      item.signature = join(details.displayParts);
      if (entry.kind === "alias") item.type = KINDS[/^\(alias\) (\w+)/.exec(item.signature)?.[1] ?? ""] ?? item.type;
      item.signature = readable(item.signature);
      const documentation = join(details.documentation);
      if (documentation) item.documentation = documentation;
      if (/\bLayer</.test(item.signature)) Object.assign(item, layers.candidate(start + from, entry.name));
    }
    return item;
  });
  return { start: from, end, items };
}

function layersIn({ ts }: Compiler, service: ts.LanguageService, file: string): LayerExplainer {
  const program = service.getProgram()!;
  return new LayerExplainer(ts, program, program.getSourceFile(file)!);
}

/** The symbol at `offset`, or, within a call's parentheses, the function that is called. */
export function inspect(compiler: Compiler, code: string, offset: number): Inspection | undefined {
  const { service, file, position } = compiler.at(code, offset);
  const info = service.getQuickInfoAtPosition(file, position) ?? (position > 0 ? service.getQuickInfoAtPosition(file, position - 1) : undefined);
  const layers = layersIn(compiler, service, file);
  if (info && info.kind !== "") {
    const layer = layers.at(info.textSpan.start);
    if (layer) return layer;
    const tags = (info.tags ?? []).map(({ name, text }) => {
      const words = join(text);
      const [, param, rest] = name === "param" ? /^(\S+)\s*([\s\S]*)$/.exec(words) ?? [] : [];
      return param ? `- \`${param}\`: ${rest.replace(/^[-:]\s*/, "")}` : `- *${name}* ${words}`;
    });
    return { signature: readable(join(info.displayParts)), documentation: [join(info.documentation), tags.join("\n")].filter(Boolean).join("\n\n") };
  }
  const help = service.getSignatureHelpItems(file, position, undefined);
  const item = help?.items[help.selectedItemIndex];
  if (!item) return undefined;
  // The name of what is called ends before the parenthesis.
  const layer = layers.at(help.applicableSpan.start - 1);
  if (layer) return layer;
  const parameters = item.parameters.map(({ displayParts }) => join(displayParts)).join(join(item.separatorDisplayParts));
  return {
    signature: join(item.prefixDisplayParts) + parameters + join(item.suffixDisplayParts),
    documentation: join(item.documentation),
  };
}

export type Completeness = { status: "complete" | "invalid" | "unknown" } | { status: "incomplete"; indent: string };

/** What a further line can still end: a template, a comment, text that breaks off. */
const UNTERMINATED = new Set([1160, 1010, 1126]);
/** What has to end within its line: a string, a regular expression. */
const CUT_OFF = new Set([1002, 1161]);

/** A line below which one indents: it ends in an opening bracket or an arrow, or it is the head of a statement. */
const OPENS = /(?:[{[(]|=>|\b(?:else|do|try|finally)|^\s*(?:case\b.*|default\s*):|^[\s}]*(?:else\s+)?(?:if|for|while)\b.*\))\s*(?:\/\/.*)?$/;

/** Whether Enter should run the code or continue it. */
export function isComplete(ts: typeof import("typescript"), code: string): Completeness {
  const source = parseCell(ts, code);
  const { parseDiagnostics } = source as unknown as { parseDiagnostics: ts.DiagnosticWithLocation[] };
  const last = source.statements.at(-1);
  // Its body may follow on the next line; an overload's implementation has to.
  const bodyMissing = last && ts.isFunctionDeclaration(last) && !last.body && !ts.getModifiers(last)?.some(({ kind }) => kind === ts.SyntaxKind.DeclareKeyword);
  if (parseDiagnostics.length === 0 && !bodyMissing) return { status: "complete" };
  const end = code.trimEnd().length;
  const breaksOff = parseDiagnostics.every(({ start, code: number }) => !CUT_OFF.has(number) && (start >= end || UNTERMINATED.has(number)));
  if (!breaksOff) return { status: "invalid" };
  const line = code.split("\n").findLast((text) => text.trim() !== "") ?? "";
  const indent = /^\s*/.exec(line)![0];
  return { status: "incomplete", indent: OPENS.test(line) ? `${indent}  ` : indent };
}
