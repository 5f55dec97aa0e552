/** Grades submissions: finds the answers, runs each in a child of its own, and holds reference and verdict here. */
import { plan, judge, Report, tasksOf, type Exercise, type Plan, type Status } from "gradbook/autograder";
import { exercises } from "../../exercises";
import { entryTexts } from "../../exercises/autograder/calls";
import type { Answer as CallAnswer } from "../../exercises/autograder/probe";
import { withheldNames } from "../../exercises/autograder/withheld";
import { findAnswer, ParsedNotebook, tooDeep, type Answer } from "./answer";
import type { Children, Isolation, Outcome, Pool } from "./sandbox";
import { namedExercise, type Submission } from "./submission";
import { transpile } from "./transpile";

export interface GradedExercise {
  report: Report;
  /** How the answer was found, where not by its grade_id. */
  note?: string;
}

export interface GradedSubmission {
  path: string;
  student: string;
  score: number;
  max: number;
  isolation: Isolation;
  children: Children;
  problems: string[];
  exercises: GradedExercise[];
}

/** One answer that waits to be graded. */
export interface Pending {
  exercise: Exercise;
  answer: Answer;
}

/** The exercises that a submission holds, with their answers as JavaScript; with `assigned` those and no others, held or not. */
export function answersIn(submission: Submission, assigned?: readonly Exercise[]): Pending[] {
  const found = new Map<Exercise, { answer: Answer; path: string }>();
  for (const notebook of submission.notebooks) {
    const parsed = new ParsedNotebook(notebook.cells);
    const named = namedExercise(notebook.path);
    const marked = new Set(notebook.cells.map(({ gradeId }) => gradeId));
    for (const exercise of exercises) {
      // A notebook that is named after one exercise holds others only where they are marked.
      if (named !== undefined && named !== exercise.id && !marked.has(exercise.id)) continue;
      const answer = findAnswer(exercise, parsed, exercises, named === exercise.id);
      if (answer.state === "absent") continue;
      const other = found.get(exercise);
      if (other && other.answer.state !== "untouched" && answer.state !== "untouched") {
        const same = other.answer.state === "found" && answer.state === "found" && other.answer.code === answer.code;
        if (same) continue;
        const message = `${exercise.id} is answered in both ${other.path} and ${notebook.path}: it cannot be told which counts`;
        found.set(exercise, { answer: { state: "unclear", message }, path: notebook.path });
      } else if (!other || other.answer.state === "untouched") {
        found.set(exercise, { answer, path: notebook.path });
      }
    }
  }
  const pending = assigned
    ? assigned.map((exercise): Pending => ({ exercise, answer: found.get(exercise)?.answer ?? { state: "absent" } }))
    : [...found].map(([exercise, { answer }]) => ({ exercise, answer })).sort((a, b) => a.exercise.number - b.exercise.number);
  const javascript = transpile(pending.map(({ answer }) => (answer.state === "found" ? answer.code : "")));
  return pending.map(({ exercise, answer }, i): Pending => {
    if (answer.state !== "found") return { exercise, answer };
    const code = javascript[i];
    return { exercise, answer: code === undefined ? { state: "unclear", message: tooDeep } : { ...answer, code } };
  });
}

/** A report in which every part has the same state. */
function uniform(exercise: Exercise, seed: string, status: Status, message: (entry: string) => string): Report {
  const checks = exercise.parts.map(({ name, entry, points }) => ({
    ...{ name, entry, points, score: 0, status, message: message(entry), tensors: [] },
  }));
  return new Report({ id: exercise.id, title: exercise.title, seed, score: 0, max: exercise.points, status, checks });
}

/** Answers to every call of a plan: a part that stops its child is left out of the next one, so that the others count. */
async function answersTo(code: string, exercise: Exercise, made: Plan, pool: Pool, seconds: number, owner: string): Promise<CallAnswer[]> {
  const tasks = tasksOf(made);
  const names = [...new Set(exercise.parts.flatMap(({ entry, also }) => [entry, ...(also ?? [])]))];
  const answers: CallAnswer[] = [];
  const job = { code, names, entries: entryTexts(exercise), withheld: withheldNames(exercise) };
  let open = tasks.map((_, i) => i);
  while (open.length > 0) {
    const outcome: Outcome = await pool.run({ ...job, tasks: open.map((i) => tasks[i]) }, seconds, owner);
    open.forEach((i, at) => {
      if (outcome.answers[at]) answers[i] = outcome.answers[at];
    });
    const { stopped } = outcome;
    if (!stopped) break;
    const first = open.find((i) => !answers[i]);
    if (first === undefined) break;
    const blamed = outcome.evaluated ? new Set([tasks[first].part]) : new Set(tasks.map(({ part }) => part));
    for (const i of open) if (!answers[i] && blamed.has(tasks[i].part)) answers[i] = stopped;
    open = open.filter((i) => !answers[i]);
  }
  return answers;
}

/** Grades one answer; never throws for what the student did. */
export async function gradeAnswer(
  { exercise, answer }: Pending,
  seed: string,
  pool: Pool,
  options: { seconds: number; differences: boolean; owner: string },
): Promise<GradedExercise> {
  if (answer.state === "absent") {
    return { report: uniform(exercise, seed, "not attempted", (entry) => `${entry} was not handed in.`) };
  }
  if (answer.state === "untouched") {
    return { report: uniform(exercise, seed, "not attempted", (entry) => `${entry} is not written yet.`) };
  }
  if (answer.state === "unclear") {
    return { report: uniform(exercise, seed, "error", () => `${answer.message.replace(/\.$/, "")}.`) };
  }
  const made = plan(exercise, seed);
  const answers = await answersTo(answer.code, exercise, made, pool, options.seconds, options.owner);
  return { report: judge(exercise, made, answers, { differences: options.differences }), note: answer.note };
}
