/**
 * Tensors inside WebAssembly's memory.
 *
 * What a kernel writes stays there: its `data` is a view, so the next kernel reads it without a copy, and plain
 * TypeScript reads and writes it like any typed array. A block is freed when its view is garbage collected. Tensors
 * from elsewhere are copied in for the time of one call. When the memory is full, results are ordinary arrays again:
 * slower, never wrong.
 */

import { Tensor, type Data, type DType } from "../tensor";

const PAGE = 65536;
const ALIGNMENT = 16;
/** The module's own constants lie below. */
const BASE = PAGE;

const sizeOfElement = { float64: 8, float32: 4, int32: 4 };

/**
 * A view that any view of it keeps alive, so that no block is freed while somebody can still see it.
 * Copies (`slice`, `map`) are ordinary arrays.
 */
function viewClass<A extends Float32ArrayConstructor | Float64ArrayConstructor | Int32ArrayConstructor>(array: A) {
  class View extends (array as Float32ArrayConstructor) {
    static get [Symbol.species]() {
      return array as Float32ArrayConstructor;
    }

    override subarray(begin?: number, end?: number): Float32Array<ArrayBuffer> {
      const part = super.subarray(begin, end) as Float32Array<ArrayBuffer>;
      owners.set(part, this);
      return part;
    }
  }
  return View as unknown as new (buffer: ArrayBufferLike, offset: number, length: number) => Data;
}

const owners = new WeakMap<object, object>();
const views = { float64: viewClass(Float64Array), float32: viewClass(Float32Array), int32: viewClass(Int32Array) };
const arrays = { float64: Float64Array, float32: Float32Array, int32: Int32Array };

/** Sizes are rounded up to a quarter of a power of two, so that few distinct sizes are kept on free lists. */
function roundedSize(bytes: number): number {
  if (bytes <= 256) return Math.max(ALIGNMENT, Math.ceil(bytes / ALIGNMENT) * ALIGNMENT);
  const quarter = 2 ** (Math.floor(Math.log2(bytes)) - 2);
  return Math.ceil(bytes / quarter) * quarter;
}

export class WasmMemory {
  readonly memory: WebAssembly.Memory;
  /** Bytes in blocks that some tensor still holds. */
  used = 0;
  private readonly free = new Map<number, number[]>();
  private top: number;
  private readonly heapEnd: number;
  private stage: number;
  private readonly end: number;
  private readonly finalized = new FinalizationRegistry<{ at: number; size: number }>(({ at, size }) => this.release(at, size));

  /** @param reserved bytes kept for the products' packed operands. */
  constructor(reserved: number) {
    this.memory = createMemory();
    this.end = this.memory.buffer.byteLength;
    this.top = Math.ceil((BASE + reserved) / PAGE) * PAGE;
    this.heapEnd = this.end - Math.floor(this.end / 4);
    this.stage = this.heapEnd;
  }

  /** Where the products' packed operands lie. */
  get scratch(): number {
    return BASE;
  }

  /** The address of a typed array that lies in this memory. */
  private addressOf(data: Data): number | undefined {
    return data.buffer === this.memory.buffer ? data.byteOffset : undefined;
  }

  private release(at: number, size: number): void {
    this.used -= size;
    this.freeList(size).push(at);
  }

  private freeList(size: number): number[] {
    let list = this.free.get(size);
    if (!list) this.free.set(size, (list = []));
    return list;
  }

  /** A block of the heap, or undefined when none is left. */
  private block(bytes: number): { at: number; size: number } | undefined {
    const size = roundedSize(bytes);
    let at = this.freeList(size).pop();
    if (at === undefined) {
      if (this.top + size > this.heapEnd) return undefined;
      at = this.top;
      this.top += size;
    }
    this.used += size;
    return { at, size };
  }

  /**
   * Runs one layer's kernels. `body` asks for the addresses of what it reads and writes; what it works on for this
   * call alone is given back when it returns.
   */
  frame<T>(body: (frame: Frame) => T): T {
    const stage = this.stage;
    const late: (() => void)[] = [];
    const staged = (bytes: number): number => {
      const at = this.stage;
      const size = Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
      if (at + size > this.end) {
        throw new Error(`wasm: a layer needs ${Math.ceil(bytes / 2 ** 20)} MiB of work space more than the memory has; use device "cpu" or a smaller batch`);
      }
      this.stage += size;
      return at;
    };
    try {
      const result = body({
        scratch: this.scratch,
        work: staged,
        read: ({ data }) => {
          const there = this.addressOf(data);
          if (there !== undefined && there % 4 === 0) return there;
          const at = staged(data.byteLength);
          new arrays[kindOf(data)](this.memory.buffer, at, data.length).set(data);
          return at;
        },
        write: (shape, dtype = "float32") => {
          const length = shape.reduce((a, b) => a * b, 1);
          const bytes = length * sizeOfElement[dtype];
          const block = this.block(bytes);
          if (block) {
            const data = new views[dtype](this.memory.buffer, block.at, length);
            this.finalized.register(data, block);
            return { at: block.at, tensor: new Tensor(data, shape) };
          }
          const at = staged(bytes);
          const data = new arrays[dtype](length);
          late.push(() => data.set(new arrays[dtype](this.memory.buffer, at, length)));
          return { at, tensor: new Tensor(data, shape) };
        },
      });
      for (const copyOut of late) copyOut();
      return result;
    } finally {
      this.stage = stage;
    }
  }
}

function kindOf(data: Data): DType {
  return data instanceof Float64Array ? "float64" : data instanceof Float32Array ? "float32" : "int32";
}

/** What a layer's kernels ask of the memory during one call. Addresses are bytes. */
export interface Frame {
  /** Where the products pack their operands. */
  readonly scratch: number;
  /** The address of a tensor's numbers; copied in where they lie elsewhere. */
  read(t: Tensor): number;
  /** A new tensor and where to write it. */
  write(shape: readonly number[], dtype?: DType): { at: number; tensor: Tensor };
  /** Bytes for this call alone. */
  work(bytes: number): number;
}

/** As much as the machine lends, 1 GiB at most. It is reserved, not used: pages that nothing writes to cost nothing. */
function createMemory(): WebAssembly.Memory {
  for (const mebibytes of [1024, 256, 64]) {
    const pages = mebibytes * 16;
    try {
      return new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
    } catch {
      // Less, then.
    }
  }
  throw new Error("wasm: no 64 MiB of shared memory could be had here; use device \"cpu\"");
}
