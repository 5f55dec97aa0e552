/**
 * The child that runs a student's code. It is started ahead, waits for one job, answers each call on a pipe as it is
 * done, and ends. What stands here has no reference, no tolerance and no verdict.
 */
import { writeSync } from "node:fs";
import * as gradbook from "gradbook";
import { readEntries, type EntryText } from "../../exercises/autograder/calls";
import { read, write } from "../../exercises/autograder/data";
import { drive, probe, type Answer, type Task } from "../../exercises/autograder/probe";

export interface Job {
  /** The student's code as JavaScript statements. */
  code: string;
  /** The top-level names that are graded. */
  names: string[];
  entries: EntryText[];
  tasks: Task[];
  withheld: string[];
  /** Written before each answer, so that a line of the student's is none. */
  token: string;
}

/** The pipe that answers go to. */
const answers = 3;

/** The library as the student sees it: what the exercise asks for is missing, in our layers as well. */
function libraryWithout(withheld: readonly string[]): Record<string, unknown> {
  const library: Record<string, unknown> = { ...gradbook };
  for (const name of withheld) {
    // A plain function, so that `new Tape()` meets it, too.
    const refuse = (what: string) =>
      function () {
        throw new Error(`${what} is withheld here: this exercise asks you to write it yourself`);
      };
    const value = library[name];
    if (typeof value === "function") library[name] = refuse(name);
    else if (typeof value === "object" && value !== null) {
      const layer = value as Record<string, unknown>;
      const parts = ["backward", "jvp"].filter((method) => typeof layer[method] === "function");
      const missing = Object.fromEntries(parts.map((method) => [method, refuse(`${name}.${method}`)]));
      if (!Object.isFrozen(layer)) Object.assign(layer, missing);
      library[name] = Object.create(layer, Object.getOwnPropertyDescriptors(missing));
    }
  }
  return library;
}

const AsyncFunction = (async () => {}).constructor as FunctionConstructor;

/** The student's top-level names, after their code ran with the library's names in scope. */
async function evaluate(job: Job): Promise<Record<string, unknown>> {
  const library = libraryWithout(job.withheld);
  const require = (request: string): unknown => {
    if (request === "gradbook") return library;
    throw new Error(`"${request}" is not available to a graded answer; gradbook's own names are`);
  };
  const names = Object.keys(library).filter((name) => /^[A-Za-z_$][\w$]*$/.test(name) && name !== "default");
  const found = job.names.map((name) => `${name}: typeof ${name} === "undefined" ? undefined : ${name}`);
  const body = `"use strict"; return (async () => {\n${job.code}\nreturn { ${found.join(", ")} };\n})();`;
  const run = new AsyncFunction("require", "exports", ...names, body);
  return (await run(require, {}, ...names.map((name) => library[name]))) as Record<string, unknown>;
}

/** Answers a job; `readFrame` waits for it. */
export async function serve(readFrame: () => Buffer): Promise<void> {
  const say = writeSync.bind(undefined);
  const text = write;
  say(answers, "ready\n");
  const job = read(readFrame().toString()) as Job;
  const { token } = job;
  const entries = readEntries(job.entries);
  let student: Record<string, unknown>;
  try {
    student = await evaluate(job);
  } catch (error) {
    const { name = "Error", message = String(error) } = (error ?? {}) as Error;
    say(answers, `${token} stopped ${text({ state: "threw", message: `${name}: ${message}`.slice(0, 500) })}\n`);
    return;
  }
  say(answers, `${token} evaluated\n`);
  const answer = (index: number, value: Answer): void => {
    let line = `${token} ${index} ${text(value)}\n`;
    while (line) {
      // A pipe takes what it has room for.
      const written = say(answers, line);
      line = Buffer.from(line).subarray(written).toString();
    }
  };
  await drive(probe(entries, job.tasks, (name) => student[name], answer));
}
