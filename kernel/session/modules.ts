/** Modules for cells: packages beside the notebook, ESM-only packages, TypeScript files, and this package's own library. */
import fs from "node:fs";
import Module, { createRequire, isBuiltin } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";
import type ts from "typescript";
import { loadTslab } from "../display";
import { SourcePositions } from "./positions";

const own: Record<string, string> = {
  gradbook: "../../lib/index.js",
  "gradbook/autograder": "../../exercises/autograder/index.js",
};
const ESM_ONLY = new Set(["ERR_REQUIRE_ESM", "ERR_PACKAGE_PATH_NOT_EXPORTED", "ERR_REQUIRE_ASYNC_MODULE"]);

// TypeScript would turn a plain import() into require().
const nativeImport = new Function("specifier", "return import(specifier)") as (specifier: string) => Promise<Record<string, unknown>>;

interface LoadedFile {
  mtime: number;
  exports: unknown;
  /** The TypeScript files that it imports. */
  imports: Set<string>;
}

export class Modules {
  readonly meta: { url: string; dirname: string; filename: string };
  /** What `require` is in a cell. */
  readonly require: NodeJS.Require;
  /** Frames in TypeScript files are shown where the source has them. */
  readonly positions = new Map<string, SourcePositions>();
  private readonly nodeRequire: NodeJS.Require;
  private readonly loadedEsm = new Map<string, unknown>();
  private readonly typescript = new Map<string, LoadedFile>();
  /** Versions of the packages that cells have loaded. */
  private readonly packages = new Map<string, string>();

  constructor(private readonly ts: () => typeof import("typescript"), private readonly folder: string) {
    const filename = path.join(folder, "notebook.ts");
    this.nodeRequire = createRequire(filename);
    const { resolve, cache, main, extensions } = this.nodeRequire;
    this.require = Object.assign((name: string): unknown => this.load(name, folder, this.nodeRequire), { resolve, cache, main, extensions });
    this.meta = { url: pathToFileURL(filename).href, dirname: folder, filename };
  }

  /** A module with ES module semantics: a CommonJS one gets its exports as `default`. */
  readonly module = (name: string): unknown => {
    const exports: unknown = this.require(name);
    if (typeof exports !== "object" && typeof exports !== "function" || exports === null) return { default: exports };
    if ((exports as { __esModule?: boolean }).__esModule) return exports;
    if (Object.prototype.toString.call(exports) === "[object Module]") return exports;
    return new Proxy(exports, {
      get: (target, key, receiver) => (key === "default" ? ("default" in target ? Reflect.get(target, key, receiver) as unknown : target) : Reflect.get(target, key) as unknown),
      has: (target, key) => key === "default" || key in target,
    });
  };

  readonly import = async (name: string): Promise<unknown> => {
    await this.prepare([String(name)]);
    return this.module(String(name));
  };

