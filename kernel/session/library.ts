/** The files that the language service sees: the cell at hand, what earlier cells declared, the globals, the library, the disk. */
import { existsSync } from "node:fs";
import { isBuiltin } from "node:module";
import path from "node:path";
import type ts from "typescript";
import type { CellFacts, Declared } from "./analyze";
import { preloaded } from "../preload";

type TypeScript = typeof ts;

interface Known extends Declared {
  /** Module name, relative to the notebook's folder, of the cell that declared it. */
  module: string;
}

export interface OpenCell {
  /** The whole text given to the checker. */
  text: string;
  /** The student's text within it. */
  start: number;
  end: number;
  /** Lines before the student's first. */
  lines: number;
}

const assets = path.join(__dirname, "assets");
const packageRoot = path.join(__dirname, "..", "..", "..");
/** Where packages that this one depends on are found, hoisted or not. */
const ownPackages = new Set(["gradbook", "gradbook/autograder", "tslab"]);

export class CellLibrary {
  readonly cellFile: string;
  readonly host: ts.LanguageServiceHost;
  private readonly known = new Map<string, Known>();
  private readonly kept = new Map<string, string>();
  private readonly fixed = new Map<string, string>();
  private cell = "";
  private version = 0;
  private loose = false;
  private sourceMap = false;
  private cells = 0;
  private stale = false;
  /** How often modules may have been installed: declarations outside this package are read anew each time. */
  private generation = 1;
  /** Modules of the cells that add to declarations of others, such as `declare global`; every later cell imports them. */
  private readonly augmentations: string[] = [];
  /** True from the first cell that imports a Node module on: then the real @types/node replaces the slim globals. */
  private nodeTypes = false;

  constructor(private readonly ts: TypeScript, readonly folder: string) {
    this.cellFile = this.inFolder("__cell__.ts");
    this.host = this.createHost();
  }

  /**
   * Puts `code` between imports of the earlier names it mentions and an export of the names it declares.
   * @param options.prefix names that begin with it are imported, too: those that could be meant at the cursor
   */
  open(code: string, facts: CellFacts, options: { loose: boolean; prefix?: string }): OpenCell {
    this.loose = options.loose;
    if (!this.nodeTypes && (facts.typedImports.some((name) => isBuiltin(name)) || facts.mentioned.has("NodeJS"))) this.nodeTypes = true;
    const prelude: string[] = [];
    const imports = new Map<string, string[]>();
    for (const name of this.wanted(facts, options.prefix)) {
      if (facts.declared.has(name)) continue;
      const known = this.known.get(name);
      const module = known?.module ?? preloaded.moduleOf(name);
      if (module === undefined) continue;
      if (known?.assignable && known.value) prelude.push(`declare let ${name}: typeof import("${module}").${name};`);
      else if (imports.has(module)) imports.get(module)!.push(name);
      else imports.set(module, [name]);
    }
    for (const [module, names] of imports) prelude.push(`import { ${names.join(", ")} } from "${module}";`);
    // TypeScript finds what a cell adds to only where it is imported as well; an import of this kind may find nothing.
    for (const module of [...this.augmentations, ...facts.augmented]) prelude.push(`import ${JSON.stringify(module)};`);
    const before = `${prelude.join(" ")}\n`;
    // A semicolon would turn the student's last expression into two statements; a line break ends it just as well.
    const after = `\nexport { ${facts.unexported.join(", ")} };\n`;
    this.cell = before + code + after;
    this.sourceMap = false;
    this.version++;
    return { text: this.cell, start: before.length, end: before.length + code.length, lines: 1 };
  }

  /** Puts a cell of before in place again, to be emitted with its source map. */
  reopen({ text }: OpenCell): void {
    this.cell = text;
    this.sourceMap = true;
    this.version++;
  }

  private wanted({ mentioned }: CellFacts, prefix: string | undefined): Set<string> {
    if (prefix === undefined) return mentioned;
    const start = prefix.toLowerCase();
    const meant = [...this.known.keys(), ...preloaded.names].filter((name) => name.toLowerCase().startsWith(start));
    return new Set([...mentioned, ...meant]);
  }

  /** Remembers the declarations of a cell that has run. */
  keep(names: Map<string, Declared>, text: string, extension: ".ts" | ".d.ts", { augments }: CellFacts): void {
    if (names.size === 0 && !augments) return;
    const module = `./__cell_${++this.cells}`;
    this.kept.set(this.inFolder(`${module}${extension}`), text);
    if (augments) this.augmentations.push(module);
    for (const [name, fact] of names) this.known.set(name, { ...fact, module });
  }

  names(): [string, Declared][] {
    return [...this.known];
  }

  reset(): void {
    this.known.clear();
    this.kept.clear();
    this.augmentations.length = 0;
  }

  refresh(): void {
    this.stale = true;
    this.generation++;
    for (const name of this.fixed.keys()) if (!isOwnFile(name)) this.fixed.delete(name);
  }

  /** A TypeScript file of the student's: its errors are worth a word. */
  isOwnSource(fileName: string): boolean {
    return fileName.startsWith(`${this.folder}/`) && /\.[mc]?tsx?$/.test(fileName) && !/\.d\.[mc]?ts$/.test(fileName)
      && !/\/node_modules\//.test(fileName) && !/\/__cell_\w+\.ts$/.test(fileName);
  }

