/** Every form of the language, in one long session: names must reach later cells, and nothing may get in another's way. */
import fs from "node:fs";
import path from "node:path";
import { forms } from "./forms";
import { TestKernel, type Execution } from "./support/kernel";

let kernel: TestKernel;

beforeAll(async () => {
  kernel = await TestKernel.start();
  const write = (name: string, text: string): void => {
    const file = path.join(kernel.folder, name);
    fs.mkdirSync(path.dirname(file), { recursive: true });
    fs.writeFileSync(file, text);
  };
  write("data.json", '{ "n": 3 }');
  write("helper.ts", "export type Unit = 'm' | 's';\nexport const triple = (x: number): number => 3 * x;\nexport function fail(): never {\n  throw new Error('in the helper');\n}\n");
  write("module.mjs", "export const mjsValue = 'from mjs';\n");
  write("module.d.mts", "export declare const mjsValue: string;\n");
  write("node_modules/esm-only/package.json", '{ "name": "esm-only", "version": "1.0.0", "type": "module", "exports": { ".": { "types": "./index.d.ts", "import": "./index.js" } } }');
  write("node_modules/esm-only/index.js", "export const answer = 42;\nexport default 'default';\n");
  write("node_modules/esm-only/index.d.ts", "export declare const answer: number;\ndeclare const d: string;\nexport default d;\n");
  write("node_modules/cjs-package/package.json", '{ "name": "cjs-package", "version": "1.0.0", "main": "index.js", "types": "index.d.ts" }');
  write("node_modules/cjs-package/index.js", "module.exports = { two: 2 };\n");
  write("node_modules/cjs-package/index.d.ts", "declare const all: { two: number };\nexport = all;\n");
  write("node_modules/untyped/package.json", '{ "name": "untyped", "version": "1.0.0", "main": "index.js" }');
  write("node_modules/untyped/index.js", "exports.plus = (n) => n + 1;\nexports.type = 'none';\n");
  write("plain.js", "exports.twice = (n) => 2 * n;\n");
  write("typed.mts", "export const inMts: string = 'mts';\n");
}, 60_000);

afterAll(() => kernel.stop());

test("the table is as long as it should be, and its names differ", () => {
  expect(forms.length).toBeGreaterThanOrEqual(120);
  expect(new Set(forms.map(([name]) => name)).size).toBe(forms.length);
});

test.each(forms)("%s", async (_name, cells, result) => {
  let last: Execution | undefined;
  for (const cell of cells) {
    last = await kernel.execute(cell);
    expect(last.error && `${last.error.ename}: ${last.error.evalue}`).toBeUndefined();
  }
  expect(last!.result).toBe(result);
});
