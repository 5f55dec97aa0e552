/** What every exercise must hold before a student sees it. Runs over the whole course; `AUTHORING=id` narrows it to one. */
import { existsSync } from "node:fs";
import path from "node:path";
import { rng, Tensor } from "gradbook";
import { exercises } from "../../exercises";
import { entryTexts, readEntries } from "../../exercises/autograder/calls";
import { same } from "../../exercises/autograder/data";
import { attemptWith, mistakeSets } from "../../exercises/autograder/diagnose";
import { distance, finiteDifferences } from "../../exercises/autograder/differences";
import { gradeHere, judge } from "../../exercises/autograder/grade";
import { asTensor, casesOf, close, compareAll, largest, never, toleranceOf } from "../../exercises/autograder/judge";
import { hash, plan, type Call } from "../../exercises/autograder/plan";
import { drive, numbers, probe, type Answer, type Output } from "../../exercises/autograder/probe";
import type { Exercise, Part, Result } from "../../exercises/autograder/spec";

const root = path.join(__dirname, "../..");
const chosen = exercises.filter(({ id }) => !process.env.AUTHORING || id === process.env.AUTHORING);

/** The answers of somebody who returns `outputs(call)`. */
function answersOf(calls: readonly Call[], outputs: (call: Call) => Partial<Result>): Answer[] {
  return calls.map((call) => ({
    state: "returned",
    outputs: Object.fromEntries(
      Object.entries(outputs(call)).filter(([, value]) => value !== undefined).map(([name, value]) => [name, numbers(value)]),
    ) as Record<string, Output>,
    changed: [],
    milliseconds: 0,
  }));
}

/** The ids of a set as they are compared: without those that another of the set hides, equivalents under one name. */
function canonical(part: Part, ids: readonly string[]): string {
  const named = (id: string): string => part.mistakes.find((m) => m.id === id)?.equivalentTo ?? id;
  const renamed = [...new Set(ids.map(named))];
  const hidden = (id: string): boolean =>
    renamed.some((by) => by !== id && [...(part.mistakes.find((m) => m.id === by)?.hides ?? [])].some((h) => h === "*" || named(h) === id));
  // Two that hide each other: the first stays.
  const kept = renamed.filter((id, i) => !hidden(id) || (i === 0 && renamed.every(hidden)));
  return (kept.length ? kept : renamed).sort().join(" + ");
}

/** Declared lines such as "a + b = c" as a map from each side to one representative. */
function declared(part: Part): (ids: readonly string[]) => string {
  const parent = new Map<string, string>();
  const find = (key: string): string => {
    let at = key;
    while (parent.has(at)) at = parent.get(at)!;
    return at;
  };
  const side = (text: string): string => canonical(part, text.split("+").map((id) => id.trim()));
  for (const line of part.equivalent ?? []) {
    const [first, ...others] = line.split("=").map(side);
    for (const other of others) if (find(other) !== find(first)) parent.set(find(other), find(first));
  }
  return (ids) => find(canonical(part, ids));
}

function sameNumbers(part: Part, a: Partial<Result>, b: Partial<Result>): boolean {
  const { relative, absolute } = toleranceOf(part);
  const tolerance = { relative: Math.max(1e-8, relative), absolute: Math.max(1e-12, absolute) };
  const names = new Set([...Object.keys(a), ...Object.keys(b)]);
  return [...names].every((name) => {
    const [x, y] = [a[name], b[name]];
    if (x === undefined || y === undefined) return x === y;
    const [g, r] = [asTensor(x), asTensor(y)];
    return g.shape.join() === r.shape.join() && close(g.data, r.data, tolerance);
  });
}

