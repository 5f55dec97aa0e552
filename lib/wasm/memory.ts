/**
 * Blocks of WebAssembly's memory, given out and taken back.
 *
 * A `Block` stands for its bytes: tensors and views hold it, and when nothing does any more the bytes are free. That is
 * found out when the memory runs short, by a garbage collection in the middle of whatever runs, so a plain loop of
 * training steps needs no scopes, no `dispose` and no turn of the event loop. `scope` frees at once what was made inside,
 * which spares the collections and keeps the same bytes, still in the processor's cache, in use.
 */

import type { Data, DType } from "../tensor";
import { deadFinder } from "./collect";

const PAGE = 65536;
const ALIGNMENT = 16;
const MEBIBYTE = 2 ** 20;
/** What is written to before the first collection; more is used when that much is held, or when collecting takes long. */
const FIRST_BUDGET = 256 * MEBIBYTE;

/** A part of the memory, in bytes. */
export class Block {
  private released = false;

  constructor(private readonly from: number, readonly size: number) {}

  get at(): number {
    this.check();
    return this.from;
  }

  /** @throws when the scope that the block was made in has ended */
  check(): void {
    if (this.released) throw new Error("wasm: this tensor was made in a tidy(...) that has ended; return it from there to keep it");
  }

  get end(): number {
    return this.from + this.size;
  }

  /** @internal Its bytes are somebody else's now. */
  release(): void {
    this.released = true;
  }
}

/**
 * Views that hold their block, as any view of them does, so that no block is free while somebody can still see it.
 * Copies (`slice`, `map`) are ordinary arrays.
 */
function viewClass<A extends Float32ArrayConstructor | Float64ArrayConstructor | Int32ArrayConstructor>(array: A) {
  class View extends (array as Float32ArrayConstructor) {
    static get [Symbol.species]() {
      return array as Float32ArrayConstructor;
    }

    constructor(memory: ArrayBufferLike, readonly block: Block, length: number) {
      super(memory as ArrayBuffer, block.at, length);
    }

    override subarray(begin?: number, end?: number): Float32Array<ArrayBuffer> {
      const part = super.subarray(begin, end) as Float32Array<ArrayBuffer>;
      blockOf.set(part, this.block);
      return part;
    }
  }
  return View as unknown as new (memory: ArrayBufferLike, block: Block, length: number) => Data;
}

const blockOf = new WeakMap<object, Block>();
const views = { float64: viewClass(Float64Array), float32: viewClass(Float32Array), int32: viewClass(Int32Array) };

interface Gap {
  at: number;
  readonly end: number;
}

/** A block that is free when nobody holds it. */
interface Lent {
  readonly at: number;
  readonly end: number;
  readonly block: WeakRef<Block>;
}

export class WasmMemory {
  readonly memory: WebAssembly.Memory;
  /** Bytes in blocks that were held when last looked at, and in those given out since. */
  used = 0;
  private readonly start: number;
  private readonly heapEnd: number;
  private readonly end: number;
  /** Up to here blocks are given out now. */
  private limit: number;
  private lent: Lent[] = [];
  /** Free ranges, the smallest last: it is filled first, and left behind when a block no longer fits. */
  private gaps: Gap[];
  private stage: number;
  /** What the scopes around have made so far, innermost last. */
  private readonly scopes: Block[][] = [];
  /** Bytes given out since the last collection, and when that was. */
  private sinceCollection = 0;
  private collectedAt = performance.now();

  /** @param reserved bytes kept at the start for the module's constants, its threads and the products' packed operands. */
  constructor(reserved: number) {
    this.memory = createMemory();
    this.end = this.memory.buffer.byteLength;
    this.start = Math.ceil(reserved / PAGE) * PAGE;
    this.heapEnd = this.end - Math.floor(this.end / 4);
    this.limit = Math.min(this.start + FIRST_BUDGET, this.heapEnd);
    this.gaps = [{ at: this.start, end: this.limit }];
    this.stage = this.heapEnd;
  }

  /** A block, or undefined when none is left. A lasting one is not given back at the end of the scopes around. */
  allocate(bytes: number, lasting?: "lasting"): Block | undefined {
    const size = align(bytes);
    let gap = this.gapFor(size);
    if (!gap && this.worthCollecting()) {
      this.collect();
      gap = this.gapFor(size);
    }
    if (!gap) return undefined;
    const block = new Block(gap.at, size);
    gap.at += size;
    this.lend(block, lasting ? undefined : this.scopes.at(-1));
    this.used += size;
    this.sinceCollection += size;
    return block;
  }

  private lend(block: Block, scope: Block[] | undefined): void {
    if (scope) scope.push(block);
    else this.lent.push({ at: block.at, end: block.end, block: new WeakRef(block) });
  }

