/** Runs a student's source in this process, as the corpora need it: fast, and with the library's sources. */
import { readFileSync } from "node:fs";
import path from "node:path";
import * as gradbook from "gradbook";
import ts from "typescript";
import { exercises } from "../../../exercises";
import type { Exercise } from "../../../exercises/autograder/spec";

export type Names = Record<string, unknown>;

/** The exports of a TypeScript module that imports nothing but gradbook. */
export function evaluate(source: string): Names {
  const { outputText } = ts.transpileModule(source, {
    compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.CommonJS },
  });
  const exported: Names = {};
  new Function("require", "exports", outputText)(() => gradbook, exported);
  return exported;
}

/** A snippet of a student's: every top-level function of it, with the library's names in scope. */
export function evaluateSnippet(source: string): Names {
  const names = Object.keys(gradbook).filter((name) => new RegExp(`\\b${name}\\b`).test(source));
  const imports = names.length ? `import { ${names.join(", ")} } from "gradbook";\n` : "";
  return evaluate(imports + source.replace(/^(?=(async )?(function|class|const) )/gm, "export "));
}

export function solutionSource({ folder }: Exercise): string {
  return readFileSync(path.join(__dirname, "../../../solutions", `${folder}.ts`), "utf8");
}

export function exerciseById(id: string): Exercise {
  const found = exercises.find((exercise) => exercise.id === id);
  if (!found) throw new Error(`the corpus names the exercise ${id}, which the course lacks`);
  return found;
}
