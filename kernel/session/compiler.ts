/**
 * From a cell's TypeScript to JavaScript that runs once. One language service holds the session; a cell is a module
 * named `__cell__.ts` beside the notebook, and what a cell declared is kept as a declaration file of its own, which later
 * cells import by the names they mention. So a cell is checked alone, and the two-hundredth costs what the first does.
 */
import path from "node:path";
import type ts from "typescript";
import { analyze, type CellFacts, type Declared } from "./analyze";
import { CellLibrary, type OpenCell } from "./library";
import { looksLikeMagic } from "./magics";
import { packageOf } from "./modules";
import { globalName, isNative } from "./names";
import { cellTransformer, type Renaming } from "./transform";
import { SourcePositions } from "./positions";

type TypeScript = typeof ts;

export interface Diagnostic {
  /** The file's name when it is not the cell. */
  file?: string;
  /** 1-based. */
  line: number;
  column: number;
  /** Length of the offending source, within its line. */
  length: number;
  message: string;
  sourceLine: string;
  code: number;
}

export interface Compiled {
  diagnostics: Diagnostic[];
  /** JavaScript for the body of one function with the parameters `exports` and `require`; empty when there were errors. */
  javascript: string;
  /** Where each place of `javascript` comes from; undefined when there were errors. */
  positions?: SourcePositions;
  facts: CellFacts;
  /** Names of values that the cell declares. */
  values: string[];
  /** Makes what the cell declares known to later cells. */
  commit(): void;
}

export interface CompileOptions {
  /** Names the cell in stack traces, e.g. `cell-3.ts`. */
  sourceName: string;
  /** Without the strict family of checks. */
  loose?: boolean;
}

interface Checked {
  program: ts.Program;
  file: ts.SourceFile;
}

interface Emitted {
  javascript: string;
  /** Missing where TypeScript cannot write what the cell declares as a declaration file. */
  declarations?: string;
  /** Empty unless the cell was reopened. */
  map: string;
}

export class Compiler {
  private readonly library: CellLibrary;
  private readonly service: ts.LanguageService;

  constructor(readonly ts: TypeScript, folder: string) {
    this.library = new CellLibrary(ts, folder);
    this.service = ts.createLanguageService(this.library.host, keepingRegistry(ts));
  }

  /** Checks and compiles a cell. Nothing is remembered until `commit`. */
  compile(code: string, { sourceName, loose = false }: CompileOptions): Compiled {
    const { ts, library } = this;
    const facts = analyze(ts, code);
    const cell = library.open(code, facts, { loose });
    const checked = this.checked();
    const { program, file } = checked;
    const diagnostics = this.diagnose(program, file, cell.start, code);
    const compiled: Compiled = { diagnostics, facts, javascript: "", values: [], commit: () => {} };
    if (diagnostics.length > 0) return compiled;

    const { declared } = facts;
    const renamed = this.renamed(facts);
    const { javascript, declarations } = this.emit(checked, cell, declared, renamed);
    // The executor puts its own words before the first line; a line break keeps columns as they are.
    compiled.javascript = `\n${javascript}\n//# sourceURL=${sourceName}`;
    // Few cells fail, and a map costs a tenth of the compilation: the cell is emitted once more when an error asks for it.
    const map = (): string => {
      library.reopen(cell);
      return this.emit(this.checked(), cell, declared, renamed).map;
    };
    compiled.positions = new SourcePositions(ts, map, { generatedLines: 1, sourceLines: cell.lines });
    const names = this.declaredNames(program, file, facts);
    compiled.values = [...names].filter(([, { value }]) => value).map(([name]) => name);
    // What cannot be written as a declaration file (a class expression with private members) is kept as source.
    const text = declarations ?? cell.text;
    compiled.commit = () => library.keep(names, text, declarations === undefined ? ".ts" : ".d.ts", facts);
    return compiled;
  }

  /** The cell at hand, after all that has changed since. */
  private checked(): Checked {
    const program = this.service.getProgram()!;
    return { program, file: program.getSourceFile(this.library.cellFile)! };
  }

