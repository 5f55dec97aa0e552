/** The verdict on one part: the student's numbers against the exact reference, and what else must hold. */
import { Tensor } from "gradbook";
import { combination, type Call } from "./plan";
import type { Answer, Output } from "./probe";
import type { Args, Part, Result } from "./spec";

export interface Tolerance {
  relative: number;
  absolute: number;
}

export type TensorState = "right" | "wrong" | "shape" | "type" | "not finite" | "missing";

/** How one output of one instance compares with the reference. */
export interface Comparison {
  name: string;
  state: TensorState;
  /** What is wrong, as the rest of a sentence that starts with the output's name; empty when right. */
  says: string;
  /** max|g - r| / max|r|. */
  error: number;
  /** What `error` may be. */
  allowed: number;
  student?: Tensor;
  reference: Tensor;
}

/** A call with what it should have returned and what it did. */
export interface Case {
  purpose: Call["purpose"];
  args: Args;
  reference: Result;
  outputs: Record<string, Output>;
  changed: string[];
  milliseconds: number;
}

export const asTensor = (value: Tensor | number): Tensor =>
  value instanceof Tensor ? value : new Tensor(Float64Array.of(value), []);

export const never = (): boolean => false;

export function toleranceOf(part: Part): Tolerance {
  if (part.tolerance) return part.tolerance;
  return part.dtype === "float32" ? { relative: 2e-5, absolute: 1e-7 } : { relative: 1e-10, absolute: 1e-13 };
}

export function largest(data: ArrayLike<number>): number {
  let most = 0;
  for (let i = 0; i < data.length; i++) {
    const size = Math.abs(data[i]);
    if (size > most && size < Infinity) most = size;
  }
  return most;
}

const formatShape = (shape: readonly number[]): string => `[${shape.join(", ")}]`;

/** A number as a reader wants it: exact when short, 6 digits else. */
export function formatNumber(value: number): string {
  if (Number.isInteger(value) && Math.abs(value) < 1e6) return String(value);
  return String(Number(value.toPrecision(6)));
}

/** Position in the flat data as an index: 5 in shape [2, 3] is [1, 2]. */
export function indexOf(flat: number, shape: readonly number[]): number[] {
  const index: number[] = [];
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    index.unshift(flat % shape[axis]);
    flat = Math.floor(flat / shape[axis]);
  }
  return index;
}

const sameShape = (a: readonly number[], b: readonly number[]): boolean =>
  a.length === b.length && a.every((size, axis) => size === b[axis]);

/** The student's tensor where it has the reference's shape: a single number may come as 7, [7] or a tensor of either. */
function aligned(student: Tensor, reference: Tensor): Tensor | undefined {
  if (sameShape(student.shape, reference.shape)) return student;
  return reference.size === 1 && reference.shape.length === 0 && student.size === 1 ? student : undefined;
}

/** |g - r| <= relative max|r| + absolute, elementwise; where r is not finite, g must be the same. */
export function close(g: ArrayLike<number>, r: ArrayLike<number>, { relative, absolute }: Tolerance): boolean {
  const bound = relative * largest(r) + absolute;
  for (let i = 0; i < r.length; i++) {
    if (!(Math.abs(g[i] - r[i]) <= bound) && !Object.is(g[i], r[i])) return false;
  }
  return g.length === r.length;
}

/**
 * Bounds that a right estimate leaves with probability `errorRate` at most, over `count` numbers in all:
 * P(|Z| > z) <= exp(-z^2 / 2), and a union over the numbers.
 */
export function sigmas(errorRate: number, count: number): number {
  return Math.sqrt(2 * Math.log(count / errorRate));
}

