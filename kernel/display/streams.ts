/** Standard output and error as stream messages: gathered for some milliseconds, in order, nothing lost. */
import { currentOutput, type Output } from "./output";

const PAUSE_MS = 15;
const MANY_CHARACTERS = 1 << 16;
/** So many writes in a pause are sent as they come, since a loop that never yields may follow; a flood is gathered. */
const FEW_WRITES = 20;

/** Gathers what is printed in quick succession into one message. */
export class Batch {
  private name: "stdout" | "stderr" = "stdout";
  private parts: string[] = [];
  private size = 0;
  private writes = 0;
  private since = 0;
  private timer: NodeJS.Timeout | undefined;

  constructor(private readonly send: (name: "stdout" | "stderr", text: string) => void) {}

  write(name: "stdout" | "stderr", text: string): void {
    if (text === "") return;
    if (name !== this.name) this.flush();
    this.name = name;
    this.parts.push(text);
    this.size += text.length;
    const now = performance.now();
    if (now - this.since > PAUSE_MS) {
      this.since = now;
      this.writes = 0;
    }
    if (++this.writes <= FEW_WRITES || this.size > MANY_CHARACTERS) this.flush();
    else this.timer ??= originalSetTimeout(() => this.flush(), PAUSE_MS);
  }

  flush(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    if (this.parts.length === 0) return;
    const text = this.parts.join("");
    this.parts = [];
    this.size = 0;
    this.send(this.name, text);
  }
}

// A cell's interrupt clears the cell's timers; these are the kernel's own.
const originalSetTimeout = setTimeout;

type Write = typeof process.stdout.write;

/** Sends what is written to this process's stdout and stderr to the running cell. Returns a function that undoes it. */
export function captureStreams(): () => void {
  const undo = (["stdout", "stderr"] as const).map((name) => {
    const stream = process[name];
    const original = stream.write.bind(stream) as Write;
    const decoder = new TextDecoder();
    stream.write = ((chunk: string | Uint8Array, encoding?: unknown, callback?: unknown): boolean => {
      const output: Output | undefined = currentOutput();
      if (!output) return original(chunk as string, encoding as BufferEncoding, callback as () => void);
      output.stream(name, typeof chunk === "string" ? chunk : decoder.decode(chunk, { stream: true }));
      const done = typeof encoding === "function" ? encoding : callback;
      if (typeof done === "function") process.nextTick(done as () => void);
      return true;
    }) as Write;
    return () => {
      stream.write = original;
    };
  });
  return () => undo.forEach((restore) => restore());
}
