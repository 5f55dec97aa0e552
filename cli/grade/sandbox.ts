/**
 * Processes that run a student's code: unprivileged, limited, in namespaces of their own, without files, network or
 * environment, as far as this machine can. What was used is told, never assumed.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { accessSync, constants, existsSync, lstatSync, readlinkSync } from "node:fs";
import path from "node:path";
import type { Readable, Writable } from "node:stream";
import type { Job } from "./child";
import { engine, heap, snapshot } from "./snapshot";
import { read, write } from "../../exercises/autograder/data";
import { Tensor } from "gradbook";
import type { Answer, Output } from "../../exercises/autograder/probe";

export type Isolation = "bubblewrap" | "permission model" | "none";
/** How many children run the answers of one submission. */
export type Children = "one an answer" | "one a submission";

/** How a child is started, and what that keeps from it. */
export interface Sandbox {
  isolation: Isolation;
  /** The tools in use, outermost first, for the report. */
  tools: string[];
  /** `shared`: for the answers of a whole submission, one after the other. */
  command(slot: number, shared: boolean): string[];
}

/** Limits of one child. Memory in MB. */
const limits = { heap, data: 700, processes: 64, files: 64, fileSize: 1, printed: 10e6, answered: 64e6 };

function which(program: string): string | undefined {
  for (const folder of [...(process.env.PATH ?? "").split(path.delimiter), "/usr/sbin", "/usr/bin", "/bin"]) {
    const file = path.join(folder, program);
    try {
      accessSync(file, constants.X_OK);
      return file;
    } catch {
      continue;
    }
  }
  return undefined;
}

function nodeCommand(program: string, blob: string, permission: boolean, shared: boolean): string[] {
  const [major, minor] = process.versions.node.split(".").map(Number);
  const flag = major > 23 || (major === 22 && minor >= 13) || (major === 23 && minor >= 5) ? "--permission" : "--experimental-permission";
  return [program, "--no-warnings", ...(permission ? [flag] : []), ...(shared ? ["--frozen-intrinsics"] : []), ...engine, "--snapshot-blob", blob];
}

/** The machine's libraries, read only, Node and the child's snapshot; nothing else has a name in there. */
function bubblewrap(program: string, blob: string, asNobody: boolean): string[] {
  const roots = ["/lib", "/lib64", "/bin"].filter(existsSync).flatMap((folder) => {
    const link = lstatSync(folder).isSymbolicLink();
    return link ? ["--symlink", readlinkSync(folder), folder] : ["--ro-bind", folder, folder];
  });
  return [
    program,
    ...["--unshare-all", "--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL"],
    ...(asNobody ? ["--uid", "65534", "--gid", "65534"] : []),
    ...["--ro-bind", "/usr", "/usr", ...roots, "--ro-bind", process.execPath, "/node", "--ro-bind", blob, "/child"],
    ...["--dev", "/dev", "--remount-ro", "/", "--chdir", "/"],
  ];
}

/** What to try on this machine, safest first. */
function candidates(cpuSeconds: number, blob: string): Sandbox[] {
  const root = process.getuid?.() === 0;
  const [setpriv, prlimit, bwrap, unshare] = ["setpriv", "prlimit", "bwrap", "unshare"].map(which);
  // A user id for each slot: the limit on processes counts by user.
  const drop = (slot: number): string[] => {
    if (!setpriv) return [];
    const ids = root ? ["--reuid", String(64_000 + slot), "--regid", String(64_000 + slot), "--clear-groups"] : [];
    return [setpriv, ...ids, "--no-new-privs"];
  };
  const limit = (dropped: boolean): string[] =>
    prlimit
      ? [
          prlimit,
          `--data=${limits.data * 1e6}`,
          `--cpu=${cpuSeconds}`,
          `--fsize=${limits.fileSize * 1e6}`,
          `--nofile=${limits.files}`,
          "--core=0",
          ...(root && dropped ? [`--nproc=${limits.processes}`] : []),
        ]
      : [];
  const names = (command: string[]): string[] => {
    const used = ["setpriv", "prlimit", "bwrap", "unshare"].filter((name) => command.some((word) => path.basename(word) === name));
    return [...used, ...(command.some((word) => word.endsWith("-permission") || word === "--permission") ? ["permission model"] : [])];
  };
  const make = (isolation: Isolation, command: Sandbox["command"]): Sandbox => ({ isolation, command, tools: names(command(0, false)) });
  const found: Sandbox[] = [];
  if (bwrap) {
    found.push(make("bubblewrap", (slot, shared) => [...drop(slot), ...limit(true), ...bubblewrap(bwrap, blob, false), ...nodeCommand("/node", "/child", true, shared)]));
    if (root) found.push(make("bubblewrap", (_slot, shared) => [...limit(false), ...bubblewrap(bwrap, blob, true), ...nodeCommand("/node", "/child", true, shared)]));
  }
  // Node 20's permission model does not gate the network; a network namespace does, where one can be had.
  if (root && unshare) {
    found.push(make("permission model", (slot, shared) => [unshare, "--net", "--ipc", ...drop(slot), ...limit(true), ...nodeCommand(process.execPath, blob, true, shared)]));
  }
  found.push(make("permission model", (slot, shared) => [...drop(slot), ...limit(true), ...nodeCommand(process.execPath, blob, true, shared)]));
  found.push(make("permission model", (_slot, shared) => [...limit(false), ...nodeCommand(process.execPath, blob, true, shared)]));
  found.push(make("none", (_slot, shared) => [...limit(false), ...nodeCommand(process.execPath, blob, false, shared)]));
  return found;
}

