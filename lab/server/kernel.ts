/** One running kernel: its process, its connection file, what state it is in, and its restarts. */
import type { ChildProcess } from "node:child_process";
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { EventEmitter } from "node:events";
import fs from "node:fs";
import net from "node:net";
import path from "node:path";
import { Dealer, Subscriber } from "zeromq";
import { HttpError } from "./errors.js";
import type { KernelSpec } from "./kernelspecs.js";
import { runtimeDir } from "./paths.js";
import type { Channel, Message } from "./wire.js";
import { fromFrames, readHeader, request, toFrames } from "./wire.js";

export interface ConnectionInfo {
  transport: "tcp";
  ip: string;
  shell_port: number;
  iopub_port: number;
  stdin_port: number;
  control_port: number;
  hb_port: number;
  key: string;
  signature_scheme: "hmac-sha256";
  kernel_name: string;
}

export type KernelState = "starting" | "idle" | "busy" | "restarting" | "autorestarting" | "dead" | "unknown";

/** A kernel that dies more often than this without having lived long is left dead. */
const RESTARTS_IN_A_ROW = 5;
const LIVED_LONG_MS = 20_000;
const START_DEADLINE_MS = 60_000;
const STOP_PATIENCE_MS = 5_000;

/**
 * Events: "status" (message) when we have something to say on iopub in the kernel's place, "down" when the process ends or is
 * about to, "reconnect" when a new one stands behind the same ports, "dead" once it is gone for good.
 */
export class Kernel extends EventEmitter<{ status: [Message]; down: []; reconnect: []; dead: [] }> {
  readonly id = randomUUID();
  state: KernelState = "starting";
  lastActivity = new Date();
  /** How many pages are connected. */
  connections = 0;
  #connection!: ConnectionInfo;
  #connectionFile!: string;
  #child: ChildProcess | undefined;
  #monitor: Subscriber | undefined;
  #control: Dealer | undefined;
  #stopping = false;
  #restarts = 0;
  #startedAt = 0;
  /** The last lines that the process wrote itself, for the sentence that says why it died. */
  #lastWords = "";

  private constructor(readonly spec: KernelSpec, readonly cwd: string, readonly env: NodeJS.ProcessEnv) {
    super();
    this.setMaxListeners(0);
  }

