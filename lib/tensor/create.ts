/** Making tensors: from numbers, filled, counted, drawn. */

import type { Rng } from "./random";
import { checkShape, formatShape, sizeOf, type Shape } from "./shape";
import { allocate, Tensor, type Data, type DType, type Nested } from "./tensor";

/**
 * A tensor from nested arrays of numbers, or from a typed array (which it keeps, not copies) and a shape.
 *
 * `tensor([[1, 2], [3, 4]])` has shape [2, 2] and dtype float64.
 */
export function tensor(values: Nested | Data | Tensor, shape?: Shape, dtype?: DType): Tensor {
  if (values instanceof Tensor) {
    const same = dtype ? values.astype(dtype) : values;
    return shape ? same.reshape(shape) : same;
  }
  if (values instanceof Float64Array || values instanceof Float32Array || values instanceof Int32Array) {
    const made = new Tensor(values, shape ?? [values.length]);
    return dtype ? made.astype(dtype) : made;
  }
  const found = shapeOf(values);
  const flat = new Float64Array(sizeOf(found));
  let o = 0;
  const fill = (value: Nested, axis: number): void => {
    if (axis === found.length) {
      if (typeof value !== "number") {
        const what = Array.isArray(value) ? "a list" : value === null ? "null" : `a ${typeof value}`;
        throw new Error(`tensor: ${what} stands where a number of shape ${formatShape(found)} should be`);
      }
      flat[o++] = value;
      return;
    }
    if (!Array.isArray(value) || value.length !== found[axis]) {
      const what = Array.isArray(value) ? `a list of ${value.length}` : `a ${typeof value}`;
      throw new Error(`tensor: the lists are ragged, ${what} stands where a list of ${found[axis]} should be`);
    }
    for (const entry of value) fill(entry, axis + 1);
  };
  fill(values, 0);
  const made = new Tensor(flat, found);
  const shaped = shape ? made.reshape(shape) : made;
  return dtype ? shaped.astype(dtype) : shaped;
}

function shapeOf(values: Nested): number[] {
  const shape: number[] = [];
  let level: Nested | undefined = values;
  while (Array.isArray(level)) {
    shape.push(level.length);
    level = level[0];
  }
  return shape;
}

/** `zeros(2, 3)` and `zeros([2, 3], "float32")` are both welcome. */
type ShapeArguments = readonly number[] | readonly [shape: Shape, dtype?: DType];

function readShape(who: string, args: ShapeArguments): [Shape, DType] {
  const [first, second] = args as [Shape | number | undefined, DType | undefined];
  const shape = (Array.isArray(first) ? first : args) as Shape;
  checkShape(who, shape);
  return [shape, (Array.isArray(first) ? second : undefined) ?? "float64"];
}

export function zeros(...args: ShapeArguments): Tensor {
  const [shape, dtype] = readShape("zeros", args);
  return new Tensor(allocate(dtype, sizeOf(shape)), shape);
}

export function ones(...args: ShapeArguments): Tensor {
  const [shape, dtype] = readShape("ones", args);
  return full(shape, 1, dtype);
}

export function full(shape: Shape, value: number, dtype: DType = "float64"): Tensor {
  checkShape("full", shape);
  return new Tensor(allocate(dtype, sizeOf(shape)).fill(value), shape);
}

export function zerosLike(t: Tensor): Tensor {
  return zeros(t.shape, t.dtype);
}

export function onesLike(t: Tensor): Tensor {
  return ones(t.shape, t.dtype);
}

function drawn(who: string, shape: Shape, dtype: DType, generator: Rng, draw: () => number): Tensor {
  checkShape(who, shape);
  if (typeof generator?.uniform !== "function") throw new Error(`${who}: no generator was given, it should be rng(seed)`);
  const data = allocate(dtype, sizeOf(shape));
  for (let i = 0; i < data.length; i++) data[i] = draw();
  return new Tensor(data, shape);
}

/** Standard normal numbers from a seeded generator. */
export function randn(shape: Shape, generator: Rng, dtype: DType = "float64"): Tensor {
  return drawn("randn", shape, dtype, generator, () => generator.normal());
}

/** Numbers uniform on [lo, hi) from a seeded generator. */
export function uniform(shape: Shape, generator: Rng, lo = 0, hi = 1, dtype: DType = "float64"): Tensor {
  return drawn("uniform", shape, dtype, generator, () => lo + (hi - lo) * generator.uniform());
}

/** `arange(4)` is 0 1 2 3; `arange(1, 2, 0.5)` is 1 1.5. */
export function arange(start: number, end?: number, step = 1): Tensor {
  const [lo, hi] = end === undefined ? [0, start] : [start, end];
  if (step === 0 || !Number.isFinite((hi - lo) / step)) throw new Error(`arange: the step ${step} never leads from ${lo} to ${hi}`);
  const length = Math.max(Math.ceil((hi - lo) / step), 0);
  return new Tensor(Float64Array.from({ length }, (_, i) => lo + i * step), [length]);
}

/** n numbers from lo to hi, both included. */
export function linspace(lo: number, hi: number, n: number): Tensor {
  return new Tensor(Float64Array.from({ length: n }, (_, i) => (n === 1 ? lo : lo + ((hi - lo) * i) / (n - 1))), [n]);
}

/** The identity matrix. */
export function eye(n: number, dtype: DType = "float64"): Tensor {
  const t = zeros([n, n], dtype);
  for (let i = 0; i < n; i++) t.data[i * (n + 1)] = 1;
  return t;
}

/** Rows with a single 1: shape [...ids, K]. */
export function oneHot(ids: Tensor | Nested, K: number, dtype: DType = "float64"): Tensor {
  const index = ids instanceof Tensor ? ids : tensor(ids);
  const t = zeros([...index.shape, K], dtype);
  index.data.forEach((id, i) => {
    if (!Number.isInteger(id) || id < 0 || id >= K) throw new Error(`oneHot: the id ${id} is not a whole number below ${K}`);
    t.data[i * K + id] = 1;
  });
  return t;
}
