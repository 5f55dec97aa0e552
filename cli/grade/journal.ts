/** What is graded so far, a line each, so that a run that was stopped goes on where it was. */
import { appendFileSync, existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createHash } from "node:crypto";
import { Report, type ExerciseResult } from "gradbook/autograder";
import type { GradedExercise, Pending } from "./grader";
import type { Children } from "./sandbox";

const heading = "gradbook grade journal 1";

/** What a result depends on, or says of itself: the answer, the exercise, the seed and what ran it. */
export function journalKey({ exercise, answer }: Pending, seed: string, children: Children): string {
  const parts = exercise.parts.map(({ name, points, call, attempt, draw }) => [name, points, String(call), String(attempt), String(draw)]);
  return createHash("sha256").update(JSON.stringify([seed, children, exercise.id, answer, parts])).digest("hex");
}

export class Journal {
  private readonly done = new Map<string, GradedExercise>();

  private constructor(
    readonly file: string | undefined,
    readonly seed: string,
  ) {}

  get size(): number {
    return this.done.size;
  }

  /** Opens the journal of an earlier run, or starts one; without a file nothing is kept. */
  static open(file: string | undefined, seed: string | undefined, freshSeed: string): Journal {
    if (file === undefined || !existsSync(file)) {
      const journal = new Journal(file, seed ?? freshSeed);
      if (file !== undefined) writeFileSync(file, `${JSON.stringify({ heading, seed: journal.seed })}\n`);
      return journal;
    }
    const [first, ...lines] = readFileSync(file, "utf8").split("\n");
    const found = parse(first) as { heading?: string; seed?: string } | undefined;
    if (found?.heading !== heading || typeof found.seed !== "string") {
      throw new Error(`${file} is in the way: it is no journal of gradbook grade`);
    }
    const journal = new Journal(file, seed ?? found.seed);
    for (const line of lines) {
      // The last line may be half of one.
      const entry = parse(line) as { key: string; result: ExerciseResult; note?: string } | undefined;
      if (entry) journal.done.set(entry.key, { report: new Report(entry.result), note: entry.note });
    }
    return journal;
  }

  find(key: string): GradedExercise | undefined {
    return this.done.get(key);
  }

  add(key: string, graded: GradedExercise): void {
    this.done.set(key, graded);
    if (this.file === undefined) return;
    appendFileSync(this.file, `${JSON.stringify({ key, result: graded.report, note: graded.note })}\n`);
  }

  /** Called when all is done and written. */
  remove(): void {
    if (this.file !== undefined) rmSync(this.file, { force: true });
  }
}

function parse(line: string): unknown {
  try {
    // An error of Infinity is null in JSON; it means the same to a report.
    return JSON.parse(line, (key, value: unknown) => (value === null && (key === "error" || key === "differences") ? Infinity : value));
  } catch {
    return undefined;
  }
}
