/**
 * One notebook's state: what its cells have declared, and how a cell is checked, run and stopped. Knows nothing of sockets.
 * Cells run in tslab's executor; its converter, a program that watches files, is replaced by compiler.ts.
 */
import path from "node:path";
import type { ConvertResult, Converter } from "tslab/dist/converter";
import { createExecutor, type Executor } from "tslab/dist/executor";
import { clearOutput, display, html, image, input, md, svg, toBundle, withOutput, type MimeBundle, type Output } from "../display";
import { courseCommands, preloadLibrary } from "../preload";
import { Interrupted, recover } from "../../lib/interrupt";
import { Compiler, type Compiled } from "./compiler";
import { complete, inspect, isComplete, type Completeness, type Completions } from "./complete";
import { CellFailure, thrownError, typeErrors, type CellError, type FrameSource } from "./errors";
import { History } from "./history";
import { cancel, cancelBackground, interruptible, interruptibleIterable, Run, trackTimers, withRun } from "./interrupt";
import type { Inspection } from "./layers";
import { completeMagic, parseMagics, runMagic, wallTime, type MagicHost, type Magics } from "./magics";
import { Modules } from "./modules";
import { installRuntime, Scope } from "./runtime";
import { RESULT } from "./transform";
import { loadTypeScript, saveCompileCache } from "./typescript";

export type { CellError } from "./errors";
export type { Completeness, Completion, Completions } from "./complete";

export type Outcome =
  | { status: "ok"; result?: MimeBundle; /** A text for the front end's pager. */ page?: string }
  | { status: "error" } & CellError;

export interface ExecuteOptions {
  output: Output;
  /** The number in `Cell [n]`; without one the cell is called `Cell`. */
  count?: number;
}

export interface SessionOptions {
  /** The notebook's folder: modules are found from here. */
  folder: string;
  /** Shared with whoever interrupts: element 1 stops the running cell at its next loop turn. */
  flags?: Int32Array;
}

const CACHE_AFTER_CELLS = 3;

/** Whether a signal ended the cell, in the midst of whatever ran: what Node throws after SIGINT. */
const brokenOff = (error: unknown): boolean => (Object(error) as { code?: string }).code === "ERR_SCRIPT_EXECUTION_INTERRUPTED";

export class Session {
  readonly history = new History();
  readonly folder: string;
  readonly scope = new Scope();
  private readonly compiler: Compiler;
  private readonly modules: Modules;
  private readonly executor: Executor;
  private readonly library: { load(): void };
  /** Cells by the name their script has in stack traces. */
  private readonly cells = new Map<string, { label: string; source: string; compiled: Compiled }>();
  private next: Compiled | undefined;
  private caught: { error: unknown } | undefined;
  /** The value of the cell's last expression. */
  private result: [value: unknown] | undefined;
  private run: Run | undefined;
  private executions = 0;
  private readonly frameSource: FrameSource;

  constructor({ folder, flags = new Int32Array(new SharedArrayBuffer(8)) }: SessionOptions) {
    this.folder = folder;
    const typescript = loadTypeScript();
    this.compiler = new Compiler(typescript, folder);
    this.modules = new Modules(() => typescript, folder);
    trackTimers();
    installRuntime(flags, {
      module: this.modules.module,
      import: this.modules.import,
      meta: this.modules.meta,
      await: interruptible,
      iterate: interruptibleIterable,
      exportAll: (module) => {
        for (const name of Object.keys(module)) if (name !== "default") this.scope.assign(name, (module as Record<string, unknown>)[name]);
      },
    });
    this.library = preloadLibrary((name, get) => this.scope.preload(name, get));
    this.offer({ display, html, md, svg, image, input, clearOutput, __dirname: folder, __filename: this.modules.meta.filename });
    this.offer({ ...courseCommands(this) });
    (globalThis as Record<symbol, unknown>)[Symbol.for("gradbook.display")] = display;
    this.frameSource = this.createFrameSource();

    const converter: Converter = {
      convert: () => this.convert(),
      inspect: () => undefined as never,
      complete: () => undefined as never,
      addModule: () => [],
      close: () => {},
    };
    const report = {
      log: (value: unknown) => {
        this.result = value as [unknown];
      },
      error: (...words: unknown[]) => {
        // One word is what a cell threw; more are diagnostics, which the compiler has reported already.
        if (words.length === 1) this.caught = { error: words[0] };
      },
    };
    this.executor = createExecutor(folder, { node: converter, browser: converter, close: converter.close }, report as Console);
    (globalThis as unknown as { __tslab__: { require: unknown } }).__tslab__.require = this.modules.require;
  }

  /** Names that every cell has beside the library's. */
  offer(names: Record<string, unknown>): void {
    for (const [name, value] of Object.entries(names)) this.scope.preload(name, () => value);
  }

  /** Compiles a cell that nobody sees, so that the first real one does not have to wait. */
  warmUp(): void {
    this.compiler.compile("const warm = [1].map((x) => x + 1); warm", { sourceName: "warm" });
  }

  /** Loads what a cell would load when it first uses a name of the library. */
  loadLibrary(): void {
    this.library.load();
  }

  /** The value of a name that a cell has declared; undefined when there is none. */
  lookup(name: string): unknown {
    return this.scope.lookup(name);
  }

  /** Whether a cell has declared the name; the library's do not count. */
  isDefined(name: string): boolean {
    return this.scope.isDefined(name);
  }

