/**
 * A tensor whose numbers live on the GPU. It has every operation that Tensor has, each recorded as a kernel, so a layer
 * written in Tensor operations runs on the GPU as it stands. What needs the numbers here and now (`data`, `item`,
 * `toArray`) is an error until `await t.read()` has brought them back.
 */

import { broadcastShapes, formatShape, sameShape, sizeOf, Tensor, type Data, type DType, type Shape } from "../tensor";
import type { Arithmetic, Comparison } from "../tensor/tensor";
import type { UnaryName } from "../tensor/unary";
import { gpu } from "./connect";
import { floatBits, grid, type Dispatch, type Gpu } from "./gpu";
import { ACTIVATIONS, type Activation } from "./kernels/activations";
import { elementwise, elementwiseFlat, ELEMENTWISE_SIZE, MAX_AXES } from "./kernels/elementwise";
import { gather, GATHER_SIZE, scatter } from "./kernels/gather";
import { matmul, type Tile } from "./kernels/matmul";
import { reduction, REDUCE_SIZE, type Reduction } from "./kernels/reduce";

/** A buffer that is given back when the last tensor that shares it is collected or disposed of. */
class Storage {
  private freed = false;

  constructor(readonly owner: Gpu, readonly buffer: GPUBuffer) {}

  free(): void {
    if (this.freed) return;
    this.freed = true;
    this.owner.release(this.buffer);
  }
}

/** The handle that tensors hold; the storage is freed when no tensor holds the handle any more. */
interface Handle {
  readonly storage: Storage;
}

const collected = new FinalizationRegistry<Storage>((storage) => storage.free());
const scopes: Storage[][] = [];

export class GpuTensor extends Tensor {
  constructor(private readonly handle: Handle, shape: Shape, dtype: DType = "float32") {
    super(null, shape, dtype);
  }

  /** Room for a tensor that a kernel will write. */
  static allocate(shape: Shape, dtype: DType = "float32"): GpuTensor {
    const owner = gpu();
    const storage = new Storage(owner, owner.allocate(4 * sizeOf(shape)));
    const handle = { storage };
    collected.register(handle, storage);
    scopes.at(-1)?.push(storage);
    return new GpuTensor(handle, shape, dtype);
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
    if (words.length > 0) gpu().upload(copy.buffer, words);
    return copy;
  }

  get buffer(): GPUBuffer {
    return this.handle.storage.buffer;
  }

  override get data(): Data {
    throw new Error("webgpu: this tensor's numbers are on the GPU; bring them back with await t.read()");
  }

  /** The numbers, back from the GPU once everything before has run. */
  override async read(): Promise<Tensor> {
    const bytes = await this.handle.storage.owner.read(this.buffer, 4 * this.size);
    const Words = this.dtype === "int32" ? Int32Array : Float32Array;
    return new Tensor(new Words(bytes, 0, this.size), this.shape);
  }

  /** Frees the buffer now rather than when the tensor is collected. Tensors that share it (`reshape`) die with it. */
  dispose(): void {
    this.handle.storage.free();
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
    const out = GpuTensor.allocate(this.shape.map((d, i) => (i === at ? total : d)));
    const strides = stridesOf(out.shape);
    let start = 0;
    for (const t of tensors) {
      apply("concat", "x0", [{ of: floats(t), strides: stridesOf(t.shape), offset: 0 }], t.shape, 0, out, strides, start * strides[at]);
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
      return product(this, right.reshape(k, n) as GpuTensor, { m: rows, n, k }).reshape([...broadcastShapes("matmul", batchA, batchB), this.shape.at(-2)!, n]);
    }
    const batch = broadcastShapes("matmul", batchA, batchB);
    const sizes = { m: this.shape.at(-2)!, n, k, batch: sizeOf(batch) };
    const outShape = [...batch, sizes.m, n];
    if (batchA.every((d) => d === 1) && sameShape(batchB, batch)) return product(this, right, { ...sizes, sharedA: true }).reshape(outShape);
    const full = (t: GpuTensor, own: Shape): GpuTensor =>
      (sameShape(own, batch) ? t : t.broadcastTo([...batch, ...t.shape.slice(-2)])) as GpuTensor;
    return product(full(this, batchA), full(right, batchB), sizes).reshape(outShape);
  }

  // ---------------------------------------------------------------- shape

  override reshape(...shape: readonly number[] | [Shape]): Tensor {
    return new GpuTensor(this.handle, this.resolve((Array.isArray(shape[0]) ? shape[0] : shape) as Shape), this.dtype);
  }

