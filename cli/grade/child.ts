/**
 * The child that runs a student's code. It is started ahead from a snapshot in which all of this is loaded, waits for its
 * jobs, answers each call on a pipe as it is done, and is ended. What stands here has no reference, no tolerance and no verdict.
 */
import { Buffer } from "node:buffer";
import { readSync, writeSync } from "node:fs";
import { startupSnapshot } from "node:v8";
import * as gradbook from "gradbook";
import { readEntries, type EntryText } from "../../exercises/autograder/calls";
import { read, write } from "../../exercises/autograder/data";
import { drive, probe, type Task } from "../../exercises/autograder/probe";
import { countProductsForGood } from "../../exercises/autograder/products";
import { harden } from "./realm";

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
  /** More answers of the same student follow in this process. */
  shared: boolean;
}

/** The pipe that answers go to. */
const answers = 3;

/** What the present answer must not use: "jacobian", "linear.backward". No Set: a student may have changed Set.prototype. */
let withheldNow: Record<string, true> = Object.create(null) as Record<string, true>;

// A plain function, so that `new Tape()` meets it, too.
const refuse = (what: string) =>
  function () {
    throw new Error(`${what} is withheld here: this exercise asks you to write it yourself`);
  };

const gradbookNames: Record<string, unknown> = { ...gradbook };

/** The methods of the library's objects: layers, and collections of functions such as `initializers`. */
function methodsOf(value: unknown): [method: string, own: Function][] {
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).filter((entry): entry is [string, Function] => typeof entry[1] === "function");
}

/** Puts a guard into the layers themselves: whoever calls a withheld backward, by whatever way, is refused. */
function guardLayers(): void {
  for (const [name, value] of Object.entries(gradbookNames)) {
    for (const [method, own] of methodsOf(value)) {
      const full = `${name}.${method}`;
      const refused = refuse(full);
      const guarded = (first: unknown, second: unknown, third: unknown) => (withheldNow[full] ? refused() : own.call(value, first, second, third));
      (value as Record<string, unknown>)[method] = guarded;
    }
  }
}

/** The library as the student sees it: what the exercise asks for is missing. */
function libraryWithout(withheld: readonly string[]): Record<string, unknown> {
  withheldNow = Object.create(null) as Record<string, true>;
  const library = { ...gradbookNames };
  for (const name of withheld) {
    withheldNow[name] = true;
    if (typeof library[name] === "function") library[name] = refuse(name);
    // A layer's forward stays, unless it is named itself.
    for (const [method] of methodsOf(library[name])) if (method !== "forward") withheldNow[`${name}.${method}`] = true;
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

guardLayers();

/** Ends what an answer left running; undefined until the process is hardened. */
let endTimers: (() => void) | undefined;

// Kept from those who would change them to see what is said: whoever knows the token can answer in our name.
const say = writeSync.bind(undefined);
const listen = readSync.bind(undefined);
const bytesOf = Buffer.from.bind(Buffer) as (text: string) => Buffer;
const emptyBytes = Buffer.alloc.bind(Buffer);

function reply(text: string): void {
  const bytes = bytesOf(`${text}\n`);
  // A pipe takes what it has room for.
  for (let at = 0; at < bytes.length; ) at += say(answers, bytes, at, bytes.length - at);
}

/** What reads length and text from standard input, and waits for them without a turn of the event loop. */
function frames(): () => Buffer {
  const pause = new Int32Array(new SharedArrayBuffer(4));
  const { exit } = process;
  const { wait } = Atomics;
  const bytesFrom = (count: number): Buffer => {
    const bytes = emptyBytes(count);
    for (let at = 0; at < count; ) {
      let got = 0;
      try {
        got = listen(0, bytes, at, count - at, null);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "EAGAIN") throw error;
        wait(pause, 0, 0, 2);
        continue;
      }
      if (got === 0) exit(0);
      at += got;
    }
    return bytes;
  };
  return () => bytesFrom(bytesFrom(4).readUInt32LE());
}

/** Answers a job; `readFrame` waits for it. */
async function serve(readFrame: () => Buffer): Promise<void> {
  reply("ready");
  const job = read(readFrame().toString()) as Job;
  if (job.shared && !endTimers) {
    countProductsForGood();
    endTimers = harden(gradbookNames);
  }
  const { token } = job;
  const entries = readEntries(job.entries, gradbookNames);
  try {
    const student = await evaluate(job);
    reply(`${token} evaluated`);
    await drive(probe(entries, job.tasks, (name) => student[name], (index, answer) => reply(`${token} ${index} ${write(answer)}`)));
  } catch (error) {
    const { name = "Error", message = String(error) } = (error ?? {}) as Error;
    reply(`${token} stopped ${write({ state: "threw", message: `${name}: ${message}`.slice(0, 500) })}`);
  }
  endTimers?.();
}

startupSnapshot.setDeserializeMainFunction(async () => {
  const readFrame = frames();
  // The permission model does not gate signals; without a process namespace they would reach the grader.
  for (const name of ["kill", "_kill", "_debugProcess", "_debugEnd"]) delete (process as unknown as Record<string, unknown>)[name];
  for (;;) await serve(readFrame);
});
