/**
 * A tensor whose numbers live on the GPU. It has every operation that Tensor has, each recorded as a kernel, so a layer
 * written in Tensor operations runs on the GPU as it stands. What needs the numbers here and now (`data`, `item`,
 * `toArray`) is an error until `await t.read()` has brought them back.
 */

import { broadcastShapes, formatShape, sameShape, sizeOf, Tensor, type Data, type DType, type Shape } from "../tensor";
import { stridesOf } from "../tensor/shape";
import type { Arithmetic, Comparison } from "../tensor/tensor";
import type { UnaryName } from "../tensor/unary";
import { gpu } from "./connect";
import { gatherRows, scatterRows } from "./gather";
import { MAX_AXES } from "./kernels/elementwise";
import { apply, pointwise, tooUneven, type Operand } from "./pointwise";
import { product } from "./products";
import { reduce } from "./reduce";
import { currentScope, inScope, scoped, store, type Handle, type Scope, type Storage } from "./storage";
import { mergedAxes, stridesThrough } from "./strides";

/** Tensors that share a buffer start at multiples of so many numbers: bindings have to, on every GPU. */
export const ALIGNED = 64;

/** Where the numbers of a tensor lie that is read or written in an order of its own; `start` and `strides` in numbers. */
export interface Place {
  readonly buffer: GPUBuffer;
  readonly start: number;
  readonly strides: readonly number[];
}

export class GpuTensor extends Tensor {
  /** A view's copy, row by row, once it was needed. */
  private packed?: GpuTensor;
  /** Where the view was made: its copy is freed with it, not with the scope that happens to need it. */
  private readonly scope?: Scope;

  /** The numbers begin at `start`. With `strides` this is a view: another tensor's numbers, in an order of its own. */
  private constructor(
    private readonly handle: Handle, shape: Shape, dtype: DType = "float32", private readonly start = 0, private readonly strides?: readonly number[],
  ) {
    super(null, shape, dtype);
    if (strides) this.scope = currentScope();
  }

  /** Room for a tensor that a kernel will write. */
  static allocate(shape: Shape, dtype: DType = "float32"): GpuTensor {
    return new GpuTensor(store(gpu(), 4 * sizeOf(shape)).handle(), shape, dtype);
  }

  static zeros(shape: Shape): GpuTensor {
    return pointwise("zeros", "0.0", [], shape);
  }

  /**
   * Room for a tensor whose leading axes lie in memory as `other`'s do, without gaps: heads cut from the rows of a linear
   * map give rows of heads again, which the next linear map reads as they are.
   */
  static inOrderOf(other: GpuTensor, shape: Shape): GpuTensor {
    const rank = shape.length;
    const { strides } = other.place;
    const axes = shape.map((_, i) => i).sort((a, b) => +(a === rank - 1) - +(b === rank - 1) || strides[b] - strides[a]);
    const own = new Array<number>(rank);
    axes.reduceRight((step, axis) => ((own[axis] = step), step * shape[axis]), 1);
    return new GpuTensor(store(gpu(), 4 * sizeOf(shape)).handle(), shape, "float32", 0, own);
  }

  /** Room for tensors that lie in one buffer as the given ones do, where those are parts of one that nowhere overlap. */
  static sideBySide(tensors: readonly GpuTensor[]): GpuTensor[] | undefined {
    const [{ shape, place: { buffer, start, strides } }] = tensors;
    const step = tensors[1].place.start - start;
    const alike = tensors.every((t, i) => sameShape(t.shape, shape) && t.place.buffer === buffer &&
      t.place.start === start + i * step && t.place.strides.every((own, axis) => own === strides[axis]));
    if (!alike || shape.includes(0) || 8 * tensors.length * sizeOf(shape) < buffer.size) return undefined;
    // No two indices are one place: each step is longer than all that is walked by the shorter ones.
    const axes = [...shape.map((size, axis) => ({ size, step: strides[axis] })), { size: tensors.length, step }]
      .filter(({ size }) => size > 1).sort((a, b) => b.step - a.step);
    if (axes.some((axis, i) => axis.step < (i + 1 < axes.length ? axes[i + 1].size * axes[i + 1].step : 1))) return undefined;
    const storage = store(gpu(), buffer.size);
    return tensors.map((t) => new GpuTensor(storage.handle(), shape, "float32", t.place.start, strides));
  }

