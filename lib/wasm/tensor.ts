/** Tensors inside WebAssembly's memory, and what one layer's kernels do there. */

import { Tensor, type Data, type DType, type Shape } from "../tensor";
import type { Arithmetic } from "../tensor/tensor";
import { sameShape, sizeOf } from "../tensor/shape";
import type { Block, WasmMemory } from "./memory";
import { wasm } from "./module";

const arrays = { float64: Float64Array, float32: Float32Array, int32: Int32Array };

/**
 * What a kernel wrote. The next kernel reads it where it lies; plain TypeScript does so through `data`, a view that is
 * made when somebody asks. A transformer's residual additions and its split into heads run as kernels too; every other
 * operation is Tensor's own.
 */
export class WasmTensor extends Tensor {
  private view?: Data;

  constructor(readonly block: Block, shape: Shape, dtype: DType) {
    super(null, shape, dtype);
  }

  /**
   * A tensor's copy in WebAssembly's memory; one that is there already is itself. Kernels copy other tensors in at each
   * call, so what is read often (weights, a whole data set) is better there from the start. Optimisers change it in place.
   * When the memory is full, the tensor itself.
   */
  static from(t: Tensor): Tensor {
    if (t instanceof WasmTensor) return t;
    const block = wasm().memory.allocate(t.data.byteLength);
    if (!block) return t;
    const copy = new WasmTensor(block, t.shape, t.dtype);
    copy.data.set(t.data);
    return copy;
  }

  override get data(): Data {
    this.block.check();
    return (this.view ??= wasm().memory.view(this.block, this.dtype, this.size));
  }

  override reshape(...shape: readonly number[] | [Shape]): Tensor {
    return new WasmTensor(this.block, this.resolve((Array.isArray(shape[0]) ? shape[0] : shape) as Shape), this.dtype);
  }

  override arithmetic(op: Arithmetic, other: Tensor | number): Tensor {
    if (!(other instanceof Tensor) || !this.meets(other)) return super.arithmetic(op, other);
    return frame((f) => {
      const [n, y] = [other.size, f.write(this.shape)];
      wasm().kernels[op](n === 0 ? 0 : this.size / n, n, f.read(this), f.read(other), y.at);
      return y.tensor;
    });
  }

  /** Whether `other` is added to this tensor as it is, or to each of its rows. */
  private meets(other: Tensor): boolean {
    if (this.dtype !== "float32" || other.dtype !== "float32" || other.order > 0) return false;
    if (sameShape(this.shape, other.shape)) return true;
    return other.size % 4 === 0 && other.rank < this.rank && sameShape(this.shape.slice(-other.rank), other.shape) && other.rank > 0;
  }

  override strided(shape: Shape, strides: readonly number[], offset: number): Tensor {
    const rank = shape.length;
    if (this.dtype !== "float32" || rank === 0 || rank > 4 || strides[rank - 1] !== 1) return super.strided(shape, strides, offset);
    return frame((f) => {
      const lead = 4 - rank;
      const y = f.write(shape);
      const size = (i: number): number => (i < lead ? 1 : shape[i - lead]);
      const step = (i: number): number => (i < lead ? 0 : strides[i - lead]);
      wasm().kernels.copyRows(size(0), size(1), size(2), size(3), step(0), step(1), step(2), f.read(this) + 4 * offset, y.at);
      return y.tensor;
    });
  }
}

/** What a layer's kernels ask of the memory during one call. Addresses are bytes. */
export class Frame {
  private readonly bottom: number;
  private late: (() => void)[] | undefined;
  /** An address alone holds nothing, so what was read and written is held here until the frame is closed. */
  private readonly held: Tensor[] = [];

  constructor(private readonly memory: WasmMemory) {
    this.bottom = memory.stageTop;
  }

  /** The address of a tensor's numbers; copied in where they lie elsewhere. */
  read(t: Tensor): number {
    this.held.push(t);
    if (t instanceof WasmTensor) return t.block.at;
    const { data } = t;
    const there = this.memory.addressOf(data);
    if (there !== undefined) return there;
    const at = this.memory.staged(data.byteLength);
    new arrays[t.dtype](this.memory.memory.buffer, at, data.length).set(data);
    return at;
  }

  /** The address of numbers that a kernel changes where they are. */
  change(t: Tensor): number {
    const at = this.read(t);
    if (!(t instanceof WasmTensor) && this.memory.addressOf(t.data) === undefined) this.copyOut(at, t.data);
    return at;
  }

  /** Copies what kernels leave at an address of this call's own, when they have run. */
  private copyOut(at: number, into: Data): void {
    const numbers = new (into.constructor as Float32ArrayConstructor)(this.memory.memory.buffer, at, into.length);
    (this.late ??= []).push(() => into.set(numbers));
  }

  /**
   * A new tensor and where to write it. When the memory is full it is an ordinary one, filled when the frame ends:
   * slower, never wrong.
   */
  write(shape: Shape, dtype: DType = "float32"): { at: number; tensor: Tensor } {
    const length = sizeOf(shape);
    const bytes = length * arrays[dtype].BYTES_PER_ELEMENT;
    const block = this.memory.allocate(bytes);
    if (block) {
      const tensor = new WasmTensor(block, shape, dtype);
      this.held.push(tensor);
      return { at: block.at, tensor };
    }
    const at = this.memory.staged(bytes);
    const data = new arrays[dtype](length);
    this.copyOut(at, data);
    return { at, tensor: new Tensor(data, shape) };
  }

  /** Bytes for this call alone. */
  work(bytes: number): number {
    return this.memory.staged(bytes);
  }

  /** @internal */
  finish(): void {
    for (const copyOut of this.late ?? []) copyOut();
  }

  /** @internal */
  close(): void {
    this.memory.unstage(this.bottom);
  }
}

/** Runs one layer's kernels; what `body` works on for this call alone is given back when it returns. */
export function frame<T>(body: (f: Frame) => T): T {
  const f = new Frame(wasm().memory);
  try {
    const result = body(f);
    f.finish();
    return result;
  } finally {
    f.close();
  }
}
