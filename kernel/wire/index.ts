/** The kernel's side of the Jupyter protocol: sockets in a thread of their own, messages as objects. Knows nothing of TypeScript. */
import path from "node:path";
import { Worker } from "node:worker_threads";
import type { Connection } from "./connection";
import { createFlags } from "./flags";
import { encode, type Header, type Json, type Message } from "./message";

export { readConnection, type Connection } from "./connection";
export { RUNNING, STOP } from "./flags";
export { PROTOCOL_VERSION, type Header, type Json, type Message } from "./message";

export type Channel = "shell" | "control" | "stdin" | "iopub";

export type ToThread =
  | { type: "send"; channel: Channel; frames: (Uint8Array | string)[] }
  | { type: "attached" }
  | { type: "interrupted" }
  | { type: "settle" }
  | { type: "close" };

export type FromThread =
  | { type: "message"; channel: "shell" | "control" | "stdin"; message: Message }
  | { type: "interrupt"; cell: number }
  | { type: "settled" }
  | { type: "shutdown" }
  | { type: "log"; text: string }
  | { type: "fatal"; text: string };

export interface WireHandlers {
  message(channel: "shell" | "control" | "stdin", message: Message): void;
  /** A client wants the running cell to stop; its number is given, so that a late request cannot hit the next cell. */
  interrupt(cell: number): void;
  shutdown(): void;
}

export class Wire {
  /** Shared with the socket thread; see flags.ts. */
  readonly flags = createFlags();
  private readonly worker: Worker;
  private handlers: WireHandlers | undefined;
  private waiting: FromThread[] = [];
  private readonly settling: (() => void)[] = [];

  /**
   * Binds the sockets and starts answering at once.
   * @param kernelInfo the content of kernel_info_reply, answered by the thread until `attach`
   * @param log where one line goes for each message that had to be ignored
   */
  constructor(private readonly connection: Connection, kernelInfo: Json, log: (text: string) => void) {
    this.worker = new Worker(path.join(__dirname, "socket-thread.js"), {
      workerData: { connection, kernelInfo, flags: this.flags },
    });
    this.worker.on("message", (message: FromThread) => {
      if (message.type === "log") log(message.text);
      else if (message.type === "fatal") {
        log(message.text);
        process.exit(1);
      } else if (this.handlers) this.dispatch(this.handlers, message);
      else this.waiting.push(message);
    });
    this.worker.on("error", (error) => {
      log(`the socket thread failed: ${error.message}`);
      process.exit(1);
    });
  }

  /** From here on every message goes to `handlers`, those that came in meanwhile first. */
  attach(handlers: WireHandlers): void {
    this.handlers = handlers;
    this.post({ type: "attached" });
    for (const message of this.waiting.splice(0)) this.dispatch(handlers, message);
  }

  send(channel: "shell" | "control" | "stdin", request: Message, type: string, content: Json): void {
    const frames = encode(this.connection.key, { identities: request.identities, type, parent: request.header, content });
    this.post({ type: "send", channel, frames });
  }

  publish(type: string, content: Json, parent?: Partial<Header>, metadata?: Json, buffers?: Uint8Array[]): void {
    const frames = encode(this.connection.key, {
      identities: [`kernel.${type}`], type, parent, metadata, content, buffers,
    });
    this.post({ type: "send", channel: "iopub", frames });
  }

  /** Resolves when the messages that clients had sent by now, some milliseconds of travel allowed, have been dispatched. */
  settle(): Promise<void> {
    return new Promise((resolve) => {
      this.settling.push(resolve);
      this.post({ type: "settle" });
    });
  }

  /** Sends what is queued and closes the sockets; zeromq aborts the process when they are still open at its end. */
  async close(): Promise<void> {
    const exited = new Promise<void>((resolve) => this.worker.once("exit", () => resolve()));
    this.post({ type: "close" });
    await Promise.race([exited, new Promise((resolve) => setTimeout(resolve, 1000))]);
  }

  private post(message: ToThread): void {
    this.worker.postMessage(message);
  }

  private dispatch(handlers: WireHandlers, message: FromThread): void {
    if (message.type === "message") handlers.message(message.channel, message.message);
    if (message.type === "interrupt") {
      handlers.interrupt(message.cell);
      this.post({ type: "interrupted" });
    }
    if (message.type === "settled") this.settling.shift()?.();
    if (message.type === "shutdown") handlers.shutdown();
  }
}
