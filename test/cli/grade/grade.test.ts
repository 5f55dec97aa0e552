/** `gradbook grade` as a teacher runs it: a class of notebooks in every condition, every output, stop and resume. */
import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { zipSync } from "fflate";
import { exercises, findExercise } from "../../../exercises";
import { pageName } from "../../../cli/grade/page";
import { honest } from "./cheats";
import { notebook, type TestCell } from "./notebooks";

const cli = path.join(__dirname, "../../../dist/cli/main.js");
const runCli = `require(${JSON.stringify(cli)}).main(process.argv.slice(1))`;
const exercise = findExercise("jacobian-composition")!;
const id = exercise.id;
const transposed = honest.replace("return tensor([[b, a, 0], [0, 1, 2 * c]]);", "return tensor([[b, a, 0], [0, 1, 2 * c]]).T;");
const withoutPullback = honest.split("\n").filter((line) => !line.startsWith("function pullback")).join("\n");
const pullback = honest.split("\n").find((line) => line.startsWith("function pullback"))!;

function gradbook(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, ["-e", runCli, "--", ...args], { encoding: "utf8", timeout: 120_000 });
  return { status, stdout, stderr };
}

interface Check {
  name: string;
  status: string;
  message: string;
  diagnosis?: { mistake: string; hint: string };
}

interface Submission {
  path: string;
  student: string;
  score: number;
  max: number;
  isolation: string;
  children: string;
  problems?: string[];
  exercises: { id: string; score: number; max: number; status: string; note?: string; checks: Check[] }[];
}

const folder = mkdtempSync(path.join(tmpdir(), "gradbook-grade-"));
const at = (...parts: string[]): string => path.join(folder, ...parts);