  /** The parts of a tensor as tensors, each from a multiple of 64 numbers on. The whole is given up for them. */
  static parts(whole: GpuTensor, parts: readonly { readonly start: number; readonly shape: Shape }[]): GpuTensor[] {
    const made = parts.map(({ start, shape }) => new GpuTensor(whole.handle.storage.handle(), shape, whole.dtype, start));
    whole.handle.share.release();
    return made;
  }

  /**
   * The same numbers in another order, without a copy: `strides` and `start` count in the buffer. The copy is made when a
   * kernel needs the numbers row by row, or when they are about to change.
   */
  private view(shape: Shape, strides: readonly number[], start: number): GpuTensor {
    const view = new GpuTensor(this.handle.storage.handle(), shape, this.dtype, start, strides);
    this.handle.storage.watch(view);
    return view;
  }

  /** @internal A view's copy of its own, which later changes do not reach; other tensors as they are. */
  pack(): GpuTensor {
    if (!this.strides) return this;
    const own: Operand = { bound: this.whole, strides: this.strides, offset: this.start };
    return (this.packed ??= inScope(this.scope, () => pointwise("copy", "x0", [own], this.shape)));
  }

  /** The numbers row by row from where a binding can start: what lies so already is not copied. */
  private straight(): GpuTensor {
    const { strides, shape } = this;
    if (!strides) return this;
    const is = this.start % ALIGNED === 0 && stridesOf(shape).every((step, i) => shape[i] === 1 || step === strides[i]);
    return this.packed ?? (is ? this : this.pack());
  }

  /** What this is the transpose of, last axes exchanged, where that lies row by row: a product reads it the other way. */
  private turned(): GpuTensor | undefined {
    if (!this.strides || this.packed || this.rank < 2) return undefined;
    const swapped = <T>(of: readonly T[]): T[] => [...of.slice(0, -2), of.at(-1)!, of.at(-2)!];
    const shape = swapped(this.shape);
    const rows = stridesOf(shape);
    const lies = this.start % ALIGNED === 0 && swapped(this.strides).every((step, i) => shape[i] === 1 || step === rows[i]);
    return lies ? this.view(shape, rows, this.start) : undefined;
  }

  /** Where the numbers lie, without a copy. */
  get place(): Place {
    const { handle, start, strides, shape } = this.packed ?? this;
    return { buffer: handle.storage.buffer, start, strides: strides ?? stridesOf(shape) };
  }

  /** The whole buffer, for kernels that are told a `Place`. */
  get whole(): GPUBufferBinding {
    return { buffer: this.place.buffer };
  }

  /**
   * A tensor's copy on the GPU; one that is there already is itself. Optimisers change plain tensors in place, so each
   * call copies anew: keep what a training step reads (weights, inputs) on the GPU.
   */
  static from(t: Tensor): GpuTensor {
    if (t instanceof GpuTensor) return t;
    const copy = GpuTensor.allocate(t.shape, t.dtype === "int32" ? "int32" : "float32");
    const { data } = t;
    const words = data instanceof Int32Array || data instanceof Float32Array ? data : Float32Array.from(data);
    if (words.length > 0) gpu().upload(copy.handle.storage.buffer, words);
    return copy;
  }

  /** The numbers row by row, for a kernel. */
  get binding(): GPUBufferBinding {
    const { handle, start, size } = this.straight();
    return start === 0 ? { buffer: handle.storage.buffer } : { buffer: handle.storage.buffer, offset: 4 * start, size: 16 * Math.max(1, Math.ceil(size / 4)) };
  }

