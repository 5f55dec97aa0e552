/** Tensor: a row-major typed array with a shape, and the operations that layers are written in. */

import { alignPoints, displayTensor } from "./display";
import { matmulInto } from "./matmul";
import {
  broadcastShapes,
  broadcastStrides,
  checkShape,
  formatShape,
  normalizeAxes,
  normalizeAxis,
  sameShape,
  sizeOf,
  stretchedAxes,
  stridesOf,
  type Shape,
} from "./shape";
import { unaryFunctions, type UnaryName } from "./unary";

export type DType = "float64" | "float32" | "int32";
export type Data = Float64Array | Float32Array | Int32Array;
export type Nested = number | readonly Nested[];

const arrays = { float64: Float64Array, float32: Float32Array, int32: Int32Array };

/** A zeroed array of a dtype. */
export function allocate(dtype: DType, size: number): Data {
  return new arrays[dtype](size);
}

function dtypeOf(data: Data): DType {
  if (data instanceof Float64Array) return "float64";
  if (data instanceof Float32Array) return "float32";
  if (data instanceof Int32Array) return "int32";
  throw new Error("Tensor: the data should be a Float64Array, a Float32Array or an Int32Array");
}

/** float64 wins over float32, and both over int32. */
function promote(a: DType, b: DType): DType {
  if (a === b) return a;
  return a === "float64" || b === "float64" ? "float64" : "float32";
}

const floating = (dtype: DType): DType => (dtype === "int32" ? "float64" : dtype);

/** @internal */
export type Arithmetic = "add" | "sub" | "mul" | "div";
/** @internal */
export type Comparison = "gt" | "ge" | "lt" | "le" | "eq";

/**
 * A row-major array of numbers with a shape. Tensors are values: no operation changes one, each returns a new one
 * (`data` is shared only by `reshape`). Sums are kept in doubles whatever the dtype.
 */
export class Tensor {
  readonly shape: Shape;
  readonly dtype: DType;
  private readonly numbers: Data | null;

  /** `data` may be null, and the dtype named, only in a subclass that overrides the getter `data`. */
  constructor(data: Data | null, shape: Shape, dtype?: DType) {
    checkShape("Tensor", shape);
    if (data && data.length !== sizeOf(shape)) {
      throw new Error(`Tensor: ${data.length} numbers do not fill the shape ${formatShape(shape)}`);
    }
    this.numbers = data;
    this.shape = Object.isFrozen(shape) ? shape : Object.freeze([...shape]);
    this.dtype = data ? dtypeOf(data) : dtype!;
  }

  /** The numbers, row by row. */
  get data(): Data {
    return this.numbers!;
  }

  get size(): number {
    return sizeOf(this.shape);
  }

  /** @internal 0 for plain numbers; of two operands the one with the greater order decides how they meet. */
  get order(): number {
    return 0;
  }

  get rank(): number {
    return this.shape.length;
  }

  get ndim(): number {
    return this.shape.length;
  }

  /** @internal Subclasses that carry more than numbers (a tangent) turn a plain operand into one of their kind. */
  lift?(plain: Tensor): Tensor;

  /** @internal A richer kind's rule for `concat`. */
  concatAll?(tensors: readonly Tensor[], axis: number): Tensor;

  /** @internal This tensor as one of the other's kind, where the other's is richer. */
  peer(other: Tensor | number): Tensor | undefined {
    return typeof other !== "number" && other.lift && this.order < other.order ? other.lift(this) : undefined;
  }

  // ---------------------------------------------------------------- elementwise, with NumPy broadcasting

  /** this + other */
  add(other: Tensor | number): Tensor {
    return this.arithmetic("add", other);
  }

  /** this - other */
  sub(other: Tensor | number): Tensor {
    return this.arithmetic("sub", other);
  }

  /** this * other, element by element (the Hadamard product) */
  mul(other: Tensor | number): Tensor {
    return this.arithmetic("mul", other);
  }

  /** this / other */
  div(other: Tensor | number): Tensor {
    return this.arithmetic("div", other);
  }

  /** @internal The one primitive below `add`, `sub`, `mul` and `div`. */
  arithmetic(op: Arithmetic, other: Tensor | number): Tensor {
    const peer = this.peer(other);
    if (peer) return peer.arithmetic(op, other);
    const b = operand(op, other, this.dtype);
    const out = broadcast(op, this, b, op === "div" ? floating(promote(this.dtype, b.dtype)) : undefined);
    forRows(out.shape, this.shape, b.shape, loops[op], out.data, this.data, b.data);
    return out;
  }

