/**
 * Several threads for one layer: a queue of kernel calls in shared memory, from which the main thread and its workers
 * take one after the other until none is left.
 *
 * The queue is one word, the ticket: which job this is, and how many of its calls nobody has taken yet. Whoever lowers it
 * by one has taken that call. The main thread takes part, so a job ends whether workers are there, still starting or
 * gone; a worker's only privilege is to make it end sooner.
 */

import type * as Os from "node:os";
import type * as WorkerThreads from "node:worker_threads";

/** A kernel and its arguments. Calls of one job run in any order, at the same time, and twice if a thread is lost. */
export type Call = readonly [kernel: string, ...args: number[]];
export type Kernel = (...args: number[]) => unknown;

/** More threads than this are not started. */
export const MOST_THREADS = 8;
/** Calls in one job, and numbers in one call: the kernel's, how many arguments, and these. */
const MOST_CALLS = 128;
const CALL = 32;
const WORDS = 64;
/** Bytes of shared memory that the queue takes. */
export const QUEUE_BYTES = WORDS + MOST_CALLS * CALL * 8;
/** Below this many arithmetic operations a call is not worth handing to another thread. */
const WORTH_SHARING = 500_000;
/** Calls for each thread, so that one that comes late still finds some. */
const SHARES = 2;

/**
 * The shared words: the ticket (its lowest twelve bits are the calls left, those above the job), the calls of that job that
 * are done, whether one failed, which generation of workers is wanted (one that sees another leaves, between calls), and how
 * many workers have not left. `drain` and `worker` write the numbers out.
 */
const [TICKET, DONE, FAILED, GENERATION, PRESENT] = [0, 1, 2, 3, 4];

export class Threads {
  /** How long the main thread waits for a call that a worker has taken, in milliseconds. */
  patience = 10_000;
  private readonly words: Int32Array;
  private readonly calls: Float64Array;
  private readonly names: readonly string[];
  private readonly functions: readonly Kernel[];
  private readonly numbers: Map<string, number>;
  private workers: WorkerThreads.Worker[] | undefined;
  private job = 0;

  /**
   * @param count how many threads, the main one included. @param queue the address of QUEUE_BYTES bytes.
   * @param scratch the address of each worker's own work space. @param kernels the main thread's, by name.
   */
  constructor(
    readonly count: number, private readonly module: WebAssembly.Module, private readonly memory: WebAssembly.Memory,
    private readonly queue: number, private readonly scratch: (thread: number) => number, kernels: object,
  ) {
    const own = Object.entries(kernels).filter((entry): entry is [string, Kernel] => typeof entry[1] === "function");
    this.names = own.map(([name]) => name);
    this.functions = own.map(([, kernel]) => kernel);
    this.numbers = new Map(this.names.map((name, i) => [name, i]));
    this.words = new Int32Array(memory.buffer, queue, WORDS / 4);
    this.calls = new Float64Array(memory.buffer, queue + WORDS, MOST_CALLS * CALL);
  }

  /**
   * How `count` rows are best cut up: [first, how many] of each piece.
   * @param operations for one row. @param step pieces begin at multiples of it.
   */
  pieces(count: number, operations: number, step = 1): [number, number][] {
    if (this.count === 1) return [[0, count]];
    const most = Math.min(SHARES * this.count, Math.floor((count * operations) / WORTH_SHARING), Math.ceil(count / step));
    if (most <= 1) return [[0, count]];
    const size = Math.ceil(count / most / step) * step;
    return Array.from({ length: Math.ceil(count / size) }, (_, i) => [i * size, Math.min(size, count - i * size)]);
  }

  /** Makes all calls, and returns when all are done. */
  run(calls: readonly Call[], operations = Infinity): void {
    if (this.count === 1 || calls.length === 1 || calls.length * operations < 2 * WORTH_SHARING) {
      for (const call of calls) this.alone(call);
      return;
    }
    this.workers ??= this.start();
    for (let from = 0; from < calls.length; from += MOST_CALLS) this.share(calls.slice(from, from + MOST_CALLS));
  }

  /** Makes a call on the main thread. Small layers are many such calls: destructuring would cost as much as a layer of 16. */
  private alone(call: Call): void {
    this.functions[this.numbers.get(call[0])!].apply(undefined, call.slice(1) as number[]);
  }

  private share(calls: readonly Call[]): void {
    const { words } = this;
    calls.forEach(([kernel, ...args], i) => {
      this.calls[i * CALL] = this.numbers.get(kernel)!;
      this.calls[i * CALL + 1] = args.length;
      this.calls.set(args, i * CALL + 2);
    });
    this.job = (this.job + 1) & 0x3ffff;
    Atomics.store(words, DONE, this.job << 12);
    Atomics.store(words, FAILED, 0);
    Atomics.store(words, TICKET, (this.job << 12) | calls.length);
    Atomics.notify(words, TICKET);
    drain(words, this.calls, this.functions);
    if (!this.finished(calls.length)) {
      for (const thread of this.workers!) void thread.terminate();
      Atomics.store(words, PRESENT, 0);
      this.stop();
      for (const call of calls) this.alone(call);
    } else if (Atomics.load(words, FAILED)) {
      throw new Error("wasm: a kernel stopped");
    }
  }