  override get data(): Data {
    throw new Error("webgpu: this tensor's numbers are on the GPU; bring them back with await t.read()");
  }

  /** The numbers, back from the GPU once everything before has run. */
  override async read(): Promise<Tensor> {
    const bytes = await this.handle.storage.owner.read(this.binding, 4 * this.size);
    const Words = this.dtype === "int32" ? Int32Array : Float32Array;
    return new Tensor(new Words(bytes, 0, this.size), this.shape);
  }

  /**
   * Frees the buffer now rather than when the tensor is collected. Tensors made by `reshape` die with it; transposed ones,
   * slices and other parts of the same buffer live on, and the buffer with them.
   */
  dispose(): void {
    this.packed?.dispose();
    this.handle.share.release();
  }

  /** Called before a kernel changes the numbers where they lie. */
  changing(): void {
    this.handle.storage.settle();
  }

  /** @internal What a scope must keep for this tensor: for a small part of a buffer, a copy of that part. */
  get home(): Storage {
    const { buffer } = this.place;
    return (8 * this.size < buffer.size ? this.pack() : this.packed ?? this).handle.storage;
  }

  override get order(): number {
    return GPU_ORDER;
  }

  override lift(plain: Tensor): Tensor {
    return floats(plain);
  }

  override concatAll(tensors: readonly Tensor[], axis: number): Tensor {
    const at = axis < 0 ? axis + this.rank : axis;
    const total = tensors.reduce((sum, t) => sum + t.shape[at], 0);
    const shape = this.shape.map((d, i) => (i === at ? total : d));
    const strides = stridesOf(shape);
    const whole = joined(tensors, at, strides);
    if (whole) return whole.view(shape, strides, whole.start);
    const out = GpuTensor.allocate(shape);
    let start = 0;
    for (const t of tensors) {
      apply("concat", "x0", [{ bound: floats(t).binding, strides: stridesOf(t.shape), offset: 0 }], t.shape, 0, out, strides, start * strides[at]);
      start += t.shape[at];
    }
    return out;
  }

  // ---------------------------------------------------------------- elementwise

  override arithmetic(op: Arithmetic, other: Tensor | number): Tensor {
    return binary(op, ARITHMETIC[op], this, other);
  }

  override compare(op: Comparison, other: Tensor | number): Tensor {
    return binary(op, `compared(x0, x1, x0 ${COMPARISON[op]} x1)`, this, other);
  }

  override select(mask: Tensor, other: Tensor | number): Tensor {
    const scalar = typeof other === "number";
    const inputs = [this, floats(mask), ...(scalar ? [] : [floats(other)])];
    const shape = inputs.map((t) => t.shape).reduce((a, b) => broadcastShapes("select", a, b));
    return pointwise("select", `selected(x1, x0, ${scalar ? "s" : "x2"})`, inputs, shape, scalar ? other : 0);
  }

  override unary(name: UnaryName): Tensor {
    return pointwise(name, UNARY[name], [this], this.shape);
  }

  override pow(n: number): Tensor {
    return n === 0 ? this.mul(0).add(1) : pointwise("pow", "powerOf(x0, s)", [this], this.shape, n);
  }

  override map(): Tensor {
    throw new Error("webgpu: map runs a JavaScript function, which a GPU cannot; use Tensor operations, or await t.read() first");
  }

  // ---------------------------------------------------------------- products