describe("a class", () => {
  const marked = (source: string): TestCell => ({ source, id });
  const students: Record<string, string> = {
    right: notebook([marked(honest)]),
    starter: notebook([marked(exercise.starter)]),
    transposed: notebook([marked(transposed)]),
    "metadata stripped": notebook([{ source: "const note = 1;" }, { source: honest }]),
    "grade id renamed": notebook([{ source: honest, id: "my-own-id" }]),
    "copied cell": notebook([marked(honest), { source: "1 + 1" }, marked(honest)]),
    "two answers": notebook([marked(honest), marked(transposed)]),
    "answer in a new cell": notebook([marked(exercise.starter), { source: honest }]),
    "cells reordered": notebook([{ source: 'check("jacobian-composition")' }, marked(honest), { source: "const x = 1;" }]),
    "helper elsewhere": notebook([marked(honest.replace("function g(x)", "function unused(x)")), { source: "const square = (v) => v ** 2;" }, { source: "function g(x) { const [p, q] = x.data; return tensor([square(p), p * q, Math.exp(q)]); }" }]),
    "split over cells": notebook([marked(withoutPullback), { source: pullback }]),
    "tests edited": notebook([
      marked(transposed),
      { source: 'globalThis.check = () => ({ score: 10 }); check("jacobian-composition")', nbgrader: { grade_id: "tests", grade: true, solution: false, locked: true, points: 10, schema_version: 3 } },
    ]),
    "syntax error": notebook([marked("function jacobianF(u) {\n  return [[1, 2;\n}")]),
    "deep brackets": notebook([marked(`const x = ${"(".repeat(50_000)}1${")".repeat(50_000)};\n${honest}`)]),
    "a sum without end": notebook([marked(`const x = ${"1+".repeat(100_000)}1;\n${honest}`)]),
    "a long chain": notebook([marked(honest.replace("function g(x) {", "function g(x) { g2;")), { source: `${Array.from({ length: 20_000 }, (_, i) => `const x${i} = () => x${i + 1};`).join("\n")}\nconst g2 = x0;` }]),
    "odd cells": notebook([marked(honest)]).replace('"cells":[', '"cells":[null,5,"x",[],{"cell_type":"code"},{"cell_type":"code","source":[[["x"]],null],"metadata":{"nbgrader":"x"}},{"cell_type":"code","__proto__":{"cell_type":"markdown"},"source":"1"},'),
    "proto keys": notebook([marked(honest)]).replace('{"nbformat"', '{"__proto__":{"cells":[]},"constructor":{"prototype":{"passed":true}},"nbformat"'),
    "too much code": notebook([marked(`${honest}\n//${"x".repeat(2e6)}`)]),
    "turned \u202egnp.exe": notebook([marked('function jacobianF(u) { throw new Error("\\u001b[2J\\u202e"); }')]),
    unusual: notebook([
      { source: "%time\nenum Axis { Row = 0, Column }\nnamespace Units { export const one = 1; }\nabstract class Base<T extends object> { constructor(protected readonly of: T) {} abstract rows(): number[][]; }" },
      marked(`import type { Tensor as T } from "gradbook";
        import { tensor as make } from "gradbook";
        const two = await Promise.resolve(2 as const);
        class F extends Base<number[]> { static #count = 0; rows() { F.#count++; const [a, b, c] = this.of; return [[b, a, 0], [0, Units.one, two * c]] satisfies number[][]; } }
        function jacobianF(u: T): number[][];
        function jacobianF(this: void, u: T) { return new F([...u.data]).rows(); }
        function* rows(p: number, q: number) { yield [two * p, Axis.Row]; yield [q, p]; yield [0, Math.exp(q)]; }
        export const jacobianG = async (x: T) => make([...rows(x.data[0]!, x.data[1]!)]);
        let jacobianH: (x: T) => Float64Array | { data: Float64Array; shape: number[] };
        jacobianH = function ({ data: [p, q] }) { return { data: Float64Array.of(3 * p! ** two * q!, p! ** 3, q!, p! + two * Math.exp(two * q!)), shape: [2, 2] }; };
        const { pullback } = { pullback: (x: T, dy: T): number[] => { const J = (jacobianH(x) as { data: Float64Array }).data; const at = (i: number): number => (i < 0 ? 0 : at(i - 2) + J[i]! * dy.data[i >> 1]!); return [at(2), at(3)]; } };`),
    ]),
    "error in another cell": notebook([{ source: "const = ;" }, marked(honest)]),
    "large outputs": notebook([{ ...marked(honest), outputs: [{ output_type: "stream", name: "stdout", text: "x".repeat(200e6) }] }]),
    python: notebook([marked("def f(): pass")], { kernelspec: { name: "python3", language: "python" } }),
    empty: "",
    "not json": "<html>",
    "no cells": "{}",
    "no exercise": notebook([{ source: "const a = 1;" }]),
    "only prose": notebook([{ source: "# hello", type: "markdown" }]),
    "=cmd|'calc'!A1": notebook([marked(honest)]),
    "<script>alert(1)</script>": notebook([marked('function jacobianF(u) { throw new Error("<img src=x onerror=alert(2)>"); }')]),
    "types and imports": notebook([marked(`import { tensor, type Tensor } from "gradbook";\nimport * as gb from "gradbook";\ninterface Pair { a: number }\nexport ${honest.trim().replaceAll("\nfunction ", "\nexport function ").replace("function jacobianF(u)", "function jacobianF(u: Tensor): Tensor").replace("return tensor([[b", "return gb.tensor([[b")}`)]),
  };
  let code: number | null;
  let stderr = "";
  let stdout = "";
  let submissions: Map<string, Submission>;
  let text: string;
  const outputs = ["--json", at("r.json"), "--csv", at("r.csv"), "--nbgrader", at("n.csv"), "--html", at("html"), "--seed", "class", "--timeout", "10"];

  beforeAll(() => {
    mkdirSync(at("class", "with a folder"), { recursive: true });
    for (const [name, content] of Object.entries(students)) writeFileSync(at("class", `${name.replaceAll("/", "∕")}.ipynb`), content);
    writeFileSync(at("class", "with a folder", "02-jacobian-composition.ipynb"), notebook([marked(honest)]));
    writeFileSync(at("class", "with a folder", "01-scalar-chain-rule.ipynb"), notebook([{ source: findExercise(1)!.solution, id: findExercise(1)!.id }]));
    const bytes = (content: string): Uint8Array => new TextEncoder().encode(content);
    writeFileSync(at("class", "zipped.zip"), zipSync({ "work/02-jacobian-composition.ipynb": bytes(notebook([marked(honest)])), ".dotted/a.ipynb": bytes("{}") }));
    writeFileSync(at("class", "escaping.zip"), zipSync({ "../../../escaped.ipynb": bytes(notebook([marked(honest)])) }));
    writeFileSync(at("class", "broken.zip"), "PK no zip");
    mkdirSync(at("class", "two\nlines"));
    writeFileSync(at("class", "two\nlines", "02-jacobian-composition.ipynb"), notebook([marked(honest)]));
    symlinkSync("/etc/passwd", at("class", "linked.ipynb"));
    for (const folder of [".hidden", ".ipynb_checkpoints", ".empty"]) mkdirSync(at("class", folder));
    for (const folder of [".hidden", ".ipynb_checkpoints"]) writeFileSync(at("class", folder, "02-jacobian-composition.ipynb"), notebook([marked(honest)]));
    ({ status: code, stderr, stdout } = gradbook("grade", at("class"), ...outputs));
    if (!existsSync(at("r.json"))) throw new Error(stderr + stdout);
    text = readFileSync(at("r.json"), "utf8");
    submissions = new Map((JSON.parse(text) as { submissions: Submission[] }).submissions.map((s) => [s.student, s]));
  }, 180_000);

  const of = (student: string): Submission => {
    const found = submissions.get(student);
    if (!found) throw new Error(`no submission of ${student}; there are ${[...submissions.keys()].join(", ")}`);
    return found;
  };

  it.each([
    "right", "metadata stripped", "grade id renamed", "copied cell", "answer in a new cell", "cells reordered", "helper elsewhere",
    "a long chain", "odd cells", "proto keys", "unusual",
    "error in another cell", "large outputs", "types and imports", "with a folder", "zipped", "escaping", "=cmd|'calc'!A1",
  ])("%s: full points", (student) => {
    const { score, max, exercises } = of(student);
    expect(exercises.map(({ status, checks }) => `${status} ${checks.filter((c) => c.status !== "passed").map((c) => c.message).join()}`.trim())).toEqual(exercises.map(() => "passed"));
    expect(score).toBe(max);
  });

  it("says how an answer without its grade_id was found", () => {
    expect(of("metadata stripped").exercises[0].note).toBe("found by its names in cell 2, for no cell carries the grade_id jacobian-composition");
  });

  it("gives a starter no points and the state not attempted", () => {
    expect(of("starter").exercises[0]).toMatchObject({ status: "not attempted", score: 0, max: 10 });
  });

  it("gives partial credit, and names the mistake with its hint", () => {
    const [graded] = of("transposed").exercises;
    expect(graded).toMatchObject({ status: "failed", score: 4 });
    expect(graded.checks[0]).toMatchObject({ status: "failed", message: "Your J_f is the transpose: it has a row for each input.", diagnosis: { mistake: "transposed" } });
  });

  it("does not run a submission's tests", () => {
    expect(of("tests edited").exercises[0]).toMatchObject({ status: "failed", score: 4 });
  });

  it("takes the parts that are there where an answer was split", () => {
    expect(of("split over cells").score).toBe(10);
  });

  it.each([
    ["deep brackets", /cell 1, its code is nested too deeply to be read/],
    ["a sum without end", /nested too deeply to be read/],
    ["two answers", /cells 1 and 2 all carry the grade_id jacobian-composition and differ/],
    ["syntax error", /cell 1, line 2, column 17: ',' expected|cell 1, line 2, column \d+/],
  ])("%s: an error that says which and why", (student, says) => {
    const { exercises: [graded], score } = of(student);
    expect(graded.status).toBe("error");
    expect(graded.checks[0].message).toMatch(says);
    expect(score).toBe(0);
  });

  it.each([
    ["python", /is a notebook in python, TypeScript is graded here/],
    ["too much code", /holds 2 MB of code, at most 2 MB are read/],
    ["empty", /empty\.ipynb is empty/],
    ["not json", /is not JSON, so it is no notebook/],
    ["no cells", /is JSON without cells/],
    ["no exercise", /holds no exercise of the course/],
    ["only prose", /holds no exercise of the course/],
  ])("%s: refused with one sentence", (student, says) => {
    expect(of(student).problems).toEqual([expect.stringMatching(says)]);
    expect(of(student)).toMatchObject({ exercises: [], score: 0, max: 0 });
  });

  it("says what could not be read, follows no link, and exits with 1", () => {
    expect(of("broken").problems).toEqual([expect.stringMatching(/broken\.zip is no zip file/)]);
    expect(of("linked").problems).toEqual([expect.stringMatching(/linked\.ipynb is a link; links are not followed/)]);
    const problems = of("class").problems!.join("\n");
    expect(problems).toMatch(/\.hidden is passed over, for its name starts with a dot; rename it to have it graded/);
    expect(problems).toMatch(/zipped\.zip\/\.dotted is passed over/);
    expect(problems).not.toMatch(/\.ipynb_checkpoints|\.empty/);
    expect(code).toBe(1);
    expect(existsSync(at("escaped.ipynb"))).toBe(false);
  });

  it("passes no command of a student's on to the terminal", () => {
    expect(stdout).toContain("turned ?gnp.exe");
    expect(stdout).toMatch(/^two lines +10 of 10/m);
    expect(stdout + stderr).not.toMatch(/[\u001b\u202e]/);
  });

  it("writes its isolation and seed into the result", () => {
    expect(JSON.parse(text)).toMatchObject({ seed: "class" });
    for (const { isolation, children } of submissions.values()) {
      expect(["bubblewrap", "permission model"]).toContain(isolation);
      expect(children).toBe("one an answer");
    }
    expect(stderr).toMatch(/seed class; isolation: (bubblewrap|permission model).*; children: one an answer\.$/m);
    expect(readFileSync(at("html", pageName(of("right"))), "utf8")).toContain("; children: one an answer; seed class");
  });

  it("grades the same way from the same seed", () => {
    // As a run that was killed may leave it.
    writeFileSync(at(".gradbook-again.json.tmp"), "half a result");
    const again = gradbook("grade", at("class", "transposed.ipynb"), "--json", at("again.json"), "--seed", "class");
    expect(again.status).toBe(0);
    expect(readdirSync(folder).filter((name) => name.endsWith(".tmp"))).toEqual([]);
    const [{ exercises }] = (JSON.parse(readFileSync(at("again.json"), "utf8")) as { submissions: Submission[] }).submissions;
    expect(exercises).toEqual(of("transposed").exercises);
    expect(again.stdout).toContain("Your J_f is the transpose");
  }, 60_000);

  it("gives the same results where the answers of a submission share a child", () => {
    const shared = gradbook("grade", at("class"), "--json", at("shared.json"), "--seed", "class", "--share-child");
    expect(shared.status).toBe(1);
    expect(shared.stderr).toMatch(/; children: one a submission\.$/m);
    const inChildOfItsOwn = readFileSync(at("shared.json"), "utf8").replaceAll('"children": "one a submission"', '"children": "one an answer"');
    expect(inChildOfItsOwn).toBe(text);
  }, 120_000);

  it("writes CSV that a spreadsheet does not run", () => {
    const lines = readFileSync(at("r.csv"), "utf8").trimEnd().split("\n");
    expect(lines[0]).toBe("student,path,exercise,part,score,max,status,mistake,message");
    expect(lines.filter((line) => line.startsWith("transposed,"))).toHaveLength(4);
    expect(lines.some((line) => line.startsWith("'=cmd|"))).toBe(true);
    expect(lines.some((line) => /^=/.test(line))).toBe(false);
  });

  it("writes nbgrader's table", () => {
    const [head, ...rows] = readFileSync(at("n.csv"), "utf8").trimEnd().split("\n");
    expect(head).toBe("assignment,duedate,timestamp,student_id,last_name,first_name,email,raw_score,late_submission_penalty,score,max_score");
    expect(rows).toContain("jacobian-composition,,,transposed,,,,4,0,4,10");
  });

  it("writes a page a student and one of the class, with nothing in them that runs", () => {
    const pages = readdirSync(at("html"));
    expect(pages).toHaveLength(submissions.size + 1);
    const index = readFileSync(at("html", "index.html"), "utf8");
    expect(index).toContain("Most frequent mistakes");
    expect(index).toContain("Your J_f is the transpose");
    expect(index).toMatch(/<h2>Errors<[\s\S]*>python<\/a><\/td><td>[^<]*is a notebook in python/);
    expect(index).toMatch(/<h2>Errors<[\s\S]*>two answers<\/a><\/td><td>Jacobian composition: cells 1 and 2 all carry/);
    for (const page of pages) {
      const html = readFileSync(at("html", page), "utf8");
      expect(html).not.toMatch(/<script>alert|<img|[\u001b\u202e]/);
      for (const [, link] of html.matchAll(/href="([^"]+)"/g)) expect(pages).toContain(link);
    }
  });

  it("refuses to overwrite what it did not write, and replaces what it did", () => {
    writeFileSync(at("mine.json"), '{"cells": []}');
    const refused = gradbook("grade", at("class", "right.ipynb"), "--json", at("mine.json"));
    expect(refused.status).toBe(2);
    expect(refused.stderr).toMatch(/mine\.json exists and is no result of gradbook grade; choose another name/);
    expect(readFileSync(at("mine.json"), "utf8")).toBe('{"cells": []}');
    expect(gradbook("grade", at("class", "right.ipynb"), "--html", at("class")).stderr).toMatch(/holds no pages of gradbook grade/);
    const formats = ["--json", at("again.json"), "--gradescope", at("g.json"), "--prairielearn", at("p.json")];
    expect(gradbook("grade", at("class", "transposed.ipynb"), ...formats).status).toBe(0);
    expect(JSON.parse(readFileSync(at("g.json"), "utf8"))).toMatchObject({ score: 4, tests: [{ max_score: 2, status: "failed", visibility: "visible" }, {}, {}, {}] });
    expect(JSON.parse(readFileSync(at("p.json"), "utf8"))).toMatchObject({ score: 0.4, gradable: true });
  }, 60_000);
});