  /** Loads what `require` cannot: ES modules, with Node's own loader, before the cell that imports them runs. */
  async prepare(names: readonly string[]): Promise<void> {
    for (const name of names) {
      if (this.loadedEsm.has(name) || name in own || name === "tslab" || isBuiltin(name)) continue;
      if (/^\.\.?\//.test(name) && (!name.endsWith(".mjs") || this.typescriptFile(path.resolve(this.folder, name)))) continue;
      let target = name.startsWith(".") ? path.resolve(this.folder, name) : undefined;
      if (!target) {
        try {
          const found = this.nodeRequire.resolve(name);
          try {
            this.nodeRequire(name);
            continue;
          } catch (error) {
            if (!ESM_ONLY.has(String((error as NodeJS.ErrnoException).code))) continue;
          }
          target = found;
        } catch (error) {
          if (!ESM_ONLY.has(String((error as NodeJS.ErrnoException).code))) continue;
          target = this.resolveEsm(name);
        }
      }
      if (!target) continue;
      this.loadedEsm.set(name, await nativeImport(pathToFileURL(target).href));
      this.noteVersion(name);
    }
  }

  /** A sentence for each package that has another version on disk than the one that is loaded. */
  outdated(): string[] {
    return [...this.packages].flatMap(([name, loaded]) => {
      const version = this.manifestOf(name)?.manifest.version;
      return version === undefined || version === loaded ? [] : [`${name} ${loaded} is loaded already; restart the kernel to use ${version}.`];
    });
  }

  private noteVersion(name: string): void {
    const packageName = packageOf(name);
    if (/^[./]/.test(name) || isBuiltin(name) || this.packages.has(packageName)) return;
    const version = this.manifestOf(packageName)?.manifest.version;
    if (version !== undefined) this.packages.set(packageName, version);
  }

  private manifestOf(packageName: string): { root: string; manifest: Manifest } | undefined {
    for (const folder of this.nodeRequire.resolve.paths(packageName) ?? []) {
      const root = path.join(folder, packageName);
      try {
        return { root, manifest: JSON.parse(fs.readFileSync(path.join(root, "package.json"), "utf8")) as Manifest };
      } catch {
        // not in this node_modules: the next one up
      }
    }
    return undefined;
  }

  /** The `import` entry of a package that has no `require` entry. */
  private resolveEsm(name: string): string | undefined {
    const packageName = packageOf(name);
    const found = this.manifestOf(packageName);
    if (!found) return undefined;
    const { root, manifest } = found;
    const sub = `.${name.slice(packageName.length)}`;
    const target = pickExport(manifest.exports, sub) ?? (sub === "." ? manifest.module ?? manifest.main : sub);
    return target && isFile(path.join(root, target)) ? path.join(root, target) : undefined;
  }

  private load(name: string, folder: string, nodeRequire: NodeJS.Require): unknown {
    if (this.loadedEsm.has(name)) return this.loadedEsm.get(name);
    if (Object.hasOwn(own, name)) return require(own[name]);
    if (name === "tslab") return loadTslab();
    if (/^(\.\.?)?\//.test(name) || name === "." || name === "..") {
      const file = this.typescriptFile(path.resolve(folder, name));
      if (file) return this.loadTypeScript(file);
    }
    const exports: unknown = nodeRequire(name);
    this.noteVersion(name);
    return exports;
  }

  private typescriptFile(base: string): string | undefined {
    const candidates = /\.[mc]?tsx?$/.test(base) ? [base]
      : [`${base}.ts`, `${base}.tsx`, base.replace(/\.([mc]?)js$/, ".$1ts"), path.join(base, "index.ts")];
    return candidates.find((file) => /\.[mc]?tsx?$/.test(file) && isFile(file));
  }

  /** Whether neither the file nor one that it imports has changed since it was run. */
  private isCurrent(file: string, seen = new Set<string>()): boolean {
    if (seen.has(file)) return true;
    seen.add(file);
    const loaded = this.typescript.get(file);
    return loaded !== undefined && loaded.mtime === mtimeOf(file) && [...loaded.imports].every((name) => this.isCurrent(name, seen));
  }

  /** Compiles and runs a TypeScript file beside the notebook; again when it or a file that it imports has changed. */
  private loadTypeScript(file: string): unknown {
    if (this.isCurrent(file)) return this.typescript.get(file)!.exports;
    const ts = this.ts();
    const { outputText, sourceMapText } = ts.transpileModule(fs.readFileSync(file, "utf8"), {
      fileName: file,
      compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.CommonJS, esModuleInterop: true, sourceMap: true, jsx: ts.JsxEmit.React },
    });
    this.positions.set(file, new SourcePositions(ts, () => sourceMapText!, { generatedLines: 0, sourceLines: 0 }));
    const module = new Module(file) as Module & { _compile(code: string, filename: string): void };
    const folder = path.dirname(file);
    Object.assign(module, { filename: file, paths: (Module as unknown as { _nodeModulePaths(from: string): string[] })._nodeModulePaths(folder) });
    const loaded: LoadedFile = { mtime: mtimeOf(file)!, exports: module.exports, imports: new Set() };
    // Before it runs, so that two files may import each other.
    this.typescript.set(file, loaded);
    const nodeRequire = createRequire(file);
    module.require = ((name: string) => {
      const imported = this.typescriptFile(path.resolve(folder, name));
      if (imported && name.startsWith(".")) loaded.imports.add(imported);
      return this.load(name, folder, nodeRequire);
    }) as NodeJS.Require;
    try {
      module._compile(outputText.replace(/^\/\/# sourceMappingURL=.*$/m, ""), file);
    } catch (error) {
      this.typescript.delete(file);
      if ((error as NodeJS.ErrnoException).code !== "ERR_REQUIRE_ASYNC_MODULE") throw error;
      throw new Error(`${path.relative(this.folder, file)} awaits outside any function: only a cell can, not a file`);
    }
    loaded.exports = module.exports;
    return module.exports;
  }
}

interface Manifest {
  version?: string;
  exports?: unknown;
  module?: string;
  main?: string;
}

/** `@scope/name/deep` and `name/deep` without the `/deep`. */
export function packageOf(name: string): string {
  return name.split("/").slice(0, name.startsWith("@") ? 2 : 1).join("/");
}

function statOf(file: string): fs.Stats | undefined {
  try {
    return fs.statSync(file);
  } catch {
    return undefined;
  }
}

function isFile(file: string): boolean {
  return statOf(file)?.isFile() ?? false;
}

function mtimeOf(file: string): number | undefined {
  return statOf(file)?.mtimeMs;
}

function pickExport(entry: unknown, sub: string): string | undefined {
  if (typeof entry === "string") return sub === "." ? entry : undefined;
  if (typeof entry !== "object" || entry === null) return undefined;
  const fields = entry as Record<string, unknown>;
  const chosen = Object.keys(fields).some((key) => key.startsWith(".")) ? fields[sub] : sub === "." ? fields : undefined;
  return pickCondition(chosen);
}

function pickCondition(entry: unknown): string | undefined {
  if (typeof entry === "string") return entry;
  if (Array.isArray(entry)) return entry.map(pickCondition).find((found) => found !== undefined);
  if (typeof entry !== "object" || entry === null) return undefined;
  for (const [condition, value] of Object.entries(entry)) {
    if (["node", "import", "module-sync", "default"].includes(condition)) {
      const found = pickCondition(value);
      if (found) return found;
    }
  }
  return undefined;
}