function frame(text: string): Buffer {
  const body = Buffer.from(text);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(body.length);
  return Buffer.concat([length, body]);
}

/** What came back from a child. */
export interface Outcome {
  /** By index of the task; a hole where no answer came. */
  answers: Answer[];
  /** Whether the student's code ran to its end, so that its functions could be called. */
  evaluated: boolean;
  /** Why answers are missing; undefined when all came. */
  stopped?: Answer & { state: "threw" | "timeout" };
}

/** An answer as it should be, from one that may be anything. */
function checkAnswer(value: unknown): Answer | undefined {
  const { state, message, outputs, changed, milliseconds } = (value ?? {}) as Record<string, unknown>;
  if (state === "not written") return { state };
  if (state === "threw" || state === "missing" || state === "timeout") return { state, message: String(message).slice(0, 500) };
  if (state !== "returned" || typeof outputs !== "object" || outputs === null || !Array.isArray(changed)) return undefined;
  const numbers: Record<string, Output> = {};
  for (const [name, output] of Object.entries(outputs)) {
    numbers[name] = output instanceof Tensor ? output : { notNumbers: String((output as { notNumbers?: unknown })?.notNumbers).slice(0, 100) };
  }
  return {
    state,
    outputs: numbers,
    changed: changed.map(String).slice(0, 20),
    milliseconds: typeof milliseconds === "number" && milliseconds >= 0 ? milliseconds : Infinity,
  };
}

type Task = Omit<Job, "token" | "shared">;

/** One started child: for one job, or, `shared`, for those of one student, one after the other. */
export class Child {
  private readonly process: ChildProcess;
  private readonly replies: Readable;
  /** Settles when the child is waiting for its job; rejects when it could not be started. */
  readonly ready: Promise<void>;
  private onLine: (line: string) => void = () => {};
  private onEnd: (code: number | null, signal: string | null) => void = () => {};
  private onPrinted: (bytes: number) => void = () => {};
  private onReplied: (characters: number) => void = () => {};
  private errors = "";

