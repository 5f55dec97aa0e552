/** Where a cell's output goes. Each cell has an Output of its own; code that runs later still finds it through its async context. */
import { AsyncLocalStorage } from "node:async_hooks";
import type { MimeBundle } from "./bundle";

export interface DisplayOptions {
  /** Names what is shown, so that it can be replaced later. */
  display_id?: string;
  /** Replaces what was shown under `display_id`. */
  update?: boolean;
  metadata?: Record<string, unknown>;
}

export interface Output {
  stream(name: "stdout" | "stderr", text: string): void;
  display(data: MimeBundle, options: DisplayOptions): void;
  clear(wait: boolean): void;
  /** Asks the person in front of the notebook; rejects when the front end cannot. */
  input(prompt: string, password: boolean): Promise<string>;
}

const context = new AsyncLocalStorage<Output>();
let latest: Output | undefined;

/** Runs `body` so that it, and all it starts, writes to `output`. */
export function withOutput<T>(output: Output, body: () => T): T {
  latest = output;
  return context.run(output, body);
}

/** The output of the cell whose code is running, or of the latest cell. */
export function currentOutput(): Output | undefined {
  return context.getStore() ?? latest;
}