  /** The greater of each pair; NaN where either is NaN. */
  maximum(other: Tensor | number): Tensor {
    return this.select(this.ge(other), other);
  }

  /** The smaller of each pair; NaN where either is NaN. */
  minimum(other: Tensor | number): Tensor {
    return this.select(this.le(other), other);
  }

  /** 1 where this > other, 0 where not, NaN where either is NaN: a mask that cannot lose a NaN. */
  gt(other: Tensor | number): Tensor {
    return this.compare("gt", other);
  }

  ge(other: Tensor | number): Tensor {
    return this.compare("ge", other);
  }

  lt(other: Tensor | number): Tensor {
    return this.compare("lt", other);
  }

  le(other: Tensor | number): Tensor {
    return this.compare("le", other);
  }

  eq(other: Tensor | number): Tensor {
    return this.compare("eq", other);
  }

  /** @internal Masks are piecewise constant: they carry no tangent, so a richer tensor compares by its numbers alone. */
  compare(op: Comparison, other: Tensor | number): Tensor {
    const peer = this.peer(other);
    if (peer) return peer.compare(op, other);
    const b = operand(op, other, this.dtype);
    const out = broadcast(op, this, b, floating(promote(this.dtype, b.dtype)));
    forRows(out.shape, this.shape, b.shape, loops[op], out.data, this.data, b.data);
    return out;
  }

  /**
   * This tensor's elements where `mask` is not 0, `other`'s where it is 0, NaN where the mask is NaN.
   * Unlike a product with the mask, the elements left out do not matter, not even infinite ones.
   */
  select(mask: Tensor, other: Tensor | number): Tensor {
    const peer = this.peer(other);
    if (peer) return peer.select(mask, other);
    const b = operand("select", other, this.dtype);
    const shape = broadcastShapes("select", broadcastShapes("select", this.shape, b.shape), mask.shape);
    const out = allocate(b instanceof Constant ? this.dtype : promote(this.dtype, b.dtype), sizeOf(shape));
    const [x, y, m] = [this, b, mask].map((t) => (sameShape(t.shape, shape) ? t : t.broadcastTo(shape)).data);
    for (let i = 0; i < out.length; i++) out[i] = m[i] === 0 ? y[i] : m[i] !== m[i] ? NaN : x[i];
    return new Tensor(out, shape);
  }

  /** f of each element. `derivative`, in tensor operations, is f'; without it no tangent or gradient can pass. */
  map(f: (x: number) => number, derivative?: (x: Tensor) => Tensor): Tensor {
    void derivative;
    const data = this.data;
    const out = allocate(floating(this.dtype), data.length);
    for (let i = 0; i < out.length; i++) out[i] = f(data[i]);
    return new Tensor(out, this.shape);
  }

  /** @internal The one primitive below `exp`, `log`, `tanh` and the like. */
  unary(name: UnaryName): Tensor {
    return this.map(unaryFunctions[name].f, unaryFunctions[name].derivative);
  }

  neg(): Tensor {
    return this.arithmetic("mul", -1);
  }

  /** Each element to the power n. */
  pow(n: number): Tensor {
    return this.map((x) => x ** n, (x) => (n === 0 ? x.mul(0) : x.pow(n - 1).mul(n)));
  }

  square(): Tensor {
    return this.arithmetic("mul", this);
  }

  exp(): Tensor {
    return this.unary("exp");
  }

  /** exp(x) - 1, exact near 0 */
  expm1(): Tensor {
    return this.unary("expm1");
  }

  /** The natural logarithm. */
  log(): Tensor {
    return this.unary("log");
  }

  /** log(1 + x), exact near 0 */
  log1p(): Tensor {
    return this.unary("log1p");
  }

  sqrt(): Tensor {
    return this.unary("sqrt");
  }

  abs(): Tensor {
    return this.unary("abs");
  }

  sign(): Tensor {
    return this.unary("sign");
  }

  sin(): Tensor {
    return this.unary("sin");
  }

  cos(): Tensor {
    return this.unary("cos");
  }

  tanh(): Tensor {
    return this.unary("tanh");
  }

  /** 1 / (1 + exp(-x)) */
  sigmoid(): Tensor {
    return this.unary("sigmoid");
  }

  /** The error function, 2/sqrt(pi) times the integral of exp(-t^2) from 0 to x, to double precision. */
  erf(): Tensor {
    return this.unary("erf");
  }

  floor(): Tensor {
    return this.unary("floor");
  }

  /** To the nearest whole number, halves to the even one. */
  round(): Tensor {
    return this.unary("round");
  }

  /** Each element held between lo and hi. */
  clip(lo: number, hi: number): Tensor {
    return this.maximum(lo).minimum(hi);
  }