  constructor(sandbox: Sandbox, slot: number, private readonly shared = false) {
    const [program, ...args] = sandbox.command(slot, shared);
    // The parent's environment stays with the parent, whether or not bubblewrap clears it.
    this.process = spawn(program, args, { stdio: ["pipe", "pipe", "pipe", "pipe"], env: {}, cwd: "/", detached: true });
    this.replies = this.process.stdio[3] as Readable;
    const [stdin, stdout, stderr] = [this.process.stdin, this.process.stdout, this.process.stderr] as [Writable, Readable, Readable];
    for (const stream of [stdin, stdout, stderr, this.replies]) stream.on("error", () => {});
    const count = (chunk: Buffer): void => this.onPrinted(chunk.length);
    stdout.on("data", count);
    stderr.on("data", (chunk: Buffer) => {
      if (this.errors.length < 20_000) this.errors += chunk.toString();
      count(chunk);
    });
    let rest: string[] = [];
    this.replies.setEncoding("utf8");
    this.replies.on("data", (chunk: string) => {
      this.onReplied(chunk.length);
      const lines = chunk.split("\n");
      if (lines.length === 1) return void rest.push(chunk);
      lines[0] = rest.join("") + lines[0];
      rest = [lines.pop()!];
      for (const line of lines) this.onLine(line);
    });
    this.ready = new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error("it did not start within 20 s")), 20_000);
      this.onLine = (line) => {
        if (line !== "ready") return;
        clearTimeout(timer);
        resolve();
      };
      const fail = (why: string): void => {
        clearTimeout(timer);
        reject(new Error(why));
      };
      this.process.on("error", ({ message }) => fail(message));
      // "close" comes after the pipes are empty, so that no answer is lost.
      this.process.on("close", (code, signal) => {
        fail(this.errors.trim().split("\n").at(-1) || `it ended with ${signal ?? code}`);
        this.onEnd(code, signal);
      });
    });
    this.ready.catch(() => this.kill());
  }

  get alive(): boolean {
    const { pid, exitCode, signalCode } = this.process;
    return pid !== undefined && exitCode === null && signalCode === null;
  }

  /** Ends the child and all that it started. */
  kill(): void {
    if (!this.alive) return;
    const pid = this.process.pid!;
    try {
      process.kill(-pid, "SIGKILL");
    } catch {
      this.process.kill("SIGKILL");
    }
  }

  /** Runs one job, for at most `seconds` of wall clock. */
  async run(job: Task, seconds: number): Promise<Outcome> {
    await this.ready;
    const answers: Answer[] = [];
    const token = randomBytes(16).toString("hex");
    const count = job.tasks.length;
    let left = count;
    let evaluated = false;
    const stopped = await new Promise<Outcome["stopped"]>((resolve) => {
      const limit = `it took longer than ${seconds} s`;
      const timer = setTimeout(() => resolve({ state: "timeout", message: limit }), seconds * 1000);
      const settle = (outcome: Outcome["stopped"]): void => {
        clearTimeout(timer);
        resolve(outcome);
      };
      let [printed, replied] = [0, 0];
      this.onPrinted = (bytes) => {
        printed += bytes;
        if (printed > limits.printed) settle({ state: "threw", message: `it printed more than ${limits.printed / 1e6} MB and was stopped` });
      };
      this.onReplied = (characters) => {
        replied += characters;
        if (replied > limits.answered) settle({ state: "threw", message: `it returned more than ${limits.answered / 1e6} MB and was stopped` });
      };
      this.onEnd = (code, signal) => settle(this.ended(code, signal, seconds));
      if (!this.alive) this.onEnd(this.process.exitCode, this.process.signalCode);
      this.onLine = (line) => {
        const [mark, index] = line.split(" ", 2);
        if (mark !== token) return;
        if (index === "evaluated") return void (evaluated = true);
        let answer: Answer | undefined;
        try {
          answer = checkAnswer(read(line.slice(mark.length + index.length + 2)));
        } catch {
          answer = undefined;
        }
        answer ??= { state: "threw", message: "what it returned cannot be read as numbers" };
        if (index === "stopped") return settle(answer.state === "threw" ? answer : { state: "threw", message: "it stopped" });
        const at = Number(index);
        if (!Number.isInteger(at) || at < 0 || at >= count || answers[at]) return;
        answers[at] = answer;
        if (--left === 0) settle(undefined);
      };
      this.process.stdin!.write(frame(write({ ...job, token, shared: this.shared })));
    });
    this.onLine = () => {};
    this.onEnd = () => {};
    this.onPrinted = () => {};
    this.onReplied = () => {};
    return { answers, evaluated, stopped };
  }

  /** Why a child ended by itself. */
  private ended(code: number | null, signal: string | null, seconds: number): Outcome["stopped"] {
    // What it printed may hide V8's last words: a full heap ends Node 24 and newer with a trap, older ones with an abort.
    const trapped = signal === "SIGTRAP" || signal === "SIGABRT" || code === 128 + 5 || code === 128 + 6;
    if (trapped || /heap out of memory|allocation failed|Cannot allocate|out of memory/i.test(this.errors)) {
      return { state: "threw", message: `it used more than its ${limits.heap} MB of memory` };
    }
    if (signal === "SIGXCPU" || code === 128 + 24) return { state: "timeout", message: `it took longer than ${seconds} s` };
    // Node's report of an uncaught error: its first line with a colon that names an error.
    const uncaught = /^(?:Uncaught )?(\w*Error\b.*)$/m.exec(this.errors)?.[1];
    if (uncaught) return { state: "threw", message: uncaught.slice(0, 500) };
    if (signal === "SIGKILL" || code === 137) return { state: "threw", message: "it was killed by the machine, most likely for its memory" };
    return { state: "threw", message: `it ended its process (exit code ${signal ?? code}) before it answered` };
  }
}

