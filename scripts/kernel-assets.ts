/**
 * Writes what the kernel reads at run time into dist/kernel/session/assets: the language's globals in one file, so that a
 * new session parses one text instead of sixty; the session's own declarations; the names that the library exports.
 */
import { spawnSync } from "node:child_process";
import { appendFileSync, cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import ts from "typescript";

const root = path.join(__dirname, "..");
const source = path.join(root, "kernel", "session", "assets");
const target = path.join(root, "dist", "kernel", "session", "assets");

const LIBS = ["lib.es2023.d.ts", "lib.esnext.disposable.d.ts", "lib.esnext.collection.d.ts", "lib.esnext.decorators.d.ts", "lib.decorators.d.ts"];

/** The standard library's declarations without their comments, each file once. */
function languageGlobals(): string {
  const folder = path.dirname(ts.getDefaultLibFilePath({}));
  const seen = new Set<string>();
  const parts: string[] = [];
  const add = (name: string): void => {
    if (seen.has(name)) return;
    seen.add(name);
    const text = readFileSync(path.join(folder, name), "utf8");
    for (const [, lib] of text.matchAll(/^\/\/\/ <reference lib="(.*?)" \/>/gm)) add(`lib.${lib}.d.ts`);
    const file = ts.createSourceFile(name, text, ts.ScriptTarget.Latest);
    parts.push(ts.createPrinter({ removeComments: true }).printFile(file).replace(/^ +/gm, ""));
  };
  LIBS.forEach(add);
  return parts.join("\n");
}

/** The library's exports, and where each is declared under the name that it is exported by. */
function libraryNames(): { types: string[]; values: string[]; files: Record<string, string> } {
  const folder = path.join(root, "dist", "lib");
  const entry = path.join(folder, "index.d.ts");
  const program = ts.createProgram([entry], { skipLibCheck: true, types: [] });
  const checker = program.getTypeChecker();
  const symbol = checker.getSymbolAtLocation(program.getSourceFile(entry)!);
  const names = { types: [] as string[], values: [] as string[], files: {} as Record<string, string> };
  for (const exported of symbol ? checker.getExportsOfModule(symbol) : []) {
    const resolved = exported.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(exported) : exported;
    (resolved.flags & ts.SymbolFlags.Value ? names.values : names.types).push(exported.name);
    const file = resolved.declarations?.[0]?.getSourceFile();
    const module = file && checker.getSymbolAtLocation(file);
    // Renamed on its way to the index: then only the index has it under that name.
    const direct = module && checker.getExportsOfModule(module).some(({ name }) => name === exported.name);
    const where = file && direct ? file.fileName : entry;
    names.files[exported.name] = path.relative(folder, where).replace(/\.d\.ts$/, "");
  }
  return names;
}

/** What check("...") and its like take; the ids are offered by completion, other spellings are left to run time. */
function exerciseIds(): string {
  const { exercises } = require(path.join(root, "dist", "exercises", "index.js")) as { exercises: readonly { id: string }[] };
  return `type GradbookExercise = ${exercises.map(({ id }) => JSON.stringify(id)).join(" | ")} | (string & {}) | number;\n`;
}

mkdirSync(target, { recursive: true });
writeFileSync(path.join(target, "es.d.ts"), languageGlobals());
writeFileSync(path.join(target, "preload.json"), JSON.stringify(libraryNames()));
for (const name of readdirSync(source)) cpSync(path.join(source, name), path.join(target, name.replace(/\.txt$/, "")));
appendFileSync(path.join(target, "session.d.ts"), exerciseIds());

// Last, since it compiles cells: V8's compile cache of TypeScript, for the Node that builds. Another Node makes its own.
const warm = `
  const { Session } = require(${JSON.stringify(path.join(root, "dist", "kernel", "session"))});
  const { saveCompileCache } = require(${JSON.stringify(path.join(root, "dist", "kernel", "session", "typescript.js"))});
  const session = new Session({ folder: ${JSON.stringify(root)} });
  session.warmUp();
  session.complete("tens", 4);
  session.inspect("tensor", 3);
  session.isComplete("f(");
  saveCompileCache();
`;
rmSync(path.join(root, "dist", "kernel", "cache"), { recursive: true, force: true });
const { status } = spawnSync(process.execPath, ["-e", warm], { stdio: "inherit" });
if (status !== 0) process.exit(1);
