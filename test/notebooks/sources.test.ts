/** notebooks/ is what exercises/ says, and hangs together. */
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { exercises } from "../../exercises";
import { allNotebooks, courseList, differences, isTheory, theoryNotebook, write, type Notebook } from "../../scripts/notebooks";

const folder = path.join(__dirname, "..", "..", "notebooks");
const built = allNotebooks();
const onDisk = (name: string): Notebook => JSON.parse(readFileSync(path.join(folder, name), "utf8")) as Notebook;

test("notebooks/ is what its sources say; npm run notebooks mends it", () => {
  expect(differences()).toEqual([]);
});

test("28 exercises and 12 theory notebooks, all in the course list or theory/", () => {
  const names = [...built.keys()];
  expect(names.filter((name) => !isTheory(name))).toHaveLength(28);
  expect(names.filter(isTheory)).toHaveLength(12);
  expect(courseList()).toHaveLength(28);
});

test("the language is described as the kernel describes it, so that opening a notebook does not change it", () => {
  const { kernelInfo } = require(path.join(folder, "..", "dist", "kernel", "info.js")) as { kernelInfo(): { language_info: object } };
  for (const name of built.keys()) expect(onDisk(name).metadata.language_info).toEqual(kernelInfo().language_info);
});

test("building twice gives the same bytes", () => {
  expect([...allNotebooks()].map(([, book]) => write(book))).toEqual([...built].map(([, book]) => write(book)));
});

