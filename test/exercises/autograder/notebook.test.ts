/** check, hint, solution and progress, as a notebook session calls them. */
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import * as gradbook from "gradbook";
import { exercises, findExercise } from "../../../exercises";
import { notebookCommands } from "../../../exercises/autograder/notebook";
import type { Report } from "../../../exercises/autograder/report";
import { withheldNames } from "../../../exercises/autograder/withheld";
import { evaluate, evaluateSnippet, solutionSource } from "./evaluate";

const exercise = findExercise("jacobian-composition")!;
const solved = evaluate(solutionSource(exercise));
const wrong = evaluateSnippet("function jacobianF(u) { return zeros(2, 3); }");
const session = (names: Record<string, unknown>) => ({ lookup: (name: string) => names[name], isDefined: (name: string) => Object.hasOwn(names, name) });

let file: string;
beforeEach(() => {
  file = path.join(mkdtempSync(path.join(tmpdir(), "gradbook-progress-")), "deep", "progress.json");
  process.env.GRADBOOK_PROGRESS = file;
});
afterAll(() => {
  delete process.env.GRADBOOK_PROGRESS;
});

describe("in a notebook", () => {
  it.each(["jacobian-composition", "02-jacobian-composition", 2])("check(%j) finds the exercise, in well under a second", (name) => {
    const report = notebookCommands(session(solved)).check(name) as Report;
    expect(report).toMatchObject({ status: "passed", score: 10 });
  });

  it("an unknown exercise is one sentence", () => {
    const { check, hint } = notebookCommands(session({}));
    expect(() => check("atention")).toThrow(/^check: the exercise is "atention", it should be one of /);
    expect(() => hint(undefined as never)).toThrow(/^hint: the exercise is missing/);
  });

  it("says of a right answer which withheld name it calls, and takes no tensor's method for a layer", () => {
    const message = (names: Record<string, unknown>): string => (notebookCommands(session(names)).check(2) as Report).checks[0].message;
    expect(message(solved)).not.toContain("a submission would not pass");
    const jacobianF = solved.jacobianF as (u: unknown) => unknown;
    const calling = (text: string) => Object.assign((u: unknown) => jacobianF(u), { toString: () => `function jacobianF(u) { ${text} }` });
    for (const text of ["return jacobian(f, u);", "return (0, gradbook_1.jacobian)(f, u);"]) {
      expect(message({ ...solved, jacobianF: calling(text) })).toContain("It calls `jacobian`");
    }
    for (const text of ["return u.jacobian(f);", "return my_jacobian(u);"]) {
      expect(message({ ...solved, jacobianF: calling(text) })).not.toContain("It calls");
    }
  });

  it("tells a layer's forward, where it is withheld, from its other methods", () => {
    const norm = evaluate(solutionSource(findExercise("layer-norm")!));
    const layerNormForward = norm.layerNormForward as (...args: unknown[]) => unknown;
    const saying = (text: string): string => {
      const calling = Object.assign((...args: unknown[]) => layerNormForward(...args), { toString: () => text });
      return String(notebookCommands(session({ ...norm, layerNormForward: calling })).check(8));
    };
    expect(saying("return layerNorm.forward({ x, gamma, beta }).y;")).toContain("It calls `layerNorm.forward`");
    expect(saying("return mine.layerNorm.forward(x); layerNorm.forwards(x);")).not.toContain("It calls");
  });

  it("what an exercise withholds is in the library", () => {
    const known = gradbook as unknown as Record<string, Record<string, unknown> | undefined>;
    const unknown = exercises.flatMap((exercise) =>
      withheldNames(exercise).filter((name) => {
        const [object, method] = name.split(".");
        return method ? typeof known[object]?.[method] !== "function" : known[object] === undefined;
      }),
    );
    expect(unknown).toEqual([]);
  });

  it("functions that are not there yet are missing, not wrong", () => {
    const report = notebookCommands(session({})).check(2) as Report;
    expect(report.status).toBe("error");
    expect(report.checks[0].message).toBe("there is no function called jacobianF. Run the cell that defines it, then check again.");
  });

  it("hints come in steps and end with the last", () => {
    const { hint } = notebookCommands(session({}));
    const texts = exercise.hints.map(() => String(hint(2)));
    expect(texts[0]).toBe(`Hint 1 of ${exercise.hints.length}: ${exercise.hints[0]}`);
    expect(texts.at(-1)).toContain('solution("jacobian-composition")');
    expect(String(hint(2))).toBe(texts.at(-1));
  });

  it("the solution comes when asked twice", () => {
    const { solution } = notebookCommands(session({}));
    expect(String(solution(2))).toContain("two honest tries");
    expect(String(solution(2))).toBe(exercise.solution);
  });

  it("the solution comes after two honest tries, and the starter is none", () => {
    const commands = notebookCommands(session(wrong));
    const starter = notebookCommands(session(Object.fromEntries(Object.keys(solved).map((name) => [name, () => { throw new Error("not written yet"); }]))));
    void starter.check(2);
    void starter.check(2);
    expect(String(notebookCommands(session({})).solution(2))).toContain("not checked an answer");
    void commands.check(2);
    void commands.check(2);
    expect(String(commands.solution(2))).toBe(exercise.solution);
  });

  it("progress is kept from notebook to notebook, and a damaged file costs nothing but itself", () => {
    void notebookCommands(session(solved)).check(2);
    const text = String(notebookCommands(session({})).progress());
    expect(text).toContain(`1 of ${exercises.length} exercises passed, 10 of `);
    expect(text).toContain("✓ 02-jacobian-composition: 10 of 10 points, passed");
    // A later try that fails does not take what was reached.
    void notebookCommands(session(wrong)).check(2);
    expect(String(notebookCommands(session({})).progress())).toContain("✓ 02-jacobian-composition: 10 of 10 points, passed");
    expect(JSON.parse(readFileSync(file, "utf8"))).toHaveProperty("jacobian-composition");
    writeFileSync(file, "{ half");
    expect(String(notebookCommands(session({})).progress())).toContain(`0 of ${exercises.length} exercises passed`);
  });

  it("a passing answer that calls what a submission may not is told so", () => {
    const lent = evaluateSnippet(`function jacobianH(x) { const help = () => jacobian((v) => v, x); const [p, q] = x.data; return tensor([[3 * p ** 2 * q, p ** 3], [q, p + 2 * Math.exp(2 * q)]]); }`);
    const report = notebookCommands(session({ ...solved, ...lent })).check(2) as Report;
    expect(String(report)).toContain("which this exercise asks you to write yourself");
  });
});
