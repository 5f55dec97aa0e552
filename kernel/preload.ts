/** The names every cell starts with: all that the library exports, and what the session adds. */
import { readFileSync } from "node:fs";
import path from "node:path";

/** Written by the build (scripts/kernel-assets.ts) from the library's declarations. */
interface NameList {
  /** Exported types without a value. */
  types: string[];
  values: string[];
}

let list: NameList | undefined;

function load(): NameList {
  list ??= JSON.parse(readFileSync(path.join(__dirname, "session", "assets", "preload.json"), "utf8")) as NameList;
  return list;
}

let all: Set<string> | undefined;

/** Every preloaded name, types included, for the type checker. */
export const preloadedTypes = {
  get names(): Iterable<string> {
    return (all ??= new Set([...load().types, ...load().values]));
  },
  has(name: string): boolean {
    return (all ??= new Set([...load().types, ...load().values])).has(name);
  },
};

/** The library's values; requiring the library is left until one of them is used. */
export function preloadLibrary(define: (name: string, get: () => unknown) => void): { load(): void } {
  let library: Record<string, unknown> | undefined;
  const loadLibrary = (): Record<string, unknown> =>
    (library ??= require("../lib/index.js") as Record<string, unknown>);
  for (const name of load().values) define(name, () => loadLibrary()[name]);
  return { load: loadLibrary };
}