  private inFolder(name: string): string {
    return path.posix.join(this.folder, name);
  }

  private options(): ts.CompilerOptions {
    const { ts } = this;
    return {
      target: ts.ScriptTarget.ES2022,
      module: ts.ModuleKind.Preserve,
      moduleResolution: ts.ModuleResolutionKind.Bundler,
      esModuleInterop: true,
      resolveJsonModule: true,
      allowImportingTsExtensions: true,
      strict: !this.loose,
      // Always, so that a loose cell shares its parsed files with the strict ones.
      alwaysStrict: true,
      noLib: true,
      types: this.nodeTypes ? ["node"] : [],
      typeRoots: this.nodeTypes ? [path.dirname(path.dirname(require.resolve("@types/node/package.json")))] : undefined,
      declaration: true,
      sourceMap: this.sourceMap,
      skipLibCheck: true,
      skipDefaultLibCheck: true,
      preserveConstEnums: true,
      newLine: ts.NewLineKind.LineFeed,
    };
  }

  private read(fileName: string): string | undefined {
    if (fileName === this.cellFile) return this.cell;
    const kept = this.kept.get(fileName);
    if (kept !== undefined) return kept;
    let text = this.fixed.get(fileName);
    if (text === undefined) {
      text = this.ts.sys.readFile(fileName);
      if (text !== undefined && !this.isOwnSource(fileName)) this.fixed.set(fileName, text);
    }
    return text;
  }

  private exists(fileName: string): boolean {
    return fileName === this.cellFile || this.kept.has(fileName) || this.fixed.has(fileName) || this.ts.sys.fileExists(fileName);
  }

  private createHost(): ts.LanguageServiceHost {
    const { ts } = this;
    const esGlobals = path.join(assets, "es.d.ts");
    const sessionGlobals = path.join(assets, "session.d.ts");
    const slimGlobals = path.join(assets, "globals.d.ts");
    const resolutionHost = {
      fileExists: (name: string) => this.exists(name),
      readFile: (name: string) => this.read(name),
      directoryExists: (name: string) => ts.sys.directoryExists(name),
      getDirectories: (name: string) => ts.sys.getDirectories(name),
      readDirectory: ts.sys.readDirectory,
      realpath: (name: string) => ts.sys.realpath?.(name) ?? name,
      useCaseSensitiveFileNames: () => true,
    };
    const resolve = (name: string, from: string, options: ts.CompilerOptions, mode: ts.ResolutionMode): ts.ResolvedModuleFull | undefined => {
      if (ownPackages.has(name)) return ownTypes(ts, name);
      const fromLibrary = preloaded.fileOf(name);
      if (fromLibrary) return { resolvedFileName: fromLibrary, extension: ts.Extension.Dts, isExternalLibraryImport: false };
      const { resolvedModule } = ts.resolveModuleName(name, from, options, resolutionHost, undefined, undefined, mode);
      return resolvedModule;
    };
    // Part of the host that the language service reads, and missing from its declaration.
    const host: ts.LanguageServiceHost & { hasInvalidatedResolutions(): boolean } = {
      ...resolutionHost,
      getCompilationSettings: () => this.options(),
      getScriptFileNames: () => [esGlobals, ...(this.nodeTypes ? [] : [slimGlobals]), sessionGlobals, this.cellFile],
      getScriptVersion: (name) => {
        if (name === this.cellFile) return String(this.version);
        if (this.isOwnSource(name)) return String(ts.sys.getModifiedTime?.(name)?.getTime() ?? 0);
        return this.kept.has(name) || isOwnFile(name) ? "1" : String(this.generation);
      },
      getScriptSnapshot: (name) => {
        const text = this.read(name);
        return text === undefined ? undefined : ts.ScriptSnapshot.fromString(text);
      },
      getCurrentDirectory: () => this.folder,
      getDefaultLibFileName: () => esGlobals,
      getNewLine: () => "\n",
      hasInvalidatedResolutions: () => {
        const { stale } = this;
        this.stale = false;
        return stale;
      },
      resolveModuleNameLiterals: (literals, from, _redirect, options, file) => literals.map((literal) => {
        const mode = file ? ts.getModeForUsageLocation(file, literal, options) : undefined;
        return { resolvedModule: resolve(literal.text, from, options, mode) };
      }),
    };
    return host;
  }
}

/** A file of this package's own, which does not change while a session lasts. */
function isOwnFile(fileName: string): boolean {
  return fileName.startsWith(path.join(packageRoot, "dist"));
}

/** Declarations of this package and of tslab, wherever the notebook lies. */
function ownTypes(ts: TypeScript, name: string): ts.ResolvedModuleFull | undefined {
  const file = name === "tslab"
    ? require.resolve("tslab").replace(/\.js$/, ".d.ts")
    : path.join(packageRoot, "dist", name === "gradbook" ? "lib/index.d.ts" : "exercises/autograder/index.d.ts");
  return existsSync(file) ? { resolvedFileName: file, extension: ts.Extension.Dts, isExternalLibraryImport: name === "tslab" } : undefined;
}