  // ---------------------------------------------------------------- matrix product

  /**
   * The matrix product over the last two axes, [..., M, K] x [..., K, N] -> [..., M, N]; the axes before them broadcast.
   * A vector counts as one row on the left and one column on the right, as in NumPy.
   */
  matmul(other: Tensor): Tensor {
    const peer = this.peer(other);
    if (peer) return peer.matmul(other);
    return multiply(this, other);
  }

  /** The last two axes swapped: a matrix's transpose. */
  get T(): Tensor {
    if (this.rank < 2) return this;
    const axes = this.shape.map((_, i) => i);
    [axes[this.rank - 1], axes[this.rank - 2]] = [this.rank - 2, this.rank - 1];
    return this.transpose(axes);
  }

  // ---------------------------------------------------------------- shape

  /** The same numbers under another shape; one dimension may be -1, "whatever is left". */
  reshape(...shape: readonly number[] | [Shape]): Tensor {
    return new Tensor(this.data, this.resolve((Array.isArray(shape[0]) ? shape[0] : shape) as Shape));
  }

  /** @internal The shape a reshape means, its -1 filled in. */
  resolve(shape: Shape): number[] {
    const known = sizeOf(shape.filter((d) => d !== -1));
    const unknown = shape.filter((d) => d === -1).length;
    const filled = shape.map((d) => (d === -1 ? (known === 0 ? 0 : this.size / known) : d));
    if (unknown > 1 || filled.some((d) => !Number.isInteger(d)) || sizeOf(filled) !== this.size) {
      throw new Error(`reshape: ${this.size} numbers of shape ${formatShape(this.shape)} do not fill ${formatShape(shape)}`);
    }
    return filled;
  }

  /** @internal The one primitive below `transpose`, `broadcastTo` and `slice`: a copy, read from `offset` with these strides. */
  strided(shape: Shape, strides: readonly number[], offset: number): Tensor {
    return copyStrided(this, shape, strides, offset);
  }

  /** The axes in another order; reversed when none is given. */
  transpose(axes?: readonly number[]): Tensor {
    const order = (axes ?? this.shape.map((_, i) => this.rank - 1 - i)).map((a) => normalizeAxis("transpose", a, this.rank));
    if (new Set(order).size !== this.rank || order.length !== this.rank) {
      throw new Error(`transpose: the axes are ${formatShape(order)}, they should name each of ${this.rank} axes once`);
    }
    const shape = order.map((axis) => this.shape[axis]);
    const strides = stridesOf(this.shape);
    return this.strided(shape, order.map((axis) => strides[axis]), 0);
  }

  /** Stretched to a shape it broadcasts to. */
  broadcastTo(shape: Shape): Tensor {
    const both = broadcastShapes("broadcastTo", this.shape, shape);
    if (!sameShape(both, shape)) {
      throw new Error(`broadcastTo: shape ${formatShape(this.shape)} does not stretch to ${formatShape(shape)}`);
    }
    return this.strided(shape, broadcastStrides(this.shape, shape), 0);
  }

  /** Positions start (included) to end (not included) of one axis; negative ones count from the end. */
  slice(start: number, end?: number, axis = 0): Tensor {
    const at = normalizeAxis("slice", axis, this.rank);
    const n = this.shape[at];
    const clamp = (i: number): number => Math.min(Math.max(i < 0 ? i + n : i, 0), n);
    const from = clamp(start);
    const length = Math.max(clamp(end ?? n) - from, 0);
    const strides = stridesOf(this.shape);
    return this.strided(this.shape.map((d, i) => (i === at ? length : d)), strides, from * strides[at]);
  }

  /** The i-th entry along the first axis (or another), that axis dropped: a matrix's row. */
  at(i: number, axis = 0): Tensor {
    const position = normalizeAxis("at", axis, this.rank);
    const n = this.shape[position];
    const index = i < 0 ? i + n : i;
    if (!Number.isInteger(i) || index < 0 || index >= n) {
      throw new Error(`at: the index is ${i}, axis ${position} has ${n} entries`);
    }
    return this.slice(index, index + 1, position).reshape(this.shape.filter((_, k) => k !== position));
  }

  /** Row i of a matrix. */
  row(i: number): Tensor {
    return this.at(i, 0);
  }

  /** Column j of a matrix. */
  column(j: number): Tensor {
    return this.at(j, this.rank - 1);
  }

  /** This tensor and others, one after the other along an axis. */
  concat(others: Tensor | readonly Tensor[], axis = 0): Tensor {
    return concat([this, ...(others instanceof Tensor ? [others] : others)], axis);
  }

