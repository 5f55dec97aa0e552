/**
 * The student's answer in a notebook: the cells that hold it, and of all cells the top-level declarations that it uses.
 * Cells that check, test or grade are never part of it.
 */
import ts from "typescript";
import type { Exercise } from "gradbook/autograder";

/** A code cell; `at` is its number in the notebook, from 1. */
export interface CodeCell {
  at: number;
  source: string;
  gradeId?: string;
}

export type Answer =
  /** `code` is TypeScript, whose syntax is right. */
  | { state: "found"; code: string; note?: string }
  | { state: "untouched" }
  /** The exercise is not in this notebook at all. */
  | { state: "absent" }
  /** It is, or should be, and cannot be told or read; `message` says why. */
  | { state: "unclear"; message: string };

export const tooDeep = "its code is nested too deeply to be read";

interface Statement {
  cell: number;
  text: string;
  declares: string[];
  /** Names at the root of what it assigns, where it is an assignment or a call on a name: `table.x = 1`, `list.push(2)`. */
  changes: string[];
  uses: Set<string>;
  kind: "declaration" | "import" | "type" | "expression" | "control";
}

interface ParsedCell {
  at: number;
  statements: Statement[];
  error?: string;
}

const notebookCommands = new Set(["check", "hint", "solution", "progress"]);

/** A cell's source without magics, on the same lines. */
function withoutMagics(source: string): string {
  return source.replace(/^[ \t]*%.*$/gm, "");
}

function boundNames(name: ts.BindingName): string[] {
  if (ts.isIdentifier(name)) return [name.text];
  return name.elements.flatMap((element) => (ts.isOmittedExpression(element) ? [] : boundNames(element.name)));
}

/** The name at the root of `a.b[c]`. */
function rootName(node: ts.Expression): string[] {
  let at = node;
  while (ts.isPropertyAccessExpression(at) || ts.isElementAccessExpression(at) || ts.isNonNullExpression(at)) at = at.expression;
  return ts.isIdentifier(at) ? [at.text] : [];
}

function usedNames(node: ts.Node): Set<string> {
  const found = new Set<string>();
  const visit = (child: ts.Node): void => {
    if (ts.isIdentifier(child)) {
      const { parent } = child;
      const member = ts.isPropertyAccessExpression(parent) && parent.name === child;
      const key = ts.isPropertyAssignment(parent) && parent.name === child;
      if (!member && !key) found.add(child.text);
    }
    ts.forEachChild(child, visit);
  };
  visit(node);
  return found;
}

/** What an import brings in, as declarations that work where only gradbook can be had. */
function importText(node: ts.ImportDeclaration): { text: string; declares: string[] } {
  const from = (node.moduleSpecifier as ts.StringLiteral).text;
  const clause = node.importClause;
  if (!clause || clause.isTypeOnly) return { text: "", declares: [] };
  const source = `require(${JSON.stringify(from)})`;
  const lines: string[] = [];
  const declares: string[] = [];
  if (clause.name) {
    lines.push(`const ${clause.name.text} = ${source};`);
    declares.push(clause.name.text);
  }
  const bindings = clause.namedBindings;
  if (bindings && ts.isNamespaceImport(bindings)) {
    lines.push(`const ${bindings.name.text} = ${source};`);
    declares.push(bindings.name.text);
  } else if (bindings) {
    for (const { name, propertyName, isTypeOnly } of bindings.elements) {
      if (isTypeOnly) continue;
      lines.push(`const ${name.text} = ${source}.${(propertyName ?? name).text};`);
      declares.push(name.text);
    }
  }
  return { text: lines.join(" "), declares };
}

