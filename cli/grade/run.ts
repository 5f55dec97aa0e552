/** A whole class: every answer of every submission, several at once, in the order given. */
import type { Exercise } from "gradbook/autograder";
import type { Journal } from "./journal";
import { journalKey } from "./journal";
import { answersIn, gradeAnswer, type GradedSubmission } from "./grader";
import type { Pool, Sandbox } from "./sandbox";
import type { SubmissionSource } from "./submission";

export interface RunOptions {
  seed: string;
  /** The exercises that count; what a submission holds of the course where left out. */
  assigned?: readonly Exercise[];
  jobs: number;
  seconds: number;
  differences: boolean;
  /** The answers of a submission follow each other, for they share a child; else those of one may run at once. */
  inTurn: boolean;
  journal: Journal;
  /** Called after each exercise and each submission. */
  onProgress(state: Progress): void;
  signal: AbortSignal;
}

export interface Progress {
  submissions: number;
  submissionsDone: number;
  exercisesDone: number;
  /** Taken over from the journal. */
  resumed: number;
  /** What was just done. */
  latest: string;
  /** A submission that is complete. */
  finished?: GradedSubmission;
}

/** Grades one submission after the other, `jobs` answers (or, in turn, submissions) at a time. What is complete is returned, also after an abort. */
export async function gradeAll(
  sources: readonly SubmissionSource[],
  sandbox: Sandbox,
  pool: Pool,
  options: RunOptions,
): Promise<GradedSubmission[]> {
  const { assigned, journal, seconds, differences, inTurn, signal } = options;
  const results = new Array<GradedSubmission | undefined>(sources.length);
  const progress: Progress = { submissions: sources.length, submissionsDone: 0, exercisesDone: 0, resumed: 0, latest: "" };
  const show = (change: Partial<Progress>): void => options.onProgress(Object.assign(progress, { finished: undefined }, change));

  /** Answers of all submissions in one line; a submission is read when its first answer is due, and put together after its last. */
  function* work(): Generator<() => Promise<void>> {
    for (const [at, source] of sources.entries()) {
      const submission = source.read();
      const pending = answersIn(submission, assigned);
      const seed = `${options.seed}/${submission.student}`;
      const graded = new Array<GradedSubmission["exercises"][number]>(pending.length);
      let left = pending.length;
      const finish = (): void => {
        pool.release(`${at}`);
        const problems = [...submission.problems];
        if (pending.every(({ answer }) => answer.state === "absent") && problems.length === 0) {
          problems.push(`${submission.path} holds no exercise of ${assigned ? "those that count" : "the course"}`);
        }
        results[at] = {
          path: submission.path,
          student: submission.student,
          score: graded.reduce((sum, { report }) => sum + report.score, 0),
          max: graded.reduce((sum, { report }) => sum + report.max, 0),
          isolation: sandbox.isolation,
          children: pool.children,
          problems,
          exercises: graded,
        };
        show({ submissionsDone: progress.submissionsDone + 1, finished: results[at] });
      };
      if (left === 0) finish();
      const steps = pending.map((item, i) => async (): Promise<void> => {
        const key = journalKey(item, seed, pool.children);
        const known = journal.find(key);
        const result = known ?? (await gradeAnswer(item, seed, pool, { seconds, differences, owner: `${at}` }));
        // A child that was stopped with us says nothing about its student.
        if (signal.aborted) return;
        if (!known) journal.add(key, result);
        graded[i] = result;
        const latest = `${submission.student}: ${item.exercise.id} ${result.report.status}`;
        show({ latest, exercisesDone: progress.exercisesDone + 1, resumed: progress.resumed + (known ? 1 : 0) });
        if (--left === 0) finish();
      });
      if (!inTurn) yield* steps;
      else {
        yield async () => {
          for (const step of steps) if (!signal.aborted) await step();
        };
      }
    }
  }

  const items = work();
  const lane = async (): Promise<void> => {
    for (let next = items.next(); !next.done && !signal.aborted; next = items.next()) await next.value();
  };
  await Promise.all(Array.from({ length: options.jobs }, lane));
  return results.filter((result) => result !== undefined);
}
