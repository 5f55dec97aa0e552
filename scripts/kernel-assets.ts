/**
 * Writes what the kernel reads at run time into dist/kernel/session/assets: the language's globals in one file, so that a
 * new session parses one text instead of sixty; the session's own declarations; the names that the library exports.
 */
import { cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
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

function libraryNames(): { types: string[]; values: string[] } {
  const entry = path.join(root, "dist", "lib", "index.d.ts");
  const program = ts.createProgram([entry], { noResolve: false, skipLibCheck: true, types: [] });
  const checker = program.getTypeChecker();
  const symbol = checker.getSymbolAtLocation(program.getSourceFile(entry)!);
  const names = { types: [] as string[], values: [] as string[] };
  for (const exported of symbol ? checker.getExportsOfModule(symbol) : []) {
    const resolved = exported.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(exported) : exported;
    (resolved.flags & ts.SymbolFlags.Value ? names.values : names.types).push(exported.name);
  }
  return names;
}

mkdirSync(target, { recursive: true });
writeFileSync(path.join(target, "es.d.ts"), languageGlobals());
writeFileSync(path.join(target, "preload.json"), JSON.stringify(libraryNames()));
for (const name of readdirSync(source)) cpSync(path.join(source, name), path.join(target, name.replace(/\.txt$/, "")));
