/**
 * Runs the calls of a plan on the student's code. This is all that stands beside that code: it knows no reference,
 * no tolerance and no verdict, and what it hands back is numbers.
 */
import { Tensor } from "gradbook";
import { copy, same } from "./data";
import { largestProduct } from "./products";
import type { Args } from "./spec";

/** What a part needs to be called. */
export interface Entry {
  entry: string;
  kind: "function" | "class" | "string";
  also: readonly string[];
  call(student: unknown, args: Args, others: Record<string, unknown>): unknown;
}

export type Output = Tensor | { notNumbers: string };

export type Answer =
  | { state: "returned"; outputs: Record<string, Output>; changed: string[]; milliseconds: number }
  | { state: "threw"; message: string }
  /** No such name, or it is no function. */
  | { state: "missing"; message: string }
  | { state: "not written" }
  | { state: "timeout"; message: string };

export interface Task {
  part: number;
  args: Args;
}

/** How a value that should have been numbers is named in a message. */
function describe(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (Array.isArray(value)) return "a list that is ragged or holds something that is no number";
  if (typeof value === "object") return "an object";
  if (typeof value === "function") return "a function";
  return `the ${typeof value} ${JSON.stringify(String(value).slice(0, 40))}`;
}

function flatten(value: unknown, shape: number[], axis: number, into: number[]): boolean {
  if (axis === shape.length) {
    into.push(value as number);
    return typeof value === "number";
  }
  if (!Array.isArray(value) || value.length !== shape[axis] || into.length > 4e6) return false;
  for (let i = 0; i < value.length; i++) if (!flatten(value[i], shape, axis + 1, into)) return false;
  return true;
}

/** Numbers, however the student holds them: a tensor, a number, nested or typed arrays. */
export function numbers(value: unknown): Output {
  if (typeof value === "number") return new Tensor(Float64Array.of(value), []);
  if (typeof value === "object" && value !== null) {
    const { data, shape } = value as { data?: unknown; shape?: unknown };
    const typed = value instanceof Float64Array || value instanceof Float32Array || value instanceof Int32Array;
    if (typed) return new Tensor(value.slice(), [value.length]);
    if (Array.isArray(shape) && (data instanceof Float64Array || data instanceof Float32Array || data instanceof Int32Array)) {
      return new Tensor(data.slice(), [...(shape as number[])]);
    }
    if (Array.isArray(value)) {
      const found: number[] = [];
      for (let level: unknown = value; Array.isArray(level) && found.length < 16; level = level[0]) found.push(level.length);
      const flat: number[] = [];
      if (flatten(value, found, 0, flat)) return new Tensor(Float64Array.from(flat), found);
    }
  }
  return { notNumbers: describe(value) };
}

const isPromise = (value: unknown): value is Promise<unknown> => value instanceof Promise;

/** Runs steps that may yield promises: at once where none does, so that a check of plain code needs no `await`. */
export function drive<T>(steps: Generator<unknown, T, unknown>): T | Promise<T> {
  const forward = (input: unknown, failed: boolean): T | Promise<T> => {
    for (;;) {
      const { done, value } = failed ? steps.throw(input) : steps.next(input);
      if (done) return value;
      if (isPromise(value)) {
        return value.then(
          (result) => forward(result, false),
          (error: unknown) => forward(error, true),
        );
      }
      input = value;
      failed = false;
    }
  };
  return forward(undefined, false);
}

/** What was thrown, in one line. */
function messageOf(error: unknown): string {
  try {
    const { name, message } = error as Error;
    if (typeof message === "string") return `${typeof name === "string" ? name : "Error"}: ${message}`.slice(0, 500);
    return `threw ${describe(error)}`.slice(0, 500);
  } catch {
    return "threw something that cannot be read";
  }
}

const now = performance.now.bind(performance);

/** One answer a task. `entries` are the exercise's parts, `lookup` finds the student's top-level names. */
export function* probe(
  entries: readonly Entry[],
  tasks: readonly Task[],
  lookup: (name: string) => unknown,
  onAnswer: (index: number, answer: Answer) => void,
): Generator<unknown, void, unknown> {
  for (let index = 0; index < tasks.length; index++) {
    onAnswer(index, yield* runTask(entries[tasks[index].part], tasks[index], lookup));
  }
}

function* runTask(part: Entry, task: Task, lookup: (name: string) => unknown): Generator<unknown, Answer, unknown> {
  const student = lookup(part.entry);
  const wanted = part.kind === "string" ? "string" : "function";
  if (student === undefined) return { state: "missing", message: `there is no ${part.kind} called ${part.entry}` };
  if (typeof student !== wanted) {
    return { state: "missing", message: `${part.entry} is ${describe(student)}, it should be a ${part.kind}` };
  }
  const others = { ...Object.fromEntries(part.also.map((name) => [name, lookup(name)])), largestProduct };
  try {
    const args = copy(task.args);
    const started = now();
    let returned: unknown = part.call(student, args, others);
    if (isPromise(returned)) returned = yield returned;
    if (typeof returned !== "object" || returned === null) {
      return { state: "threw", message: `${part.entry} returned ${describe(returned)}` };
    }
    const outputs: Record<string, Output> = {};
    for (const [name, value] of Object.entries(returned)) {
      const settled = isPromise(value) ? yield value : value;
      outputs[name] = settled === undefined ? { notNumbers: "undefined" } : numbers(settled);
    }
    // Not before: numbers that are asked for late may be computed late.
    const milliseconds = now() - started;
    const changed = Object.keys(task.args).filter((name) => !same(task.args[name], args[name]));
    return { state: "returned", outputs, changed, milliseconds };
  } catch (error) {
    const message = messageOf(error);
    return message === "Error: not written yet" ? { state: "not written" } : { state: "threw", message };
  }
}