function parseStatement(node: ts.Statement, file: ts.SourceFile, cell: number): Statement {
  let text = node.getText(file);
  const base = { cell, declares: [] as string[], changes: [] as string[], uses: usedNames(node) };
  const modifiers = ts.canHaveModifiers(node) ? (ts.getModifiers(node) ?? []) : [];
  for (const modifier of [...modifiers].reverse()) {
    if (modifier.kind !== ts.SyntaxKind.ExportKeyword && modifier.kind !== ts.SyntaxKind.DefaultKeyword) continue;
    const start = modifier.getStart(file) - node.getStart(file);
    text = text.slice(0, start) + text.slice(start + modifier.getText(file).length);
  }
  if (ts.isImportDeclaration(node)) return { ...base, ...importText(node), kind: "import" };
  if (ts.isInterfaceDeclaration(node) || ts.isTypeAliasDeclaration(node)) return { ...base, text, kind: "type" };
  if (ts.isExportDeclaration(node) || ts.isExportAssignment(node)) return { ...base, text: "", kind: "type" };
  if (ts.isVariableStatement(node)) {
    const declares = node.declarationList.declarations.flatMap(({ name }) => boundNames(name));
    return { ...base, text, declares, kind: "declaration" };
  }
  if (ts.isFunctionDeclaration(node) || ts.isClassDeclaration(node) || ts.isEnumDeclaration(node)) {
    return { ...base, text, declares: node.name ? [node.name.text] : [], kind: "declaration" };
  }
  if (ts.isModuleDeclaration(node)) return { ...base, text, declares: [node.name.text], kind: "declaration" };
  if (ts.isExpressionStatement(node)) {
    let { expression } = node;
    while (ts.isParenthesizedExpression(expression) || ts.isAwaitExpression(expression)) expression = expression.expression;
    let changes: string[] = [];
    if (ts.isBinaryExpression(expression)) {
      const { kind } = expression.operatorToken;
      if (kind >= ts.SyntaxKind.FirstAssignment && kind <= ts.SyntaxKind.LastAssignment) changes = rootName(expression.left);
    } else if (ts.isCallExpression(expression) && !ts.isIdentifier(expression.expression)) {
      changes = rootName(expression.expression).filter((name) => name !== "console");
    }
    return { ...base, text, changes, kind: "expression" };
  }
  return { ...base, text, kind: "control" };
}

/** One sentence for a syntax error, with its place in the cell. */
function syntaxError(file: ts.SourceFile): string | undefined {
  // The parser's own list; the public way to it costs a whole program.
  const [first] = (file as unknown as { parseDiagnostics: ts.Diagnostic[] }).parseDiagnostics;
  if (!first) return undefined;
  const { line, character } = file.getLineAndCharacterOfPosition(first.start ?? 0);
  return `line ${line + 1}, column ${character + 1}: ${ts.flattenDiagnosticMessageText(first.messageText, " ")}`;
}

function parseCell({ at, source }: CodeCell): ParsedCell {
  try {
    const file = ts.createSourceFile("cell.ts", withoutMagics(source), ts.ScriptTarget.ES2022, true);
    return { at, error: syntaxError(file), statements: file.statements.map((node) => parseStatement(node, file, at)) };
  } catch {
    // The parser calls itself for each bracket.
    return { at, error: tooDeep, statements: [] };
  }
}

/** A notebook's cells, parsed once for all exercises in it. */
export class ParsedNotebook {
  private readonly parsed = new Map<CodeCell, ParsedCell>();

  constructor(readonly cells: readonly CodeCell[]) {}

  parse(cell: CodeCell): ParsedCell {
    let found = this.parsed.get(cell);
    if (!found) {
      found = parseCell(cell);
      this.parsed.set(cell, found);
    }
    return found;
  }

  /** The names that a cell declares; also of one with an error, as far as it can be read. */
  declares(cell: CodeCell): Set<string> {
    return new Set(this.parse(cell).statements.flatMap((statement) => statement.declares));
  }
}

/** Two sources that differ in nothing but space. */
const normalize = (source: string): string => withoutMagics(source).replace(/\s+/g, " ").trim();

const untouchedStarters = new WeakMap<Exercise, string>();

function isStarter(exercise: Exercise, source: string): boolean {
  let starter = untouchedStarters.get(exercise);
  if (starter === undefined) untouchedStarters.set(exercise, (starter = normalize(exercise.starter)));
  return normalize(source) === starter;
}

function entryNames(exercise: Exercise): string[] {
  return [...new Set(exercise.parts.flatMap(({ entry, also }) => [entry, ...(also ?? [])]))];
}

const list = (cells: readonly CodeCell[]): string => cells.map(({ at }) => at).join(" and ");