/** What is wrong with a part's list of mistakes, one line each. */
function complaints(exercise: Exercise, part: Part): string[] {
  const found: string[] = [];
  const index = exercise.parts.indexOf(part);
  const calls = plan(exercise, "authoring", { large: false }).calls.filter((c) => c.part === index && c.purpose !== "again");
  const rightResults = calls.map(({ args }) => part.attempt(args, never));
  const classOf = declared(part);
  const seen: { name: string; of: string; results: Partial<Result>[] }[] = [{ name: "none", of: "none", results: rightResults }];
  for (const set of mistakeSets(part.mistakes)) {
    const ids = set.map(({ id }) => id);
    const name = ids.join(" + ");
    const results = calls.map(({ args }) => attemptWith(part, args, ids));
    if (results.some((result) => result === undefined)) {
      if (ids.length === 1) found.push(`attempt throws when "${name}" is made`);
      continue;
    }
    const of = classOf(ids);
    for (const other of seen) {
      const equal = results.every((result, i) => sameNumbers(part, result!, other.results[i]!));
      if (equal && other.of !== of) {
        found.push(ids.length === 1 && other.name === "none" ? `"${name}" is accepted` : `not told apart: "${name} = ${other.name}"`);
      }
      if (!equal && other.of === of) found.push(`declared equivalent, but they differ: "${name} = ${other.name}"`);
    }
    seen.push({ name, of, results: results as Partial<Result>[] });
  }
  return found;
}