  /**
   * out[i] = this.data[indices[i]], and 0 where the index is -1: the one primitive of reading by position
   * (embedding rows, picking a class, im2col, max pooling).
   */
  gather(indices: Int32Array, shape: Shape): Tensor {
    const data = this.data;
    const out = allocate(this.dtype, sizeOf(shape));
    for (let i = 0; i < out.length; i++) out[i] = indices[i] < 0 ? 0 : data[indices[i]];
    return new Tensor(out, shape);
  }

  /** out[indices[i]] += this.data[i]: gather's adjoint. Positions read several times collect several gradients. */
  scatter(indices: Int32Array, shape: Shape): Tensor {
    const data = this.data;
    const sums = new Float64Array(sizeOf(shape));
    for (let i = 0; i < data.length; i++) if (indices[i] >= 0) sums[indices[i]] += data[i];
    return new Tensor(this.dtype === "float64" ? sums : arrays[this.dtype].from(sums), shape);
  }

  // ---------------------------------------------------------------- reductions

  /** The sum over all axes, or over those named. */
  sum(axis?: number | readonly number[], keepdims = false): Tensor {
    const axes = normalizeAxes("sum", axis, this.rank);
    const [inner, outer] = splitShape(this.shape, axes);
    // Neighbouring axes are summed together; several groups, one after the other, from the right.
    let sums: Data = this.data;
    for (const { before, along, after } of groupsOf(this.shape, axes)) sums = sumMiddle(sums, before, along, after);
    const data = sums === this.data ? sums.slice() : this.dtype === "float64" ? sums : arrays[this.dtype].from(sums);
    return new Tensor(data, keepdims ? inner : outer);
  }

  /** The mean over all axes, or over those named; NaN over nothing, as in NumPy. */
  mean(axis?: number | readonly number[], keepdims = false): Tensor {
    const count = sizeOf(normalizeAxes("mean", axis, this.rank).map((a) => this.shape[a]));
    return this.sum(axis, keepdims).div(count);
  }

  /** The greatest element; NaN if one is NaN, -infinity over nothing. */
  max(axis?: number | readonly number[], keepdims = false): Tensor {
    return this.extreme("max", axis, keepdims);
  }

  /** The smallest element; NaN if one is NaN, infinity over nothing. */
  min(axis?: number | readonly number[], keepdims = false): Tensor {
    return this.extreme("min", axis, keepdims);
  }

  private extreme(which: "max" | "min", axis: number | readonly number[] | undefined, keepdims: boolean): Tensor {
    const axes = normalizeAxes(which, axis, this.rank);
    const [inner, outer] = splitShape(this.shape, axes);
    if (sizeOf(axes.map((a) => this.shape[a])) === 0) {
      return this.gather(new Int32Array(sizeOf(outer)).fill(-1), keepdims ? inner : outer).sub(which === "max" ? Infinity : -Infinity);
    }
    return this.gather(this.extremeAt(which, axes, sizeOf(outer)), keepdims ? inner : outer);
  }

  /** @internal Where each extreme stands in `data`; the first one of equals, the first NaN if there is one. */
  extremeAt(which: "max" | "min", axes: number[], size: number): Int32Array {
    const data = this.data;
    const at = new Int32Array(size);
    const sign = which === "max" ? 1 : -1;
    const groups = groupsOf(this.shape, axes);
    if (groups.length === 1) {
      const [{ before, along, after }] = groups;
      for (let b = 0, o = 0; b < before; b++) {
        for (let i = 0; i < after; i++, o++) {
          let best = b * along * after + i;
          for (let k = 1, p = best + after; k < along && data[best] === data[best]; k++, p += after) {
            if (!(sign * data[p] <= sign * data[best])) best = p;
          }
          at[o] = best;
        }
      }
      return at;
    }
    at.fill(-1);
    reduce(this, axes, (o, value, i) => {
      const best = at[o] < 0 ? undefined : data[at[o]];
      if (best === undefined || (best === best && (value !== value || sign * value > sign * best))) at[o] = i;
    });
    return at;
  }

  /** The position of the greatest element along an axis (the first of equals), or in `data` when no axis is named. */
  argmax(axis?: number): Tensor {
    return this.argExtreme("max", axis);
  }

  /** The position of the smallest element along an axis, or in `data` when no axis is named. */
  argmin(axis?: number): Tensor {
    return this.argExtreme("min", axis);
  }