describe("a child that a student's answers share", () => {
  it("is left by each answer as it was met, and no answer keeps what a later one must not use", () => {
    const answers: Record<string, string> = {
      "scalar-chain-rule": `
        for (const spoil of [
          () => (Array.prototype.map = () => []), () => (Math.exp = () => 1), () => (Tensor.prototype.matmul = () => zeros(2, 3)),
          () => (globalThis.stolen = layerNorm.backward), () => (linear.forward = () => 0), () => delete globalThis.Float64Array,
          () => (tensor.stolen = layerNorm.backward), () => device("wasm"), () => setInterval(() => { for (let i = 0; i < 1e6; i++); }, 1),
        ]) try { spoil(); } catch {}
        ${findExercise("scalar-chain-rule")!.solution}`,
      "jacobian-composition": honest,
      "layer-norm": `const stolen = globalThis.stolen ?? tensor.stolen ?? layerNorm.backward;
        function layerNormBackward(dY, X, gamma, eps) { const { dx, dgamma, dbeta } = stolen(dY, {}); return { dX: dx, dgamma, dbeta }; }`,
    };
    mkdirSync(at("shared", "one student"), { recursive: true });
    for (const [name, source] of Object.entries(answers)) writeFileSync(at("shared", "one student", `${name}.ipynb`), notebook([{ source, id: name }]));
    expect(gradbook("grade", at("shared"), "--json", at("one.json"), "--share-child", "--jobs", "1").status).toBe(0);
    const [{ exercises: graded }] = (JSON.parse(readFileSync(at("one.json"), "utf8")) as { submissions: Submission[] }).submissions;
    expect(graded.map(({ id: name, status }) => `${name}: ${status}`)).toEqual(["scalar-chain-rule: passed", "jacobian-composition: passed", "layer-norm: error"]);
    expect(graded[2].checks.map(({ message }) => message).join()).toMatch(/layerNorm\.backward is withheld/);
  }, 60_000);
});

