/** Which mistake is it: the smallest set of listed mistakes, one or two, that reproduces the student's numbers on every instance. */
import { Tensor } from "gradbook";
import { asTensor, close, never, sigmas, toleranceOf, type Case, type Tolerance } from "./judge";
import type { Mistake, Part, Result } from "./spec";

export type MistakeSet = readonly Mistake[];

/** What a student with these mistakes returns; undefined when such code would throw. */
export function attemptWith(part: Part, args: Case["args"], ids: readonly string[]): Partial<Result> | undefined {
  try {
    return part.attempt(args, (id) => ids.includes(id));
  } catch {
    return undefined;
  }
}

/** One mistake each, then each pair, in the order of the list. */
export function* mistakeSets(mistakes: readonly Mistake[]): Generator<MistakeSet> {
  for (const mistake of mistakes) yield [mistake];
  for (const [i, a] of mistakes.entries()) for (const b of mistakes.slice(i + 1)) yield [a, b];
}

function matchTolerance(part: Part): Tolerance {
  const { relative, absolute } = toleranceOf(part);
  return { relative: Math.max(1e-8, relative), absolute: Math.max(1e-12, absolute) };
}

/** Whether `candidate` is what the student returned under `name`. */
function matches(part: Part, name: string, candidate: Partial<Result>, c: Case, tolerance: Tolerance): boolean {
  const value = candidate[name];
  const student = c.outputs[name];
  if (value === undefined) return student === undefined || !(student instanceof Tensor);
  if (!(student instanceof Tensor)) return false;
  const expected = asTensor(value);
  const sameShape =
    (expected.size === 1 && student.size === 1) ||
    (expected.shape.length === student.shape.length && expected.shape.every((d, i) => d === student.shape[i]));
  if (!sameShape) return false;
  const spread = part.statistical?.standardErrors(c.args)[name];
  if (spread !== undefined) {
    const errors = asTensor(spread).data;
    const z = sigmas(part.statistical?.errorRate ?? 1e-6, expected.size);
    return expected.data.every((e, i) => Math.abs(e - student.data[i]) <= z * errors[errors.length === 1 ? 0 : i]);
  }
  return close(student.data, expected.data, tolerance);
}

export interface Diagnosis {
  /** The outputs that the mistakes explain. */
  outputs: string[];
  mistakes: MistakeSet;
}

/**
 * The smallest set that reproduces every output on every case. Where there is none, one set for each of the outputs in
 * `wrong` that can be explained by itself: mistakes in different outputs do not hide each other.
 */
export function diagnose(part: Part, cases: readonly Case[], wrong: readonly string[]): Diagnosis[] {
  if (cases.length < 3) return [];
  const names = Object.keys(cases[0].reference);
  const tolerance = matchTolerance(part);
  const cache = new Map<string, Partial<Result> | undefined>();
  const attempt = (set: MistakeSet, at: number): Partial<Result> | undefined => {
    const key = `${set.map(({ id }) => id).join("+")}@${at}`;
    if (!cache.has(key)) cache.set(key, attemptWith(part, cases[at].args, set.map(({ id }) => id)));
    return cache.get(key);
  };
  const explains = (set: MistakeSet, outputs: readonly string[]): boolean =>
    cases.every((c, at) => {
      const candidate = attempt(set, at);
      return candidate !== undefined && outputs.every((name) => matches(part, name, candidate, c, tolerance));
    });
  const sets = [...mistakeSets(part.mistakes)];
  const whole = sets.find((set) => explains(set, names));
  if (whole) return [{ outputs: [...wrong], mistakes: whole }];
  const found: Diagnosis[] = [];
  for (const name of wrong) {
    // A missing output explains nothing by itself.
    if (cases.some(({ outputs }) => !(outputs[name] instanceof Tensor))) continue;
    const set = sets.find((candidate) => explains(candidate, [name]));
    if (!set) continue;
    const known = found.find(({ mistakes }) => mistakes.length === set.length && mistakes.every((m, i) => m === set[i]));
    if (known) known.outputs.push(name);
    else found.push({ outputs: [name], mistakes: set });
  }
  return found;
}

/** Whether a set of mistakes gives the reference's numbers on these cases: it would be accepted, and cannot be told. */
export function harmless(part: Part, args: Case["args"], ids: readonly string[]): boolean {
  const reference = part.attempt(args, never) as Result;
  const candidate = attemptWith(part, args, ids);
  const tolerance = toleranceOf(part);
  return (
    candidate !== undefined &&
    Object.keys(reference).every((name) => {
      const value = candidate[name];
      if (value === undefined) return false;
      const [g, r] = [asTensor(value), asTensor(reference[name])];
      return g.shape.join() === r.shape.join() && close(g.data, r.data, tolerance);
    })
  );
}
