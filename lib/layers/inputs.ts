/**
 * Reading and checking a layer's inputs against the shapes it declares, as in
 * `{ x: "[..., in]", W: "[out, in]", b: "[out]?" }`.
 *
 * A name stands for one dimension wherever it appears; `3C` is three times C; a leading `...` is any leading
 * dimensions, the same in every input that has it; a trailing `...` is any further dimensions; `?` at the end marks an
 * input that may be left out; `int` before the brackets marks whole numbers (ids, targets), which have no gradient.
 */

import { formatShape, sameShape, Tensor, tensor, type Nested, type Shape } from "../tensor";

export type InputSpecs = Readonly<Record<string, string>>;

/** Whole numbers: nested arrays or an int32 Tensor. */
export type Integers = Tensor | Nested;

type Key<S> = keyof S & string;
export type IntegerName<S> = { [K in Key<S>]: S[K] extends `int ${string}` ? K : never }[Key<S>];
export type OptionalName<S> = { [K in Key<S>]: S[K] extends `${string}?` ? K : never }[Key<S>];
/** The inputs that have gradients. */
export type SmoothName<S> = Exclude<Key<S>, IntegerName<S>>;

type Simplify<T> = { [K in keyof T]: T[K] };
type Given<S, K> = K extends IntegerName<S> ? Integers : Tensor;

/** What a caller passes. */
export type InputsOf<S> = Simplify<
  { readonly [K in Exclude<Key<S>, OptionalName<S>>]: Given<S, K> } &
  { readonly [K in OptionalName<S>]?: Given<S, K> | undefined }
>;

/** What a layer's code receives: whole numbers have become int32 tensors. */
export type ReadInputs<S> = Simplify<
  { readonly [K in Exclude<Key<S>, OptionalName<S>>]: Tensor } &
  { readonly [K in OptionalName<S>]?: Tensor }
>;

interface Declared {
  readonly integer: boolean;
  readonly optional: boolean;
  readonly leading: boolean;
  readonly trailing: boolean;
  readonly dimensions: readonly { readonly times: number; readonly name: string }[];
  readonly text: string;
}

export function parseSpec(spec: string): Declared {
  const match = /^(int )?(\[(\.\.\.)?,?\s*(.*)\])(\?)?$/.exec(spec);
  if (!match) throw new Error(`defineLayer: the input "${spec}" should read like "[..., in]", "int [...]" or "[out]?"`);
  const [, integer, text, leading, names, optional] = match;
  const parts = names.split(",").map((part) => part.trim()).filter(Boolean);
  const trailing = parts.at(-1) === "...";
  const dimensions = (trailing ? parts.slice(0, -1) : parts).map((part) => {
    const [, times, name] = /^(\d*)([A-Za-z]\w*)$/.exec(part)!;
    return { times: times === "" ? 1 : Number(times), name };
  });
  return { integer: !!integer, optional: !!optional, leading: !!leading, trailing, dimensions, text };
}

/** Checks the inputs, in the order declared, and returns them with whole numbers as int32 tensors. */
export function readInputs(layer: string, specs: ReadonlyMap<string, Declared>, given: unknown): Record<string, Tensor | undefined> {
  if (typeof given !== "object" || given === null || given instanceof Tensor || Array.isArray(given)) {
    throw new Error(`${layer}: the inputs should be an object { ${[...specs.keys()].join(", ")} }`);
  }
  const inputs = given as Record<string, unknown>;
  for (const name of Object.keys(inputs)) {
    if (!specs.has(name)) throw new Error(`${layer}: there is no input ${name}, the inputs are ${[...specs.keys()].join(", ")}`);
  }
  const read: Record<string, Tensor | undefined> = {};
  const bound = new Map<string, { value: number; where: () => string }>();
  let leading: { shape: Shape; name: string; whole: boolean } | undefined;
  let dtype: { name: string; dtype: string } | undefined;

  for (const [name, spec] of specs) {
    const value = inputs[name];
    if (value === undefined) {
      if (!spec.optional) throw new Error(`${layer}: ${name} is missing, it should have shape ${spec.text}`);
      continue;
    }
    const t = spec.integer ? readIntegers(layer, name, value) : readTensor(layer, name, value);
    read[name] = t;
    if (!spec.integer) {
      if (dtype && dtype.dtype !== t.dtype) throw new Error(`${layer}: ${name} is ${t.dtype}, ${dtype.name} is ${dtype.dtype}`);
      dtype ??= { name, dtype: t.dtype };
    }

    const shape = (): string => formatShape(t.shape);
    const own = spec.dimensions.length;
    if (spec.leading || spec.trailing ? t.rank < own : t.rank !== own) {
      throw new Error(`${layer}: ${name} has shape ${shape()}, it should be ${spec.text}`);
    }
    const lead = spec.leading ? t.shape.slice(0, t.rank - own) : [];
    if (spec.leading) {
      if (leading && !sameShape(lead, leading.shape)) {
        const theirs = leading.whole ? `${leading.name} has shape` : `${leading.name}'s leading dimensions are`;
        throw new Error(`${layer}: ${name} has shape ${shape()}, ${theirs} ${formatShape(leading.shape)}`);
      }
      leading ??= { shape: lead, name, whole: own === 0 };
    }
    spec.dimensions.forEach(({ times, name: dimension }, i) => {
      const size = t.shape[lead.length + i];
      const known = bound.get(dimension);
      if (known && size !== times * known.value) {
        const so = times === 1 ? "" : `, so ${times}${dimension} is ${times * known.value}`;
        throw new Error(`${layer}: ${name} has shape ${shape()}, ${known.where()} is ${known.value}${so}`);
      }
      if (size % times !== 0) {
        throw new Error(`${layer}: ${name} has shape ${shape()}, dimension ${lead.length + i} should be a multiple of ${times}`);
      }
      if (known) return;
      const where = (): string => `${name}'s ${i === own - 1 && !spec.trailing ? "last dimension" : `dimension ${lead.length + i}`}`;
      bound.set(dimension, { value: size / times, where });
    });
  }
  return read;
}

function readTensor(layer: string, name: string, value: unknown): Tensor {
  if (!(value instanceof Tensor)) {
    const what = typeof value === "number" ? "a number" : Array.isArray(value) ? "an array" : value === null ? "null" : `a ${typeof value}`;
    const cure = typeof value === "number" || Array.isArray(value) ? ": tensor(...) makes one" : "";
    throw new Error(`${layer}: ${name} is ${what}, it should be a Tensor${cure}`);
  }
  if (value.dtype === "int32") throw new Error(`${layer}: ${name} is int32, it should be float64 or float32`);
  return value;
}

function readIntegers(layer: string, name: string, value: unknown): Tensor {
  if (value instanceof Tensor) {
    if (value.dtype === "int32") return value;
    throw new Error(`${layer}: ${name} is ${value.dtype}, it should be nested arrays of whole numbers or an int32 Tensor`);
  }
  if (typeof value !== "number" && !Array.isArray(value)) {
    throw new Error(`${layer}: ${name} should be nested arrays of whole numbers or an int32 Tensor`);
  }
  const t = tensor(value as Nested);
  const fraction = (t.data as Float64Array).find((n) => !Number.isInteger(n));
  if (fraction !== undefined) throw new Error(`${layer}: ${name} holds ${fraction}, it should hold whole numbers`);
  return t.astype("int32");
}