  private argExtreme(which: "max" | "min", axis?: number): Tensor {
    const axes = normalizeAxes(`arg${which}`, axis, this.rank);
    if (sizeOf(axes.map((a) => this.shape[a])) === 0) {
      throw new Error(`arg${which}: shape ${formatShape(this.shape)} has nothing to choose from`);
    }
    const [, outer] = splitShape(this.shape, axes);
    const at = this.extremeAt(which, axes, sizeOf(outer));
    if (axis === undefined) return new Tensor(at, outer);
    const stride = stridesOf(this.shape)[axes[0]];
    const n = this.shape[axes[0]];
    return new Tensor(at.map((i) => Math.floor(i / stride) % n), outer);
  }

  /** The square root of the sum of squares (the Frobenius norm). */
  norm(): number {
    const data = this.data;
    let [even, odd] = [0, 0];
    for (let i = 0; i + 1 < data.length; i += 2) {
      even += data[i] * data[i];
      odd += data[i + 1] * data[i + 1];
    }
    const squares = even + odd + (data.length % 2 === 1 ? data[data.length - 1] ** 2 : 0);
    if (squares > 1e-280 && squares < Infinity) return Math.sqrt(squares);
    // The square of 1e200 or of 1e-200 leaves the range of a double: scaled by the greatest element, it does not.
    let scale = 0;
    for (const x of data) {
      if (x !== x) return NaN;
      if (Math.abs(x) > scale) scale = Math.abs(x);
    }
    if (scale === 0 || scale === Infinity) return scale;
    let sum = 0;
    for (const x of data) sum += (x / scale) ** 2;
    return scale * Math.sqrt(sum);
  }

  /** The sum of products with a tensor of the same size (the Frobenius inner product). */
  dot(other: Tensor): number {
    if (other.size !== this.size) {
      throw new Error(`dot: shapes ${formatShape(this.shape)} and ${formatShape(other.shape)} differ`);
    }
    const [a, b] = [this.data, other.data];
    let sum = 0;
    for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
    return sum;
  }

  // ---------------------------------------------------------------- reading

  /** The tensor with its numbers at hand: itself, or from a GPU a copy. Code that awaits it runs on every device. */
  async read(): Promise<Tensor> {
    return this;
  }

  /** The one number of a tensor that holds one. */
  item(): number {
    if (this.size !== 1) throw new Error(`item: shape ${formatShape(this.shape)} holds ${this.size} numbers, not one`);
    return this.data[0];
  }

  /** The number at a position, one index an axis; negative ones count from the end. */
  get(...index: number[]): number {
    if (index.length !== this.rank) {
      throw new Error(`get: ${index.length} indices were given, shape ${formatShape(this.shape)} has ${this.rank} axes`);
    }
    const strides = stridesOf(this.shape);
    let at = 0;
    index.forEach((i, axis) => {
      const n = this.shape[axis];
      const position = i < 0 ? i + n : i;
      if (!Number.isInteger(i) || position < 0 || position >= n) {
        throw new Error(`get: the index is ${i}, axis ${axis} has ${n} entries`);
      }
      at += position * strides[axis];
    });
    return this.data[at];
  }

  /** Nested plain arrays; a plain number for a scalar. */
  toArray(): any {
    const build = (axis: number, offset: number, step: number): unknown => {
      if (axis === this.rank) return this.data[offset];
      const inner = step / (this.shape[axis] || 1);
      return Array.from({ length: this.shape[axis] }, (_, i) => build(axis + 1, offset + i * inner, inner));
    };
    return build(0, 0, this.size);
  }

  clone(): Tensor {
    return new Tensor(this.data.slice(), this.shape);
  }

  /** The numbers in another dtype. Only whole numbers fit int32. */
  astype(dtype: DType): Tensor {
    if (dtype === this.dtype) return this;
    if (dtype === "int32") {
      const misfit = (this.data as Float64Array).find((x) => x !== (x | 0));
      if (misfit !== undefined) throw new Error(`astype: ${misfit} does not fit int32`);
    }
    return new Tensor(arrays[dtype].from(this.data), this.shape);
  }

