/**
 * Every theory notebook and every solved exercise runs from top to bottom, in `gradbook run` and under Debian's nbclient;
 * exercises as shipped grade "not attempted", solved they grade full points.
 */
import { execFile, spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { exercises } from "../../exercises";
import { allNotebooks, isTheory, write, type Notebook } from "../../scripts/notebooks";

const root = path.join(__dirname, "..", "..");
const python = "/usr/bin/python3";
const haveNbclient = spawnSync(python, ["-c", "import nbclient"]).status === 0;

const folder = fs.mkdtempSync(path.join(os.tmpdir(), "gradbook-run-"));
const environment = {
  ...process.env, JUPYTER_PATH: path.join(folder, "prefix", "share", "jupyter"), HOME: folder, JUPYTER_PLATFORM_DIRS: "1", PYTHONWARNINGS: "ignore",
};
afterAll(() => fs.rmSync(folder, { recursive: true, force: true }));

const run = promisify(execFile);
const options = { cwd: folder, env: environment, maxBuffer: 64 * 2 ** 20 };
async function gradbook(...args: string[]): Promise<string> {
  const main = `require(${JSON.stringify(path.join(root, "dist", "cli", "main.js"))}).main(process.argv.slice(1))`;
  return (await run(process.execPath, ["-e", main, "--", ...args], options)).stdout;
}

/** What is wrong, by name, with at most two running at a time. */
async function failures(names: string[], work: (name: string) => Promise<unknown>): Promise<string[]> {
  const waiting = [...names];
  const failed: string[] = [];
  const one = async (): Promise<void> => {
    for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) {
      try {
        await work(name);
      } catch (error) {
        const { stdout = "", stderr = "", message } = error as { stdout?: string; stderr?: string; message: string };
        failed.push(`${name}: ${(stderr.trim() || stdout.trim() || message).slice(-600)}`);
      }
    }
  };
  await Promise.all([one(), one()]);
  return failed;
}

/** Solved notebooks, and theory notebooks without their outputs, in one folder. */
const books = new Map<string, Notebook>();
for (const [name, book] of allNotebooks()) {
  const exercise = exercises.find(({ folder: own }) => `${own}.ipynb` === name);
  books.set(name.replace("/", "-"), {
    ...book,
    cells: book.cells.map((cell) => (cell.id === "answer" && exercise ? { ...cell, source: exercise.solution.split(/(?<=\n)/) } : cell)),
  });
}
const names = [...books.keys()];
const solved = names.filter((name) => !name.startsWith("theory-"));
const theory = names.filter((name) => name.startsWith("theory-"));

beforeAll(async () => {
  for (const [name, book] of books) fs.writeFileSync(path.join(folder, name), write(book));
  await gradbook("install", "--prefix", path.join(folder, "prefix"));
}, 60_000);

test("the books are those of the course", () => {
  expect([theory.length, solved.length]).toEqual([12, exercises.length]);
  expect([...allNotebooks().keys()].filter(isTheory)).toHaveLength(12);
});

describe("gradbook run", () => {
  const inRun = (name: string): Promise<string> => gradbook("run", name, "--output", `run-${name}`);

  test("every theory notebook runs from top to bottom", async () => {
    expect(await failures(theory, inRun)).toEqual([]);
  }, 600_000);

  test("every solved exercise runs from top to bottom, and its check passes", async () => {
    expect(await failures(solved, inRun)).toEqual([]);
    const verdicts = solved.map((name) => {
      const book = JSON.parse(fs.readFileSync(path.join(folder, `run-${name}`), "utf8")) as Notebook;
      const outputs = book.cells.find(({ id }) => id === "check")!.outputs as { data?: Record<string, string | string[]> }[];
      const exercise = exercises.find(({ folder: own }) => `${own}.ipynb` === name)!;
      const text = outputs.map(({ data }) => [data?.["text/plain"]].flat().join("")).join("\n");
      return text.includes(`passed, ${exercise.points} of ${exercise.points} points`) ? "full points" : `${name}: ${text.slice(0, 300)}`;
    });
    expect(verdicts).toEqual(solved.map(() => "full points"));
  }, 600_000);
});

describe("gradbook grade", () => {
  interface Grades { submissions: { path: string; score: number; max: number; exercises: { id: string; status: string }[] }[] }
  async function grade(where: string, ...which: string[]): Promise<Grades> {
    const file = path.join(folder, `${where}.json`);
    await gradbook("grade", ...which, "--json", file).catch(() => undefined);
    return JSON.parse(fs.readFileSync(file, "utf8")) as Grades;
  }

  test("as shipped every exercise is not attempted, with 0 points", async () => {
    const shipped = exercises.map(({ folder: own }) => path.join(root, "notebooks", `${own}.ipynb`));
    const { submissions } = await grade("shipped", ...shipped);
    expect(submissions.flatMap((one) => one.exercises.map(({ id, status }) => [id, status, one.score])).sort())
      .toEqual(exercises.map(({ id }) => [id, "not attempted", 0]).sort());
  }, 300_000);

  test("solved every exercise passes, with full points", async () => {
    const { submissions } = await grade("solved", ...solved);
    expect(submissions.flatMap((one) => one.exercises.map(({ id, status }) => [id, status, one.score === one.max])).sort())
      .toEqual(exercises.map(({ id }) => [id, "passed", true]).sort());
  }, 300_000);
});

(haveNbclient ? describe : describe.skip)("Debian's nbclient (needs python3-nbclient)", () => {
  const script = path.join(root, "test", "notebooks", "nbclient_run.py");
  const under = (name: string): Promise<unknown> => run(python, [script, name], options);

  test("every theory notebook runs from top to bottom", async () => {
    expect(await failures(theory, under)).toEqual([]);
  }, 600_000);

  test("every solved exercise runs from top to bottom", async () => {
    expect(await failures(solved, under)).toEqual([]);
  }, 600_000);
});
