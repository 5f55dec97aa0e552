/** Exercise 12 prints a loop with five bugs; whoever submits it as it stands is told them one by one. */
import ts from "typescript";
import trainingLoop from "../../exercises/12-training-loop";
import { gradeHere } from "../../exercises/autograder/grade";
import * as solved from "../../solutions/12-training-loop";

const printed = /```ts\n([\s\S]*?)```/.exec(trainingLoop.statement)![1];
const body = ts.transpileModule(`(model, optimizer, batches, G, maxNorm, clipByGlobalNorm) => {${printed}}`, {
  compilerOptions: { target: ts.ScriptTarget.ES2022 },
}).outputText;

async function named(loop: string): Promise<string | undefined> {
  const run = (0, eval)(loop) as (...args: unknown[]) => number[];
  const trainEpoch = (...args: unknown[]): number[] => run(...args, solved.clipByGlobalNorm);
  const lookup = (name: string): unknown => (name === "trainEpoch" ? trainEpoch : solved[name as keyof typeof solved]);
  const report = await gradeHere(trainingLoop, lookup, "printed", { differences: false });
  return report.checks.find(({ name }) => name === "the loop")!.diagnosis?.mistake;
}

it("names the bugs that can be seen one by one, all at once", async () => {
  expect(await named(body)).toBe("eval-mode + frozen + no-zero + no-clip");
});

it("names the fifth, the missing 1/G, when the others are mended", async () => {
  const mended = body
    .replace("{", "{ model.train(); model.parameters.forEach((p) => (p.requiresGrad = true));")
    .replace(/optimizer\.step\(\);/, "")
    .replace("losses.push(sum);", "optimizer.step(); optimizer.zeroGrad(); losses.push(sum);");
  expect(await named(mended)).toBe("no-scale");
});
