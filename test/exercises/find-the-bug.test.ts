/** Exercise 27 ships twelve mistakes: each must be recognised as the one it is, and its eleven neighbours judged without it. */
import findTheBug from "../../exercises/27-find-the-bug";
import * as shipped from "../../exercises/27-find-the-bug/starter";
import { gradeHere } from "../../exercises/autograder/grade";
import * as solved from "../../solutions/27-find-the-bug";

const lookup = (functions: Record<string, unknown>, mended: number[]) => (name: string) => (name === "mended" ? mended : functions[name]);
const all = findTheBug.parts.map((_, i) => i + 1);

it("names each shipped mistake, the first in its part's list", async () => {
  const report = await gradeHere(findTheBug, lookup(shipped, all), "shipped", { differences: false });
  expect(report.checks.map(({ name, status, diagnosis }) => [name, status, diagnosis?.mistake])).toEqual(
    findTheBug.parts.map(({ name, mistakes }) => [name, "failed", mistakes[0].id]));
});

it("grades only what is listed as mended", async () => {
  const report = await gradeHere(findTheBug, lookup(solved, [3, 8]), "some", { differences: false });
  expect(report.checks.filter(({ status }) => status === "passed").map(({ name }) => name)).toEqual(["3 linear", "8 layer norm"]);
  expect(report.checks.filter(({ status }) => status === "not attempted")).toHaveLength(10);
  expect(report.score).toBe(2);
});
