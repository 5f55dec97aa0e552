/**
 * Loads stock TypeScript with V8's compile cache: compiling its nine megabytes takes three times as long as reading the
 * cache. The cache is only ever a shortcut: V8 rejects one that another Node made.
 */
import fs from "node:fs";
import Module, { createRequire } from "node:module";
import os from "node:os";
import path from "node:path";
import v8 from "node:v8";
import vm from "node:vm";

type TypeScript = typeof import("typescript");

const file = require.resolve("typescript");
const cacheName = `typescript-${process.version}-${process.arch}.v8cache`;
/** The build writes the first; where the package's own folder is read-only, the second is kept. */
const cacheFolders = [
  path.join(__dirname, "..", "cache"),
  path.join(process.env.XDG_CACHE_HOME || path.join(os.homedir(), ".cache"), "gradbook"),
];

let script: vm.Script | undefined;
let loaded: TypeScript | undefined;
let fromCache = false;

function readCache(): Buffer | undefined {
  // A cache is code: only one that this user (or root) wrote is run.
  for (const folder of cacheFolders) {
    try {
      const name = path.join(folder, cacheName);
      const { uid, mtimeMs } = fs.statSync(name);
      if (process.getuid && uid !== process.getuid() && uid !== 0) continue;
      if (mtimeMs < fs.statSync(file).mtimeMs) continue;
      return fs.readFileSync(name);
    } catch {
      // not there: the next folder, or no cache
    }
  }
  return undefined;
}

export function loadTypeScript(): TypeScript {
  if (loaded) return loaded;
  // A regular expression that backtracks without end is finished by V8's linear engine, since no interrupt reaches one that
  // runs after an await. V8 wants the same flags when it reads a compile cache as when it wrote it: hence here, and first.
  v8.setFlagsFromString("--enable-experimental-regexp-engine-on-excessive-backtracks");
  // The checker's many functions are optimised too early by default, on the types of one cell, and thrown away at the next:
  // half of a session's first seconds. Thirty times the budget costs a hot loop a few milliseconds, once. The V8 of Node 22
  // counts calls instead of a budget, and writes about a flag that it does not know to the terminal.
  if (Number.parseInt(process.versions.v8) < 12) v8.setFlagsFromString("--interrupt-budget=2000000");
  const cachedData = readCache();
  script = new vm.Script(Module.wrap(fs.readFileSync(file, "utf8")), { filename: file, cachedData });
  fromCache = cachedData !== undefined && script.cachedDataRejected === false;
  const module = { exports: {} };
  const run = script.runInThisContext() as (...scope: unknown[]) => void;
  run.call(module.exports, module.exports, createRequire(file), module, file, path.dirname(file));
  loaded = module.exports as TypeScript;
  shareWithTslab(loaded);
  return loaded;
}

/** tslab's own modules ask for its fork of TypeScript 5.0; they get the stock one, which is loaded already. */
function shareWithTslab(ts: TypeScript): void {
  const id = createRequire(require.resolve("tslab/package.json")).resolve("@tslab/typescript-for-tslab");
  const module = new Module(id);
  Object.assign(module, { filename: id, loaded: true, exports: ts });
  require.cache[id] = module;
}

/**
 * Writes the compile cache when TypeScript was loaded without one. Called after some cells have run, so that the
 * functions a cell needs are in it.
 */
export function saveCompileCache(): string | undefined {
  if (!script || fromCache) return undefined;
  fromCache = true;
  const data = script.createCachedData();
  for (const folder of cacheFolders) {
    try {
      fs.mkdirSync(folder, { recursive: true, mode: 0o700 });
      const name = path.join(folder, cacheName);
      fs.writeFileSync(`${name}.${process.pid}`, data);
      fs.renameSync(`${name}.${process.pid}`, name);
      return name;
    } catch {
      // read-only: the next folder
    }
  }
  return undefined;
}