  /** Runs one cell. Never rejects: whatever goes wrong is an outcome. */
  async execute(code: string, { output, count }: ExecuteOptions): Promise<Outcome> {
    const run = this.run = new Run();
    try {
      return await withOutput(output, () => withRun(run, () => this.executeHere(code, count)));
    } catch (error) {
      return { status: "error", ...error instanceof CellFailure ? error.error : this.describe(error) };
    } finally {
      this.run = undefined;
    }
  }

  private async executeHere(code: string, count: number | undefined): Promise<Outcome> {
    const label = count === undefined ? "Cell" : `Cell [${count}]`;
    const magics = parseMagics(code);
    const before = await this.runMagics(magics);
    if (before) return before;
    const { outcome, ms } = await this.runCode(magics.code, label, magics.loose);
    if (magics.time) process.stdout.write(wallTime(ms));
    return outcome;
  }

  private async runMagics(magics: Magics): Promise<Outcome | undefined> {
    let page: string | undefined;
    for (const magic of magics.lines) page = await runMagic(magic, this.magicHost()) ?? page;
    if (magics.lines.length > 0 && magics.code.trim() === "") return { status: "ok", page };
    return undefined;
  }

  private magicHost(): MagicHost {
    return {
      folder: this.folder,
      names: () => this.compiler.names().map((name): [string, unknown] => [name, this.lookup(name)]),
      reset: () => this.reset(),
      refreshModules: () => {
        this.compiler.refresh();
        return this.modules.outdated();
      },
      explain: (name: string) => {
        const found = inspect(this.compiler, name, name.length);
        return found && `${found.signature}\n\n${found.documentation}`;
      },
      run: async (code: string) => {
        const { outcome, ms } = await this.runCode(code, "%time", false);
        if (outcome.status === "error") throw new CellFailure(outcome);
        if (outcome.result) await display(outcome.result, { raw: true });
        return ms;
      },
    };
  }

  /** `ms` is how long the code ran, without the time that compiling took. */
  private async runCode(code: string, label: string, loose: boolean): Promise<{ outcome: Outcome; ms: number }> {
    if (code.trim() === "") return { outcome: { status: "ok" }, ms: 0 };
    const sourceName = `gradbook-cell-${++this.executions}.ts`;
    const compiled = this.compiler.compile(code, { sourceName, loose });
    if (compiled.diagnostics.length > 0) return { outcome: { status: "error", ...typeErrors(compiled.diagnostics, label) }, ms: 0 };
    this.cells.set(sourceName, { label, source: code, compiled });
    await this.modules.prepare(compiled.facts.imports);
    for (const name of compiled.values) this.scope.declare(name);
    this.next = compiled;
    this.caught = this.result = undefined;
    const started = performance.now();
    let ms: number;
    try {
      await this.executor.execute("");
    } finally {
      ms = performance.now() - started;
      // Also after an error: what the cell has declared before it stays.
      compiled.commit();
    }
    if (this.executions === CACHE_AFTER_CELLS) setImmediate(saveCompileCache);
    return { outcome: await this.outcome(), ms };
  }

  /** What the executor reported through its console. */
  private async outcome(): Promise<Outcome> {
    const { caught, result: [value] = [] } = this;
    this.caught = this.result = undefined;
    if (caught) {
      if (brokenOff(caught.error)) recover();
      return { status: "error", ...this.describe(caught.error) };
    }
    return value === undefined ? { status: "ok" } : { status: "ok", result: await toBundle(value) };
  }

  /** What tslab's executor asks its converter for: the cell that was compiled a moment ago. */
  private convert(): ConvertResult {
    const { javascript, facts } = this.next!;
    return { output: javascript, declOutput: "", diagnostics: [], hasToplevelAwait: facts.awaits, lastExpressionVar: RESULT };
  }

  private describe(error: unknown): CellError {
    // Or tslab's executor gave up waiting.
    const interrupted = brokenOff(error) || (Object(error) as { message?: string }).message === "Interrupted asynchronously";
    return thrownError(interrupted ? new Interrupted() : error, this.frameSource);
  }

  /** An error that reached nobody, in the same words as a cell's own. */
  describeUncaught(error: unknown): string {
    return this.describe(error).traceback.join("\n");
  }

  /** Ends what the running cell waits for; when none runs, the timers that earlier cells left. */
  interrupt(): void {
    if (!this.run) {
      cancelBackground();
      return;
    }
    const { run } = this;
    cancel(run);
    // An await inside a library is not among the cell's own: after a moment the cell is ended without it.
    setTimeout(() => this.run === run && this.executor.interrupt(), 100);
  }

  complete(code: string, offset: number): Completions {
    return completeMagic(code, offset) ?? complete(this.compiler, parseMagics(code).code, offset);
  }

  inspect(code: string, offset: number): Inspection | undefined {
    return inspect(this.compiler, parseMagics(code).code, offset);
  }

  isComplete(code: string): Completeness {
    return isComplete(this.compiler.ts, parseMagics(code).code);
  }

  /** Forgets every name the cells declared. */
  reset(): void {
    this.scope.reset();
    this.compiler.reset();
  }

  private createFrameSource(): FrameSource {
    const dist = path.join(__dirname, "..", "..");
    const internal = [path.join(dist, "kernel"), path.join(dist, "cli"), path.dirname(require.resolve("tslab/package.json"))];
    return {
      isInternal: (frame) => /\bnode:/.test(frame) || internal.some((folder) => frame.includes(folder)),
      locate: (script, position) => {
        const cell = this.cells.get(script);
        if (cell) {
          const at = cell.compiled.positions!.find(position);
          return at && { label: cell.label, position: at, source: cell.source };
        }
        const file = this.modules.positions.get(script);
        const at = file?.find(position);
        return { label: at ? path.relative(this.folder, script) : script, position: at ?? position };
      },
    };
  }
}
