/**
 * `ts-node -T bench/autograder/speed.ts [submissions]`: submissions of the whole course graded a minute, each answer in a
 * sandboxed child of its own; beside it, nbconvert --execute on the same notebooks with the same kernel where it is installed.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cpus, loadavg, tmpdir } from "node:os";
import path from "node:path";
import { nbgraderMetadata, type Exercise } from "gradbook/autograder";
import { exercises } from "../../dist/exercises";

const count = Number(process.argv[2] ?? 20);
const root = path.join(__dirname, "../..");
const folder = mkdtempSync(path.join(tmpdir(), "gradbook-speed-"));

/** Of ten answers, six are right, three have one line spoilt, and one is as it was shipped. */
function answer(exercise: Exercise, i: number): string {
  if (i % 10 === 9) return exercise.starter;
  if (i % 10 < 6) return exercise.solution;
  return exercise.solution.replace(/ \* | \+ |\.mul\(/, (found) => ({ " * ": " + ", " + ": " - ", ".mul(": ".add(" })[found]!);
}

function notebookOf(exercise: Exercise, source: string): string {
  return JSON.stringify({
    nbformat: 4,
    nbformat_minor: 5,
    metadata: { kernelspec: { name: "gradbook", display_name: "TypeScript (gradbook)", language: "typescript" } },
    cells: [
      { id: "answer", cell_type: "code", metadata: { nbgrader: nbgraderMetadata({ gradeId: exercise.id, source, role: "answer" }) }, source, execution_count: null, outputs: [] },
      { id: "check", cell_type: "code", metadata: {}, source: `check("${exercise.id}")`, execution_count: null, outputs: [] },
    ],
  });
}

const submissions = path.join(folder, "submissions");
for (let student = 0; student < count; student++) {
  mkdirSync(path.join(submissions, `student-${student}`), { recursive: true });
  exercises.forEach((exercise, e) => {
    writeFileSync(path.join(submissions, `student-${student}`, `${exercise.folder}.ipynb`), notebookOf(exercise, answer(exercise, student + e)));
  });
}

const main = `require(${JSON.stringify(path.join(root, "dist/cli/main.js"))}).main(process.argv.slice(1))`;

interface Graded {
  isolation: string;
  exercises: { status: string }[];
}

/** Seconds an answer, with what is graded printed. */
function grade(name: string, ...options: string[]): number {
  const json = path.join(folder, `${name}.json`);
  const started = performance.now();
  const graded = spawnSync(process.execPath, ["-e", main, "--", "grade", submissions, "--json", json, "--seed", "speed", ...options], { encoding: "utf8" });
  const seconds = (performance.now() - started) / 1000;
  if (graded.status !== 0) throw new Error(graded.stderr);
  const { submissions: results } = JSON.parse(readFileSync(json, "utf8")) as { submissions: Graded[] };
  const answers = results.flatMap((submission) => submission.exercises);
  const states = new Map<string, number>();
  for (const { status } of answers) states.set(status, (states.get(status) ?? 0) + 1);
  const perMinute = ((60 * count) / seconds).toFixed(0);
  console.log(`${name} (${results[0].isolation}): ${seconds.toFixed(1)} s, ${perMinute} submissions a minute, ${((1000 * seconds) / answers.length).toFixed(0)} ms an answer (${[...states].map(([s, n]) => `${n} ${s}`).join(", ")})`);
  return seconds / answers.length;
}

console.log(`${count} submissions of ${exercises.length} exercises on ${cpus().length} cores, load ${loadavg()[0].toFixed(1)} before the start`);
const own = grade("a child an answer");
const shared = grade("a child a submission", "--share-child");

const nbconvert = spawnSync("jupyter", ["nbconvert", "--version"], { encoding: "utf8" });
if (nbconvert.status !== 0) {
  console.log("nbconvert is not installed: not compared");
} else {
  const prefix = path.join(folder, "prefix");
  const installed = spawnSync(process.execPath, ["-e", main, "--", "install", "--prefix", prefix], { encoding: "utf8" });
  if (installed.status !== 0) throw new Error(installed.stderr);
  const sample = exercises.slice(0, 6).map(({ folder: name }) => path.join(submissions, "student-0", `${name}.ipynb`));
  const begin = performance.now();
  const executed = spawnSync("jupyter", ["nbconvert", "--to", "notebook", "--execute", "--allow-errors", "--output-dir", path.join(folder, "executed"), ...sample], {
    encoding: "utf8",
    env: { ...process.env, JUPYTER_PATH: path.join(prefix, "share/jupyter"), GRADBOOK_PROGRESS: path.join(folder, "progress.json") },
  });
  if (executed.status !== 0) throw new Error(executed.stderr.slice(-2000));
  const each = (performance.now() - begin) / 1000 / sample.length;
  console.log(`nbconvert --execute: ${each.toFixed(1)} s a notebook, one after the other; gradbook grade has ${(each / own).toFixed(0)} times its throughput, ${(each / shared).toFixed(0)} times with --share-child`);
}
rmSync(folder, { recursive: true, force: true });