  /** The numbers in rows with their points below each other, as NumPy prints them, long axes shortened. */
  toString(): string {
    const number = (x: number): string => {
      if (Number.isInteger(x) && Math.abs(x) < 1e6) return String(x);
      return Math.abs(x) >= 1e6 || Math.abs(x) < 1e-4 ? x.toExponential(4) : String(Number(x.toPrecision(6)));
    };
    if (this.rank === 0) return number(this.data[0]);
    const strides = stridesOf(this.shape);
    const edge = 3;
    /** The indices that are shown along an axis, -1 for those left out. */
    const picked = this.shape.map((n) => Array.from({ length: Math.min(n, 2 * edge + 1) }, (_, i) =>
      (n <= 2 * edge || i < edge ? i : i === edge ? -1 : n - 2 * edge - 1 + i)));
    const rows: string[][] = [];
    const read = (axis: number, offset: number): void => {
      if (axis === this.rank - 1) rows.push(picked[axis].map((i) => (i < 0 ? "..." : number(this.data[offset + i * strides[axis]]))));
      else for (const i of picked[axis]) if (i >= 0) read(axis + 1, offset + i * strides[axis]);
    };
    read(0, 0);
    const columns = (rows[0] ?? []).map((_, j) => alignPoints(rows.map((row) => row[j])));
    const widths = columns.map((column) => Math.max(...column.map((text) => text.length)));
    let next = 0;
    const lines = (axis: number): string => {
      if (axis === this.rank - 1) {
        const row = next++;
        return `[${columns.map((column, j) => column[row].padStart(widths[j])).join(", ")}]`;
      }
      return `[${picked[axis].map((i) => (i < 0 ? "..." : lines(axis + 1))).join(`,${"\n".repeat(this.rank - 1 - axis)}${" ".repeat(axis + 1)}`)}]`;
    };
    const kind = this.dtype === "float64" ? "" : ` ${this.dtype}`;
    return `Tensor ${formatShape(this.shape)}${kind}\n${lines(0)}`;
  }

  /** What console.log prints in Node. */
  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return this.toString();
  }

  /** What a notebook shows. */
  [Symbol.for("Jupyter.display")](): { [type: string]: string } {
    return displayTensor(this);
  }
}

// ------------------------------------------------------------------ the loops below the methods

function operand(who: string, value: Tensor | number, dtype: DType): Tensor {
  if (value instanceof Tensor) return value;
  if (typeof value !== "number") {
    throw new Error(`${who}: the operand is ${value === null ? "null" : typeof value}, it should be a Tensor or a number`);
  }
  // A plain number takes the tensor's dtype, unless it is a fraction and the tensor holds integers.
  const own = dtype === "int32" && value !== (value | 0) ? "float64" : dtype === "int32" ? "int32" : "float64";
  const data = allocate(own, 1);
  data[0] = value;
  return dtype === "float32" ? new Constant(data, []) : new Tensor(data, []);
}

/** A plain number among float32: kept exact, but not raising the result to float64. */
class Constant extends Tensor {}

function broadcast(who: string, a: Tensor, b: Tensor, dtype?: DType): Tensor {
  const shape = sameShape(a.shape, b.shape) ? a.shape : broadcastShapes(who, a.shape, b.shape);
  const own = b instanceof Constant ? a.dtype : (dtype ?? promote(a.dtype, b.dtype));
  return new Tensor(allocate(own, sizeOf(shape)), shape);
}

/** One row: n elements from a (step as) and b (step bs), each step 0 or 1. */
type RowLoop = (
  out: Data, o: number, a: Data, ai: number, as: number, b: Data, bi: number, bs: number, n: number,
) => void;

function comparison(f: (x: number, y: number) => boolean): RowLoop {
  return (out, o, a, ai, as, b, bi, bs, n) => {
    for (let i = 0; i < n; i++, ai += as, bi += bs) {
      const x = a[ai];
      const y = b[bi];
      out[o + i] = x !== x || y !== y ? NaN : f(x, y) ? 1 : 0;
    }
  };
}

// The four arithmetic loops are written out: a shared loop that calls a function is several times slower.
const loops: Record<Arithmetic | Comparison, RowLoop> = {
  add: (out, o, a, ai, as, b, bi, bs, n) => {
    for (let i = 0; i < n; i++, ai += as, bi += bs) out[o + i] = a[ai] + b[bi];
  },
  sub: (out, o, a, ai, as, b, bi, bs, n) => {
    for (let i = 0; i < n; i++, ai += as, bi += bs) out[o + i] = a[ai] - b[bi];
  },
  mul: (out, o, a, ai, as, b, bi, bs, n) => {
    for (let i = 0; i < n; i++, ai += as, bi += bs) out[o + i] = a[ai] * b[bi];
  },
  div: (out, o, a, ai, as, b, bi, bs, n) => {
    for (let i = 0; i < n; i++, ai += as, bi += bs) out[o + i] = a[ai] / b[bi];
  },
  gt: comparison((x, y) => x > y),
  ge: comparison((x, y) => x >= y),
  lt: comparison((x, y) => x < y),
  le: comparison((x, y) => x <= y),
  eq: comparison((x, y) => x === y),
};

