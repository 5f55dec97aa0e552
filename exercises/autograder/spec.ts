/**
 * What an exercise is: the contract between the people who write exercises and the engine that grades them.
 * The engine knows no exercise, and an exercise knows nothing of grading beyond this file.
 */
import { readFileSync } from "node:fs";
import path from "node:path";
import type { Rng, Tensor } from "gradbook";
import { cellSource, packageRoot } from "./source";

/** Plain data, so that it can cross a process boundary. */
export type Datum = Tensor | number | string | boolean | null | readonly Datum[] | { readonly [key: string]: Datum };
export type Args = { readonly [name: string]: Datum };
/** What an entry returns, by name, in the order in which a student computes it: the first wrong one is named first. */
export type Result = { readonly [name: string]: Tensor | number };

/** A wrong backward that students really write. */
export interface Mistake<Id extends string = string> {
  id: Id;
  /** One sentence in the second person that says which mistake it is: "You transposed dW." */
  says: string;
  /** What to think about, without giving the answer. */
  hint: string;
  /** An earlier mistake that gives the same numbers on every instance; the report names that one. */
  equivalentTo?: NoInfer<Id>;
  /** Mistakes that no longer show once this one is made ("*": all others): the pair is reported as this one alone. */
  hides?: readonly (NoInfer<Id> | "*")[];
}

export interface Part<A extends Args = Args, R extends Result = Result, Id extends string = string> {
  /** Short and unique in the exercise, e.g. "dW and db". */
  name: string;
  points: number;
  /** The student's top-level name that this part grades. Parts may share one. */
  entry: string;
  /** What `entry` must be; "function" when left out. A class counts as a function in JavaScript, so say "class" when it is one. */
  kind?: "function" | "class" | "string";
  /** Other top-level names of the student's that `call` uses; they arrive in its third argument, beside `largestProduct` (products.ts). */
  also?: readonly string[];
  /**
   * A fresh instance. Instance 0 is square where squares exist, later ones are not; cotangents are random and no unit;
   * labels, masks and signs are mixed, so that no mistake hides. Draw anything random here, masks and samples included.
   */
  draw(random: Rng, instance: number): A;
  /**
   * Calls the entry. Its source text is sent to the process that holds the student's code, so it may use nothing
   * but its own arguments and names imported from "gradbook". Return a record of tensors, numbers or nested arrays; may be async.
   */
  call(student: any, args: A, others: Record<string, any>): unknown;
  /**
   * The reference, when `made` always answers false. Where `made("x")` is true it does what a student with mistake x does.
   * Mistakes must compose: the engine also tries them in pairs. A name that a student with the mistake would not return may be left out.
   */
  attempt(args: A, made: (mistake: Id) => boolean): R | Partial<R>;
  mistakes: readonly Mistake<Id>[];
  /**
   * Sets of mistakes that give the same numbers though they differ in the list, one a line: "sign + twice = half".
   * `npm test` prints the lines that are missing; write one only where the two really cannot be told apart.
   */
  equivalent?: readonly string[];
  /** Name of the argument in which the outputs in `linear` are linear. */
  cotangent?: keyof A & string;
  /** Which outputs are linear in the cotangent: all whose name starts with "d" when left out. */
  linear?: readonly (keyof R & string)[];
  /**
   * The function that is differentiated. With it the report shows finite differences beside the gradients: output d<name>
   * is d<forward, cotangent>/d args[name]. A forward that returns a number needs no cotangent.
   */
  forward?(args: A): Tensor | number;
  /** Outputs that are Jacobians of `forward`: `{ J: "x" }` says that output J is d forward / d args.x, [outputs, inputs]. */
  jacobians?: { readonly [name in keyof R & string]?: keyof A & string };
  /** Finite differences of outputs that are neither a plain d<name> nor a Jacobian of `forward`. */
  differences?(args: A): { [name: string]: Tensor | number };
  /** Why there are no finite differences, in a sentence for the report: an estimator, for instance. */
  noDifferences?: string;
  /** Distance of the nearest point at which `forward` has a kink; instances closer than 1e-3 are drawn again. */
  kink?(args: A): number;
  /** Precision in which the student computes, "float64" when left out. Sets the tolerance. */
  dtype?: "float64" | "float32";
  /** Accepts |g - r| <= relative * max|r| + absolute. Leave it out: 1e-10 and 1e-13, in float32 2e-5 and 1e-7. */
  tolerance?: { relative: number; absolute: number };
  /** Outputs that only must not exceed the reference: counted forwards, live tensors. */
  atMost?: readonly (keyof R & string)[];
  /** Outputs that the student's own random samples decide; judged by the reference as expectation and by these standard errors. */
  statistical?: {
    standardErrors(args: A): { [name: string]: Tensor | number };
    /** Probability that a right answer is rejected, over all elements and instances; 1e-6 when left out. */
    errorRate?: number;
  };
  /**
   * A larger instance (about 1000 parameters or more, at most about 5 ms for the reference), on which a backward that
   * calls finite differences is caught: it takes more than `cost` times as long as the reference, and loses digits.
   */
  large?(random: Rng): A;
  /** 60 when left out. An honest loop takes 1 to 10, differencing n parameters about n. */
  cost?: number;
  /** Fresh instances a check; 4 when left out, at least 3. */
  instances?: number;
}

