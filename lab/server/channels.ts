/** A page's conversation with a kernel: a WebSocket on one side, four ZeroMQ sockets on the other. */
import { randomUUID } from "node:crypto";
import { Dealer, Subscriber } from "zeromq";
import type { WebSocket } from "ws";
import type { Kernel } from "./kernel.js";
import type { Message } from "./wire.js";
import { fromDefault, fromFrames, fromV1, readHeader, request, toDefault, toFrames, toV1, V1 } from "./wire.js";

/** How long, and how much, is kept for a page whose connection broke. */
const KEPT_MS = 60 * 60_000;
const KEPT_BYTES = 64 * 2 ** 20;
const NUDGE = "gradbook-nudge-";
const NUDGE_EVERY_MS = 250;
/** A kernel that is busy with another page's cell cannot answer on shell; after this the page is let through all the same. */
const NUDGE_PATIENCE_MS = 5_000;

/**
 * Lives as long as the page's session id, over any number of WebSockets: what the kernel says while none is connected is kept
 * and replayed to the next.
 */
export class Conversation {
  #socket: WebSocket | undefined;
  #shell!: Dealer;
  #control!: Dealer;
  #stdin!: Dealer;
  #iopub!: Subscriber;
  /** Held back until the subscription to iopub is known to work, or early output would be lost. */
  #waiting: Message[] | undefined = [];
  #nudge: NodeJS.Timeout | undefined;
  #heard = { iopub: false, reply: false };
  #missed: Message[] = [];
  #missedBytes = 0;
  #expiry: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(readonly kernel: Kernel, readonly onClose: () => void) {
    kernel.on("status", this.#deliver);
    kernel.on("down", this.#pause);
    kernel.on("reconnect", this.#open);
    kernel.once("dead", this.#end);
    this.#open();
  }

  /** Hands the conversation to a WebSocket; an older one of the same session is let go. */
  attach(socket: WebSocket): void {
    this.#socket?.close(1000, "the page connected again");
    clearTimeout(this.#expiry);
    this.#socket = socket;
    this.kernel.connections += 1;
    const missed = this.#missed;
    this.#missed = [];
    this.#missedBytes = 0;
    for (const message of missed) this.#deliver(message);
    socket.on("message", (data: Buffer, binary) => this.#receive(socket, data, binary));
    socket.on("close", (code) => {
      this.kernel.connections -= 1;
      if (this.#socket !== socket) return;
      this.#socket = undefined;
      // A page that was left (1001) never comes back under this session id; a broken connection does.
      if (code === 1001) this.#end();
      else this.#expiry = setTimeout(this.#end, KEPT_MS).unref();
    });
    socket.on("error", () => socket.terminate());
  }

  #receive(socket: WebSocket, data: Buffer, binary: boolean): void {
    let message: Message;
    try {
      message = socket.protocol === V1 ? fromV1(data) : fromDefault(data, binary);
    } catch (error) {
      socket.close(1003, (error as Error).message.slice(0, 100));
      return;
    }
    if (this.#waiting) this.#waiting.push(message);
    else this.#send(message);
  }

  #send(message: Message): void {
    const socket = message.channel === "control" ? this.#control : message.channel === "stdin" ? this.#stdin : this.#shell;
    // A send fails only when the sockets were closed under it, by a restart or the end.
    socket.send(toFrames(this.kernel.connection.key, message)).catch(() => undefined);
  }

  readonly #deliver = (message: Message): void => {
    if (this.#socket?.readyState === 1) {
      this.#socket.send(this.#socket.protocol === V1 ? toV1(message) : toDefault(message));
      return;
    }
    this.#missed.push(message);
    this.#missedBytes += sizeOf(message);
    while (this.#missedBytes > KEPT_BYTES) this.#missedBytes -= sizeOf(this.#missed.shift()!);
  };

  readonly #open = (): void => {
    const { kernel } = this;
    this.#shell = new Dealer({ linger: 0, sendHighWaterMark: 0, receiveHighWaterMark: 0 });
    this.#control = new Dealer({ linger: 0, sendHighWaterMark: 0, receiveHighWaterMark: 0 });
    this.#iopub = new Subscriber({ linger: 0, receiveHighWaterMark: 0 });
    this.#stdin = new Dealer({ linger: 0 });
    // A kernel asks for input on stdin by the identity that the request came with on shell.
    this.#shell.routingId = this.#stdin.routingId = randomUUID();
    this.#shell.connect(kernel.address("shell"));
    this.#control.connect(kernel.address("control"));
    this.#stdin.connect(kernel.address("stdin"));
    this.#iopub.connect(kernel.address("iopub"));
    this.#iopub.subscribe();
    for (const [channel, socket] of [["shell", this.#shell], ["control", this.#control], ["stdin", this.#stdin], ["iopub", this.#iopub]] as const) {
      void this.#listen(channel, socket).catch(() => undefined);
    }
    this.#startNudge();
  };

  async #listen(channel: Message["channel"], socket: Dealer | Subscriber): Promise<void> {
    for await (const frames of socket) {
      const message = fromFrames(this.kernel.connection.key, channel, frames);
      if (!message) continue;
      if (channel === "iopub" && !this.#heard.iopub) this.#hear("iopub");
      if (readHeader(message.parent).msg_id?.startsWith(NUDGE)) {
        if (channel !== "iopub") this.#hear("reply");
        continue;
      }
      this.#deliver(message);
    }
  }

  #startNudge(): void {
    this.#waiting ??= [];
    this.#heard = { iopub: false, reply: false };
    const started = Date.now();
    const nudge = () => {
      if (Date.now() - started > NUDGE_PATIENCE_MS) return this.#letThrough();
      this.#send(request("control", "kernel_info_request", {}, `${NUDGE}${Date.now()}`));
      if (this.kernel.state !== "busy") this.#send(request("shell", "kernel_info_request", {}, `${NUDGE}${Date.now()}`));
    };
    clearInterval(this.#nudge);
    this.#nudge = setInterval(nudge, NUDGE_EVERY_MS);
    nudge();
  }

  #hear(what: "iopub" | "reply"): void {
    this.#heard[what] = true;
    if (this.#heard.iopub && this.#heard.reply) this.#letThrough();
  }

  #letThrough(): void {
    clearInterval(this.#nudge);
    const waiting = this.#waiting ?? [];
    this.#waiting = undefined;
    for (const message of waiting) this.#send(message);
  }

  /** What the page sends from now on is for the process that comes next. */
  readonly #pause = (): void => {
    this.#waiting ??= [];
    this.#closeSockets();
  };

  #closeSockets(): void {
    clearInterval(this.#nudge);
    for (const socket of [this.#shell, this.#control, this.#stdin, this.#iopub]) socket.close();
  }

  readonly #end = (): void => {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#expiry);
    this.kernel.off("status", this.#deliver);
    this.kernel.off("down", this.#pause);
    this.kernel.off("reconnect", this.#open);
    this.kernel.off("dead", this.#end);
    this.#closeSockets();
    this.#socket?.close(1000);
    this.onClose();
  };
}

function sizeOf(message: Message): number {
  return message.header.length + message.parent.length + message.content.length + message.buffers.reduce((sum, buffer) => sum + buffer.length, 0);
}

/** The conversations that are open, by kernel and session. */
export class Conversations {
  readonly #open = new Map<string, Conversation>();

  connect(kernel: Kernel, session: string, socket: WebSocket): void {
    const key = `${kernel.id} ${session}`;
    let conversation = this.#open.get(key);
    if (!conversation) {
      conversation = new Conversation(kernel, () => this.#open.delete(key));
      this.#open.set(key, conversation);
    }
    conversation.attach(socket);
  }
}