  /** Frees at the end of `body` every block made inside that its result does not hold. */
  scope<T>(body: () => T): T {
    const made: Block[] = [];
    const kept = new Set<Block>();
    this.scopes.push(made);
    try {
      const result = body();
      addBlocks(result, kept);
      return result;
    } finally {
      this.scopes.pop();
      // In reverse: the last block borders on the gap that it came from.
      for (const block of made.reverse()) {
        if (kept.has(block)) this.lend(block, this.scopes.at(-1));
        else this.take(block);
      }
      this.sortGaps();
    }
  }

  private take(block: Block): void {
    const { at, end, size } = block;
    block.release();
    this.used -= size;
    const next = this.gaps.find((gap) => gap.at === end);
    if (next) next.at = at;
    else this.gaps.push({ at, end });
  }

  private gapFor(size: number): Gap | undefined {
    let i = this.gaps.length - 1;
    while (i >= 0 && this.gaps[i].end - this.gaps[i].at < size) i--;
    if (i < 0) return undefined;
    this.gaps.length = i + 1;
    return this.gaps[i];
  }

  /** Nothing is won by collecting again when nearly all was still held a moment ago. */
  private worthCollecting(): boolean {
    return this.sinceCollection > (this.limit - this.start) / 8;
  }

  /** Finds the blocks that nobody holds any more and makes them free. */
  collect(): void {
    const began = performance.now();
    deadFinder()();
    this.lent = this.lent.filter(({ block }) => block.deref() !== undefined);
    const held = [...this.lent, ...this.scopes.flat()].sort((a, b) => a.at - b.at);
    this.used = held.reduce((sum, { at, end }) => sum + end - at, 0);
    const now = performance.now();
    const slow = now - began > (began - this.collectedAt) / 20;
    if (slow || this.used > (this.limit - this.start) / 2) this.limit = Math.min(this.start + 2 * (this.limit - this.start), this.heapEnd);
    this.collectedAt = now;
    this.sinceCollection = 0;

    this.gaps = [];
    let at = this.start;
    for (const next of [...held, { at: this.limit, end: this.limit }]) {
      if (next.at > at) this.gaps.push({ at, end: next.at });
      at = next.end;
    }
    this.sortGaps();
  }

  private sortGaps(): void {
    this.gaps.sort((a, b) => b.end - b.at - (a.end - a.at));
  }

  /** After a call was broken off without its `finally`: nothing is staged, no scope is open, and what nobody holds is free. */
  recover(): void {
    this.stage = this.heapEnd;
    for (const block of this.scopes.splice(0).flat()) this.lend(block, undefined);
    this.collect();
  }

  /** A block's numbers, for JavaScript to read and write. */
  view(block: Block, dtype: DType, length: number): Data {
    return new views[dtype](this.memory.buffer, block, length);
  }

  /** The address of numbers that lie in this memory. */
  addressOf(data: Data): number | undefined {
    return data.buffer === this.memory.buffer ? data.byteOffset : undefined;
  }

  /** Bytes for one call, given back by `unstage` in the reverse order. */
  staged(bytes: number): number {
    const at = this.stage;
    if (at + align(bytes) > this.end) {
      throw new Error(`wasm: a layer needs ${Math.ceil(bytes / MEBIBYTE)} MiB of work space more than the memory has; use device "cpu" or a smaller batch`);
    }
    this.stage += align(bytes);
    return at;
  }

  /** Where the next staged bytes will lie. */
  get stageTop(): number {
    return this.stage;
  }

  unstage(top: number): void {
    this.stage = top;
  }
}

/** Adds the blocks of every tensor and view in `value`, through lists, maps and objects. */
function addBlocks(value: unknown, to: Set<Block>, seen = new Set<object>()): void {
  if (typeof value !== "object" || value === null || seen.has(value)) return;
  seen.add(value);
  if (value instanceof Block) to.add(value);
  else if (ArrayBuffer.isView(value)) addBlocks((value as { block?: unknown }).block ?? blockOf.get(value), to, seen);
  else if (value instanceof Map || value instanceof Set) for (const entry of value) addBlocks(entry, to, seen);
  else for (const entry of Object.values(value)) addBlocks(entry, to, seen);
}

function align(bytes: number): number {
  return Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
}

/** As much as the machine lends, 1 GiB at most. It is reserved, not used: pages that nothing writes to cost nothing. */
function createMemory(): WebAssembly.Memory {
  for (const mebibytes of [1024, 256, 128]) {
    const pages = mebibytes * 16;
    try {
      return new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
    } catch {
      // Less, then.
    }
  }
  throw new Error("wasm: no 128 MiB of shared memory could be had here; use device \"cpu\"");
}