/** Runs a row loop over a broadcast pair, neighbouring axes merged first so that rows are as long as can be. */
function forRows(shape: Shape, sa: Shape, sb: Shape, loop: RowLoop, out: Data, a: Data, b: Data): void {
  const full = [broadcastStrides(sa, shape), broadcastStrides(sb, shape)];
  const dims: number[] = [];
  const as: number[] = [];
  const bs: number[] = [];
  for (let i = shape.length - 1; i >= 0; i--) {
    if (shape[i] === 1) continue;
    const last = dims.length - 1;
    const merges = last >= 0 && full[0][i] === as[last] * dims[last] && full[1][i] === bs[last] * dims[last];
    if (merges) dims[last] *= shape[i];
    else {
      dims.push(shape[i]);
      as.push(full[0][i]);
      bs.push(full[1][i]);
    }
  }
  if (dims.length === 0) dims.push(sizeOf(shape));
  const n = dims[0];
  const rows = n === 0 ? 0 : sizeOf(dims) / n;
  const index = new Int32Array(dims.length);
  let ai = 0;
  let bi = 0;
  for (let r = 0, o = 0; r < rows; r++, o += n) {
    loop(out, o, a, ai, as[0] ?? 0, b, bi, bs[0] ?? 0, n);
    for (let d = 1; d < dims.length; d++) {
      ai += as[d];
      bi += bs[d];
      if (++index[d] < dims[d]) break;
      index[d] = 0;
      ai -= as[d] * dims[d];
      bi -= bs[d] * dims[d];
    }
  }
}

/** A new tensor of `shape` read from `source` with other strides. */
function copyStrided(source: Tensor, shape: Shape, strides: readonly number[], offset: number): Tensor {
  const data = source.data;
  const out = allocate(source.dtype, sizeOf(shape));
  if (out.length === 0) return new Tensor(out, shape);
  const rank = shape.length;
  const n = rank === 0 ? 1 : shape[rank - 1];
  const step = rank === 0 ? 0 : strides[rank - 1];
  const index = new Int32Array(rank);
  let at = offset;
  for (let o = 0; o < out.length; o += n) {
    for (let i = 0, p = at; i < n; i++, p += step) out[o + i] = data[p];
    for (let d = rank - 2; d >= 0; d--) {
      at += strides[d];
      if (++index[d] < shape[d]) break;
      index[d] = 0;
      at -= strides[d] * shape[d];
    }
  }
  return new Tensor(out, shape);
}

/** The shape with the reduced axes as 1, and with them dropped. */
function splitShape(shape: Shape, axes: readonly number[]): [number[], number[]] {
  return [shape.map((d, i) => (axes.includes(i) ? 1 : d)), shape.filter((_, i) => !axes.includes(i))];
}

/** A run of neighbouring axes that are reduced: the sizes before it, of it and after it. */
interface Group { readonly before: number; readonly along: number; readonly after: number }

/** The runs of reduced axes, from the right, each seen when those to its right are gone. */
function groupsOf(shape: Shape, axes: readonly number[]): Group[] {
  const groups: Group[] = [];
  let after = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    if (!axes.includes(i)) {
      after *= shape[i];
      continue;
    }
    let along = shape[i];
    while (i > 0 && axes.includes(i - 1)) along *= shape[--i];
    groups.push({ before: sizeOf(shape.slice(0, i)), along, after });
  }
  return groups;
}

/** [before, along, after] summed over its middle axis, in doubles. */
function sumMiddle(data: Data, before: number, along: number, after: number): Float64Array {
  const out = new Float64Array(before * after);
  if (after === 1) {
    for (let b = 0, p = 0; b < before; b++) {
      let sum = 0;
      for (let k = 0; k < along; k++) sum += data[p++];
      out[b] = sum;
    }
    return out;
  }
  for (let b = 0, p = 0; b < before; b++) {
    for (let k = 0; k < along; k++) {
      for (let i = 0, o = b * after; i < after; i++) out[o++] += data[p++];
    }
  }
  return out;
}

/** Calls visit(position in the result, value, position in the data) for every element, in order. */
function reduce(t: Tensor, axes: readonly number[], visit: (o: number, value: number, i: number) => void): void {
  const data = t.data;
  const rank = t.rank;
  const [inner] = splitShape(t.shape, axes);
  const strides = stridesOf(inner).map((s, i) => (axes.includes(i) ? 0 : s));
  const n = rank === 0 ? 1 : t.shape[rank - 1];
  const step = rank === 0 ? 0 : strides[rank - 1];
  const index = new Int32Array(rank);
  let o = 0;
  for (let i = 0; i < data.length; i += n) {
    for (let j = 0; j < n; j++) visit(o + j * step, data[i + j], i + j);
    for (let d = rank - 2; d >= 0; d--) {
      o += strides[d];
      if (++index[d] < t.shape[d]) break;
      index[d] = 0;
      o -= strides[d] * t.shape[d];
    }
  }
}

