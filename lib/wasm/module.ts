/** Loads the compiled kernels of assembly/ and binds them to one memory and its threads. */

import type * as V8 from "node:v8";
import { onBreak } from "../interrupt";
import { relaxed, simd, wide } from "./kernels.generated";
import { WasmMemory } from "./memory";
import { MOST_THREADS, QUEUE_BYTES, Threads, usualThreads } from "./threads";

/** Activations that have a kernel each way. */
export const ACTIVATIONS = ["relu", "leakyRelu", "sigmoid", "tanh", "silu", "gelu", "geluTanh"] as const;
type ActivationName = (typeof ACTIVATIONS)[number];
type KernelName =
  | ActivationName | `${ActivationName}Backward` | "add" | "sub" | "mul" | "div" | "copyRows" | "sumRows" | "gemm_f32" | "gemm_f64"
  | "softmax" | "softmaxBackward" | "crossEntropy" | "crossEntropyBackward" | "layerNorm" | "layerNormBackward"
  | "embedding" | "embeddingBackward" | "attention" | "attentionBackward" | "sgd" | "momentum" | "adam";

/** The module's functions; assembly/ says what their arguments are. Addresses are bytes, booleans 0 or 1. */
export type Kernels = Readonly<Record<KernelName, (...args: number[]) => void>> & {
  attentionWork(t: number): number;
  gemmScratch(): number;
  setScratch(at: number): void;
};

export interface Wasm {
  readonly kernels: Kernels;
  readonly memory: WasmMemory;
  readonly threads: Threads;
  readonly build: Build;
}

/**
 * Which of the three modules runs. Where multiply-adds are fused (all but "simd"), results differ from one engine to the
 * next in the last bit.
 */
export type Build = "simd" | "relaxed" | "wide";
const BUILDS: Record<Build, string> = { simd, relaxed, wide };

let loaded: (Wasm & { module: WebAssembly.Module }) | undefined;
let wanted: Build = "simd";
let threadCount: number | undefined;

/**
 * Chooses relaxed SIMD (fused multiply-add) where the engine has it; before the first layer runs on wasm.
 * Returns whether it will be used.
 */
export function useRelaxedSimd(): boolean {
  // Node 20 has it behind a flag, which may still be set now.
  return chooseBuild("relaxed", hasRelaxedSimd() || (setFlag("--experimental-wasm-relaxed-simd") && hasRelaxedSimd()));
}

/**
 * Chooses relaxed SIMD for engines that join neighbouring vectors of 128 bits into one of 256; before the first layer runs
 * on wasm. V8 does so from Node 24 on, on x64 processors with AVX2, and counts it among its experiments; a web page cannot
 * ask for it. Returns whether it will be used.
 */
export function useWideSimd(): boolean {
  const joins = typeof process !== "undefined" && process.arch === "x64" && parseInt(process.versions?.v8 ?? "0") >= 13;
  return chooseBuild("wide", joins && hasRelaxedSimd() && setFlag("--experimental-wasm-revectorize"));
}

/** Takes the build if it is possible; whether it will be used. */
export function chooseBuild(build: Build, possible: boolean): boolean {
  if (loaded) return loaded.build === build;
  if (possible) wanted = build;
  return possible;
}

const hasRelaxedSimd = (): boolean => WebAssembly.validate(decode(relaxed));

/** Sets a flag of V8's where this is Node. */
function setFlag(flag: string): boolean {
  if (typeof process === "undefined" || !process.versions?.node) return false;
  (require("v8") as typeof V8).setFlagsFromString(flag);
  return true;
}

/**
 * How many threads large layers are shared between; small ones run on one thread whatever is said here. Without a number,
 * the number in force: at first as many as the machine has processors, 8 at most.
 *
 * @throws when the number is not a whole one from 1 to 8, or when there are no worker threads to be had (in a browser)
 */
export function useThreads(count?: number): number {
  if (count === undefined) return threadCount ?? usualThreads();
  if (!(Number.isInteger(count) && count >= 1 && count <= MOST_THREADS)) {
    throw new Error(`useThreads: the number is ${count}, it should be a whole number from 1 to ${MOST_THREADS}`);
  }
  if (count > 1 && (typeof process === "undefined" || !process.versions?.node)) {
    throw new Error("useThreads: wasm shares work between Node's worker threads, which are not available here; use 1");
  }
  threadCount = count;
  if (loaded && loaded.threads.count !== count) {
    loaded.threads.stop();
    loaded = { ...loaded, threads: threadsOf(loaded.module, loaded.memory, loaded.kernels) };
  }
  return count;
}

/** The kernels, compiled when they are first asked for. */
export function wasm(): Wasm {
  return (loaded ??= load());
}

/** The memory begins with the module's constants; then come the queue of the threads, and each thread's packed operands. */
const QUEUE = 65536;
const SCRATCH = QUEUE + 65536;
const SCRATCH_BYTES = 4 * 2 ** 20;
const scratchOf = (thread: number): number => SCRATCH + thread * SCRATCH_BYTES;

function load(): NonNullable<typeof loaded> {
  const bytes = decode(BUILDS[wanted]);
  if (typeof SharedArrayBuffer === "undefined") {
    throw new Error('wasm: there is no SharedArrayBuffer here (a web page has it only when cross-origin isolated); use device "cpu"');
  }
  if (!WebAssembly.validate(bytes)) throw new Error('wasm: this engine has no WebAssembly SIMD with threads; use device "cpu"');
  const module = new WebAssembly.Module(bytes);
  const memory = new WasmMemory(scratchOf(MOST_THREADS));
  const { exports } = new WebAssembly.Instance(module, { env: { memory: memory.memory, abort } });
  const kernels = exports as unknown as Kernels;
  if (kernels.gemmScratch() > SCRATCH_BYTES || QUEUE_BYTES > SCRATCH - QUEUE) throw new Error("wasm: the memory's plan is too small for its kernels");
  kernels.setScratch(scratchOf(0));
  onBreak(() => {
    loaded?.threads.recover();
    memory.recover();
  });
  return { kernels, memory, module, threads: threadsOf(module, memory, kernels), build: wanted };
}

function threadsOf(module: WebAssembly.Module, { memory }: WasmMemory, kernels: Kernels): Threads {
  return new Threads(useThreads(), module, memory, QUEUE, scratchOf, kernels);
}

function abort(): never {
  throw new Error("wasm: a kernel stopped");
}

function decode(base64: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
}