/** The cells that hold the answer; one as a rule, several where it was split. */
function answerCells(
  exercise: Exercise,
  notebook: ParsedNotebook,
  others: readonly Exercise[],
  expected: boolean,
): { cells: CodeCell[]; note?: string } | Exclude<Answer, { state: "found" }> {
  const { cells } = notebook;
  const entries = entryNames(exercise);
  const marked = cells.filter(({ gradeId }) => gradeId === exercise.id);
  const written = marked.filter(({ source }) => !isStarter(exercise, source) && source.trim() !== "");
  const distinct = written.filter((cell, i) => written.findIndex((other) => normalize(other.source) === normalize(cell.source)) === i);
  if (distinct.length === 1) return { cells: distinct };
  if (distinct.length > 1) {
    const message = `cells ${list(distinct)} all carry the grade_id ${exercise.id} and differ: it cannot be told which is the answer`;
    return { state: "unclear", message };
  }
  // No marked cell holds an answer: the metadata was stripped or renamed, or the answer was written into another cell.
  const taken = (cell: CodeCell): boolean =>
    cell.gradeId !== undefined && others.some((other) => other !== exercise && other.id === cell.gradeId);
  const free = cells.filter((cell) => !marked.includes(cell) && !taken(cell) && !isStarter(exercise, cell.source));
  const defining = free.filter((cell) => entries.some((name) => notebook.declares(cell).has(name)));
  const complete = defining.filter((cell) => entries.every((name) => notebook.declares(cell).has(name)));
  const untouched = marked.length > 0 || cells.some(({ source }) => isStarter(exercise, source));
  const sure = expected || untouched;
  if (complete.length > 1 && new Set(complete.map(({ source }) => normalize(source))).size > 1) {
    const message = `no cell carries the grade_id ${exercise.id}, and cells ${list(complete)} each define ${entries.join(", ")}: it cannot be told which is the answer`;
    return { state: "unclear", message };
  }
  const note = (found: readonly CodeCell[]): string =>
    `found by its names in cell ${list(found)}${marked.length ? "" : `, for no cell carries the grade_id ${exercise.id}`}`;
  if (complete.length > 0 && (sure || isOnlyOwner(exercise, complete[0], notebook, others))) {
    return { cells: [complete[0]], note: note([complete[0]]) };
  }
  if (defining.length > 0 && sure && complete.length === 0) {
    const twice = entries.find((name) => defining.filter((cell) => notebook.declares(cell).has(name)).length > 1);
    if (!twice) return { cells: defining, note: note(defining) };
    const owners = defining.filter((cell) => notebook.declares(cell).has(twice));
    return { state: "unclear", message: `no cell carries the grade_id ${exercise.id}, and cells ${list(owners)} all define ${twice}` };
  }
  if (untouched) return { state: "untouched" };
  if (expected) return { state: "unclear", message: `no cell carries the grade_id ${exercise.id}, and none defines ${entries.join(", ")}` };
  return { state: "absent" };
}

/** Whether no other exercise, not found by its own grade_id, has all its names in this cell, too. */
function isOnlyOwner(exercise: Exercise, cell: CodeCell, notebook: ParsedNotebook, others: readonly Exercise[]): boolean {
  const declared = notebook.declares(cell);
  const mine = entryNames(exercise).length;
  const rivals = others.filter((other) => other !== exercise && entryNames(other).every((name) => declared.has(name)));
  return rivals.every((rival) => entryNames(rival).length < mine);
}

/** The code of an answer: its cells' declarations and changes, and what they use from the other cells. */
function closure(answer: readonly CodeCell[], notebook: ParsedNotebook, entries: readonly string[]): string {
  const own = new Set(answer.map(({ at }) => at));
  const all = notebook.cells.flatMap((cell) => notebook.parse(cell).statements);
  const isCommand = ({ kind, uses }: Statement): boolean => kind === "expression" && [...uses].some((name) => notebookCommands.has(name));
  const usable = all.filter((statement) => !isCommand(statement));
  // Where a name is declared twice, the answer's own cell wins, then the last.
  const owner = new Map<string, Statement>();
  for (const statement of usable) {
    for (const name of statement.declares) {
      const known = owner.get(name);
      if (!known || own.has(statement.cell) || !own.has(known.cell)) owner.set(name, statement);
    }
  }
  const taken = new Set<Statement>();
  const names = new Set<string>();
  const take = (first: Statement): void => {
    const open = [first];
    while (open.length > 0) {
      const statement = open.pop()!;
      if (taken.has(statement)) continue;
      taken.add(statement);
      for (const name of statement.declares) names.add(name);
      for (const name of statement.uses) if (owner.has(name)) open.push(owner.get(name)!);
    }
  };
  for (const name of entries) if (owner.has(name)) take(owner.get(name)!);
  // Statements that change what the answer uses: loops and assignments of its own cell, plain assignments of others.
  for (let size = -1; size !== taken.size; ) {
    size = taken.size;
    for (const statement of usable) {
      const changesOurs = statement.changes.some((name) => names.has(name));
      const controls = statement.kind === "control" && own.has(statement.cell) && [...statement.uses].some((name) => names.has(name));
      if (changesOurs || controls) take(statement);
    }
  }
  return usable.filter((statement) => taken.has(statement)).map(({ text }) => text).join("\n");
}

/**
 * The answer to `exercise` in a notebook. `expected` says that the notebook should hold it (its file's name says so);
 * `course` are all exercises, whose marked cells belong to them.
 */
export function findAnswer(exercise: Exercise, notebook: ParsedNotebook, course: readonly Exercise[], expected: boolean): Answer {
  const found = answerCells(exercise, notebook, course, expected);
  if (!("cells" in found)) return found;
  for (const cell of found.cells) {
    const { error } = notebook.parse(cell);
    if (error) return { state: "unclear", message: `cell ${cell.at}, ${error}` };
  }
  return { state: "found", code: closure(found.cells, notebook, entryNames(exercise)), note: found.note };
}
