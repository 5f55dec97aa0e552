/** Loads the compiled kernels of assembly/ and binds them to one memory. */

import { relaxed, simd } from "./kernels.generated";
import { WasmMemory } from "./memory";

/** The module's functions. Addresses and leading dimensions as in assembly/; booleans are 0 or 1. */
export interface Kernels {
  gemmScratch(): number;
  gemm_f32(...args: number[]): void;
  gemm_f64(...args: number[]): void;
  activation(op: number, n: number, x: number, y: number, slope: number): void;
  activationBackward(op: number, n: number, x: number, dy: number, dx: number, slope: number): void;
  addRows(m: number, n: number, y: number, b: number): void;
  sumRows(m: number, n: number, dy: number, db: number): void;
  softmax(m: number, n: number, x: number, y: number): void;
  softmaxBackward(m: number, n: number, y: number, dy: number, dx: number): void;
  crossEntropy(m: number, n: number, logits: number, targets: number, ignored: number, loss: number, p: number): void;
  crossEntropyBackward(m: number, n: number, p: number, targets: number, ignored: number, scale: number, dx: number): void;
  layerNorm(m: number, d: number, eps: number, x: number, gamma: number, beta: number, y: number, mean: number, rstd: number): void;
  layerNormBackward(...args: number[]): void;
  attention(...args: number[]): void;
  attentionWork(t: number): number;
  attentionBackward(...args: number[]): void;
}

export interface Wasm {
  readonly kernels: Kernels;
  readonly memory: WasmMemory;
  /** Whether products are fused multiply-adds, which differ from one engine to the next in the last bit. */
  readonly relaxed: boolean;
}

let loaded: Wasm | undefined;
let wanted: "simd" | "relaxed" = "simd";

/**
 * Chooses relaxed SIMD (fused multiply-add) where the engine has it; before the first layer runs on wasm.
 * Returns whether it will be used. Node 20 needs --experimental-wasm-relaxed-simd.
 */
export function useRelaxedSimd(): boolean {
  if (loaded) return loaded.relaxed;
  wanted = WebAssembly.validate(decode(relaxed)) ? "relaxed" : "simd";
  return wanted === "relaxed";
}

/** The kernels, compiled when they are first asked for. */
export function wasm(): Wasm {
  return (loaded ??= load());
}

function load(): Wasm {
  const bytes = decode(wanted === "relaxed" ? relaxed : simd);
  if (!WebAssembly.validate(bytes)) throw new Error('wasm: this engine has no WebAssembly SIMD with threads; use device "cpu"');
  const module = new WebAssembly.Module(bytes);
  // The scratch size is a constant of the module, but the memory that it needs comes first.
  const memory = new WasmMemory(SCRATCH);
  const { exports } = new WebAssembly.Instance(module, { env: { memory: memory.memory, abort } });
  const kernels = exports as unknown as Kernels;
  if (kernels.gemmScratch() > SCRATCH) throw new Error(`wasm: the products need ${kernels.gemmScratch()} bytes, ${SCRATCH} are kept`);
  return { kernels, memory, relaxed: wanted === "relaxed" };
}

/** Bytes kept for packed operands. */
const SCRATCH = 4 * 2 ** 20;

function abort(): never {
  throw new Error("wasm: a kernel stopped");
}

function decode(base64: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
}