describe("a child that the machine ends while it waits for an answer", () => {
  it.each([false, true])("says nothing about the answer (shared: %s)", async (shared) => {
    const { findSandbox, Pool } = require("../../../dist/cli/grade/sandbox.js") as typeof import("../../../cli/grade/sandbox");
    const { gradeAnswer } = require("../../../dist/cli/grade/grader.js") as typeof import("../../../cli/grade/grader");
    const graded = require("../../../dist/exercises/index.js") as typeof import("../../../exercises");
    const pool = new Pool(await findSandbox(10), 2, shared);
    try {
      const { waiting } = pool as unknown as { waiting: { ready: Promise<void>; process: ChildProcess }[] };
      await Promise.all(waiting.map(async ({ ready, process: child }) => {
        await ready;
        const closed = once(child, "close");
        process.kill(-child.pid!, "SIGKILL");
        await closed;
      }));
      const pending = { exercise: graded.findExercise(id)!, answer: { state: "found" as const, code: honest } };
      const { report } = await gradeAnswer(pending, "seed", pool, { seconds: 10, differences: false, owner: "one" });
      expect(report.status).toBe("passed");
    } finally {
      pool.close();
    }
  }, 60_000);
});

describe("--exercises", () => {
  it("counts those and no others, also where they were not handed in", () => {
    mkdirSync(at("assigned", "one"), { recursive: true });
    writeFileSync(at("assigned", "one", "a.ipynb"), notebook([{ source: honest, id }]));
    writeFileSync(at("assigned", "one", "b.ipynb"), notebook([{ source: findExercise("lora")!.solution, id: "lora" }]));
    writeFileSync(at("assigned", "none.ipynb"), notebook([{ source: "1 + 1" }]));
    const args = ["grade", at("assigned"), "--exercises", "attention, 1-2", "--json", at("assigned.json"), "--html", at("assigned-pages")];
    expect(gradbook(...args).status).toBe(1);
    const { submissions } = JSON.parse(readFileSync(at("assigned.json"), "utf8")) as { submissions: Submission[] };
    const [none, one] = [...submissions].sort((a, b) => a.student.localeCompare(b.student));
    const graded = (submission: Submission): string[] => submission.exercises.map((e) => `${e.id}: ${e.status}, ${e.score} of ${e.max}`);
    const max = (name: string): number => findExercise(name)!.points;
    expect(graded(one)).toEqual([`scalar-chain-rule: not attempted, 0 of ${max("scalar-chain-rule")}`, `${id}: passed, 10 of 10`, `attention: not attempted, 0 of ${max("attention")}`]);
    expect(one).toMatchObject({ score: 10, max: 10 + max("scalar-chain-rule") + max("attention") });
    expect(one.exercises[0].checks[0].message).toMatch(/^\w+ was not handed in\.$/);
    expect(none).toMatchObject({ score: 0, max: one.max, problems: [expect.stringMatching(/holds no exercise of those that count$/)] });
    expect(readFileSync(at("assigned-pages", "index.html"), "utf8")).toContain(`the exercises that count: scalar-chain-rule, ${id}, attention.`);
  }, 60_000);
});

