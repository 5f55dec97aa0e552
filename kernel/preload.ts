/** The names every cell starts with: all that the library exports, and what the session adds. */
import { readFileSync } from "node:fs";
import path from "node:path";
import type { notebookCommands } from "../exercises/autograder";
import { DISPLAY, toBundle } from "./display";

/** Written by the build (scripts/kernel-assets.ts) from the library's declarations. */
interface NameList {
  /** Exported types without a value. */
  types: string[];
  values: string[];
  /** The library's file, relative to dist/lib and without extension, that declares each name. */
  files: Record<string, string>;
}

const libraryFolder = path.join(__dirname, "..", "lib");
const PREFIX = "gradbook/lib/";

let list: NameList | undefined;

function load(): NameList {
  list ??= JSON.parse(readFileSync(path.join(__dirname, "session", "assets", "preload.json"), "utf8")) as NameList;
  return list;
}

/** For the type checker: a cell that uses one name does not have to read the whole library's declarations. */
export const preloaded = {
  get names(): string[] {
    return Object.keys(load().files);
  },
  /** The module from which the checker imports a preloaded name. */
  moduleOf(name: string): string | undefined {
    const { files } = load();
    return Object.hasOwn(files, name) ? PREFIX + files[name] : undefined;
  },
  /** The declaration file of such a module. */
  fileOf(module: string): string | undefined {
    return module.startsWith(PREFIX) ? path.join(libraryFolder, `${module.slice(PREFIX.length)}.d.ts`) : undefined;
  },
};

/** What the course's commands need to know of a session. */
export interface NamedValues {
  lookup(name: string): unknown;
  isDefined(name: string): boolean;
}

type Commands = ReturnType<typeof notebookCommands>;

/** check, hint, solution and progress; the autograder is loaded when one of them is called. */
export function courseCommands(session: NamedValues): Commands {
  let commands: Commands | undefined;
  const load = (): Commands =>
    (commands ??= (require("../exercises/autograder/index.js") as typeof import("../exercises/autograder")).notebookCommands(session));
  return {
    check: (...given) => {
      const report = load().check(...given);
      // A cell that ends in check("...") shows the verdict, also where the student's code is asynchronous.
      return report instanceof Promise ? Object.assign(report, { [DISPLAY]: async () => toBundle(await report) }) : report;
    },
    hint: (...given) => load().hint(...given),
    solution: (...given) => load().solution(...given),
    progress: (...given) => load().progress(...given),
  };
}

/** The library's values; requiring the library is left until one of them is used. */
export function preloadLibrary(define: (name: string, get: () => unknown) => void): { load(): void } {
  let library: Record<string, unknown> | undefined;
  const loadLibrary = (): Record<string, unknown> =>
    (library ??= require("../lib/index.js") as Record<string, unknown>);
  for (const name of load().values) define(name, () => loadLibrary()[name]);
  return { load: loadLibrary };
}
