/** `gradbook grade PATH...`: grades notebooks, folders and zip files of submissions. */
import { randomBytes } from "node:crypto";
import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";
import type { Exercise } from "gradbook/autograder";
import { exercises, findExercise } from "../../exercises";
import type { GradedSubmission } from "../grade/grader";
import { Journal } from "../grade/journal";
import { csvHeader, nbgraderHeader, toCsv, toGradescope, toJson, toNbgrader, toPrairieLearn, type ClassResult } from "../grade/outputs";
import { generator, pages } from "../grade/page";
import { oneLine, printable } from "../grade/printable";
import { progressDisplay } from "../grade/progress";
import { gradeAll } from "../grade/run";
import { findSandbox, Pool } from "../grade/sandbox";
import { findSubmissions } from "../grade/submission";
import { UsageError, type Command } from "../main";

const options = {
  exercises: { type: "string" },
  seed: { type: "string" },
  jobs: { type: "string" },
  timeout: { type: "string", default: "10" },
  json: { type: "string" },
  csv: { type: "string" },
  html: { type: "string" },
  gradescope: { type: "string" },
  nbgrader: { type: "string" },
  prairielearn: { type: "string" },
  "share-child": { type: "boolean", default: false },
  unsandboxed: { type: "boolean", default: false },
} as const;

function positive(name: string, text: string): number {
  const value = Number(text);
  if (!(value > 0) || !Number.isFinite(value)) throw new UsageError(`grade: --${name} is ${text}, it should be a number above 0`);
  return value;
}

/** The exercises of a list like "1-6,9,lora", in the course's order. */
function exercisesIn(list: string): Exercise[] {
  const named = list.split(",").flatMap((entry) => {
    const [, from, to] = /^\s*(\d+)-(\d+)\s*$/.exec(entry) ?? [];
    const names = from === undefined ? [entry.trim()] : Array.from({ length: Math.max(0, Number(to) - Number(from) + 1) }, (_, i) => Number(from) + i);
    const found = names.map((name) => (name === "" ? undefined : findExercise(name)));
    if (found.length === 0 || found.includes(undefined)) {
      throw new UsageError(`grade: --exercises has "${entry}", it should list numbers from 1 to ${exercises.length}, ranges of them, or names, as in 1-6,9,lora`);
    }
    return found;
  });
  return exercises.filter((exercise) => named.includes(exercise));
}

/** Refuses to write where something lies that an earlier run of ours did not write. */
function refuseToOverwrite(name: string, file: string, isOurs: (text: string) => boolean): void {
  if (!existsSync(path.dirname(path.resolve(file)))) {
    throw new UsageError(`grade: --${name} ${file} lies in a folder that does not exist`);
  }
  if (!existsSync(file)) return;
  const ours = lstatSync(file).isFile() && lstatSync(file).size < 1e9 && isOurs(readFileSync(file, "utf8"));
  if (!ours) throw new UsageError(`grade: --${name} ${file} exists and is no result of gradbook grade; choose another name`);
}

function isJsonWith(...keys: string[]): (text: string) => boolean {
  return (text) => {
    try {
      const found = JSON.parse(text) as Record<string, unknown>;
      return keys.every((key) => Object.hasOwn(found, key)) && !Object.hasOwn(found, "cells");
    } catch {
      return false;
    }
  };
}

function refuseFolder(folder: string): void {
  if (!existsSync(folder)) return;
  const index = path.join(folder, "index.html");
  const empty = lstatSync(folder).isDirectory() && readdirSync(folder).length === 0;
  if (!empty && !(existsSync(index) && readFileSync(index, "utf8").includes(generator))) {
    throw new UsageError(`grade: --html ${folder} exists and holds no pages of gradbook grade; choose another folder`);
  }
}

/** The whole file or the old one, never half. A draft that a killed run has left is the next run's. */
function writeWhole(file: string, text: string): void {
  const draft = path.join(path.dirname(file), `.gradbook-${path.basename(file)}.tmp`);
  writeFileSync(draft, text);
  renameSync(draft, file);
}

function summary(submissions: readonly GradedSubmission[]): string {
  const width = Math.max(...submissions.map(({ student }) => student.length));
  if (submissions.length === 1) {
    const [{ exercises, problems }] = submissions;
    return [...problems.map((problem) => `! ${problem}`), ...exercises.map(({ report }) => String(report))].join("\n\n");
  }
  const lines = submissions.map(({ student, score, max, exercises, problems }) => {
    const counts = (["passed", "failed", "not attempted", "error", "timeout"] as const)
      .map((state) => [exercises.filter(({ report }) => report.status === state).length, state] as const)
      .flatMap(([count, state]) => (count > 0 ? [`${count} ${state}`] : []))
      .join(", ");
    return oneLine(`${student.padEnd(width)}  ${String(score).padStart(4)} of ${String(max).padEnd(4)} ${[counts, ...problems].filter(Boolean).join("; ")}`);
  });
  return lines.join("\n");
}

