import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";

const folder = path.join(__dirname, "../../../lib/webgpu/kernels");
const readme = readFileSync(path.join(folder, "README.md"), "utf8");

describe("the folder of kernels", () => {
  it("is described file by file", () => {
    const named = [...readme.matchAll(/`(\w+\.ts)`/g)].map(([, name]) => name);
    expect([...new Set(named)].sort()).toEqual(readdirSync(folder).filter((name) => name.endsWith(".ts")).sort());
  });

  it("says how to print a kernel as the GPU gets it", () => {
    const [, module, expression] = /node -p 'require\("\.\/dist\/lib\/webgpu\/kernels\/(\w+)"\)\.(.+)'/.exec(readme)!;
    const kernels = require(path.join(folder, module));
    const printed = new Function("kernels", `return kernels.${expression}`)(kernels) as string;
    expect(printed).toMatch(/@compute @workgroup_size\(64\)/);
    expect(printed).not.toMatch(/undefined|\[object|NaN/);
  });
});
