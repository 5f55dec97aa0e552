/** Wrong answers are rejected and right ones are not, however they are written. */
import { exercises } from "../../../exercises";
import { entriesOf, gradeHere, tasksOf } from "../../../exercises/autograder/grade";
import { asTensor, largest, never } from "../../../exercises/autograder/judge";
import { plan } from "../../../exercises/autograder/plan";
import { drive, probe, type Answer } from "../../../exercises/autograder/probe";
import type { Exercise, Part, Result } from "../../../exercises/autograder/spec";
import { Tensor } from "gradbook";
import { evaluate, evaluateSnippet, exerciseById, solutionSource, type Names } from "./evaluate";
import { mutantsOf } from "./mutants";
import { rightAnswers } from "./right";

/** Whether an answer differs from the reference by more than rounding on any of many instances that no check has drawn. */
async function differs(exercise: Exercise, names: Names): Promise<boolean> {
  const made = plan(exercise, "ground truth", { large: false, instances: 16 });
  const answers: Answer[] = [];
  await drive(probe(entriesOf(exercise), tasksOf(made), (name) => names[name], (i, answer) => (answers[i] = answer)));
  return made.calls.some(({ part: index, args }, i) => {
    const answer = answers[i];
    if (answer.state !== "returned") return true;
    const part: Part = exercise.parts[index];
    if (part.statistical) return false;
    const reference = part.attempt(args, never) as Result;
    return Object.entries(reference).some(([name, value]) => {
      if (part.atMost?.includes(name)) return false;
      const [g, r] = [answer.outputs[name], asTensor(value)];
      if (!(g instanceof Tensor) || g.size !== r.size) return true;
      const bound = (part.dtype === "float32" ? 1e-4 : 1e-7) * (largest(r.data) || 1) + 1e-12;
      return r.data.some((v, j) => !Object.is(v, g.data[j]) && !(Math.abs(v - g.data[j]) <= bound));
    });
  });
}

/** Edits spread evenly over a solution. */
function spread<T>(list: readonly T[], count: number): T[] {
  if (list.length <= count) return [...list];
  return Array.from({ length: count }, (_, i) => list[Math.floor((i * list.length) / count)]);
}

describe("wrong answers", () => {
  let rejected = 0;

  it.each(exercises.map((exercise) => [exercise.id, exercise] as const))("%s: no edit to its solution that changes a number is accepted", async (_id, exercise) => {
    const accepted: string[] = [];
    for (const { name, source } of spread(mutantsOf(solutionSource(exercise)), 11)) {
      let names: Names;
      try {
        names = evaluate(source);
      } catch {
        continue;
      }
      const report = await gradeHere(exercise, (entry) => names[entry], `mutant ${name}`, { large: false, differences: false });
      if (report.status !== "passed") rejected++;
      else if (await differs(exercise, names)) accepted.push(name);
    }
    expect(accepted).toEqual([]);
  }, 60_000);

  it("were at least 150", () => {
    expect(rejected).toBeGreaterThanOrEqual(150);
  });
});

describe("right answers, written differently", () => {
  it("are at least 40", () => expect(rightAnswers.length).toBeGreaterThanOrEqual(40));

  it.each(rightAnswers.map((answer) => [`${answer.exercise}: ${answer.how}`, answer] as const))("%s", async (_name, { exercise: id, code }) => {
    const exercise = exerciseById(id);
    const names = { ...evaluate(solutionSource(exercise)), ...evaluateSnippet(code) };
    expect(exercise.parts.map(({ entry }) => entry)).toEqual(expect.arrayContaining([Object.keys(evaluateSnippet(code))[0]]));
    for (const seed of ["one", "two", "three"]) {
      const report = await gradeHere(exercise, (name) => names[name], seed, { differences: false, large: seed === "one" });
      expect(report.checks.filter(({ status }) => status !== "passed").map(({ name, message }) => `${name}: ${message}`)).toEqual([]);
    }
  });
});