function compare(part: Part, name: string, value: Output | undefined, c: Case, instances: number): Comparison {
  const reference = asTensor(c.reference[name]);
  const tolerance = toleranceOf(part);
  const most = largest(reference.data);
  const scale = most || 1;
  const result: Comparison = {
    name,
    state: "right",
    says: "",
    error: 0,
    allowed: tolerance.relative + tolerance.absolute / scale,
    reference,
  };
  const wrong = (state: TensorState, says: string): Comparison => ({ ...result, state, says, error: Infinity });
  if (value === undefined) return wrong("missing", "is not among what you return");
  if (!(value instanceof Tensor)) return wrong("missing", `is ${value.notNumbers}, it should be numbers`);
  const g = aligned(value, reference);
  if (!g) {
    const should = reference.shape.length === 0 ? "a number" : formatShape(reference.shape);
    return { ...wrong("shape", `has shape ${formatShape(value.shape)}, it should be ${should}`), student: value };
  }
  result.student = g;
  if (value.dtype !== "float64" && (part.dtype ?? "float64") === "float64" && reference.dtype === "float64") {
    return { ...wrong("type", `is ${value.dtype}, it should be float64`), student: g };
  }
  for (let i = 0; i < g.size; i++) {
    if (!Number.isFinite(g.data[i]) && !Object.is(g.data[i], reference.data[i])) {
      const where = g.shape.length ? ` at ${formatShape(indexOf(i, g.shape))}` : "";
      return { ...wrong("not finite", `is ${g.data[i]}${where}, it should be ${formatNumber(reference.data[i])}`), student: g };
    }
  }
  const spread = part.statistical?.standardErrors(c.args)[name];
  if (spread !== undefined) {
    const errors = asTensor(spread).data;
    const z = sigmas(part.statistical?.errorRate ?? 1e-6, instances * reference.size);
    let worst = 0;
    for (let i = 0; i < g.size; i++) {
      const allowed = z * errors[errors.length === 1 ? 0 : i] + tolerance.absolute;
      worst = Math.max(worst, Math.abs(g.data[i] - reference.data[i]) / allowed);
    }
    result.error = (worst * z * largest(errors)) / scale;
    result.allowed = (z * largest(errors)) / scale;
    if (worst <= 1) return result;
    return { ...result, state: "wrong", says: `is ${formatNumber(worst * z)} standard errors off; ${formatNumber(z)} are allowed` };
  }
  if (part.atMost?.includes(name)) {
    const over = reference.data.findIndex((bound, i) => g.data[i] > bound + tolerance.absolute);
    if (over < 0) return result;
    const says = `is ${formatNumber(g.data[over])}, it should be at most ${formatNumber(reference.data[over])}`;
    return { ...result, state: "wrong", says, error: Infinity };
  }
  let off = 0;
  for (let i = 0; i < g.size; i++) {
    if (!Object.is(g.data[i], reference.data[i])) off = Math.max(off, Math.abs(g.data[i] - reference.data[i]));
  }
  result.error = off / scale;
  if (close(g.data, reference.data, tolerance)) return result;
  return { ...result, state: "wrong", says: "is wrong" };
}

/** Every output of a call against the reference, in the reference's order. */
export function compareAll(part: Part, c: Case, instances: number): Comparison[] {
  return Object.keys(c.reference).map((name) => compare(part, name, c.outputs[name], c, instances));
}

/** The outputs that must be linear in the cotangent. */
function linearOutputs(part: Part, reference: Result): readonly string[] {
  return part.linear ?? Object.keys(reference).filter((name) => name.startsWith("d"));
}

/** A sentence when the outputs are not linear in the cotangent; undefined when they are, or when that is not asked. */
export function nonlinear(part: Part, cases: readonly Case[]): string | undefined {
  const { cotangent } = part;
  const [second, combined] = cases.filter(({ purpose }) => purpose === "combined");
  const first = cases.find(({ purpose }) => purpose === "instance");
  if (!cotangent || !first || !second || !combined) return undefined;
  for (const name of linearOutputs(part, first.reference)) {
    const [a, b, sum] = [first, second, combined].map(({ outputs }) => outputs[name]);
    if (!(a instanceof Tensor && b instanceof Tensor && sum instanceof Tensor)) continue;
    if (a.size !== b.size || a.size !== sum.size) continue;
    const [s, t] = combination;
    const bound = 100 * toleranceOf(part).relative * (largest(a.data) + largest(b.data) + largest(sum.data));
    let off = 0;
    let moved = 0;
    for (let i = 0; i < a.size; i++) {
      off = Math.max(off, Math.abs(sum.data[i] - (s * a.data[i] + t * b.data[i])));
      moved = Math.max(moved, Math.abs(a.data[i] - b.data[i]));
    }
    if (off <= bound || Number.isNaN(off)) continue;
    if (moved <= bound) return `${name} does not depend on ${cotangent}: it is the same whatever gradient arrives.`;
    return `${name} is not linear in ${cotangent}: twice the incoming gradient should give twice ${name}.`;
  }
  return undefined;
}

