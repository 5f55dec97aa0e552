/**
 * bench/webgpu, on a machine that has nothing but what its header names.
 * @jest-environment ./test/support/gpu-environment.js
 */

import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { gpuIt } from "./support";

const root = path.join(__dirname, "../../..");

describe("bench/webgpu --small", () => {
  let bare: string;

  beforeAll(() => {
    bare = mkdtempSync(path.join(tmpdir(), "gradbook-bench-"));
    const webgpu = "node_modules/webgpu";
    for (const part of ["dist/lib", "dist/bench", "bench/webgpu/pytorch.py", `${webgpu}/package.json`, `${webgpu}/index.js`, `${webgpu}/dist/linux-x64`]) {
      cpSync(path.join(root, part), path.join(bare, part), { recursive: true });
    }
  });

  afterAll(() => rmSync(bare, { recursive: true, force: true }));

  const bench = (env: NodeJS.ProcessEnv = {}) =>
    spawnSync(process.execPath, ["dist/bench/webgpu/run.js", "--small", "--peak", "1"], { cwd: bare, encoding: "utf8", env: { ...process.env, ...env } });

  gpuIt("checks every case and prints the table", () => {
    const { status, stdout, stderr } = bench();
    expect([status, stderr.replace(/^Warning.*\n/gm, "")]).toEqual([0, ""]);
    expect(stdout).toMatch(/Every case was checked against plain TypeScript\.\nAims: .*\n(PyTorch is left out, so there is no ratio: .|\n\| float32)/);
    const rows = stdout.split("\n").filter((line) => /^\| [a-zA-Z]+ .*\d/.test(line)).map((line) => line.split(" | ")[0].slice(2));
    expect(stdout).toMatch(/^\| GPT training step L1 C32 T16 B1 \| [\d.]+ \| [\d.]+ \| 47 \| [\d.]+ \|/m);
    expect(rows).toEqual(["matmul 128", "layerNorm 64x128", "softmax 64x128", "attention B1 H2 T64 d64, forward + backward", "GPT training step L1 C32 T16 B1"]);
  }, 60_000);

  it("without an adapter ends with the sentence that says so", () => {
    const { status, stdout, stderr } = bench({ VK_ICD_FILENAMES: "/nonexistent.json", VK_DRIVER_FILES: "/nonexistent.json" });
    expect([status, stdout]).toEqual([1, ""]);
    expect(stderr.trim().split("\n").at(-1)).toMatch(/^webgpu: Dawn \(the npm package webgpu\) found no graphics adapter; .* or use device "cpu"$/);
  }, 60_000);
});