  /** @param renamed names that get another at run time */
  private emit({ program, file }: Checked, { start, end }: OpenCell, declared: CellFacts["declared"], renamed: ReadonlySet<string>): Emitted {
    const out: Emitted = { javascript: "", map: "" };
    const transformer = cellTransformer(this.ts, { start, end }, this.renaming(program, file, declared, renamed));
    program.emit(file, (name, text) => {
      if (name.endsWith(".d.ts")) out.declarations = text;
      else if (name.endsWith(".map")) out.map = text;
      else out.javascript = text.replace(/^\/\/# sourceMappingURL=.*$/m, "");
    }, undefined, false, { after: [transformer] });
    return out;
  }

  /** Forgets what the cells declared. */
  reset(): void {
    this.library.reset();
  }

  /** Modules may have been installed or changed on disk. */
  refresh(): void {
    this.library.refresh();
  }

  /** Names that cells declared, values only. */
  names(): string[] {
    return this.library.names().filter(([, { value }]) => value).map(([name]) => name);
  }

  /** The service and the position in its file that corresponds to `offset` in `code`, for completion and inspection. */
  at(code: string, offset: number): { service: ts.LanguageService; file: string; position: number; start: number } {
    const { ts, library } = this;
    const facts = analyze(ts, code);
    const before = code.slice(0, offset);
    const [word] = /[\p{ID_Continue}$]*$/u.exec(before)!;
    const isMember = /\.\s*$/.test(before.slice(0, before.length - word.length));
    const cell = library.open(code, facts, { loose: false, prefix: isMember ? undefined : word });
    return { service: this.service, file: library.cellFile, position: cell.start + offset, start: cell.start };
  }

  /** A cell's `let Map` must not replace Node's own: such names, of this cell or an earlier one, get another at run time. */
  private renamed({ declared, mentioned }: CellFacts): Set<string> {
    const known = [...declared.keys(), ...this.library.names().map(([name]) => name)];
    return new Set(known.filter((name) => isNative(name) && mentioned.has(name)));
  }

  private renaming(program: ts.Program, file: ts.SourceFile, declared: CellFacts["declared"], names: ReadonlySet<string>): Renaming {
    const checker = program.getTypeChecker();
    const { locals } = file as unknown as { locals?: Map<string, ts.Symbol> };
    return {
      names,
      rename: globalName,
      isDeclared: (name) => declared.has(name),
      isTopLevel: (identifier) => {
        const symbol = this.ts.isShorthandPropertyAssignment(identifier.parent)
          ? checker.getShorthandAssignmentValueSymbol(identifier.parent) : checker.getSymbolAtLocation(identifier);
        const local = locals?.get(identifier.text);
        return symbol !== undefined && local !== undefined && (symbol === local || symbol === checker.getExportSymbolOfSymbol(local));
      },
    };
  }

  private declaredNames(program: ts.Program, file: ts.SourceFile, facts: CellFacts): Map<string, Declared> {
    const names = new Map<string, Declared>(facts.declared);
    const checker = program.getTypeChecker();
    const symbol = checker.getSymbolAtLocation(file);
    // `export * from "m"` declares names that only the checker knows.
    for (const exported of symbol ? checker.getExportsOfModule(symbol) : []) {
      if (exported.name === "default" || names.has(exported.name)) continue;
      names.set(exported.name, { assignable: false, value: true });
    }
    return names;
  }

  /** What the notebook's user can do about a diagnostic; begins with a space. */
  private advice({ file, start = 0, code }: ts.Diagnostic): string {
    if (!file) return "";
    const [line] = file.text.slice(file.text.lastIndexOf("\n", start - 1) + 1).split("\n", 1);
    if (looksLikeMagic(line)) return " A magic stands above the cell's first line of code.";
    const [, name] = /^["']([^."'/][^"']*)["']/.exec(file.text.slice(start)) ?? [];
    return MODULE_NOT_FOUND.has(code) && name ? ` If it is a package: %npm install ${packageOf(name)}` : "";
  }

  private diagnose(program: ts.Program, cell: ts.SourceFile, start: number, code: string): Diagnostic[] {
    const { ts } = this;
    const found: ts.Diagnostic[] = [...program.getSyntacticDiagnostics(cell)];
    if (found.length === 0) {
      found.push(...program.getSemanticDiagnostics(cell));
      for (const file of program.getSourceFiles()) {
        if (!this.library.isOwnSource(file.fileName)) continue;
        found.push(...program.getSyntacticDiagnostics(file), ...program.getSemanticDiagnostics(file));
      }
    }
    const lines = code.split("\n");
    return found.filter(({ category, code: number }) => category === ts.DiagnosticCategory.Error && number !== UNTYPED_MODULE).map((diagnostic): Diagnostic => {
      const { file, start: offset = 0, length = 1, code: number } = diagnostic;
      const message = ts.flattenDiagnosticMessageText(diagnostic.messageText, "\n") + this.advice(diagnostic);
      if (file && file !== cell) {
        const { line, character } = file.getLineAndCharacterOfPosition(offset);
        const sourceLine = file.text.split("\n")[line] ?? "";
        const name = path.relative(this.library.folder, file.fileName);
        return { file: name, line: line + 1, column: character + 1, length, message, sourceLine, code: number };
      }
      const within = Math.min(Math.max(offset - start, 0), code.length);
      const before = code.slice(0, within).split("\n");
      const column = before.at(-1)!.length;
      const sourceLine = lines[before.length - 1];
      return {
        line: before.length, column: column + 1, length: Math.max(1, Math.min(length, sourceLine.length - column)),
        message, sourceLine, code: number,
      };
    });
  }
}

/** "Could not find a declaration file for module": a package without types is of type any here. */
const UNTYPED_MODULE = 7016;
/** In an import, in `declare module`. */
const MODULE_NOT_FOUND = new Set([2307, 2664]);

/** A registry that keeps the files it has parsed: a library file that this cell does not need, the next one may. */
function keepingRegistry(ts: TypeScript): ts.DocumentRegistry {
  const registry = ts.createDocumentRegistry(true);
  const isTransient = (name: string): boolean => /\/__cell_\w+\.(?:d\.)?ts$/.test(name);
  const { releaseDocument, releaseDocumentWithKey } = registry;
  registry.releaseDocument = (name: string, ...rest: unknown[]) => {
    if (isTransient(name)) (releaseDocument as (...all: unknown[]) => void)(name, ...rest);
  };
  registry.releaseDocumentWithKey = (name: ts.Path, ...rest: unknown[]) => {
    if (isTransient(name)) (releaseDocumentWithKey as (...all: unknown[]) => void)(name, ...rest);
  };
  return registry;
}