  override matmul(other: Tensor): Tensor {
    const right = floats(other);
    if (this.rank < 2 || right.rank < 2) {
      const a = this.rank === 1 ? this.reshape(1, this.size) : this;
      const b = right.rank === 1 ? right.reshape(right.size, 1) : right;
      const y = a.matmul(b);
      const [m, n] = [this.rank === 1 ? [] : [y.shape.at(-2)!], right.rank === 1 ? [] : [y.shape.at(-1)!]];
      return y.reshape([...y.shape.slice(0, -2), ...m, ...n]);
    }
    const batchA = this.shape.slice(0, -2);
    const batchB = right.shape.slice(0, -2);
    const [k, n] = right.shape.slice(-2);
    if (this.shape.at(-1) !== k) {
      throw new Error(`matmul: ${formatShape(this.shape)} x ${formatShape(right.shape)}, the inner dimensions ${this.shape.at(-1)} and ${k} differ`);
    }
    if (batchB.every((d) => d === 1)) {
      const rows = this.size === 0 ? sizeOf(this.shape.slice(0, -1)) : this.size / k;
      const b = right.reshape(k, n) as GpuTensor;
      // Rows of several matrices are one after the other only where they are not turned.
      const [turnedA, turnedB] = [this.rank === 2 ? this.turned() : undefined, b.turned()];
      const y = product(turnedA ?? this, turnedB ?? b, { m: rows, n, k, transA: turnedA !== undefined, transB: turnedB !== undefined });
      return y.reshape([...broadcastShapes("matmul", batchA, batchB), this.shape.at(-2)!, n]);
    }
    const batch = broadcastShapes("matmul", batchA, batchB);
    const sizes = { m: this.shape.at(-2)!, n, k, batch: sizeOf(batch) };
    const outShape = [...batch, sizes.m, n];
    if (batchA.every((d) => d === 1) && sameShape(batchB, batch)) return product(this, right, { ...sizes, sharedA: true }).reshape(outShape);
    const full = (t: GpuTensor, own: Shape): GpuTensor =>
      (sameShape(own, batch) ? t : t.broadcastTo([...batch, ...t.shape.slice(-2)])) as GpuTensor;
    const [a, b] = [full(this, batchA), full(right, batchB)];
    const [turnedA, turnedB] = [a.turned(), b.turned()];
    return product(turnedA ?? a, turnedB ?? b, { ...sizes, transA: turnedA !== undefined, transB: turnedB !== undefined }).reshape(outShape);
  }

  // ---------------------------------------------------------------- shape

  override reshape(...shape: readonly number[] | [Shape]): Tensor {
    const resolved = this.resolve((Array.isArray(shape[0]) ? shape[0] : shape) as Shape);
    const { handle, start, strides } = this.packed ?? this;
    if (!strides) return new GpuTensor(handle, resolved, this.dtype, start);
    const own = stridesThrough(this.shape, strides, resolved);
    return own ? this.view(resolved, own, start) : this.pack().reshape(resolved);
  }

  override strided(shape: Shape, strides: readonly number[], offset: number): Tensor {
    if (this.size === 0 || sizeOf(shape) === 0) return GpuTensor.allocate(shape, this.dtype);
    const from = this.packed ?? this;
    // What is asked for counts along rows: each step is one along an axis of this tensor.
    const rows = stridesOf(this.shape);
    const steps = from.strides ?? rows;
    const first = rows.reduce((sum, row, axis) => sum + (Math.floor(offset / row) % this.shape[axis]) * steps[axis], from.start);
    const own = strides.map((step) => (step === 0 ? 0 : steps[rows.indexOf(step)]));
    const axes = mergedAxes(shape, [own, stridesOf(shape)]).length;
    if (axes > MAX_AXES) throw tooUneven("copy", axes);
    return from.view(shape, own, first);
  }

  override gather(indices: Int32Array, shape: Shape): Tensor {
    return gatherRows(this, indices, 1, shape);
  }

  override scatter(indices: Int32Array, shape: Shape): Tensor {
    return scatterRows(this, indices, 1, shape);
  }

  // ---------------------------------------------------------------- reductions

  override sum(axis?: number | readonly number[], keepdims = false): Tensor {
    return reduce("sum", this, axis, keepdims);
  }

  override max(axis?: number | readonly number[], keepdims = false): Tensor {
    return reduce("max", this, axis, keepdims);
  }

  override min(axis?: number | readonly number[], keepdims = false): Tensor {
    return reduce("min", this, axis, keepdims);
  }