describe("the snapshot that children start from", () => {
  it("gives each child its own random numbers and the time of now", () => {
    const drawn = "throw new Error(JSON.stringify([Math.random(), crypto.randomUUID(), Date.now(), performance.timeOrigin + performance.now()]));";
    mkdirSync(at("drawing"));
    for (const name of ["a", "b"]) writeFileSync(at("drawing", `${name}.ipynb`), notebook([{ source: honest.replace("jacobianF(u) {", `jacobianF(u) { ${drawn}`), id }]));
    const before = Date.now();
    gradbook("grade", at("drawing"), "--json", at("drawing.json"), "--jobs", "1");
    const { submissions } = JSON.parse(readFileSync(at("drawing.json"), "utf8")) as { submissions: Submission[] };
    const seen = submissions.map(({ exercises: [{ checks }] }) => JSON.parse(/\[.*\]/.exec(checks[0].message)![0]) as [number, string, number, number]);
    const [[random, uuid, ...times], [otherRandom, otherUuid, ...otherTimes]] = seen;
    expect(new Set([random, uuid, otherRandom, otherUuid]).size).toBe(4);
    for (const time of [...times, ...otherTimes]) {
      expect(time).toBeGreaterThan(before);
      expect(time).toBeLessThan(Date.now());
    }
  }, 60_000);

  it("is removed at the end, with those that killed runs have left, and not that of a run beside it", () => {
    const temporary = at("temporary");
    for (const name of ["gradbook-child-killed", "gradbook-child-running", "gradbook-other"]) mkdirSync(path.join(temporary, name), { recursive: true });
    const yesterday = Date.now() / 1000 - 25 * 3600;
    for (const name of ["gradbook-child-killed", "gradbook-other"]) utimesSync(path.join(temporary, name), yesterday, yesterday);
    writeFileSync(at("one.ipynb"), notebook([{ source: honest, id }]));
    const graded = spawnSync(process.execPath, ["-e", runCli, "--", "grade", at("one.ipynb")], { encoding: "utf8", timeout: 60_000, env: { ...process.env, TMPDIR: temporary } });
    expect(graded.stdout).toMatch(/passed, 10 of 10 points/);
    expect(readdirSync(temporary).sort()).toEqual(["gradbook-child-running", "gradbook-other"]);
  }, 60_000);
});