function multiply(left: Tensor, right: Tensor): Tensor {
  if (left.rank === 0 || right.rank === 0) {
    throw new Error(`matmul: shapes ${formatShape(left.shape)} and ${formatShape(right.shape)}, neither may be a scalar`);
  }
  const a = left.rank === 1 ? left.reshape(1, left.size) : left;
  const b = right.rank === 1 ? right.reshape(right.size, 1) : right;
  const [M, K] = a.shape.slice(-2);
  const [K2, N] = b.shape.slice(-2);
  if (K !== K2) {
    throw new Error(
      `matmul: ${formatShape(left.shape)} x ${formatShape(right.shape)}, the inner dimensions ${K} and ${K2} differ`);
  }
  const batchA = a.shape.slice(0, -2);
  const batchB = b.shape.slice(0, -2);
  const shape = [
    ...broadcastShapes("matmul", batchA, batchB),
    ...(left.rank === 1 ? [] : [M]),
    ...(right.rank === 1 ? [] : [N]),
  ];
  const out = allocate(promote(a.dtype, b.dtype), sizeOf(shape));
  const whole = { row: K, column: 1 };
  if (batchB.every((d) => d === 1)) {
    // One right-hand matrix for every row of every batch: a single tall product.
    const rows = sizeOf(batchA) * M;
    matmulInto(out, 0, { data: a.data, offset: 0, ...whole }, { data: b.data, offset: 0, row: N, column: 1 }, rows, N, K);
    return new Tensor(out, shape);
  }
  const batch = broadcastShapes("matmul", batchA, batchB);
  const at = (own: Shape): Int32Array => {
    const count = sizeOf(own);
    const positions = new Tensor(Int32Array.from({ length: count }, (_, i) => i), own);
    return positions.broadcastTo(batch).data as Int32Array;
  };
  const [pa, pb] = [at(batchA), at(batchB)];
  for (let i = 0; i < pa.length; i++) {
    matmulInto(
      out, i * M * N,
      { data: a.data, offset: pa[i] * M * K, ...whole },
      { data: b.data, offset: pb[i] * K * N, row: N, column: 1 },
      M, N, K);
  }
  return new Tensor(out, shape);
}

/** Tensors one after the other along an axis; all other dimensions agree. */
export function concat(tensors: readonly Tensor[], axis = 0): Tensor {
  if (tensors.length === 0) throw new Error("concat: no tensors were given");
  const richest = tensors.reduce((a, b) => (b.order > a.order ? b : a));
  return richest.concatAll ? richest.concatAll(tensors, axis) : concatPlain(tensors, axis);
}

function concatPlain(tensors: readonly Tensor[], axis: number): Tensor {
  const [first] = tensors;
  const at = normalizeAxis("concat", axis, first.rank);
  const odd = tensors.find((t) => t.rank !== first.rank || t.shape.some((d, i) => i !== at && d !== first.shape[i]));
  if (odd) {
    throw new Error(`concat: shapes ${formatShape(first.shape)} and ${formatShape(odd.shape)} differ outside axis ${at}`);
  }
  const total = tensors.reduce((sum, t) => sum + t.shape[at], 0);
  const shape = first.shape.map((d, i) => (i === at ? total : d));
  const out = allocate(tensors.map((t) => t.dtype).reduce(promote), sizeOf(shape));
  const inner = sizeOf(shape.slice(at + 1));
  const outer = sizeOf(shape.slice(0, at));
  let start = 0;
  for (const t of tensors) {
    const run = t.shape[at] * inner;
    for (let o = 0; o < outer; o++) out.set(t.data.subarray(o * run, (o + 1) * run), o * total * inner + start);
    start += run;
  }
  return new Tensor(out, shape);
}

/** Tensors of one shape, stacked along a new axis. */
export function stack(tensors: readonly Tensor[], axis = 0): Tensor {
  if (tensors.length === 0) throw new Error("stack: no tensors were given");
  const at = axis < 0 ? axis + tensors[0].rank + 1 : axis;
  return concat(tensors.map((t) => t.reshape([...t.shape.slice(0, at), 1, ...t.shape.slice(at)])), at);
}

/**
 * Broadcasting's adjoint: the gradient of a tensor of shape `shape` that was stretched to `gradient`'s shape.
 * What was copied in the forward is summed in the backward.
 */
export function unbroadcast(gradient: Tensor, shape: Shape): Tensor {
  if (sameShape(gradient.shape, shape)) return gradient;
  return gradient.sum(stretchedAxes(shape, gradient.shape), true).reshape(shape);
}
