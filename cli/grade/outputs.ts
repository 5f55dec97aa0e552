/** A class's results in the formats that other systems read. */
import type { CheckReport, Exercise, Report } from "gradbook/autograder";
import type { GradedSubmission } from "./grader";

export interface ClassResult {
  seed: string;
  /** The exercises that count, where the teacher said which. */
  assigned?: readonly Exercise[];
  submissions: GradedSubmission[];
}

/** What `gradbook grade --json` writes. */
export function toJson({ seed, submissions }: ClassResult): string {
  const check = ({ name, status, message, diagnosis, score, points }: CheckReport) => ({
    ...{ name, status, score, max: points, message },
    ...(diagnosis ? { diagnosis } : {}),
  });
  const exercise = ({ report, note }: { report: Report; note?: string }) => ({
    ...{ id: report.id, score: report.score, max: report.max, status: report.status, seed: report.seed },
    ...(note ? { note } : {}),
    checks: report.checks.map(check),
  });
  const all = submissions.map(({ path, student, score, max, isolation, children, problems, exercises }) => ({
    ...{ path, student, score, max, isolation, children },
    ...(problems.length ? { problems } : {}),
    exercises: exercises.map(exercise),
  }));
  return `${JSON.stringify({ seed, submissions: all }, null, 2)}\n`;
}

/** A field of a CSV line (RFC 4180). One that a spreadsheet would run as a formula gets an apostrophe in front. */
function field(value: string | number): string {
  const text = typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text;
}

const lines = (rows: readonly (readonly (string | number)[])[]): string => `${rows.map((row) => row.map(field).join(",")).join("\n")}\n`;

export const csvHeader = ["student", "path", "exercise", "part", "score", "max", "status", "mistake", "message"] as const;

/** One line a part. */
export function toCsv({ submissions }: ClassResult): string {
  const rows = submissions.flatMap(({ student, path, problems, exercises }) => [
    ...problems.map((problem) => [student, path, "", "", 0, 0, "error", "", problem]),
    ...exercises.flatMap(({ report }) =>
      report.checks.map((c) => [student, path, report.id, c.name, c.score, c.points, c.status, c.diagnosis?.mistake ?? "", c.message]),
    ),
  ]);
  return lines([csvHeader, ...rows]);
}

export const nbgraderHeader = [
  ...["assignment", "duedate", "timestamp", "student_id", "last_name", "first_name", "email"],
  ...["raw_score", "late_submission_penalty", "score", "max_score"],
] as const;

/** The table that nbgrader exports: one line a student and exercise. */
export function toNbgrader({ submissions }: ClassResult): string {
  const rows = submissions.flatMap(({ student, exercises }) =>
    exercises.map(({ report: { id, score, max } }) => [id, "", "", student, "", "", "", score, 0, score, max]),
  );
  return lines([nbgraderHeader, ...rows]);
}

/** What a student reads about one part. */
function output({ message, diagnosis }: CheckReport): string {
  return diagnosis ? `${message}\n\nHint: ${diagnosis.hint}` : message;
}

/** Gradescope's results.json for one submission. */
export function toGradescope(submission: GradedSubmission, seconds: number): string {
  const tests = submission.exercises.flatMap(({ report }, e) =>
    report.checks.map((c, i) => ({
      score: c.score,
      max_score: c.points,
      status: c.status === "passed" ? "passed" : "failed",
      name: `${report.title}: ${c.name}`,
      name_format: "text",
      number: `${e + 1}.${i + 1}`,
      output: output(c),
      output_format: "text",
      visibility: "visible",
      extra_data: { exercise: report.id, state: c.status, mistake: c.diagnosis?.mistake },
    })),
  );
  const result = {
    score: submission.score,
    execution_time: Math.round(seconds * 100) / 100,
    output: [...submission.problems, `Isolation: ${submission.isolation}. Children: ${submission.children}. Seed: ${submission.exercises[0]?.report.seed ?? "none"}.`].join("\n"),
    output_format: "text",
    visibility: "visible",
    stdout_visibility: "hidden",
    tests,
  };
  return `${JSON.stringify(result, null, 2)}\n`;
}

/** PrairieLearn allows 1 MB. */
const prairielearnLimit = 1e6;

/** PrairieLearn's results.json for one submission: the score is a share, and an answer that cannot be told is not gradable. */
export function toPrairieLearn(submission: GradedSubmission): string {
  const { score, max, problems, exercises } = submission;
  const make = (longest: number): string => {
    const tests = exercises.flatMap(({ report }) =>
      report.checks.map((c) => ({
        name: `${report.title}: ${c.name}`,
        description: c.status,
        points: c.score,
        max_points: c.points,
        message: c.message.slice(0, longest),
        output: (c.diagnosis?.hint ?? "").slice(0, longest),
      })),
    );
    const message = problems.join("\n").slice(0, longest);
    return `${JSON.stringify({ score: max > 0 ? score / max : 0, gradable: exercises.length > 0, message, tests }, null, 2)}\n`;
  };
  let longest = 10_000;
  let text = make(longest);
  while (Buffer.byteLength(text) > prairielearnLimit && longest > 10) text = make((longest = Math.floor(longest / 2)));
  return text;
}
