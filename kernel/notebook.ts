/** Runs a notebook document in a session of its own, as nbconvert --execute does, without a server. */
import { Batch, captureStreams, type DisplayOptions, type MimeBundle, type Output } from "./display";
import { Session } from "./session";

type Lines = string | string[];

/** One output of a code cell, in nbformat 4. */
export interface CellOutput {
  output_type: "stream" | "display_data" | "execute_result" | "error";
  [field: string]: unknown;
}

export interface NotebookCell {
  cell_type: string;
  source: Lines;
  metadata?: { tags?: string[] };
  outputs?: CellOutput[];
  execution_count?: number | null;
}

export interface Notebook {
  cells: NotebookCell[];
  metadata: Record<string, unknown>;
  nbformat: number;
}

/** What is wrong with a notebook file; begins with a verb. */
export class NotebookError extends Error {}

export interface NotebookRun {
  notebook: Notebook;
  /** How many code cells were run. */
  cells: number;
  /** The first cell that failed, counted over the code cells; the rest was not run. */
  failed?: { cell: number; ename: string; evalue: string };
}

function parse(text: string): Notebook {
  let notebook: Notebook;
  try {
    notebook = JSON.parse(text) as Notebook;
  } catch {
    throw new NotebookError("is not a notebook: it is not JSON");
  }
  if (!Array.isArray(notebook?.cells)) throw new NotebookError("is not a notebook of format 4: it has no cells");
  return notebook;
}

/** nbformat keeps text as a list of lines. */
function asLines(value: unknown): unknown {
  return typeof value === "string" ? value.split(/(?<=\n)/) : value;
}

function asNotebookData(data: MimeBundle): MimeBundle {
  return Object.fromEntries(Object.entries(data).map(([type, value]) =>
    [type, type.startsWith("text/") || type === "image/svg+xml" ? asLines(value) : value]));
}

class NotebookOutput implements Output {
  readonly outputs: CellOutput[] = [];
  private readonly batch = new Batch((name, text) => {
    const last = this.outputs.at(-1);
    if (last?.output_type === "stream" && last.name === name) last.text = (last.text as string) + text;
    else this.outputs.push({ output_type: "stream", name, text });
  });
  private clearNext = false;

  /** @param shown outputs by display_id, over the whole notebook: a later cell may replace an earlier one's */
  constructor(private readonly shown: Map<string, CellOutput[]>) {}

  stream(name: "stdout" | "stderr", text: string): void {
    this.beforeOutput();
    this.batch.write(name, text);
  }

  display(data: MimeBundle, { display_id, update, metadata = {} }: DisplayOptions): void {
    this.beforeOutput();
    const known = display_id === undefined ? undefined : this.shown.get(display_id);
    if (update) {
      for (const output of known ?? []) Object.assign(output, { data: asNotebookData(data), metadata });
      return;
    }
    const output: CellOutput = { output_type: "display_data", data: asNotebookData(data), metadata };
    this.outputs.push(output);
    if (display_id !== undefined) this.shown.set(display_id, [...(known ?? []), output]);
  }

  clear(wait: boolean): void {
    this.batch.flush();
    if (wait) this.clearNext = true;
    else this.outputs.length = 0;
  }

  input(): Promise<string> {
    return Promise.reject(new Error("input: nobody is there to answer while a notebook runs from the command line"));
  }

  /** The list as nbformat wants it. */
  finish(): CellOutput[] {
    this.batch.flush();
    for (const output of this.outputs) if (output.output_type === "stream") output.text = asLines(output.text);
    return this.outputs;
  }

  private beforeOutput(): void {
    this.batch.flush();
    if (this.clearNext) this.outputs.length = 0;
    this.clearNext = false;
  }
}

/**
 * Runs every code cell in order; stops at the first that fails, unless the cell is tagged `raises-exception`.
 * @param folder where modules and files are looked for
 */
export async function runNotebook(text: string, folder: string): Promise<NotebookRun> {
  const notebook = parse(text);
  const session = new Session({ folder });
  const restore = captureStreams();
  const shown = new Map<string, CellOutput[]>();
  let count = 0;
  try {
    for (const cell of notebook.cells) {
      if (cell.cell_type !== "code") continue;
      const source = Array.isArray(cell.source) ? cell.source.join("") : cell.source;
      if (source.trim() === "") continue;
      const output = new NotebookOutput(shown);
      const outcome = await session.execute(source, { output, count: ++count });
      const outputs = output.finish();
      cell.outputs = outputs;
      cell.execution_count = count;
      if (outcome.status === "error") {
        const { ename, evalue, traceback } = outcome;
        outputs.push({ output_type: "error", ename, evalue, traceback });
        if (!cell.metadata?.tags?.includes("raises-exception")) return { notebook, cells: count, failed: { cell: count, ename, evalue } };
      } else if (outcome.result) {
        outputs.push({ output_type: "execute_result", execution_count: count, data: asNotebookData(outcome.result), metadata: {} });
      }
    }
    return { notebook, cells: count };
  } finally {
    restore();
  }
}
