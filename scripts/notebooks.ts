/**
 * `npm run notebooks`: builds notebooks/ from exercises/ and exercises/theory/.
 *
 *     npm run notebooks                 what changed; a theory notebook whose code changed is run anew
 *     npm run notebooks -- --execute    all, every theory notebook run anew
 *     npm run notebooks -- --check      writes nothing; exit code 1 when notebooks/ differs from its sources
 *     npm run notebooks -- NAME...      only notebooks whose path contains a NAME
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { exercises } from "../exercises";
import { nbgraderMetadata } from "../exercises/autograder/nbgrader";
import type { Exercise } from "../exercises/autograder/spec";
import { version as typescriptVersion } from "typescript";

const root = path.join(__dirname, "..");

export interface NotebookCell {
  cell_type: "markdown" | "code";
  id: string;
  metadata: Record<string, unknown>;
  source: string[];
  execution_count?: number | null;
  outputs?: unknown[];
}
export interface Notebook {
  cells: NotebookCell[];
  metadata: Record<string, unknown>;
  nbformat: 4;
  nbformat_minor: 5;
}

const metadata = {
  kernelspec: { display_name: "TypeScript (gradbook)", language: "typescript", name: "gradbook" },
  // As the kernel's own kernel_info says it: JupyterLab marks a notebook as changed on opening when the two differ.
  language_info: {
    codemirror_mode: { mode: "typescript", name: "javascript", typescript: true }, file_extension: ".ts", mimetype: "text/typescript",
    name: "typescript", nbconvert_exporter: "script", pygments_lexer: "typescript", version: typescriptVersion,
  },
};

const notebook = (cells: NotebookCell[]): Notebook => ({ cells, metadata, nbformat: 4, nbformat_minor: 5 });

/** nbformat keeps a source as lines, each with its line end. */
const sourceLines = (text: string): string[] => text.trim().split(/(?<=\n)/);

function cell(type: "markdown" | "code", id: string, source: string, own: Record<string, unknown> = {}): NotebookCell {
  const base = { cell_type: type, id, metadata: own, source: sourceLines(source) };
  return type === "code" ? { ...base, execution_count: null, outputs: [] } : base;
}

/** A cell that nbgrader knows: an answer, or a text that must stay as it is. */
function nbgraderCell(type: "markdown" | "code", id: string, gradeId: string, source: string): NotebookCell {
  const role = type === "code" ? "answer" : "read-only";
  return cell(type, id, source, { nbgrader: nbgraderMetadata({ gradeId, source: source.trim(), role, cellType: type }) });
}

/** Statement, answer, check, hint, and what follows the answer. */
export function exerciseNotebook(exercise: Exercise): Notebook {
  const { id, number, title, source, statement, starter, minutes, points, goal, after = [] } = exercise;
  const facts = `**Exercise ${number}** · about ${minutes} minutes · ${points} points. ${goal}`;
  const reproduces = `*Reproduces ${source}* ([the documents](README.md)).`;
  return notebook([
    nbgraderCell("markdown", "statement", `${id}-statement`, [`# ${title}`, facts, reproduces, statement].join("\n\n")),
    nbgraderCell("code", "answer", id, starter),
    cell("markdown", "how-to-check", [
      "Run your answer, then the next cell. It draws fresh numbers, compares every value with the exact gradient, and says which mistake it sees.",
      `Stuck? \`hint("${id}")\` gives one step at a time.`,
    ].join("\n")),
    cell("code", "check", `await check("${id}")`),
    ...after.map(({ type, source }, i) => cell(type, `after-${i + 1}`, source)),
  ]);
}