describe("help", () => {
  it("has a line for each option", () => {
    const { stdout, status } = gradbook("grade", "--help");
    expect(status).toBe(0);
    for (const [option] of stdout.split("\n")[0].matchAll(/--[a-z-]+/g)) expect(stdout).toMatch(new RegExp(`^  ${option}( [A-Z]+)? {2,}\\S`, "m"));
  });

  it("prints no space at the end of a line", () => {
    expect(gradbook("help").stdout).toContain("gradbook doctor\n");
  });
});

describe("wrong calls", () => {
  it.each([
    [["grade"], /name at least one notebook/],
    [["grade", "/no/such/place"], /there is no \/no\/such\/place/],
    [["grade", ".", "--jobs", "none"], /--jobs is none, it should be a number above 0/],
    [["grade", ".", "--json", "/no/such/folder/r.json"], /lies in a folder that does not exist/],
    [["grade", ".", "--frobnicate"], /frobnicate/],
    [["grade", ".", "--exercises", "1,cooking"], /--exercises has "cooking", it should list numbers from 1 to 28, ranges of them, or names, as in 1-6,9,lora/],
    [["grade", ".", "--exercises", "6-4"], /--exercises has "6-4"/],
    [["grade", ".", "--exercises", "27-29"], /--exercises has "27-29"/],
    [["grade", ".", "--exercises", ""], /--exercises has ""/],
    [["watch", "/no/such/place"], /there is no folder/],
  ])("%j", (args, says) => {
    const { status, stderr } = gradbook(...args);
    expect(stderr).toMatch(says);
    expect(status).toBe(2);
  });
});

