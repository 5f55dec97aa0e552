/** Plain data: copied, compared, and written as text that another process reads. */
import { Buffer } from "node:buffer";
import { Tensor, type DType } from "gradbook";
import type { Datum } from "./spec";

const arrays = { float64: Float64Array, float32: Float32Array, int32: Int32Array };

/** A deep copy: what the student's code gets, so that it can spoil nothing of ours. */
export function copy<T extends Datum>(value: T): T {
  if (value instanceof Tensor) return new Tensor(value.data.slice(), value.shape) as T;
  if (Array.isArray(value)) return value.map(copy) as unknown as T;
  if (typeof value === "object" && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, copy(entry as Datum)])) as T;
  }
  return value;
}

/** Bit by bit the same: NaN equals NaN, 0 does not equal -0. */
export function same(a: unknown, b: unknown): boolean {
  if (a instanceof Tensor) {
    return (
      b instanceof Tensor &&
      a.dtype === b.dtype &&
      a.shape.length === b.shape.length &&
      a.shape.every((d, i) => d === b.shape[i]) &&
      sameNumbers(a.data, b.data)
    );
  }
  if (typeof a !== "object" || a === null || typeof b !== "object" || b === null) return Object.is(a, b);
  const keys = Object.keys(a);
  if (keys.length !== Object.keys(b).length) return false;
  return keys.every((key) => same((a as Record<string, unknown>)[key], (b as Record<string, unknown>)[key]));
}

function sameNumbers(a: ArrayLike<number>, b: ArrayLike<number>): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (!Object.is(a[i], b[i])) return false;
  return true;
}

/** What stands for a tensor in text: exact, and read back without running anything. */
interface TensorText {
  dtype: DType;
  shape: readonly number[];
  base64: string;
}

/** JSON text of data; tensors and the numbers that JSON lacks included. */
export function write(value: unknown): string {
  return JSON.stringify(value, function (this: unknown, _key, entry: unknown) {
    if (entry instanceof Tensor) {
      const { buffer, byteOffset, byteLength } = entry.data;
      const base64 = Buffer.from(buffer, byteOffset, byteLength).toString("base64");
      return { $tensor: { dtype: entry.dtype, shape: entry.shape, base64 } };
    }
    if (typeof entry === "number" && (!Number.isFinite(entry) || Object.is(entry, -0))) {
      return { $number: Object.is(entry, -0) ? "-0" : String(entry) };
    }
    return entry;
  });
}

/** Reads what `write` wrote. Throws one sentence on anything else; runs nothing that the text contains. */
export function read(text: string): unknown {
  return JSON.parse(text, (_key, entry: unknown) => {
    if (typeof entry !== "object" || entry === null) return entry;
    if ("$number" in entry) return Number(entry.$number);
    if (!("$tensor" in entry)) return entry;
    const { dtype, shape, base64 } = (entry.$tensor ?? {}) as TensorText;
    if (!Object.hasOwn(arrays, dtype) || !Array.isArray(shape) || !shape.every(Number.isInteger) || typeof base64 !== "string") {
      throw new Error("a tensor in the message has no dtype, shape or numbers");
    }
    const bytes = Buffer.from(base64, "base64");
    // A copy, for a buffer from the pool may start at an odd address.
    return new Tensor(new arrays[dtype](new Uint8Array(bytes).buffer), shape);
  });
}