test.each([...built.keys()])("%s: unique cell ids, one heading first, no trace of a machine", (name) => {
  const book = onDisk(name);
  const ids = book.cells.map(({ id }) => id);
  expect(new Set(ids).size).toBe(ids.length);
  for (const id of ids) expect(id).toMatch(/^[a-zA-Z0-9-_]{1,64}$/);
  expect(book.cells[0]!.source[0]).toMatch(/^# /);
  expect(JSON.stringify(book)).not.toMatch(/\/(home|root|tmp|Users)\//);
});

test.each(exercises.map((exercise) => [exercise.folder, exercise] as const))("%s: the answer cell is the starter, found by its grade_id", (name, exercise) => {
  const answers = onDisk(`${name}.ipynb`).cells.filter(({ metadata }) => (metadata.nbgrader as { grade_id?: string } | undefined)?.grade_id === exercise.id);
  expect(answers.map(({ source }) => source.join(""))).toEqual([exercise.starter]);
  expect(answers[0]!.metadata.nbgrader).toEqual({
    grade: false, grade_id: exercise.id, locked: false, schema_version: 3, solution: true, task: false, cell_type: "code",
    checksum: expect.stringMatching(/^[0-9a-f]{32}$/),
  });
});

test.each([...built.keys()].filter(isTheory))("%s says what it reproduces and what a reader can do after it, and shows something after each code cell", (name) => {
  const book = onDisk(name);
  const first = book.cells[0]!.source.join("");
  expect(first).toMatch(/\*Reproduces /);
  expect(first).toMatch(/After this notebook you can /);
  const silent = book.cells.filter(({ cell_type, outputs }) => cell_type === "code" && (outputs ?? []).length === 0).map(({ id }) => id);
  expect(silent).toEqual([]);
  const pictures = JSON.stringify(book).match(/"image\/svg\+xml":/g) ?? [];
  expect(pictures.length).toBeGreaterThanOrEqual(3);
});

test("code of theory notebooks fits the first screen of a laptop, side bar open: at most 120 characters a line", () => {
  const long = [...built].filter(([name]) => isTheory(name)).flatMap(([name, book]) =>
    book.cells.flatMap(({ cell_type, id, source }) => (cell_type === "code" ? source.filter((line) => line.trimEnd().length > 120).map((line) => `${name} ${id}: ${line}`) : [])));
  expect(long).toEqual([]);
});

test("every figure has a twin for front ends without plotly, and labelled axes", () => {
  for (const name of [...built.keys()].filter(isTheory)) {
    for (const { outputs = [], id } of onDisk(name).cells) {
      for (const { data } of outputs as { data?: Record<string, unknown> }[]) {
        const figure = data?.["application/vnd.plotly.v1+json"] as { data: unknown[]; layout: { xaxis?: { title?: { text: string } } } } | undefined;
        if (!figure) continue;
        expect([name, id, Object.keys(data!).sort()]).toEqual([name, id, ["application/vnd.plotly.v1+json", "image/svg+xml", "text/html", "text/plain"]]);
        expect(figure.data.length).toBeGreaterThan(0);
      }
    }
  }
});

test("README.md links to every notebook, and no link of it or of a notebook leads nowhere", () => {
  const readme = readFileSync(path.join(folder, "README.md"), "utf8");
  const linked = new Set([...readme.matchAll(/\]\(([^)#]+)\)/g)].map(([, target]) => target!));
  expect([...built.keys()].filter((name) => !linked.has(name))).toEqual([]);
  const broken = [...linked].filter((target) => !/^https?:/.test(target) && !existsSync(path.join(folder, target)));
  for (const name of built.keys()) {
    for (const { cell_type, source } of onDisk(name).cells) {
      if (cell_type !== "markdown") continue;
      for (const [, target] of source.join("").matchAll(/\]\(([^)#\s]+)\)/g)) {
        if (!/^https?:/.test(target!) && !existsSync(path.join(folder, path.dirname(name), target!))) broken.push(`${name}: ${target}`);
      }
    }
  }
  expect(broken).toEqual([]);
});

test("README.md has a row for every section, mistake, exercise and appendix of the longest of the five documents", () => {
  const readme = readFileSync(path.join(folder, "README.md"), "utf8");
  const heads = readme.slice(readme.indexOf("### Math for LLMs"), readme.indexOf("### Backpropagation handbook")).split("\n").map((row) => row.split("|")[1] ?? "").join("\n");
  // "D.1 to D.3" stands for all three.
  const spelled = heads.replace(/([A-K])\.(\d) to \1\.(\d)/g, (_, letter: string, from: string, to: string) =>
    Array.from({ length: Number(to) - Number(from) + 1 }, (__, i) => `${letter}.${Number(from) + i}`).join(" "));
  const counts = { 1: 4, 2: 5, 3: 5, 4: 6, 5: 6, 6: 6, 7: 4, 8: 4, 9: 4, A: 2, B: 2, C: 2, D: 3, E: 4, F: 3, G: 3, H: 4, I: 3, J: 3, K: 3 };
  const expected = [
    ...Object.entries(counts).flatMap(([chapter, count]) => Array.from({ length: count }, (_, i) => `${chapter}.${i + 1}`)),
    ...Array.from({ length: 12 }, (_, i) => `10 Mistake ${i + 1},`), ...Array.from({ length: 8 }, (_, i) => `11 Exercise ${i + 1},`), "12 Why",
  ];
  expect(expected.filter((section) => !new RegExp(`(^|[ ,])${section.replace(".", "\\.")}`, "m").test(spelled))).toEqual([]);
});

describe("theory sources", () => {
  test("a ts block is a code cell, another language stays text, a heading begins a cell", () => {
    const { cells } = theoryNotebook("# One\ntext\n```ts\n1 + 1\n```\nafter\n```text\n# no heading\n```\n## Two\nend");
    expect(cells.map(({ cell_type, source }) => [cell_type, source.join("")])).toEqual([
      ["markdown", "# One\ntext"], ["code", "1 + 1"], ["markdown", "after\n```text\n# no heading\n```"], ["markdown", "## Two\nend"],
    ]);
  });

  test("a block that is not closed is an error", () => {
    expect(() => theoryNotebook("# One\n```ts\n1 + 1")).toThrow('a block that begins with "1 + 1" is not closed');
  });
});

test("differences names a changed, a missing, an unrun and a foreign notebook", () => {
  const copy = mkdtempSync(path.join(os.tmpdir(), "gradbook-notebooks-"));
  cpSync(folder, copy, { recursive: true });
  try {
    const before = differences(undefined, copy);
    const change = (name: string, edit: (book: Notebook) => void): void => {
      const book = onDisk(name);
      edit(book);
      writeFileSync(path.join(copy, name), write(book));
    };
    change("01-scalar-chain-rule.ipynb", (book) => { book.cells[1]!.source = ["edited by hand"]; });
    change("theory/01-chain-rule.ipynb", (book) => { book.cells.find(({ cell_type }) => cell_type === "code")!.execution_count = null; });
    rmSync(path.join(copy, "theory", "02-computation-graphs.ipynb"));
    writeFileSync(path.join(copy, "mine.ipynb"), "{}");
    expect(differences(undefined, copy).filter((one) => !before.includes(one)).sort()).toEqual([
      "01-scalar-chain-rule.ipynb: differs from its source", "mine.ipynb: has no source",
      "theory/01-chain-rule.ipynb: was not run", "theory/02-computation-graphs.ipynb: missing",
    ]);
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
});
