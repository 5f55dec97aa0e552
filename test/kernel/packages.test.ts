/** %npm with packages from a folder of the test's own: no network is needed. */
import fs from "node:fs";
import path from "node:path";
import { TestKernel } from "./support/kernel";

jest.setTimeout(60_000);

let kernel: TestKernel;

function write(name: string, text: string): void {
  const file = path.join(kernel.folder, name);
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.writeFileSync(file, text);
}

/** An ES module package with types whose `answer` is the major version; its two entries show that `exports` is read. */
function esmPackage(folder: string, major: number): void {
  const entry = (file: string): object => ({ types: `./${file}.d.ts`, import: `./${file}.js` });
  write(`${folder}/package.json`, JSON.stringify({ name: "esm-typed", version: `${major}.0.0`, type: "module", exports: { ".": entry("index"), "./sub": entry("sub") } }));
  write(`${folder}/index.js`, `export const answer = ${major};\nexport default class Thing { name() { return "thing"; } }\n`);
  write(`${folder}/index.d.ts`, `/** The major version. */\nexport declare const answer: ${major};\nexport default class Thing { name(): string }\nexport interface Plan { steps: number }\n`);
  write(`${folder}/sub.js`, "export const sub = 's';\n");
  write(`${folder}/sub.d.ts`, "export declare const sub: string;\n");
}

beforeAll(async () => {
  kernel = await TestKernel.start({ env: { npm_config_offline: "true", npm_config_update_notifier: "false" } });
  esmPackage("sources/one", 1);
  esmPackage("sources/two", 2);
});

afterAll(() => kernel.stop());

test("an ES module package is usable in the next cell, with its types, completion and documentation", async () => {
  expect((await kernel.execute("import { answer } from 'esm-typed'")).error!.evalue).toContain("%npm install esm-typed");
  const installed = await kernel.execute("%npm install ./sources/one");
  expect([installed.error, installed.stdout]).toEqual([undefined, expect.stringContaining("added 1 package")]);
  const { result } = await kernel.execute("import Thing, { answer } from 'esm-typed'; import { sub } from 'esm-typed/sub'; new Thing().name() + sub + answer");
  expect(result).toBe("'things1'");
  expect((await kernel.request("complete_request", { code: "new Thing().na", cursor_pos: 14 })).matches).toEqual(["name"]);
  const { data } = await kernel.request("inspect_request", { code: "answer", cursor_pos: 3, detail_level: 0 });
  expect((data as Record<string, string>)["text/plain"]).toContain("The major version.");
  expect((await kernel.execute("const wrong: string = answer")).error!.ename).toBe("TypeScriptError");
});

test("a cell may add to a package's types without importing it", async () => {
  expect((await kernel.execute("declare module 'esm-typed' { interface Plan { added: string } }")).error).toBeUndefined();
  expect((await kernel.execute("import type { Plan } from 'esm-typed'; const plan: Plan = { steps: 1, added: 'a' }; plan.added")).result).toBe("'a'");
  expect((await kernel.execute("declare module 'not-there' { interface Plan {} }")).error!.evalue).toContain("%npm install not-there");
});

test("a package and the code that uses it may stand in one cell", async () => {
  write("sources/cjs/package.json", '{ "name": "cjs-here", "version": "1.0.0", "main": "index.js" }');
  write("sources/cjs/index.js", "module.exports = { here: 'yes' };\n");
  expect((await kernel.execute("%npm install ./sources/cjs\nimport { here } from 'cjs-here'; here")).result).toBe("'yes'");
});

test("another version than the one that is loaded asks for a restart, and its types are read anew", async () => {
  const { stdout } = await kernel.execute("%npm install ./sources/two");
  expect(stdout).toContain("esm-typed 1.0.0 is loaded already; restart the kernel to use 2.0.0.");
  expect((await kernel.execute("import { answer as second } from 'esm-typed'; const two: 2 = second")).error).toBeUndefined();
});

test("an uninstalled package is gone", async () => {
  await kernel.execute("%npm uninstall cjs-here");
  expect((await kernel.execute("import { here as gone } from 'cjs-here'; gone")).error!.evalue).toContain("Cannot find module 'cjs-here'");
});

test("what npm cannot do is said in a sentence, its own words above", async () => {
  const { error, stderr } = await kernel.execute("%npm install ./nowhere");
  expect(error!.evalue).toMatch(/^%npm install \.\/nowhere: npm ended with code \d+; what it wrote says why$/);
  expect(stderr).toContain("ENOENT");
  expect((await kernel.execute("%npm publish")).error!.evalue).toBe('%npm: "publish" is not known here; write %npm install PACKAGE');
});

test("an interrupt ends npm and what it has started", async () => {
  const pidFile = path.join(kernel.folder, "pid");
  write("sources/slow/package.json", JSON.stringify({ name: "slow", version: "1.0.0", scripts: { install: "node wait.js" } }));
  write("sources/slow/wait.js", `require("fs").writeFileSync(${JSON.stringify(pidFile)}, String(process.pid)); setInterval(() => {}, 1000);\n`);
  const cell = await kernel.startCell("%npm install ./sources/slow --ignore-scripts=false --foreground-scripts\n'never'");
  while (!fs.existsSync(pidFile) || fs.readFileSync(pidFile, "utf8") === "") await new Promise((resolve) => setTimeout(resolve, 20));
  await kernel.request("interrupt_request", {}, "control");
  expect((await kernel.finish(cell)).error!.ename).toBe("KernelInterrupt");
  const isAlive = (): boolean => {
    try {
      return process.kill(Number(fs.readFileSync(pidFile, "utf8")), 0);
    } catch {
      return false;
    }
  };
  while (isAlive()) await new Promise((resolve) => setTimeout(resolve, 20));
  expect((await kernel.execute("'alive'")).result).toBe("'alive'");
});
