/** What `gradbook doctor` says: a line a part, about the GPU too, whatever graphics drivers write to the terminal. */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import path from "node:path";

const emulated = "/usr/lib/chromium/vk_swiftshader_icd.json";

function doctor(driver: string, about = /WebGPU|Vulkan|Warning|webgpu/): { lines: string[]; noise: string } {
  const { stdout, stderr } = spawnSync(process.execPath, [path.join(__dirname, "../../bin/gradbook.js"), "doctor"], {
    encoding: "utf8", env: { ...process.env, VK_ICD_FILENAMES: driver, VK_DRIVER_FILES: driver },
  });
  return { lines: stdout.split("\n").filter((line) => about.test(line)), noise: stderr };
}

it("without an adapter says what was tried and how to get one", () => {
  const { lines, noise } = doctor("/nonexistent.json");
  expect(lines).toEqual([expect.stringMatching(/^absent {2}WebGPU: Dawn \(the npm package webgpu\) found no graphics adapter; install a graphics driver .*, or use device "cpu"$/)]);
  expect(noise).toBe("");
}, 60_000);

(existsSync(emulated) ? it : it.skip)("with an adapter says its name and limits (needs Debian's chromium)", () => {
  const { lines, noise } = doctor(emulated);
  expect(lines).toEqual([expect.stringMatching(/^ok {6}WebGPU: SwiftShader.* \(emulated: right, but slow\), tensors of up to \d+ MiB, \d+ KiB a workgroup, (no subgroups|subgroups of \d+( to \d+)?)$/)]);
  expect(noise).toBe("");
}, 60_000);

it("says what device wasm can choose from", () => {
  const { lines } = doctor("/nonexistent.json", / WebAssembly:/);
  const wide = parseInt(process.versions.v8) >= 13 && process.arch === "x64" ? " or useWideSimd()" : "";
  expect(lines).toEqual([expect.stringMatching(/^ok {6}WebAssembly: SIMD, \d+ threads?; faster after useRelaxedSimd\(\)/)]);
  expect(lines[0].endsWith(`useRelaxedSimd()${wide}`)).toBe(true);
}, 60_000);

const haveJupyter = spawnSync("jupyter", ["--version"]).status === 0;
(haveJupyter ? it : it.skip)("names the version of Jupyter's core (needs jupyter)", () => {
  expect(doctor("/nonexistent.json", / Jupyter:/).lines).toEqual([expect.stringMatching(/^ok {6}Jupyter: jupyter_core \d+\.\d+/)]);
}, 60_000);
