/**
 * `ts-node -T bench/autograder/accuracy.ts [trials]`: how often a wrong backward is accepted and a right one rejected, by
 * gradbook's check and by the policies of others, over the course's own list of wrong backwards, singly and in pairs.
 */
import { rng, Tensor } from "gradbook";
import { judge, plan, type Args, type Exercise, type Part } from "gradbook/autograder";
import { exercises } from "../../dist/exercises";
import { numbers, type Answer, type Output } from "../../dist/exercises/autograder/probe";
import { largestProduct } from "../../dist/exercises/autograder/products";
import { differentiated, policies, type Backward } from "./policies";

const trials = Number(process.argv[2] ?? 10);
const never = (): boolean => false;

interface Count {
  wrong: number;
  accepted: number;
  right: number;
  rejected: number;
}

const counts = new Map<string, Count>();
const count = (who: string, isRight: boolean, accepted: boolean): void => {
  const entry = counts.get(who) ?? { wrong: 0, accepted: 0, right: 0, rejected: 0 };
  counts.set(who, entry);
  if (isRight) {
    entry.right++;
    if (!accepted) entry.rejected++;
  } else {
    entry.wrong++;
    if (accepted) entry.accepted++;
  }
};

/** Backwards of a part: the solution's, and those with one mistake or two. */
function* backwards(part: Part, solution: Record<string, unknown>): Generator<{ right: boolean; run: Backward }> {
  const ids = part.mistakes.map(({ id }) => id);
  const others = { ...solution, largestProduct };
  // As many right ones as wrong ones, so that both rates rest on enough.
  for (const _ of ids) yield { right: true, run: (args) => part.call(solution[part.entry], args, others) as Record<string, unknown> };
  for (const id of ids) yield { right: false, run: (args) => part.attempt(args, (made) => made === id) };
  for (const [i, a] of ids.entries()) {
    for (const b of ids.slice(i + 1)) {
      if (part.equivalent?.some((line) => line.includes(a) && line.includes(b) && line.includes("none"))) continue;
      yield { right: false, run: (args) => part.attempt(args, (made) => made === a || made === b) };
    }
  }
}

function ours(exercise: Exercise, part: Part, run: Backward, seed: string): boolean {
  const one: Exercise = { ...exercise, parts: [part], points: part.points };
  const made = plan(one, seed, { large: false });
  const answers = made.calls.map(({ args }): Answer => {
    const outputs = Object.entries(run(args)).filter(([, value]) => value !== undefined);
    return { state: "returned", outputs: Object.fromEntries(outputs.map(([name, value]): [string, Output] => [name, numbers(value)])), changed: [], milliseconds: 0 };
  });
  return judge(one, made, answers, { differences: false }).status === "passed";
}

/** Whether a policy of others can be asked at all: a differentiable forward with a cotangent, small enough for a Jacobian. */
function comparable(part: Part): boolean {
  if (!part.forward || !part.cotangent || part.dtype === "float32" || part.jacobians) return false;
  const args: Args = part.draw(rng(1), 0);
  const y = part.forward(args);
  return y instanceof Tensor && y.size <= 200 && differentiated(args, part.attempt(args, never) as Record<string, unknown>).length > 0;
}

/** A thrown error is a rejection: the student's code would have thrown, too. */
function safely(accepts: () => boolean): boolean {
  try {
    return accepts();
  } catch {
    return false;
  }
}

let parts = 0;
let instances = 0;
for (const exercise of exercises) {
  const solution = require(`../../dist/solutions/${exercise.folder}`) as Record<string, unknown>;
  for (const part of exercise.parts as Part[]) {
    if (part.statistical) continue;
    const compared = comparable(part);
    if (compared) parts++;
    for (let trial = 0; trial < trials; trial++) {
      for (const { right, run } of backwards(part, solution)) {
        const accepted = safely(() => ours(exercise, part, run, `bench ${trial}`));
        count("all parts: gradbook", right, accepted);
        instances++;
        if (!compared) continue;
        count("gradbook", right, accepted);
        const random = rng(1000 * trial + 7);
        const args = part.draw(random, trial % 4);
        for (const policy of policies) count(policy.name, right, safely(() => policy.accepts(part, args, run, random)));
      }
    }
  }
}

const percent = (part: number, whole: number): string => (whole ? `${((100 * part) / whole).toFixed(2)} %` : "none");
console.log(`${instances} graded backwards, ${trials} trials each; ${parts} parts have a forward and a cotangent that every policy can take.\n`);
console.log("| policy | wrong accepted | right rejected | wrong | right |\n|---|---|---|---|---|");
for (const [name, { wrong, accepted, right, rejected }] of counts) {
  console.log(`| ${name} | ${percent(accepted, wrong)} | ${percent(rejected, right)} | ${wrong} | ${right} |`);
}