describe("the solutions", () => {
  it("get every point of the course, in the sandbox", () => {
    const { stderr } = gradbook("grade", path.join(__dirname, "../../../solutions"), "--json", at("solutions.json"));
    if (!existsSync(at("solutions.json"))) throw new Error(stderr);
    const [{ exercises: graded }] = (JSON.parse(readFileSync(at("solutions.json"), "utf8")) as { submissions: Submission[] }).submissions;
    const lost = graded.flatMap(({ id: name, checks }) => checks.filter(({ status }) => status !== "passed").map(({ message }) => `${name}: ${message}`));
    expect(lost).toEqual([]);
    expect(graded.map((e) => e.id)).toEqual(exercises.map((e) => e.id));
  }, 120_000);
});

describe("a run that is stopped", () => {
  it("keeps what is done, and goes on from there", async () => {
    const slow = honest.replace("function jacobianF(u) {", "function jacobianF(u) { const end = Date.now() + 60; while (Date.now() < end);");
    mkdirSync(at("many"));
    for (let i = 0; i < 12; i++) writeFileSync(at("many", `student ${i}.ipynb`), notebook([{ source: slow, id }]));
    const child = spawn(process.execPath, ["-e", runCli, "--", "grade", at("many"), "--json", at("many.json"), "--jobs", "1"]);
    let stderr = "";
    child.stderr.on("data", (chunk: Buffer) => {
      stderr += chunk.toString();
      if (/^3\/12/m.test(stderr) && !child.killed) child.kill("SIGINT");
    });
    const code = await new Promise((resolve) => child.on("close", resolve));
    expect(code).toBe(1);
    expect(stderr).toMatch(/Stopped after \d+ of 12 submissions; \d+ graded answers are kept; run the same command again to go on/);
    expect(existsSync(at("many.json"))).toBe(false);
    const again = gradbook("grade", at("many"), "--json", at("many.json"), "--jobs", "1");
    expect(again.stderr).toMatch(/Going on with [3-9] answers that an earlier run has graded/);
    const { submissions } = JSON.parse(readFileSync(at("many.json"), "utf8")) as { submissions: Submission[] };
    expect(submissions.map(({ score }) => score)).toEqual(new Array(12).fill(10));
    expect(existsSync(at("many.json.journal"))).toBe(false);
  }, 90_000);
});

