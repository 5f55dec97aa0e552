/** Grading one exercise: answers in, report out. */
import { diagnose, type Diagnosis } from "./diagnose";
import { distance, finiteDifferences, type Differences } from "./differences";
import {
  casesOf,
  compareAll,
  indexOf,
  largest,
  nonlinear,
  differentiatesNumerically,
  undetermined,
  type Case,
  type Comparison,
} from "./judge";
import { plan, type Call, type Plan } from "./plan";
import { drive, probe, type Answer, type Entry as ProbeEntry, type Task } from "./probe";
import { overall, Report, type CheckReport, type Status, type TensorReport } from "./report";
import type { Exercise, Part } from "./spec";

export interface JudgeOptions {
  /** Whether the report shows finite differences beside the gradients; true when left out. */
  differences?: boolean;
}

/** What the student's side needs to know of an exercise: names and how to call them. */
export function entriesOf(exercise: Exercise): ProbeEntry[] {
  return exercise.parts.map((part: Part) => ({
    entry: part.entry,
    kind: part.kind ?? "function",
    also: part.also ?? [],
    call: part.call,
  }));
}

export function tasksOf({ calls }: Plan): Task[] {
  return calls.map(({ part, args }) => ({ part, args }));
}

/** One output over all instances: the first that is wrong, else the largest error. */
function summarize(comparisons: readonly Comparison[], differences: Map<string, Differences>): TensorReport {
  const first = comparisons.find(({ state }) => state !== "right");
  const shown = first ?? comparisons.reduce((a, b) => (b.error > a.error ? b : a));
  const { name, state, says, allowed, reference, student } = shown;
  const report: TensorReport = { name, shape: reference.shape, state, says, error: shown.error, allowed };
  const difference = differences.get(name);
  const mine = comparisons[0].student;
  if (difference && mine) {
    report.differences = distance(mine.data, difference);
    report.differenced = { numbers: difference.at.length, of: difference.of };
  }
  if (state !== "wrong" || !student) return report;
  const most = largest(reference.data) || 1;
  const errors = Array.from(student.data, (g, i) => (Object.is(g, reference.data[i]) ? 0 : Math.abs(g - reference.data[i]) / most));
  const order = errors.map((_, i) => i).sort((a, b) => errors[b] - errors[a] || a - b);
  report.worst = order
    .filter((i) => errors[i] > allowed)
    .slice(0, 5)
    .map((i) => ({ index: indexOf(i, reference.shape), student: student.data[i], reference: reference.data[i] }));
  let [dot, gg, rr] = [0, 0, 0];
  for (let i = 0; i < student.size; i++) {
    dot += student.data[i] * reference.data[i];
    gg += student.data[i] ** 2;
    rr += reference.data[i] ** 2;
  }
  if (gg > 0 && rr > 0) {
    report.cosine = dot / Math.sqrt(gg * rr);
    report.scale = Math.sqrt(gg / rr);
  }
  const columns = reference.shape.at(-1) ?? 1;
  const rows: number[][] = [];
  for (let start = 0; start < errors.length && rows.length < 24; start += columns) {
    rows.push(errors.slice(start, start + Math.min(columns, 24)));
  }
  if (errors.length > 1) report.heat = rows;
  return report;
}

const sentence = (text: string): string => (/[.!?]$/.test(text) ? text : `${text}.`);

/** What the mistakes say, and their hints. */
function explain(diagnoses: readonly Diagnosis[], whole: boolean): Pick<CheckReport, "message" | "diagnosis"> {
  const says = diagnoses.map(({ outputs, mistakes }) => {
    const words = mistakes.map((mistake) => sentence(mistake.says)).join(" ");
    return whole ? words : `${outputs.join(", ")}: ${words}`;
  });
  const mistakes = diagnoses.flatMap((diagnosis) => [...diagnosis.mistakes]);
  const unique = mistakes.filter((mistake, i) => mistakes.indexOf(mistake) === i);
  return {
    message: (unique.length > 1 && whole ? "Two mistakes at once. " : "") + says.join(" "),
    diagnosis: { mistake: unique.map(({ id }) => id).join(" + "), hint: unique.map(({ hint }) => sentence(hint)).join(" ") },
  };
}