async function run(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({ args, options, allowPositionals: true });
  if (positionals.length === 0) throw new UsageError("grade: name at least one notebook, folder or zip file of submissions");
  const seconds = positive("timeout", values.timeout);
  const jobs = Math.ceil(values.jobs === undefined ? cpus().length : positive("jobs", values.jobs));
  const assigned = values.exercises === undefined ? undefined : exercisesIn(values.exercises);
  const sources = findSubmissions(positionals);
  const { json, csv, html, gradescope, nbgrader, prairielearn } = values;
  if (json) refuseToOverwrite("json", json, isJsonWith("seed", "submissions"));
  if (csv) refuseToOverwrite("csv", csv, (text) => text.startsWith(csvHeader.join(",")));
  if (nbgrader) refuseToOverwrite("nbgrader", nbgrader, (text) => text.startsWith(nbgraderHeader.join(",")));
  if (gradescope) refuseToOverwrite("gradescope", gradescope, isJsonWith("score", "tests", "stdout_visibility"));
  if (prairielearn) refuseToOverwrite("prairielearn", prairielearn, isJsonWith("score", "tests", "gradable"));
  if (html) refuseFolder(html);
  for (const [name, file] of Object.entries({ gradescope, prairielearn })) {
    if (file && sources.length !== 1) throw new UsageError(`grade: --${name} takes one submission, and there are ${sources.length}`);
  }

  const sandbox = await findSandbox(seconds);
  if (sandbox.isolation === "none" && !values.unsandboxed) {
    throw new Error(
      "this machine has neither bubblewrap nor Node's permission model, so submissions would run unsandboxed: install bubblewrap, or say --unsandboxed if you trust them",
    );
  }
  const target = json ?? csv ?? html ?? nbgrader ?? gradescope ?? prairielearn;
  const journal = Journal.open(target && `${target}.journal`, values.seed, randomBytes(6).toString("hex"));
  const shared = values["share-child"];
  const pool = new Pool(sandbox, jobs, shared);
  const stop = new AbortController();
  const onSignal = (): void => {
    stop.abort();
    pool.close();
  };
  process.once("SIGINT", onSignal).once("SIGTERM", onSignal);
  const how = sandbox.isolation === "bubblewrap" ? "" : " (bubblewrap does not work here)";
  console.error(`Grading ${sources.length} ${sources.length === 1 ? "submission" : "submissions"}; seed ${journal.seed}; isolation: ${sandbox.isolation}${how}, by ${sandbox.tools.join(", ")}; children: ${pool.children}.`);
  if (journal.size > 0) console.error(`Going on with ${journal.size} answers that an earlier run has graded.`);

  const display = progressDisplay(process.stderr);
  const started = performance.now();
  try {
    const submissions = await gradeAll(sources, sandbox, pool, {
      ...{ seed: journal.seed, assigned, jobs, seconds, journal, signal: stop.signal, onProgress: display.show },
      differences: html !== undefined || sources.length === 1,
      inTurn: shared && sources.length >= jobs,
    });
    display.end();
    if (submissions.length > 0) console.log(printable(summary(submissions)));
    if (stop.signal.aborted) {
      const kept = journal.file ? `${journal.size} graded answers are kept; run the same command again to go on` : "nothing was to be written";
      console.error(`Stopped after ${submissions.length} of ${sources.length} submissions; ${kept}.`);
      return 1;
    }
    const result: ClassResult = { seed: journal.seed, assigned, submissions };
    const elapsed = (performance.now() - started) / 1000;
    if (json) writeWhole(json, toJson(result));
    if (csv) writeWhole(csv, toCsv(result));
    if (nbgrader) writeWhole(nbgrader, toNbgrader(result));
    if (gradescope) writeWhole(gradescope, toGradescope(submissions[0], elapsed));
    if (prairielearn) writeWhole(prairielearn, toPrairieLearn(submissions[0]));
    if (html) {
      mkdirSync(html, { recursive: true });
      for (const [name, page] of pages(result)) writeWhole(path.join(html, name), page);
    }
    journal.remove();
    const written = [json, csv, nbgrader, gradescope, prairielearn, html].filter(Boolean);
    console.error(`Graded in ${elapsed.toFixed(1)} s.${written.length ? ` Written: ${written.join(", ")}.` : ""}`);
    return submissions.some(({ problems }) => problems.length > 0) ? 1 : 0;
  } finally {
    process.off("SIGINT", onSignal).off("SIGTERM", onSignal);
    pool.close();
  }
}

export const command: Command = {
  usage:
    "PATH... [--exercises LIST] [--seed S] [--jobs N] [--timeout S] [--json F] [--csv F] [--html DIR] [--gradescope F] [--nbgrader F] [--prairielearn F] [--share-child] [--unsandboxed]",
  summary:
    "Grades notebooks, folders and zip files of submissions; each answer runs in a sandbox of its own (--share-child: one a submission, faster).",
  options: [
    ["--exercises LIST", "the exercises that count, as in 1-6,9,lora: one that is not handed in counts 0 (those handed in, when left out)"],
    ["--seed S", "draws the instances from S: the same seed grades the same way (random when left out, and in the result)"],
    ["--jobs N", "so many answers, or submissions that share a child, at once (the number of cores)"],
    ["--timeout S", "seconds an answer may take (10)"],
    ["--json F", "writes all results as JSON"],
    ["--csv F", "writes a line a part as CSV"],
    ["--html DIR", "writes a page a student and an overview of the class"],
    ["--gradescope F", "writes Gradescope's results.json; one submission only"],
    ["--nbgrader F", "writes the table that nbgrader exports"],
    ["--prairielearn F", "writes PrairieLearn's results.json; one submission only"],
    ["--share-child", "runs the answers of a submission one after the other in one sandboxed child: faster"],
    ["--unsandboxed", "grades also where no sandbox works: only for submissions that you trust"],
  ],
  run,
};