  override clone(): Tensor {
    return this.mul(1);
  }

  override astype(dtype: DType): Tensor {
    if (dtype === this.dtype) return this;
    throw new Error(`webgpu: a GPU has ${this.dtype} here, not ${dtype}; await t.read() first`);
  }

  override toString(): string {
    return `Tensor ${formatShape(this.shape)} ${this.dtype} on the GPU`;
  }

  [Symbol.for("Jupyter.display")](): { [type: string]: string } {
    return { "text/plain": `${this.toString()}: await t.read() brings the numbers back` };
  }
}

/** Above plain tensors, below those that carry derivatives. */
const GPU_ORDER = 0.5;

/** Runs `body` and frees every buffer it made, but those of the tensors it returns (alone, in an array or an object). */
export function gpuScope<T>(body: () => T): T {
  return scoped(body, (result) => {
    const kept = new Set<Storage>();
    keep(result, kept);
    return kept;
  });
}

function keep(value: unknown, kept: Set<Storage>): void {
  if (value instanceof GpuTensor) kept.add(value.home);
  else if (Array.isArray(value)) for (const entry of value) keep(entry, kept);
  else if (value && typeof value === "object" && !(value instanceof Tensor)) for (const entry of Object.values(value)) keep(entry, kept);
}

/** A tensor on the GPU as float32, also where it holds whole numbers. */
export function floats(t: Tensor): GpuTensor {
  return GpuTensor.from(t instanceof GpuTensor || t.dtype !== "int32" ? t : t.astype("float32"));
}

/** Indices on the GPU. */
export function integers(data: Int32Array): GpuTensor {
  return GpuTensor.from(new Tensor(data, [data.length]));
}

// ------------------------------------------------------------------ what the methods are made of

const ARITHMETIC: Record<Arithmetic, string> = { add: "x0 + x1", sub: "x0 - x1", mul: "x0 * x1", div: "x0 / x1" };
const COMPARISON: Record<Comparison, string> = { gt: ">", ge: ">=", lt: "<", le: "<=", eq: "==" };
const UNARY: Record<UnaryName, string> = {
  exp: "exp(x0)",
  // Both are exact near 0 on the cpu; here a series takes over where the difference would cancel.
  expm1: "select(exp(x0) - 1.0, x0 * (1.0 + x0 * (0.5 + x0 * (0.16666667 + x0 * 0.041666668))), abs(x0) < 0.03)",
  log: "log(x0)",
  log1p: "log1pOf(x0)",
  sqrt: "sqrt(x0)",
  abs: "abs(x0)",
  sign: "sign(x0) + (x0 - x0)",
  sin: "sin(x0)",
  cos: "cos(x0)",
  tanh: "tanhOf(x0)",
  sigmoid: "sigmoidOf(x0)",
  erf: "erfOf(x0)",
  floor: "floor(x0)",
  round: "round(x0)",
};

/** The first of tensors that lie next to each other in one buffer, along an axis of what they are together. */
function joined(tensors: readonly Tensor[], axis: number, strides: readonly number[]): GpuTensor | undefined {
  const [first] = tensors;
  if (!(first instanceof GpuTensor) || first.size === 0) return undefined;
  const { buffer, start } = first.place;
  let next = start;
  for (const t of tensors) {
    if (!(t instanceof GpuTensor) || t.place.buffer !== buffer || t.place.start !== next) return undefined;
    if (t.place.strides.some((step, i) => t.shape[i] !== 1 && step !== strides[i])) return undefined;
    next += t.shape[axis] * strides[axis];
  }
  return first;
}

function binary(name: string, expression: string, a: GpuTensor, other: Tensor | number): GpuTensor {
  if (typeof other === "number") return pointwise(name, expression.replaceAll("x1", "s"), [a], a.shape, other);
  const b = floats(other);
  return pointwise(name, expression, [a, b], broadcastShapes(name, a.shape, b.shape));
}