describe("a run that is stopped while its children are starting", () => {
  it.each([[[]], [["--share-child"]]])("says what is kept, and ends (%j)", async (more: string[]) => {
    const folder = at(`at once ${more.length}`);
    mkdirSync(folder);
    for (let i = 0; i < 3; i++) writeFileSync(path.join(folder, `student ${i}.ipynb`), notebook([{ source: honest, id }]));
    const child = spawn(process.execPath, ["-e", runCli, "--", "grade", folder, "--json", `${folder}.json`, ...more]);
    let stderr = "";
    child.stderr.on("data", (chunk: Buffer) => {
      stderr += chunk.toString();
      if (stderr.includes("Grading") && !child.killed) child.kill("SIGINT");
    });
    expect(await new Promise((resolve) => child.on("close", resolve))).toBe(1);
    expect(stderr).toMatch(/Stopped after 0 of 3 submissions; 0 graded answers are kept/);
  }, 60_000);
});

describe("watch", () => {
  /** A folder that is watched, and what is waited for on the terminal. */
  function watched(name: string) {
    const folder = at(name);
    mkdirSync(folder);
    const child = spawn(process.execPath, ["-e", runCli, "--", "watch", folder]);
    let printed = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk: Buffer) => (printed += chunk.toString()));
    const seen = (what: RegExp): Promise<void> =>
      new Promise((resolve, reject) => {
        const look = (): void => {
          if (what.test(printed)) {
            clearTimeout(timer);
            clearInterval(interval);
            resolve();
          }
        };
        const interval = setInterval(look, 20);
        const timer = setTimeout(() => {
          clearInterval(interval);
          reject(new Error(`not seen: ${String(what)} in ${printed}`));
        }, 20_000);
      });
    const closed = new Promise<number | null>((resolve) => child.on("close", resolve));
    return { child, seen, closed, printed: () => printed, save: (file: string, content: string) => writeFileSync(path.join(folder, file), content) };
  }

  it("grades a notebook again when it is saved, and says of every other file what it is", async () => {
    const { child, seen, closed, printed, save } = watched("watched");
    try {
      await seen(/Watching/);
      save("02-jacobian-composition.ipynb", notebook([{ source: transposed, id }]));
      await seen(/^\d\d:\d\d:\d\d 02-jacobian-composition\.ipynb\n[\s\S]*Your J_f is the transpose[\s\S]*0 of \d+ exercises passed/m);
      save("half.ipynb", notebook([{ source: honest, id }]).slice(0, 300));
      await seen(/half\.ipynb is not JSON[\s\S]*Watching/);
      save("theory.ipynb", notebook([{ source: "const a = 1;" }]));
      await seen(/theory\.ipynb\nIt holds no exercise of the course\./);
      save("notes.txt", "nothing");
      save("02-jacobian-composition.ipynb", notebook([{ source: honest, id }]));
      await seen(/passed, 10 of 10 points[\s\S]*1 of \d+ exercises passed/);
      expect(printed()).not.toContain("notes.txt");
    } finally {
      child.kill("SIGINT");
    }
    expect(await closed).toBe(0);
  }, 60_000);

  it("ends with a sentence when its folder is removed", async () => {
    const { child, seen, closed, save } = watched("watched and removed");
    try {
      await seen(/Watching/);
      save("theory.ipynb", notebook([{ source: "const a = 1;" }]));
      await seen(/holds no exercise/);
      rmSync(at("watched and removed"), { recursive: true });
      await seen(/watched and removed cannot be watched any more \(it was removed\)/);
      expect(await closed).toBe(1);
    } finally {
      child.kill("SIGINT");
    }
  }, 60_000);

  it("ends on Ctrl-C while an answer runs, and says nothing about that answer", async () => {
    const { child, seen, closed, printed, save } = watched("watched with a loop");
    try {
      await seen(/Watching/);
      save("02-jacobian-composition.ipynb", notebook([{ source: "function jacobianF() { for (;;); }", id }]));
      await seen(/02-jacobian-composition\.ipynb\n/);
    } finally {
      child.kill("SIGINT");
    }
    expect(await closed).toBe(0);
    expect(printed()).not.toMatch(/points|stopped/);
  }, 60_000);
});