/** A sentence when two calls with the same inputs gave different numbers. */
export function undetermined(cases: readonly Case[]): string | undefined {
  const again = cases.find(({ purpose }) => purpose === "again");
  const first = cases.find(({ purpose }) => purpose === "instance");
  if (!again || !first) return undefined;
  for (const name of Object.keys(first.reference)) {
    const [a, b] = [first.outputs[name], again.outputs[name]];
    if (!(a instanceof Tensor && b instanceof Tensor)) continue;
    const differs = a.size !== b.size || a.data.some((value, i) => !Object.is(value, b.data[i]));
    if (differs) return `${name} differs between two calls with the same inputs: something is kept from call to call, or drawn at random.`;
  }
  return undefined;
}

/** The cases of a part; none when a call did not return. */
export function casesOf(part: Part, calls: readonly Call[], answers: readonly Answer[]): Case[] {
  return calls.flatMap(({ purpose, args }, i) => {
    const answer = answers[i];
    if (answer.state !== "returned") return [];
    const { outputs, changed, milliseconds } = answer;
    return [{ purpose, args, reference: part.attempt(args, never) as Result, outputs, changed, milliseconds }];
  });
}

/**
 * How far rounding alone takes an exact backward from the reference, relative to max|r|, in float64 and float32. Honest code
 * stays below it however slow it is; differences of a function, Richardson's included, do not: they lose digits to cancellation.
 */
const roundingAlone = { float64: 2e-14, float32: 2e-6 };

/**
 * The same for the median over the elements, each relative to itself. Differences of what is linear in a parameter are exact
 * but for the digits that the function's size takes: 1e-14 was measured for them, and 1e-15 at most for honest code.
 */
const usualRounding = { float64: 4e-15, float32: 2e-6 };

/** Median of |g - r| / |r| over the elements that are not 0. */
function medianError({ student, reference }: Comparison): number {
  const errors = Array.from(reference.data, (r, i) => Math.abs(student!.data[i] - r) / Math.abs(r)).filter(Number.isFinite);
  return errors.sort((a, b) => a - b)[errors.length >> 1] ?? 0;
}

/**
 * A sentence when the student's code differentiates numerically: on large instances it takes far longer than the reference
 * (the quickest run counts), and its numbers have lost more digits than rounding explains.
 */
export function differentiatesNumerically(part: Part, cases: readonly Case[]): string | undefined {
  const large = cases.filter(({ purpose }) => purpose === "large");
  const dtype = part.dtype ?? "float64";
  const comparisons = large.flatMap((c) => compareAll(part, c, large.length));
  const lostDigits = comparisons.some((c) => c.error > roundingAlone[dtype] || medianError(c) > usualRounding[dtype]);
  if (!lostDigits) return undefined;
  const reference = large.map(({ args }) => {
    const started = performance.now();
    part.attempt(args, never);
    return performance.now() - started;
  });
  const student = Math.min(...large.map(({ milliseconds }) => milliseconds));
  // A clock and a scheduler are no finer than this.
  const ratio = student / Math.max(Math.min(...reference), 0.05);
  if (ratio <= (part.cost ?? 60)) return undefined;
  return (
    `${part.entry} takes ${Math.round(ratio)} times as long as the reference on a larger instance, and its digits are not those of a formula: ` +
    "it differentiates numerically, one parameter at a time."
  );
}
