/**
 * Which notebooks are trusted, as Jupyter decides it: a notebook is signed when this user ran or trusted all of it, and only a
 * signed notebook's outputs may run scripts when it is opened. The signatures stay on this machine, outside the notebook.
 */
import { createHash, createHmac } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import type { Notebook } from "./notebook.js";
import { formatNotebook } from "./notebook.js";
import { secret } from "./secret.js";

const KEPT = 20_000;
/** Outputs that can do nothing, so that a cell that holds only these needs no trust. */
const HARMLESS = new Set(["text/plain", "image/png", "image/jpeg"]);

export class Notary {
  readonly #file: string;
  readonly #secret: Buffer;
  #signatures: Set<string>;

  constructor(stateDir: string) {
    this.#file = path.join(stateDir, "trusted-notebooks");
    this.#secret = secret(path.join(stateDir, "notebook-secret"));
    this.#signatures = new Set(fs.existsSync(this.#file) ? fs.readFileSync(this.#file, "utf8").split("\n").filter(Boolean) : []);
  }

  #digest(notebook: Notebook): string {
    const content = createHash("sha256").update(formatNotebook(notebook)).digest();
    return createHmac("sha256", this.#secret).update(content).digest("hex");
  }

  sign(notebook: Notebook): void {
    const digest = this.#digest(notebook);
    if (this.#signatures.has(digest)) return;
    this.#signatures.add(digest);
    if (this.#signatures.size > KEPT) {
      this.#signatures = new Set([...this.#signatures].slice(-KEPT / 2));
      fs.writeFileSync(this.#file, [...this.#signatures].join("\n") + "\n", { mode: 0o600 });
    } else {
      fs.appendFileSync(this.#file, digest + "\n", { mode: 0o600 });
    }
  }

  /** Called on save: the page marked the cells whose outputs it made itself. */
  signIfTrusted(notebook: Notebook): void {
    const trusted = notebook.cells.every((cell) => cell.cell_type !== "code" || cell.metadata.trusted === true || harmless(cell.outputs));
    if (trusted) this.sign(notebook);
  }

  /** Called on open: tells the page which cells it may show as they are. */
  mark(notebook: Notebook): void {
    const trusted = this.#signatures.has(this.#digest(notebook));
    for (const cell of notebook.cells) if (cell.cell_type === "code") cell.metadata.trusted = trusted || (Array.isArray(cell.outputs) && cell.outputs.length === 0);
  }
}

function harmless(outputs: unknown): boolean {
  return Array.isArray(outputs) && outputs.every((output: { output_type?: string; data?: object }) =>
    output.output_type === "stream" || output.output_type === "error" || Object.keys(output.data ?? {}).every((mime) => HARMLESS.has(mime)));
}