  /** Resolves once the kernel answers; a kernel that dies before that is one sentence with its last words. */
  static async start(spec: KernelSpec, cwd: string, env: NodeJS.ProcessEnv): Promise<Kernel> {
    const kernel = new Kernel(spec, cwd, env);
    const [shell_port, iopub_port, stdin_port, control_port, hb_port] = await freePorts(5);
    kernel.#connection = { transport: "tcp", ip: "127.0.0.1", shell_port, iopub_port, stdin_port, control_port, hb_port, key: randomUUID(), signature_scheme: "hmac-sha256", kernel_name: spec.name };
    kernel.#connectionFile = path.join(runtimeDir(), `kernel-${kernel.id}.json`);
    fs.writeFileSync(kernel.#connectionFile, JSON.stringify(kernel.#connection, undefined, 1), { mode: 0o600 });
    try {
      await kernel.#launch();
    } catch (error) {
      kernel.#release();
      throw error;
    }
    return kernel;
  }

  get connection(): ConnectionInfo {
    return this.#connection;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  address(channel: Channel): string {
    return `tcp://${this.#connection.ip}:${this.#connection[`${channel}_port`]}`;
  }

  model(): object {
    return { id: this.id, name: this.spec.name, last_activity: this.lastActivity.toISOString(), execution_state: this.state, connections: this.connections };
  }

  /** Starts the process and waits until it answers, dies, or has had a minute. */
  async #launch(): Promise<void> {
    this.#startedAt = Date.now();
    this.#lastWords = "";
    const [command, ...args] = this.spec.argv.map((arg) => arg.replaceAll("{connection_file}", this.#connectionFile).replaceAll("{resource_dir}", this.spec.dir));
    const env = { ...this.env, ...this.spec.env, JPY_PARENT_PID: String(process.pid) };
    // A process group of its own: Ctrl-C in our terminal is for us, and an interrupt reaches what a cell has spawned.
    const child = spawn(command, args, { cwd: this.cwd, env, stdio: ["ignore", "pipe", "pipe"], detached: process.platform !== "win32" });
    this.#child = child;
    const listen = (data: Buffer) => (this.#lastWords = (this.#lastWords + data.toString()).slice(-4000));
    child.stdout?.on("data", listen);
    child.stderr?.on("data", listen);
    const gone = new Promise<never>((_, reject) => {
      child.once("error", (error: NodeJS.ErrnoException) => reject(new HttpError(500, `the kernel "${this.spec.display_name}" could not be started: ${error.code === "ENOENT" ? `${command} was not found` : error.message}`)));
      child.once("exit", (code, signal) => setImmediate(() => reject(new HttpError(500, `the kernel "${this.spec.display_name}" stopped while it started (${signal ?? `exit code ${code}`})${this.#lastLine()}`))));
    });
    const deadline = new AbortController();
    const late = new Promise<never>((_, reject) => {
      const timer = setTimeout(() => reject(new HttpError(500, `the kernel "${this.spec.display_name}" did not answer within ${START_DEADLINE_MS / 1000} s`)), START_DEADLINE_MS);
      deadline.signal.addEventListener("abort", () => clearTimeout(timer));
    });
    try {
      await Promise.race([this.#answers(deadline.signal), gone, late]);
    } catch (error) {
      this.#kill();
      throw error;
    } finally {
      deadline.abort();
      gone.catch(() => undefined);
    }
    child.once("exit", () => void this.#died(child));
    if (child.exitCode !== null || child.signalCode !== null) void this.#died(child);
  }

  #lastLine(): string {
    const lines = this.#lastWords.split("\n").map((line) => line.trim()).filter(Boolean);
    const telling = lines.findLast((line) => /error/i.test(line) && !line.startsWith("at ")) ?? lines.at(-1);
    return telling ? `: ${telling.slice(0, 300)}` : "";
  }

  /** Asks for kernel_info until there is a reply. A fresh kernel runs nothing, so its shell is free. */
  async #answers(signal: AbortSignal): Promise<void> {
    this.#openMonitor();
    const shell = new Dealer({ linger: 0 });
    shell.connect(this.address("shell"));
    const ask = () => void shell.send(toFrames(this.#connection.key, request("shell", "kernel_info_request", {}))).catch(() => undefined);
    ask();
    const timer = setInterval(ask, 1_000);
    signal.addEventListener("abort", () => shell.close());
    try {
      for await (const frames of shell) {
        if (fromFrames(this.#connection.key, "shell", frames)) break;
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      clearInterval(timer);
      shell.close();
    }
    if (this.state !== "busy") this.state = "idle";
  }

  /** Our own ear on iopub: what state the kernel is in, and when it last did something. */
  #openMonitor(): void {
    this.#monitor?.close();
    this.#control?.close();
    const monitor = new Subscriber({ linger: 0, receiveHighWaterMark: 0 });
    monitor.connect(this.address("iopub"));
    monitor.subscribe();
    this.#monitor = monitor;
    this.#control = new Dealer({ linger: 500 });
    this.#control.connect(this.address("control"));
    void this.#watch(monitor).catch(() => undefined);
  }

  async #watch(monitor: Subscriber): Promise<void> {
    for await (const frames of monitor) {
      const message = fromFrames(this.#connection.key, "iopub", frames);
      if (!message) continue;
      this.lastActivity = new Date();
      if (readHeader(message.header).msg_type !== "status") continue;
      const { execution_state } = JSON.parse(message.content.toString()) as { execution_state: KernelState };
      this.state = execution_state;
    }
  }

  /** Says on iopub, in the kernel's place, how it is. The page knows "restarting" and "dead" from here only. */
  #say(state: "restarting" | "dead"): void {
    this.state = state;
    this.emit("status", request("iopub", "status", { execution_state: state }));
  }

  /** The process ended and nobody asked it to. */
  async #died(child: ChildProcess): Promise<void> {
    if (this.#stopping || this.#child !== child) return;
    this.#restarts = Date.now() - this.#startedAt > LIVED_LONG_MS ? 1 : this.#restarts + 1;
    if (this.#restarts > RESTARTS_IN_A_ROW) return this.#giveUp();
    this.emit("down");
    this.#say("restarting");
    try {
      await this.#launch();
      this.emit("reconnect");
    } catch {
      // What it died of is the same each time; the page is told that it is dead.
      this.#giveUp();
    }
  }

  #giveUp(): void {
    if (this.#stopping) return;
    this.#say("dead");
    this.#release();
    this.emit("dead");
  }

  async interrupt(): Promise<void> {
    if (this.spec.interrupt_mode === "message") await this.#control?.send(toFrames(this.#connection.key, request("control", "interrupt_request", {})));
    else this.#signal("SIGINT");
  }

  /** The restart that the user asked for. It says nothing on iopub: the page knows. */
  async restart(): Promise<void> {
    this.emit("down");
    await this.#stop(true);
    this.#stopping = false;
    this.#restarts = 0;
    this.state = "starting";
    try {
      await this.#launch();
    } catch (error) {
      this.#giveUp();
      throw error;
    }
    this.emit("reconnect");
  }

  async shutdown(): Promise<void> {
    await this.#stop(false);
    this.#release();
    this.state = "dead";
    this.emit("dead");
  }

  /** Asks politely over control, then by signal. */
  async #stop(restart: boolean): Promise<void> {
    this.#stopping = true;
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));
    void this.#control?.send(toFrames(this.#connection.key, request("control", "shutdown_request", { restart }))).catch(() => undefined);
    if (await within(exited, STOP_PATIENCE_MS)) return this.#kill();
    this.#signal("SIGTERM");
    if (await within(exited, 1_000)) return this.#kill();
    this.#kill();
    await within(exited, 1_000);
  }

  #signal(signal: NodeJS.Signals): void {
    const pid = this.#child?.pid;
    if (pid === undefined) return;
    try {
      if (process.platform === "win32") this.#child?.kill(signal);
      else process.kill(-pid, signal);
    } catch {
      // The group is gone already.
    }
  }

  /** Whatever is left of the process and of those that it spawned. */
  #kill(): void {
    this.#signal("SIGKILL");
  }

  /** Ends it at once, for when we are being killed ourselves. */
  abandon(): void {
    this.#stopping = true;
    this.#kill();
    this.#release();
  }

  #release(): void {
    this.#monitor?.close();
    this.#control?.close();
    this.#monitor = this.#control = undefined;
    fs.rmSync(this.#connectionFile, { force: true });
  }
}

async function within(promise: Promise<void>, ms: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const result = await Promise.race([promise.then(() => true), new Promise<boolean>((resolve) => (timer = setTimeout(() => resolve(false), ms)))]);
  clearTimeout(timer);
  return result;
}

/** Ports that were free a moment ago, all held at once so that they differ. */
async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(Array.from({ length: count }, () => new Promise<net.Server>((resolve, reject) => {
    const server = net.createServer().once("error", reject).listen(0, "127.0.0.1", () => resolve(server));
  })));
  const ports = servers.map((server) => (server.address() as net.AddressInfo).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}