/** The safest sandbox that starts here. */
export async function findSandbox(seconds: number): Promise<Sandbox> {
  const reasons: string[] = [];
  for (const candidate of candidates(Math.ceil(seconds) + 5, snapshot())) {
    const child = new Child(candidate, 0);
    try {
      await child.ready;
      return candidate;
    } catch (error) {
      reasons.push(`${candidate.tools.join(", ")}: ${(error as Error).message}`);
    } finally {
      child.kill();
    }
  }
  throw new Error(`no child process can be started here (${reasons.join("; ")})`);
}

/** What code meets that needs more than a hardened process has: something frozen, something taken away, or no room. */
const refusals = /^(TypeError|ReferenceError|RangeError|EvalError|threw)\b/;

/** Whether an answer ran as it would have in a child of its own: all came back, and nothing was refused. */
function isPlain({ answers, stopped }: Outcome, count: number): boolean {
  if (stopped || Object.keys(answers).length < count) return false;
  return answers.every((answer) => answer.state !== "threw" || !refusals.test(answer.message));
}

/** Children started ahead, so that a job does not wait for one. */
export class Pool {
  private readonly waiting: Child[] = [];
  private readonly all = new Set<Child>();
  /** Children that have done a job, by the submission that they go on with. */
  private readonly idle = new Map<string, Child[]>();
  private slot = 0;
  private closed = false;
  readonly children: Children;

  /**
   * With `shared` the answers of one submission follow each other in one child that they cannot change (realm.ts). One that
   * stops there, or is refused something, is run again in a child of its own, so that sharing costs nobody a point.
   */
  constructor(
    private readonly sandbox: Sandbox,
    private readonly ahead: number,
    private readonly shared = false,
  ) {
    this.children = shared ? "one a submission" : "one an answer";
    this.fill();
  }

  private start(shared: boolean): Child {
    if (this.closed) throw new Error("no child is started any more");
    const child = new Child(this.sandbox, this.slot++ % 500, shared);
    this.all.add(child);
    return child;
  }

  private fill(): void {
    while (this.waiting.length < this.ahead) this.waiting.push(this.start(this.shared));
  }

  private end(child: Child): void {
    child.kill();
    this.all.delete(child);
  }

  /** A child that was started ahead; one that the machine has ended while it waited says nothing about an answer. */
  private fresh(): Child {
    let child = this.waiting.shift();
    for (; child && !child.alive; child = this.waiting.shift()) this.end(child);
    child ??= this.start(this.shared);
    this.fill();
    return child;
  }

  private async runAlone(child: Child, job: Task, seconds: number): Promise<Outcome> {
    try {
      return await child.run(job, seconds);
    } finally {
      this.end(child);
    }
  }

  /** Runs a job of the submission `owner`. Once the pool is closed nothing runs, and what was running comes back as stopped. */
  async run(job: Task, seconds: number, owner: string): Promise<Outcome> {
    try {
      return await this.runHere(job, seconds, owner);
    } catch (error) {
      if (!this.closed) throw error;
      return { answers: [], evaluated: false, stopped: { state: "threw", message: "grading was stopped" } };
    }
  }

  private async runHere(job: Task, seconds: number, owner: string): Promise<Outcome> {
    if (!this.shared) return this.runAlone(this.fresh(), job, seconds);
    const idle = this.idle.get(owner) ?? [];
    this.idle.set(owner, idle);
    const child = idle.pop() ?? this.fresh();
    const outcome = await child.run(job, seconds).catch(() => undefined);
    if (outcome && !outcome.stopped) idle.push(child);
    else this.end(child);
    if (outcome && isPlain(outcome, job.tasks.length)) return outcome;
    return this.runAlone(this.start(false), job, seconds);
  }

  /** Called when the submission `owner` is done. */
  release(owner: string): void {
    for (const child of this.idle.get(owner) ?? []) this.end(child);
    this.idle.delete(owner);
  }

  close(): void {
    this.closed = true;
    for (const child of this.all) child.kill();
    this.all.clear();
    this.waiting.length = 0;
    this.idle.clear();
  }
}