  override strided(shape: Shape, strides: readonly number[], offset: number): Tensor {
    return pointwise("copy", "x0", [{ of: this, strides, offset }], shape);
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
  const made: Storage[] = [];
  scopes.push(made);
  try {
    const result = body();
    const kept = new Set<Storage>();
    keep(result, kept);
    for (const storage of made) {
      if (!kept.has(storage)) storage.free();
      else scopes.at(-2)?.push(storage);
    }
    return result;
  } catch (error) {
    for (const storage of made) storage.free();
    throw error;
  } finally {
    scopes.pop();
  }
}

/** Makes tensors that outlive every scope around it: an optimiser's state. */
export function outsideScopes<T>(body: () => T): T {
  const around = scopes.splice(0);
  try {
    return body();
  } finally {
    scopes.push(...around);
  }
}

function keep(value: unknown, kept: Set<Storage>): void {
  if (value instanceof GpuTensor) kept.add((value as unknown as { handle: Handle }).handle.storage);
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

function stridesOf(shape: Shape): number[] {
  const strides = new Array<number>(shape.length);
  for (let i = shape.length - 1, step = 1; i >= 0; step *= shape[i--]) strides[i] = step;
  return strides;
}

interface Operand {
  of: GpuTensor;
  strides: readonly number[];
  offset: number;
}

/** An operand stretched to a shape: stride 0 along what is repeated. */
function stretched(t: GpuTensor, shape: Shape): Operand {
  const own = stridesOf(t.shape);
  const lead = shape.length - t.rank;
  return { of: t, strides: shape.map((_, i) => (i < lead || t.shape[i - lead] === 1 ? 0 : own[i - lead])), offset: 0 };
}

/** An expression of x0, x1, x2 and the number s, element by element. */
export function pointwise(name: string, expression: string, inputs: readonly (GpuTensor | Operand)[], shape: Shape, scalar = 0): GpuTensor {
  const operands = inputs.map((t) => (t instanceof GpuTensor ? stretched(t, shape) : t));
  const out = GpuTensor.allocate(shape);
  apply(name, expression, operands, shape, scalar, out, stridesOf(shape), 0);
  return out;
}

interface Axis {
  size: number;
  /** How far each tensor advances along it. */
  readonly strides: readonly number[];
}

/** The axes, last first, with neighbours merged along which every tensor advances evenly. */
function mergedAxes(shape: Shape, strides: readonly (readonly number[])[]): Axis[] {
  const axes: Axis[] = [];
  for (let i = shape.length - 1; i >= 0; i--) {
    if (shape[i] === 1) continue;
    const own = strides.map((s) => s[i]);
    const last = axes.at(-1);
    if (last && own.every((s, k) => s === last.strides[k] * last.size)) last.size *= shape[i];
    else axes.push({ size: shape[i], strides: own });
  }
  return axes;
}

function apply(
  name: string, expression: string, operands: readonly Operand[], shape: Shape, scalar: number,
  out: GpuTensor, outStrides: readonly number[], outOffset: number,
): void {
  const n = sizeOf(shape);
  const axes = mergedAxes(shape, [...operands.map((o) => o.strides), outStrides]);
  if (axes.length > MAX_AXES) throw new Error(`webgpu: ${name} over ${axes.length} uneven axes, at most ${MAX_AXES} are possible; use device "cpu"`);
  const params = [n, operands[0].offset, operands[1]?.offset ?? 0, operands[2]?.offset ?? 0, outOffset, floatBits(scalar), 0, 0];
  const buffers = [...operands.map((o) => o.of.buffer), out.buffer];
  // Everything in the output's order, or one number throughout.
  const steps = axes.length === 0 ? operands.map(() => 0) : axes[0].strides.slice(0, -1);
  const flat = axes.length <= 1 && outOffset === 0 && (axes.length === 0 || axes[0].strides.at(-1) === 1) &&
    steps.every((step, i) => step === 0 || (step === 1 && operands[i].offset % 4 === 0));
  if (flat) {
    gpu().run(elementwiseFlat(name, expression, steps.map((step) => step === 0)), { buffers, params, groups: grid(Math.ceil(n / 4 / ELEMENTWISE_SIZE)) });
    return;
  }
  for (const { size, strides } of axes) params.push(size, strides[0], strides.length > 2 ? strides[1] : 0, strides.length > 3 ? strides[2] : 0, strides.at(-1)!, 0, 0, 0);
  gpu().run(elementwise(name, operands.length, expression, axes.length), { buffers, params, groups: grid(Math.ceil(n / ELEMENTWISE_SIZE)) });
}

function binary(name: string, expression: string, a: GpuTensor, other: Tensor | number): GpuTensor {
  if (typeof other === "number") return pointwise(name, expression.replaceAll("x1", "s"), [a], a.shape, other);
  const b = floats(other);
  return pointwise(name, expression, [a, b], broadcastShapes(name, a.shape, b.shape));
}

/** Invocations that are worth having: fewer leave parts of a large GPU idle. */
const MANY = 1 << 16;

function reduce(kind: Reduction, x: GpuTensor, axis: number | readonly number[] | undefined, keepdims: boolean): GpuTensor {
  const named = axis === undefined ? x.shape.map((_, i) => i) : typeof axis === "number" ? [axis] : axis;
  const over = named.map((a) => (a < 0 ? a + x.rank : a));
  const odd = over.findIndex((a) => !Number.isInteger(a) || a < 0 || a >= x.rank);
  if (odd >= 0) throw new Error(`${kind}: the axis is ${named[odd]}, the tensor has ${x.rank} axes`);
  const strides = stridesOf(x.shape);
  const side = (reduced: boolean): { shape: number[]; axes: Axis[] } => {
    const own = x.shape.map((_, i) => i).filter((i) => over.includes(i) === reduced);
    const shape = own.map((i) => x.shape[i]);
    return { shape, axes: mergedAxes(shape, [own.map((i) => strides[i])]) };
  };
  const [kept, reduced] = [side(false), side(true)];
  const outputs = sizeOf(kept.shape);
  const count = sizeOf(reduced.shape);
  // Neighbouring outputs next to each other in x, and enough of them: one invocation each reads side by side.
  const together = !(kept.axes[0]?.strides[0] === 1 && outputs >= REDUCE_SIZE);
  const invocations = together ? outputs * REDUCE_SIZE : outputs;
  const least = together ? 16 * REDUCE_SIZE : 64;
  const parts = outputs === 0 || count < 4 * least ? 1 : Math.min(Math.floor(count / least), Math.ceil(MANY / invocations));
  const part = Math.max(1, Math.ceil(count / parts));
  const shape = keepdims ? x.shape.map((d, i) => (over.includes(i) ? 1 : d)) : kept.shape;
  const rows = Math.max(1, Math.ceil(count / part));
  const out = GpuTensor.allocate(rows === 1 ? shape : [rows, ...shape]);
  const from = kind === "sum" || kind === "squares" ? 0 : kind === "max" ? -Infinity : Infinity;
  gpu().run(reduction(kind, kept.axes.length, reduced.axes.length, together), {
    buffers: [x.buffer, out.buffer],
    params: [outputs, count, part, floatBits(from), ...[...kept.axes, ...reduced.axes].flatMap(({ size, strides: [stride] }) => [size, stride, 0, 0])],
    groups: grid(together ? outputs * rows : Math.ceil((outputs * rows) / REDUCE_SIZE)),
  });
  return rows === 1 ? out : reduce(kind === "squares" ? "sum" : kind, out, 0, false);
}

/** Rows of `width` numbers of x, by number; -1 is a row of zeros. */
export function gatherRows(x: GpuTensor, rows: Int32Array, width: number, shape: Shape): GpuTensor {
  const out = GpuTensor.allocate(shape);
  gpu().run(gather, { buffers: [x.buffer, integers(rows).buffer, out.buffer], params: [out.size, width], groups: grid(Math.ceil(out.size / GATHER_SIZE)) });
  return out;
}

/** The adjoint: row i of x is added to row rows[i] of the result. */
export function scatterRows(x: GpuTensor, rows: Int32Array, width: number, shape: Shape): GpuTensor {
  const out = GpuTensor.allocate(shape);
  const count = width === 0 ? 0 : out.size / width;
  const first = new Int32Array(count + 1);
  for (const row of rows) if (row >= 0) first[row + 1]++;
  for (let row = 0; row < count; row++) first[row + 1] += first[row];
  const next = first.slice();
  const source = new Int32Array(Math.max(1, first[count]));
  rows.forEach((row, i) => {
    if (row >= 0) source[next[row]++] = i;
  });
  gpu().run(scatter, {
    buffers: [x.buffer, integers(first).buffer, integers(source).buffer, out.buffer],
    params: [out.size, width],
    groups: grid(Math.ceil(out.size / GATHER_SIZE)),
  });
  return out;
}

/** The sum of all squares, a scalar: a gradient's norm before the root. */
export function sumOfSquares(t: Tensor): GpuTensor {
  return reduce("squares", floats(t), undefined, false);
}

export interface Product {
  m: number;
  n: number;
  k: number;
  batch?: number;
  transA?: boolean;
  transB?: boolean;
  bias?: GpuTensor;
  /** One a for the whole batch. */
  sharedA?: boolean;
  /** Chosen from the sizes when left out. */
  tile?: Tile;
}

/** The product recorded last, so that an activation of it can be taken in. */
let latest: { c: GPUBuffer; dispatch: Dispatch; with(activation: Activation, slope: number, act: GPUBuffer): void } | undefined;

/** The largest tile of which there are enough to keep a large GPU busy: large tiles read less. */
function tileFor(m: number, n: number, batch: number): Tile {
  const count = (tile: number): number => batch * Math.ceil(m / tile) * Math.ceil(n / tile);
  return count(128) >= 128 ? 128 : count(64) >= 64 ? 64 : 32;
}

/** op(a) op(b) + bias as [batch *] m x n numbers; the operands' shapes are the caller's business. */
export function product(a: GpuTensor, b: GpuTensor, sizes: Product): GpuTensor {
  const { c, parts, traits, dispatch } = multiply(a, b, sizes);
  if (parts > 1) return c.sum((sizes.batch ?? 1) === 1 ? 0 : 1) as GpuTensor;
  latest = {
    c: c.buffer, dispatch,
    with: (activation, option, act) => gpu().replaceLast(
      matmul({ ...traits, activation }),
      { ...dispatch, buffers: [...dispatch.buffers, act], params: dispatch.params.with(10, floatBits(option)) }),
  };
  return c;
}

/** op(a) op(b), and beside it the sum of each row of op(a), m numbers. */
export function productAndSums(a: GpuTensor, b: GpuTensor, sizes: Omit<Product, "batch" | "bias">): [GpuTensor, GpuTensor] {
  const { c, sums, parts } = multiply(a, b, sizes, true);
  return parts > 1 ? [c.sum(0) as GpuTensor, sums!.sum(0) as GpuTensor] : [c, sums!];
}

function multiply(a: GpuTensor, b: GpuTensor, { m, n, k, batch = 1, transA = false, transB = false, sharedA = false, bias, tile = tileFor(m, n, batch) }: Product, rowSums = false) {
  const [tilesM, tilesN] = [Math.ceil(m / tile), Math.ceil(n / tile)];
  // Few outputs of long sums (a narrow layer's dW over a large batch): k is cut into parts, which a second kernel adds up.
  const wanted = bias ? 1 : Math.max(1, Math.min(Math.floor(k / 256), Math.floor(64 / Math.max(1, batch * tilesM * tilesN))));
  const part = 8 * Math.max(1, Math.ceil(k / wanted / 8));
  const parts = Math.max(1, Math.ceil(k / part));
  const several = [...(batch === 1 ? [] : [batch]), ...(parts === 1 ? [] : [parts])];
  const c = GpuTensor.allocate([...several, m, n]);
  const sums = rowSums ? GpuTensor.allocate([...several, m]) : undefined;
  const traits = {
    tile, transA, transB, bias: bias !== undefined, rowSums,
    wideA: (transA ? m : k) % 4 === 0, wideB: (transB ? k : n) % 4 === 0, wideC: n % 4 === 0,
  };
  const workgroups = tilesM * tilesN * batch * parts;
  const dispatch: Dispatch = {
    buffers: [a, b, ...(bias ? [bias] : []), c, ...(sums ? [sums] : [])].map((t) => t.buffer),
    params: [m, n, k, part, sharedA ? 0 : m * k, k * n, m * n, parts, tilesM, tilesN, 0, workgroups],
    groups: grid(workgroups),
  };
  gpu().run(matmul(traits), dispatch);
  return { c, sums, parts, traits, dispatch };
}

/** f(x) of every element. Straight after the product that gave x, the product's kernel writes it too. */
export function activated(x: GpuTensor, activation: Activation, option: number): GpuTensor {
  const y = GpuTensor.allocate(x.shape);
  if (latest && x.size > 0 && latest.c === x.buffer && latest.dispatch === gpu().last) latest.with(activation, option, y.buffer);
  else apply(activation, ACTIVATIONS[activation].value, [stretched(x, x.shape)], x.shape, option, y, stridesOf(x.shape), 0);
  return y;
}
