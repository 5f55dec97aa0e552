/** The result of a check: as an object, as text and as HTML, in the same words. */
import type { TensorState } from "./judge";
import { reportHtml } from "./html";
import { reportText } from "./text";

export type Status = "passed" | "failed" | "not attempted" | "error" | "timeout";

/** One number of the student's that is off. */
export interface Entry {
  index: number[];
  student: number;
  reference: number;
}

/** One output over all instances. */
export interface TensorReport {
  name: string;
  shape: readonly number[];
  state: TensorState;
  /** The rest of a sentence that starts with the name; empty when right. */
  says: string;
  /** max|g - r| / max|r|, the worst of all instances. */
  error: number;
  allowed: number;
  /** The student's distance from finite differences on the first instance, relative to max|r|. */
  differences?: number;
  /** Of how many of its numbers. */
  differenced?: { numbers: number; of: number };
  /** The worst elements, at most five, of the first instance that is wrong. */
  worst?: Entry[];
  cosine?: number;
  /** Length of the student's tensor over the reference's. */
  scale?: number;
  /** |g - r| / max|r| as rows, at most 24 by 24. */
  heat?: number[][];
}

export interface CheckReport {
  name: string;
  entry: string;
  points: number;
  score: number;
  status: Status;
  /** One or two sentences: what is wrong, or what was checked. */
  message: string;
  /** The mistakes' ids, joined by " + ", and their hints. */
  diagnosis?: { mistake: string; hint: string };
  tensors: TensorReport[];
  /** Why there are no finite differences. */
  noDifferences?: string;
}

export interface ExerciseResult {
  id: string;
  title: string;
  seed: string;
  score: number;
  max: number;
  status: Status;
  checks: CheckReport[];
}

/** What `check("...")` returns: shown as HTML in a notebook, as text in a terminal, as data everywhere else. */
export class Report implements ExerciseResult {
  readonly id: string;
  readonly title: string;
  readonly seed: string;
  readonly score: number;
  readonly max: number;
  readonly status: Status;
  readonly checks: CheckReport[];

  constructor(result: ExerciseResult) {
    this.id = result.id;
    this.title = result.title;
    this.seed = result.seed;
    this.score = result.score;
    this.max = result.max;
    this.status = result.status;
    this.checks = result.checks;
  }

  toString(): string {
    return reportText(this);
  }

  [Symbol.for("Jupyter.display")](): Record<string, string> {
    return { "text/html": reportHtml(this), "text/plain": reportText(this) };
  }

  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return reportText(this);
  }
}

/** The state of a whole from the states of its parts. */
export function overall(states: readonly Status[]): Status {
  if (states.every((state) => state === "passed")) return "passed";
  if (states.every((state) => state === "not attempted")) return "not attempted";
  if (states.includes("failed")) return "failed";
  if (states.includes("timeout")) return "timeout";
  // Right in one part and not begun in another is not passed yet.
  return states.includes("error") ? "error" : "failed";
}