function judgePart(part: Part, calls: readonly Call[], answers: readonly Answer[], options: JudgeOptions): CheckReport {
  const report: CheckReport = {
    name: part.name,
    entry: part.entry,
    points: part.points,
    score: 0,
    status: "failed",
    message: "",
    tensors: [],
  };
  const stopped = answers.find(({ state }) => state === "timeout") ?? answers.find(({ state }) => state !== "returned");
  if (stopped && stopped.state !== "returned") {
    if (stopped.state === "not written") return { ...report, status: "not attempted", message: `${part.entry} is not written yet.` };
    const status: Status = stopped.state === "timeout" ? "timeout" : "error";
    return { ...report, status, message: sentence(stopped.message) };
  }
  const cases = casesOf(part, calls, answers);
  // A timed instance is large: its numbers are compared, and nothing else.
  const exact = cases.filter(({ purpose }) => purpose !== "again");
  const instances = cases.filter(({ purpose }) => purpose === "instance").length;
  const compared = exact.map((c) => compareAll(part, c, instances));
  const names = Object.keys(cases[0].reference);
  const differences = options.differences === false ? new Map() : finiteDifferences(part, cases[0].args, names);
  report.tensors = names.map((_, i) => summarize(compared.map((row) => row[i]), differences));
  if (differences.size === 0 && part.noDifferences) report.noDifferences = part.noDifferences;
  const wrong = report.tensors.filter(({ state }) => state !== "right").map(({ name }) => name);
  const changed = cases.flatMap((c) => c.changed)[0];
  const alsoWrong = undetermined(cases) ?? (changed && `${part.entry} changes its argument ${changed}: copy what you want to modify.`);
  if (wrong.length > 0) return { ...report, ...explainWrong(part, exact, report.tensors, wrong, alsoWrong) };
  const message = alsoWrong ?? nonlinear(part, cases) ?? differentiatesNumerically(part, cases);
  if (message) return { ...report, message };
  return { ...report, score: part.points, status: "passed", message: `Exact on ${instances} fresh instances.` };
}

/** The words for wrong numbers: the mistake where it is known, where and how far off it is where not. */
function explainWrong(
  part: Part,
  cases: readonly Case[],
  tensors: readonly TensorReport[],
  wrong: readonly string[],
  alsoWrong: string | undefined,
): Pick<CheckReport, "message" | "diagnosis"> {
  const small = cases.filter(({ purpose }) => purpose !== "large");
  const diagnoses = diagnose(part, small, wrong);
  const explained = new Set(diagnoses.flatMap(({ outputs }) => outputs));
  if (explained.size > 0) {
    const whole = diagnoses.length === 1 && explained.size === wrong.length;
    const words = explain(diagnoses, whole);
    const rest = wrong.filter((name) => !explained.has(name));
    const more = rest.length ? ` ${rest.join(", ")}: wrong in a way that is not on the list.` : "";
    return { ...words, message: words.message + more };
  }
  const first = tensors.find(({ state }) => state !== "right")!;
  const right = tensors.filter(({ state }) => state === "right").map(({ name }) => name);
  const others = right.length ? ` Right: ${right.join(", ")}.` : "";
  const index = first.worst?.[0]?.index ?? [];
  const where = index.length > 0 ? `is wrong, most of all at [${index.join(", ")}]` : first.says;
  const reason = alsoWrong ?? nonlinear(part, cases);
  return { message: `${reason ? `${reason} ` : ""}${first.name} ${where}.${others}` };
}

/** The report on `answers`, one for each call of the plan. */
export function judge(exercise: Exercise, { seed, calls }: Plan, answers: readonly Answer[], options: JudgeOptions = {}): Report {
  const checks = exercise.parts.map((part: Part, index) => {
    const mine = calls.map((_, i) => i).filter((i) => calls[i].part === index);
    return judgePart(part, mine.map((i) => calls[i]), mine.map((i) => answers[i]), options);
  });
  return new Report({
    id: exercise.id,
    title: exercise.title,
    seed,
    score: checks.reduce((sum, { score }) => sum + score, 0),
    max: exercise.points,
    status: overall(checks.map(({ status }) => status)),
    checks,
  });
}

/** Checks code that lives in this process; a promise only where that code is asynchronous. */
export function gradeHere(
  exercise: Exercise,
  lookup: (name: string) => unknown,
  seed: string,
  options: JudgeOptions & { instances?: number; large?: boolean } = {},
): Report | Promise<Report> {
  const made = plan(exercise, seed, options);
  const answers: Answer[] = [];
  const run = probe(entriesOf(exercise), tasksOf(made), lookup, (index, answer) => (answers[index] = answer));
  return drive(
    (function* () {
      yield* run;
      return judge(exercise, made, answers, options);
    })(),
  );
}