describe.each(chosen.map((exercise) => [exercise.folder, exercise] as const))("%s", (folder, exercise) => {
  const solution = require(path.join(root, "solutions", folder)) as Record<string, unknown>;
  const starter = require(path.join(root, "exercises", folder, "starter")) as Record<string, unknown>;
  const parts = exercise.parts.map((part: Part) => [part.name, part] as const);

  it("has its texts", () => {
    expect(existsSync(path.join(root, "exercises", folder, "statement.md"))).toBe(true);
    expect(exercise.statement.length).toBeGreaterThan(200);
    expect(exercise.hints.length).toBeGreaterThanOrEqual(3);
    expect(exercise.parts.flatMap(({ mistakes }) => mistakes).length).toBeGreaterThanOrEqual(4);
    for (const text of [exercise.starter, exercise.solution]) {
      expect(text).not.toMatch(/^(import|export)\b/m);
    }
    // What JupyterLab shows beside its sidebar on a screen 1366 pixels wide.
    const cells = [exercise.starter, exercise.solution, ...(exercise.after ?? []).filter(({ type }) => type === "code").map(({ source }) => source)];
    expect(cells.flatMap((cell) => cell.split("\n")).filter((line) => line.length > 118)).toEqual([]);
    for (const { mistakes } of exercise.parts) {
      for (const { says, hint } of mistakes) for (const text of [says, hint]) expect(text).toMatch(/[.?!]$/);
    }
  });

  it("says in its statement what each part is worth", () => {
    // "| 2 |" or "| 1 + 1 |" at the end of a table's row, or "(2 points)" behind a name.
    const worth = [...exercise.statement.matchAll(/\| ([\d +]+) \|$|\((\d+) points?\)/gm)].flatMap(([, row, name]) => (row ?? name).split("+").map(Number));
    expect(worth.reduce((sum, points) => sum + points, 0)).toBe(exercise.points);
    for (const { entry } of exercise.parts) expect(exercise.statement).toContain(entry);
  });

  it("is not attempted as shipped", async () => {
    const report = await gradeHere(exercise, (name) => starter[name], "starter", { differences: false });
    expect({ status: report.status, score: report.score }).toEqual({ status: "not attempted", score: 0 });
    expect(report.checks.map(({ status }) => status)).toEqual(exercise.parts.map(() => "not attempted"));
  });

  it("is passed by its solution, the report's cost and repetition checks included", async () => {
    const report = await gradeHere(exercise, (name) => solution[name], "solution");
    expect(report.checks.filter(({ status }) => status !== "passed").map(({ name, message }) => `${name}: ${message}`)).toEqual([]);
    expect(report.score).toBe(exercise.points);
  });

  it("is passed by its solution on 200 seeds, called as in the sandbox", async () => {
    const entries = readEntries(entryTexts(exercise));
    for (const [index, part] of exercise.parts.entries()) {
      const count = Math.max(3, part.instances ?? 4);
      const calls = Array.from({ length: 200 }, (_, seed): Call => {
        const random = rng(hash(`200/${exercise.id}/${part.name}/${seed}`));
        let args = part.draw(random, seed % count);
        while (part.kink && part.kink(args) < 1e-3) args = part.draw(random, seed % count);
        return { part: index, purpose: "instance", args };
      });
      const answers: Answer[] = [];
      const tasks = calls.map(({ args }) => ({ part: index, args }));
      await drive(probe(entries, tasks, (name) => solution[name], (i, answer) => (answers[i] = answer)));
      const stopped = answers.find(({ state }) => state !== "returned");
      expect(stopped).toBeUndefined();
      const wrong = casesOf(part, calls, answers)
        .flatMap((c) => [...compareAll(part, c, 200), ...c.changed.map((says) => ({ name: "changes", says, state: "changed" }))])
        .filter(({ state }) => state !== "right")
        .map(({ name, says }) => `${part.name}: ${name} ${says}`);
      expect(wrong).toEqual([]);
    }
  });

  it.each(parts)("%s: every mistake is rejected, every one and every pair told apart or declared equivalent", (_name, part) => {
    expect(complaints(exercise, part)).toEqual([]);
  });

  it.each(parts)("%s: each mistake is named, alone, in the report", (_name, part) => {
    const index = exercise.parts.indexOf(part);
    const one: Exercise = { ...exercise, parts: [part], points: part.points };
    const made = plan(exercise, "named", { large: false }).calls.filter((c) => c.part === index).map((c) => ({ ...c, part: 0 }));
    for (const mistake of part.mistakes) {
      const answers = answersOf(made, ({ args }) => part.attempt(args, (id) => id === mistake.id));
      const [check] = judge(one, { seed: "named", calls: made }, answers, { differences: false }).checks;
      expect(check.status).toBe("failed");
      expect(declared(part)((check.diagnosis?.mistake ?? "none").split(" + "))).toBe(declared(part)([mistake.id]));
    }
  });

  it.each(parts)("%s: the reference agrees with finite differences and is linear where it should be", (_name, part) => {
    const index = exercise.parts.indexOf(part);
    const one: Exercise = { ...exercise, parts: [part], points: part.points };
    const calls = plan(exercise, "proof", { large: false }).calls.filter((c) => c.part === index).map((c) => ({ ...c, part: 0 }));
    const [check] = judge(one, { seed: "proof", calls }, answersOf(calls, ({ args }) => part.attempt(args, never))).checks;
    expect(`${check.status}: ${check.message}`).toMatch(/^passed/);
    const gradients: string[] = [];
    for (const [i, { args }] of calls.filter(({ purpose }) => purpose === "instance").entries()) {
      const reference = part.attempt(args, never) as Result;
      const names = Object.keys(reference);
      // Every number of the first instance, a sample of the others.
      const differences = finiteDifferences(part, args, names, i === 0);
      gradients.push(...names.filter((name) => (name.startsWith("J") || (name.startsWith("d") && Object.hasOwn(args, name.slice(1)))) && !differences.has(name)));
      for (const [name, difference] of differences) {
        const off = distance(asTensor(reference[name]).data, difference);
        const agrees = off !== undefined && off <= (part.dtype === "float32" ? 1e-2 : 1e-6);
        // Gradients that are zero by theory have nothing to be relative to.
        const zero = largest(difference.values) < 1e-8 && largest(asTensor(reference[name]).data) < 1e-8;
        expect({ name, agrees: agrees || zero, off: agrees || zero ? 0 : off }).toEqual({ name, agrees: true, off: 0 });
      }
    }
    if (gradients.length && !part.noDifferences) {
      throw new Error(`${part.name}: ${[...new Set(gradients)].join(", ")} has no finite differences; give forward, differences, or say why in noDifferences`);
    }
  });

  it.each(parts)("%s: no instance is vacuous", (_name, part) => {
    const index = exercise.parts.indexOf(part);
    const cases = plan(exercise, "vacuous", { large: false }).calls.filter((c) => c.part === index && c.purpose === "instance");
    const results = cases.map(({ args }) => part.attempt(args, never) as Result);
    // Some output differs from instance to instance, and some number of it is not zero.
    const alive = results.every((result) => Object.values(result).some((value) => largest(asTensor(value).data) > 0));
    const varied = Object.keys(results[0]).some((name) => !same(asTensor(results[0][name]), asTensor(results[1][name])));
    expect({ alive, varied }).toEqual({ alive: true, varied: true });
    expect(results.every((result) => Object.values(result).every((v) => typeof v === "number" || v instanceof Tensor))).toBe(true);
  });
});
