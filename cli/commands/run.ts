/** `gradbook run`: executes a notebook from top to bottom, without Jupyter, and writes its outputs. */
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { parseArgs } from "node:util";
import { UsageError, type Command } from "../main.js";
import { NotebookError, runNotebook } from "../../kernel/notebook.js";

export const command: Command = {
  usage: "NOTEBOOK [--output F]",
  summary: "Runs a notebook's cells in order and writes the outputs into it, or into F. Exit code 1 when a cell fails.",
  options: [["--output F", "writes into F and leaves the notebook as it was (also -o)"]],
  run,
};

async function run(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({ args, allowPositionals: true, options: { output: { type: "string", short: "o" } } });
  if (positionals.length !== 1) throw new UsageError(`run takes one notebook, and got ${positionals.length}`);
  const file = path.resolve(positionals[0]);
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    throw new Error(`${positionals[0]} cannot be read (${(error as NodeJS.ErrnoException).code})`);
  }
  const output = path.resolve(values.output ?? file);
  try {
    const { notebook, failed, cells } = await runNotebook(text, path.dirname(file));
    writeFileSync(output, `${JSON.stringify(notebook, undefined, 1)}\n`);
    console.log(`${cells} cells run, written to ${path.relative(process.cwd(), output) || output}`);
    if (failed) {
      console.error(`cell ${failed.cell} failed: ${failed.ename}: ${failed.evalue}`);
      return 1;
    }
    return 0;
  } catch (error) {
    if (error instanceof NotebookError) throw new Error(`${positionals[0]} ${error.message}`);
    throw error;
  }
}