/** Markdown with ```ts blocks: each block is a code cell, each heading begins a new text cell. */
export function theoryNotebook(source: string): Notebook {
  const cells: NotebookCell[] = [];
  let block: { kind: "text" | "code" | "quoted"; lines: string[] } = { kind: "text", lines: [] };
  const close = (next: typeof block.kind): void => {
    const text = block.lines.join("\n").trim();
    const id = `cell-${String(cells.length + 1).padStart(2, "0")}`;
    if (text) cells.push(cell(block.kind === "code" ? "code" : "markdown", id, text));
    block = { kind: next, lines: [] };
  };
  for (const line of source.split("\n")) {
    if (block.kind === "text" && line === "```ts") close("code");
    else if (block.kind === "code" && line === "```") close("text");
    else {
      if (block.kind === "text" && /^#{1,3} /.test(line)) close("text");
      if (line.startsWith("```")) block.kind = block.kind === "quoted" ? "text" : "quoted";
      block.lines.push(line);
    }
  }
  if (block.kind !== "text") throw new Error(`theory notebook: a block that begins with "${block.lines[0] ?? ""}" is not closed`);
  close("text");
  return notebook(cells);
}

/** Every notebook by its path below notebooks/, without outputs. */
export function allNotebooks(): Map<string, Notebook> {
  const all = new Map<string, Notebook>();
  for (const exercise of exercises) all.set(`${exercise.folder}.ipynb`, exerciseNotebook(exercise));
  const theory = path.join(root, "exercises", "theory");
  for (const file of readdirSync(theory).filter((name) => /^\d\d-.*\.md$/.test(name)).sort()) {
    all.set(`theory/${file.replace(/\.md$/, ".ipynb")}`, theoryNotebook(readFileSync(path.join(theory, file), "utf8")));
  }
  return all;
}

/** What the Course sidebar lists. */
export const courseList = (): object[] => exercises.map(({ id, number, title, points, folder }) =>
  ({ id, number, title, notebook: `${folder}.ipynb`, points }));

export const isTheory = (name: string): boolean => name.startsWith("theory/");

const notebooks = path.join(root, "notebooks");
const fileOf = (name: string, folder = notebooks): string => path.join(folder, name);
export const write = (value: unknown): string => `${JSON.stringify(value, null, 1)}\n`;
const read = (name: string, folder?: string): Notebook | undefined =>
  existsSync(fileOf(name, folder)) ? (JSON.parse(readFileSync(fileOf(name, folder), "utf8")) as Notebook) : undefined;

/** A notebook without what running it adds. */
export function bare(book: Notebook): Notebook {
  return { ...book, cells: book.cells.map((one) => (one.cell_type === "code" ? { ...one, execution_count: null, outputs: [] } : one)) };
}

const code = (book: Notebook): string => JSON.stringify(book.cells.filter((one) => one.cell_type === "code").map((one) => one.source));

/** The names of what in notebooks/ differs from the sources. Outputs of theory notebooks must be there and without errors, but may vary. */
export function differences(names?: readonly string[], where = notebooks): string[] {
  const different: string[] = [];
  const all = allNotebooks();
  for (const [name, book] of all) {
    if (names && !names.some((part) => name.includes(part))) continue;
    const found = read(name, where);
    if (!found) { different.push(`${name}: missing`); continue; }
    if (write(isTheory(name) ? bare(found) : found) !== write(book)) different.push(`${name}: differs from its source`);
    else if (isTheory(name) && found.cells.some((one) => one.cell_type === "code" && typeof one.execution_count !== "number")) different.push(`${name}: was not run`);
    else if (JSON.stringify(found.cells.flatMap((one) => one.outputs ?? [])).includes('"output_type":"error"')) different.push(`${name}: its outputs show an error`);
  }
  if (names) return different;
  if (!existsSync(fileOf("course.json", where)) || readFileSync(fileOf("course.json", where), "utf8") !== write(courseList())) different.push("course.json: differs from exercises/");
  for (const folder of ["", "theory/"]) {
    const at = fileOf(folder, where);
    const there = existsSync(at) ? readdirSync(at).filter((file) => file.endsWith(".ipynb")) : [];
    for (const file of there) if (!all.has(folder + file)) different.push(`${folder}${file}: has no source`);
  }
  return different;
}

/** Runs a notebook with `gradbook run` and takes over its outputs. */
function execute(name: string, book: Notebook): Notebook {
  const folder = mkdtempSync(path.join(os.tmpdir(), "gradbook-notebooks-"));
  try {
    const [input, output] = [path.join(folder, "in.ipynb"), path.join(folder, "out.ipynb")];
    writeFileSync(input, write(book));
    // Not bin/gradbook.js, which would build again if a source was touched since `npm run notebooks` built.
    const run = `require(${JSON.stringify(path.join(root, "dist", "cli", "main.js"))}).main(process.argv.slice(1))`;
    const { status } = spawnSync(process.execPath, ["-e", run, "--", "run", input, "--output", output], { stdio: ["ignore", "ignore", "inherit"] });
    if (status !== 0) throw new Error(`${name}: gradbook run ended with code ${status}`);
    const ran = JSON.parse(readFileSync(output, "utf8")) as Notebook;
    return {
      ...book,
      cells: book.cells.map((one, i) => (one.cell_type === "code"
        ? { ...one, execution_count: ran.cells[i]!.execution_count ?? null, outputs: ran.cells[i]!.outputs ?? [] } : one)),
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function main(args: string[]): number {
  const unknown = args.find((arg) => arg.startsWith("-") && arg !== "--check" && arg !== "--execute");
  if (unknown) {
    console.error(`notebooks: the option is ${unknown}, it should be --check or --execute`);
    return 2;
  }
  const names = args.filter((arg) => !arg.startsWith("-"));
  if (args.includes("--check")) {
    const different = differences(names.length > 0 ? names : undefined);
    for (const one of different) console.error(one);
    console.log(different.length === 0 ? "notebooks: all as their sources say" : `notebooks: ${different.length} to build; npm run notebooks does it`);
    return different.length === 0 ? 0 : 1;
  }
  mkdirSync(fileOf("theory"), { recursive: true });
  let failed = 0;
  for (const [name, book] of allNotebooks()) {
    if (names.length > 0 && !names.some((part) => name.includes(part))) continue;
    const found = read(name);
    let next = book;
    if (isTheory(name)) {
      const stale = args.includes("--execute") || !found || code(found) !== code(book)
        || found.cells.some((one) => one.cell_type === "code" && typeof one.execution_count !== "number");
      try {
        next = stale ? execute(name, book) : withOutputs(book, found);
      } catch (error) {
        console.error((error as Error).message);
        failed++;
        continue;
      }
    }
    if (found && write(found) === write(next)) continue;
    writeFileSync(fileOf(name), write(next));
    console.log(`notebooks/${name}`);
  }
  if (names.length === 0) {
    writeFileSync(fileOf("course.json"), write(courseList()));
    const all = allNotebooks();
    for (const folder of ["", "theory/"]) {
      for (const file of readdirSync(fileOf(folder))) {
        if (file.endsWith(".ipynb") && !all.has(folder + file)) console.error(`notebooks/${folder}${file} has no source; remove it if it is not yours`);
      }
    }
  }
  return failed > 0 ? 1 : 0;
}

/** The outputs of an earlier run, where only text around the code has changed. */
function withOutputs(book: Notebook, earlier: Notebook): Notebook {
  const ran = earlier.cells.filter((one) => one.cell_type === "code");
  let next = 0;
  return {
    ...book,
    cells: book.cells.map((one) => {
      if (one.cell_type !== "code") return one;
      const { execution_count, outputs } = ran[next++]!;
      return { ...one, execution_count, outputs };
    }),
  };
}

if (require.main === module) process.exitCode = main(process.argv.slice(2));