  /** Waits until all calls are done; false when a worker that has taken one is not heard of any more. */
  private finished(count: number): boolean {
    const { words } = this;
    const all = (this.job << 12) | count;
    for (let spins = 0; spins < 10_000; spins++) if (Atomics.load(words, DONE) === all) return true;
    for (let done = Atomics.load(words, DONE); done !== all; done = Atomics.load(words, DONE)) {
      if (Atomics.wait(words, DONE, done, this.patience) === "timed-out") return false;
    }
    return true;
  }

  private start(): WorkerThreads.Worker[] {
    const { Worker } = require("worker_threads") as typeof WorkerThreads;
    const source = `${drain.toString()}\n(${worker.toString()})(require("node:worker_threads").workerData);`;
    const workers: WorkerThreads.Worker[] = [];
    const generation = Atomics.load(this.words, GENERATION);
    try {
      for (let i = 1; i < this.count; i++) {
        const { module, memory, queue, names } = this;
        const thread = new Worker(source, {
          eval: true,
          execArgv: [],
          workerData: { module, memory, queue, names, scratch: this.scratch(i), generation } satisfies WorkerData,
        });
        Atomics.add(this.words, PRESENT, 1);
        thread.on("error", () => {
          Atomics.sub(this.words, PRESENT, 1);
          this.stop();
        });
        thread.unref();
        workers.push(thread);
      }
    } catch {
      // No threads may be started here (Node's permission model): the main thread does all.
    }
    return workers;
  }

  /** After a job was broken off: gives it up and waits until no worker writes for it any more. The next job starts new ones. */
  recover(): void {
    const { words } = this;
    Atomics.store(words, TICKET, this.job << 12);
    this.stop();
    for (let left = Atomics.load(words, PRESENT); left > 0; left = Atomics.load(words, PRESENT)) {
      if (Atomics.wait(words, PRESENT, left, this.patience) === "timed-out") return;
    }
    this.workers = undefined;
  }

  /** Sends the workers home, each when it has made the call that it may have taken. The main thread goes on alone. */
  stop(): void {
    this.workers = [];
    Atomics.add(this.words, GENERATION, 1);
    Atomics.notify(this.words, TICKET);
  }
}

interface WorkerData {
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
  readonly queue: number;
  readonly names: readonly string[];
  readonly scratch: number;
  readonly generation: number;
}

/** Takes calls and makes them until none is left. Sent to the workers as source text: it uses nothing from this module. */
function drain(words: Int32Array, calls: Float64Array, functions: readonly Kernel[]): void {
  for (;;) {
    const ticket = Atomics.load(words, 0);
    const left = ticket & 0xfff;
    if (left === 0) return;
    if (Atomics.compareExchange(words, 0, ticket, ticket - 1) !== ticket) continue;
    const at = (left - 1) * 32;
    try {
      functions[calls[at]](...calls.subarray(at + 2, at + 2 + calls[at + 1]));
    } catch {
      Atomics.store(words, 2, 1);
    }
    // A job that was given up counts no more.
    let done = Atomics.load(words, 1);
    while (done >> 12 === ticket >> 12 && Atomics.compareExchange(words, 1, done, done + 1) !== done) done = Atomics.load(words, 1);
    Atomics.notify(words, 1);
  }
}

/** A worker's main program; source text like `drain`. */
function worker({ module, memory, queue, names, scratch, generation }: WorkerData): void {
  const abort = (): never => {
    throw new Error("wasm: a kernel stopped");
  };
  const { exports } = new WebAssembly.Instance(module, { env: { memory, abort } });
  const kernels = exports as Record<string, Kernel>;
  kernels.setScratch(scratch);
  const functions = names.map((name) => kernels[name]);
  const words = new Int32Array(memory.buffer, queue, 16);
  const calls = new Float64Array(memory.buffer, queue + 64);
  while (Atomics.load(words, 3) === generation) {
    drain(words, calls, functions);
    // The next job often comes at once: a short look before sleeping is cheaper than being woken.
    const ticket = Atomics.load(words, 0);
    let idle = (ticket & 0xfff) === 0;
    for (let i = 0; idle && i < 20_000; i++) idle = Atomics.load(words, 0) === ticket;
    if (idle && Atomics.load(words, 3) === generation) Atomics.wait(words, 0, ticket, 1000);
  }
  Atomics.sub(words, 4, 1);
  Atomics.notify(words, 4);
}

/** As many threads as the machine has processors, MOST_THREADS at most; one where there are no worker threads. */
export function usualThreads(): number {
  if (typeof process === "undefined" || !process.versions?.node) return 1;
  const { availableParallelism } = require("os") as typeof Os;
  return Math.min(MOST_THREADS, availableParallelism());
}