/** A cell that follows the answer in the notebook: a plot, an experiment, what to look at in it. */
export interface Cell {
  type: "markdown" | "code";
  source: string;
}

/** What an author writes; the texts come from the exercise's files. */
export interface ExerciseSpec {
  /** Lower case, digits and hyphens. The answer cell's grade_id, and what `check("...")` takes. */
  id: string;
  /** Two digits in the folder's name. */
  number: number;
  title: string;
  /** Document and section that it reproduces, e.g. "math-for-llms, exercise 2". */
  source: string;
  /** How long a student needs. */
  minutes: number;
  /** What a reader will be able to do after it, in one sentence. */
  goal: string;
  /** Steps, gentle at first, nearly the answer at last. */
  hints: readonly string[];
  parts: readonly Part<any, any, any>[];
  after?: readonly Cell[];
  /**
   * Names of the library, or layers whose backward, this exercise asks students to write themselves: not to be used in an answer.
   * Of a layer only backward and jvp are withheld; "layerNorm.forward" withholds its forward, too.
   * What differentiates by itself (`Tape`, `vjp`, `numericalGradient`, ...: withheld.ts has the list) is always withheld unless `allows` lists it.
   */
  withholds?: readonly string[];
  allows?: readonly string[];
}

export interface Exercise extends ExerciseSpec {
  /** NN-id: the folder's name. */
  folder: string;
  /** Markdown. */
  statement: string;
  /** The answer cell as shipped: imports from "gradbook" and `export` are left out, for a notebook has the names already. */
  starter: string;
  /** The answer cell, solved. */
  solution: string;
  points: number;
}

/** Infers the types of a part, so that a mistyped mistake or output is a compile error. */
export function part<A extends Args, R extends Result, const Id extends string>(spec: Part<A, R, Id>): Part<A, R, Id> {
  return spec;
}

/** Checks a spec and adds the texts of its files: statement.md and starter.ts in its folder, and solutions/NN-id.ts. */
export function defineExercise(spec: ExerciseSpec): Exercise {
  if (!/^[a-z][a-z0-9-]*$/.test(spec.id)) {
    throw new Error(`exercise id "${spec.id}" should be lower-case letters, digits and hyphens`);
  }
  const folder = `${String(spec.number).padStart(2, "0")}-${spec.id}`;
  const names = new Set<string>();
  for (const { name, points, mistakes } of spec.parts) {
    if (names.has(name)) throw new Error(`${folder}: two parts are called "${name}"`);
    names.add(name);
    if (!(points > 0)) throw new Error(`${folder}: part "${name}" has ${points} points, it should have more than 0`);
    const ids = mistakes.map((mistake) => mistake.id as string);
    if (new Set(ids).size < ids.length) throw new Error(`${folder}: part "${name}" lists a mistake twice`);
  }
  const root = packageRoot();
  const read = (...file: string[]): string => readFileSync(path.join(root, ...file), "utf8");
  return {
    ...spec,
    folder,
    points: spec.parts.reduce((sum, { points }) => sum + points, 0),
    get statement() {
      return read("exercises", folder, "statement.md").trim();
    },
    get starter() {
      return cellSource(read("exercises", folder, "starter.ts"));
    },
    get solution() {
      return cellSource(read("solutions", `${folder}.ts`));
    },
  };
}
