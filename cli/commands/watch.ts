/** `gradbook watch DIR`: grades the notebook that was just saved, again and again. */
import { randomBytes } from "node:crypto";
import { existsSync, statSync, watch } from "node:fs";
import path from "node:path";
import { parseArgs } from "node:util";
import { exercises } from "../../exercises";
import { answersIn, gradeAnswer } from "../grade/grader";
import { printable } from "../grade/printable";
import { findSandbox, Pool } from "../grade/sandbox";
import { findSubmissions } from "../grade/submission";
import { UsageError, type Command } from "../main";

const seconds = 10;

async function run(args: string[]): Promise<number> {
  const { positionals } = parseArgs({ args, options: {}, allowPositionals: true });
  const [folder = "."] = positionals;
  if (positionals.length > 1) throw new UsageError(`watch: one folder at a time, there are ${positionals.length}`);
  if (!existsSync(folder) || !statSync(folder).isDirectory()) throw new UsageError(`watch: there is no folder ${folder}`);
  const sandbox = await findSandbox(seconds);
  if (sandbox.isolation === "none") throw new Error("watch: no sandbox works here; install bubblewrap");
  const pool = new Pool(sandbox, 1);
  const passed = new Set<string>();
  const color = (text: string): string => {
    if (!process.stdout.isTTY) return text;
    return text.replace(/^(\s*)(✓)/gm, "$1\u001b[32m$2\u001b[0m").replace(/^(\s*)([✗!⧖])/gm, "$1\u001b[31m$2\u001b[0m");
  };

  let ended = false;

  const grade = async (file: string): Promise<void> => {
    console.log(printable(`\n${new Date().toTimeString().slice(0, 8)} ${path.relative(folder, file)}`));
    const [source] = findSubmissions([file]);
    const submission = source.read();
    for (const problem of submission.problems) console.log(color(printable(`! ${problem}`)));
    const answers = answersIn(submission);
    if (answers.length === 0 && submission.problems.length === 0) console.log("It holds no exercise of the course.");
    for (const pending of answers) {
      const { report } = await gradeAnswer(pending, randomBytes(4).toString("hex"), pool, { seconds, differences: true, owner: file });
      if (ended) return;
      if (report.status === "passed") passed.add(report.id);
      else passed.delete(report.id);
      console.log(color(printable(String(report))));
    }
    console.log(`${passed.size} of ${exercises.length} exercises passed since the start. Watching ${folder}; Ctrl-C ends.`);
  };

  // A save is several events, and an editor may write a new file and rename it: the last event counts.
  const waiting = new Map<string, NodeJS.Timeout>();
  let turn = Promise.resolve();
  const watcher = watch(folder, { recursive: true }, (_event, name) => {
    if (!name || !/\.(ipynb|ts)$/.test(name) || name.split(path.sep).some((part) => part.startsWith("."))) return;
    const file = path.join(folder, name);
    clearTimeout(waiting.get(file));
    waiting.set(
      file,
      setTimeout(() => {
        waiting.delete(file);
        if (!existsSync(folder)) return void watcher.emit("error", new Error("it was removed"));
        turn = turn.then(async () => {
          if (ended || !existsSync(file)) return;
          await grade(file).catch((error: Error) => console.log(color(printable(`! ${file}: ${error.message}`))));
        });
      }, 150),
    );
  });
  console.log(`Watching ${folder}: save a notebook, and it is graded. Ctrl-C ends.`);
  const failure = await new Promise<Error | undefined>((resolve) => {
    process.once("SIGINT", () => resolve(undefined)).once("SIGTERM", () => resolve(undefined));
    watcher.once("error", resolve);
  });
  ended = true;
  watcher.close();
  for (const timer of waiting.values()) clearTimeout(timer);
  pool.close();
  if (failure) throw new Error(`watch: ${folder} cannot be watched any more (${failure.message})`);
  return 0;
}

export const command: Command = {
  usage: "DIR",
  summary: "Grades each notebook in a folder again whenever it is saved.",
  run,
};
