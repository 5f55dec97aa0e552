/** A Jupyter client for tests: starts the compiled kernel in a folder of its own and speaks to it over its five sockets. */
import { spawn, type ChildProcess } from "node:child_process";
import { randomUUID } from "node:crypto";
import fs from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { Dealer, Request, Subscriber } from "zeromq";
import { decode, encode, type Json, type Message } from "../../../kernel/wire/message";

export const kernelMain = path.join(__dirname, "..", "..", "..", "dist", "kernel", "main.js");

async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(Array.from({ length: count }, () => new Promise<net.Server>((resolve) => {
    const server = net.createServer().listen(0, "127.0.0.1", () => resolve(server));
  })));
  const ports = servers.map((server) => (server.address() as net.AddressInfo).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

export interface Execution {
  reply: Json;
  /** Everything published for the request, in order. */
  messages: Message[];
  stdout: string;
  stderr: string;
  /** text/plain of the result. */
  result: string | undefined;
  data: Json | undefined;
  displays: Json[];
  error: { ename: string; evalue: string; traceback: string[] } | undefined;
}

export class TestKernel {
  readonly key = randomUUID();
  readonly folder = fs.mkdtempSync(path.join(os.tmpdir(), "gradbook-kernel-"));
  process!: ChildProcess;
  log = "";
  /** What the kernel's process ended with, once it has. */
  exit: Promise<{ code: number | null; signal: string | null }> = Promise.resolve({ code: null, signal: null });
  readonly shell = new Dealer({ routingId: randomUUID(), linger: 0 });
  readonly control = new Dealer({ routingId: randomUUID(), linger: 0 });
  readonly stdin: Dealer;
  readonly heartbeat = new Request({ linger: 0 });
  readonly iopub = new Subscriber({ linger: 0 });
  private readonly replies = new Map<string, (message: Message) => void>();
  private readonly published: Message[] = [];
  private readonly watchers = new Set<() => void>();
  /** Answers input_request; undefined leaves it open. */
  onInput: (prompt: string) => string | undefined = () => "";

  private constructor() {
    // The stdin socket must carry the identity of the shell socket: that is how the kernel finds who asked.
    this.stdin = new Dealer({ routingId: this.shell.routingId!, linger: 0 });
  }

  static async start(options: { env?: NodeJS.ProcessEnv } = {}): Promise<TestKernel> {
    const kernel = new TestKernel();
    const [shell_port, iopub_port, stdin_port, control_port, hb_port] = await freePorts(5);
    const connection = {
      transport: "tcp", ip: "127.0.0.1", key: kernel.key, signature_scheme: "hmac-sha256",
      shell_port, iopub_port, stdin_port, control_port, hb_port,
    };
    const file = path.join(kernel.folder, "connection.json");
    fs.writeFileSync(file, JSON.stringify(connection));
    kernel.process = spawn(process.execPath, [kernelMain, file], {
      cwd: kernel.folder, stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, ...options.env },
    });
    kernel.exit = new Promise((resolve) => kernel.process.on("exit", (code, signal) => resolve({ code, signal })));
    for (const stream of [kernel.process.stdout!, kernel.process.stderr!]) stream.on("data", (data: Buffer) => (kernel.log += data.toString()));
    kernel.iopub.subscribe();
    for (const [socket, port] of [[kernel.shell, shell_port], [kernel.control, control_port], [kernel.stdin, stdin_port],
      [kernel.heartbeat, hb_port], [kernel.iopub, iopub_port]] as const) socket.connect(`tcp://127.0.0.1:${port}`);
    void kernel.listen(kernel.shell);
    void kernel.listen(kernel.control);
    void kernel.listenStdin();
    void kernel.listenIopub();
    // The subscription takes effect a moment after the connection: ask until the answer's idle status arrives as well.
    for (;;) {
      const { id } = await kernel.send("kernel_info_request", {});
      const idle = await kernel.idle(id, 300).then(() => true, () => false);
      if (idle) return kernel;
      if (kernel.process.exitCode !== null) throw new Error(`the kernel ended: ${kernel.log}`);
    }
  }

  async send(type: string, content: Json, channel: "shell" | "control" = "shell", buffers: Uint8Array[] = []): Promise<{ id: string; reply: Promise<Message> }> {
    const frames = encode(this.key, { identities: [], type, content, buffers });
    const { msg_id: id } = JSON.parse(frames[2].toString()) as { msg_id: string };
    const reply = new Promise<Message>((resolve) => this.replies.set(id, resolve));
    await this[channel].send(frames);
    return { id, reply };
  }

  async request(type: string, content: Json, channel: "shell" | "control" = "shell"): Promise<Json> {
    return (await (await this.send(type, content, channel)).reply).content;
  }

  /** Runs a cell and waits for its reply and its idle status. */
  async execute(code: string, content: Json = {}): Promise<Execution> {
    return this.finish(await this.startCell(code, content));
  }

  async startCell(code: string, content: Json = {}): Promise<{ id: string; reply: Promise<Message> }> {
    return this.send("execute_request", {
      code, silent: false, store_history: true, user_expressions: {}, allow_stdin: true, stop_on_error: false, ...content,
    });
  }

  async finish({ id, reply }: { id: string; reply: Promise<Message> }): Promise<Execution> {
    const { content } = await reply;
    await this.idle(id);
    const messages = this.of(id);
    const text = (name: string): string => messages.filter(({ header, content: c }) => header.msg_type === "stream" && c.name === name)
      .map(({ content: c }) => c.text as string).join("");
    const first = (type: string): Json | undefined => messages.find(({ header }) => header.msg_type === type)?.content;
    const data = first("execute_result")?.data as Json | undefined;
    return {
      reply: content, messages, stdout: text("stdout"), stderr: text("stderr"), data, result: data?.["text/plain"] as string | undefined,
      displays: messages.filter(({ header }) => header.msg_type === "display_data").map(({ content: c }) => c.data as Json),
      error: first("error") as Execution["error"],
    };
  }

  /** What was published for a request so far. */
  of(id: string): Message[] {
    return this.published.filter(({ parent_header }) => parent_header.msg_id === id);
  }

  async until(condition: () => boolean, limit = 20_000): Promise<void> {
    if (condition()) return;
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => {
        this.watchers.delete(check);
        reject(new Error(`nothing of the kind within ${limit} ms; the kernel's log: ${this.log}`));
      }, limit);
      const check = (): void => {
        if (!condition()) return;
        clearTimeout(timer);
        this.watchers.delete(check);
        resolve();
      };
      this.watchers.add(check);
    });
  }

  idle(id: string, limit?: number): Promise<void> {
    return this.until(() => this.of(id).some(({ header, content }) => header.msg_type === "status" && content.execution_state === "idle"), limit);
  }

  async stop(): Promise<void> {
    if (this.process.exitCode === null && this.process.signalCode === null) {
      this.process.kill("SIGKILL");
      await this.exit;
    }
    for (const socket of [this.shell, this.control, this.stdin, this.heartbeat, this.iopub]) socket.close();
    fs.rmSync(this.folder, { recursive: true, force: true });
  }

  private async listen(socket: Dealer): Promise<void> {
    for await (const frames of socket) {
      const message = decode(this.key, frames);
      this.replies.get(message.parent_header.msg_id!)?.(message);
    }
  }

  private async listenStdin(): Promise<void> {
    for await (const frames of this.stdin) {
      const { header, content } = decode(this.key, frames);
      const value = this.onInput(content.prompt as string);
      if (value !== undefined) await this.stdin.send(encode(this.key, { identities: [], type: "input_reply", parent: header, content: { status: "ok", value } }));
    }
  }

  private async listenIopub(): Promise<void> {
    for await (const [, ...frames] of this.iopub) {
      this.published.push(decode(this.key, frames));
      for (const watcher of [...this.watchers]) watcher();
    }
  }
}
