/** What a layer's options may be: each with its default, its check and the words an error message uses. */

import { Tensor, type Rng } from "../tensor";

/** R is true for an option that has no default and must be given. */
export interface Option<T, R extends boolean = boolean> {
  readonly required: R;
  readonly fallback: T | undefined;
  /** What it should be, as in "it should be a positive number". */
  readonly expected: string;
  valid(value: unknown): value is T;
}

export type OptionSpecs = Readonly<Record<string, Option<any>>>;

function option<T, R extends boolean>(
  required: R, fallback: T | undefined, expected: string, valid: (value: unknown) => boolean,
): Option<T, R> {
  return { required, fallback, expected, valid: valid as Option<T>["valid"] };
}

const isNumber = (value: unknown): value is number => typeof value === "number" && Number.isFinite(value);

/** A number that is not negative. */
export const nonNegative = (fallback: number): Option<number, false> =>
  option(false, fallback, "a number that is not negative", (v) => isNumber(v) && v >= 0);

export const anyNumber = (fallback: number): Option<number, false> =>
  option(false, fallback, "a number", isNumber);

export const fraction = (fallback: number): Option<number, false> =>
  option(false, fallback, "a number from 0 to 1", (v) => isNumber(v) && v >= 0 && v <= 1);

export const flag = (fallback: boolean): Option<boolean, false> =>
  option(false, fallback, "true or false", (v) => typeof v === "boolean");

export const oneOf = <const T extends string>(values: readonly T[], fallback: T): Option<T, false> =>
  option(false, fallback, values.map((v) => `"${v}"`).join(", ").replace(/, ([^,]*)$/, " or $1"),
    (v) => (values as readonly unknown[]).includes(v));

const isCount = (value: unknown, least: number): value is number => Number.isInteger(value) && (value as number) >= least;

/** A whole number from `least` up; required when there is no default. */
export const count = (least: number, fallback: number): Option<number, false> =>
  option(false, fallback, `a whole number from ${least} up`, (v) => isCount(v, least));

export const requiredCount = (least: number): Option<number, true> =>
  option<number, true>(true, undefined, `a whole number from ${least} up`, (v) => isCount(v, least));

export const anyInteger = (fallback: number): Option<number, false> =>
  option(false, fallback, "a whole number", Number.isInteger);

/** A number, or undefined for the layer's own choice. */
export const optionalNumber = (): Option<number | undefined, false> =>
  option<number | undefined, false>(false, undefined, "a number", (v) => v === undefined || isNumber(v));

/** A whole number from `least` up, or undefined for "none". */
export const optionalCount = (least: number): Option<number | undefined, false> =>
  option<number | undefined, false>(false, undefined, `a whole number from ${least} up`, (v) => v === undefined || isCount(v, least));

export const optionalTensor = (): Option<Tensor | undefined, false> =>
  option<Tensor | undefined, false>(false, undefined, "a Tensor", (v) => v === undefined || v instanceof Tensor);

export const requiredRng = (): Option<Rng, true> =>
  option<Rng, true>(true, undefined, "a generator, rng(seed)", (v) => typeof (v as Rng | undefined)?.uniform === "function");

/** One whole number for both directions, or [vertical, horizontal]. */
export type Pair = number | readonly [number, number];

export const pair = (least: number, fallback: number): Option<Pair, false> =>
  option<Pair, false>(false, fallback, pairWords(least), (v) => isPair(v, least));

export const requiredPair = (least: number): Option<Pair, true> =>
  option<Pair, true>(true, undefined, pairWords(least), (v) => isPair(v, least));

export const optionalPair = (least: number): Option<Pair | undefined, false> =>
  option<Pair | undefined, false>(false, undefined, pairWords(least), (v) => v === undefined || isPair(v, least));

/** [vertical, horizontal] */
export const both = (value: Pair): readonly [number, number] => (typeof value === "number" ? [value, value] : value);

const pairWords = (least: number): string => `a whole number from ${least} up, or two of them`;
const isPair = (v: unknown, least: number): boolean =>
  isCount(v, least) || (Array.isArray(v) && v.length === 2 && v.every((n) => isCount(n, least)));
