/** The plain TypeScript implementation on the shared table and on PyTorch's tensors, in both precisions. */

import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { goldenCases } from "./golden";
import { proveDevice } from "./suite";

proveDevice("cpu", { dtype: "float64", tolerance: 1e-11 });
proveDevice("cpu", { dtype: "float32", tolerance: 2e-4 });

const golden = join(__dirname, "../../golden");
const python = "/usr/bin/python3";
const haveTorch = spawnSync(python, ["-c", "import torch"]).status === 0;

it("has PyTorch's tensors for every layer but dropout, whose draws are its own", () => {
  const layers = new Set(goldenCases.map(({ layer }) => layer.name));
  expect(layers.size).toBe(27);
  expect(goldenCases.length).toBeGreaterThanOrEqual(100);
});

(haveTorch ? it : it.skip)("has the tensors that the script makes (needs python3-torch)", () => {
  const made = spawnSync(python, [join(golden, "layers.py")], { encoding: "utf8", maxBuffer: 1 << 26 });
  expect(made.status).toBe(0);
  const [fresh, kept] = [made.stdout, readFileSync(join(golden, "layers.json"), "utf8")].map((text) => JSON.parse(text));
  expect(fresh.cases.map((c: { name: string }) => c.name)).toEqual(kept.cases.map((c: { name: string }) => c.name));
  fresh.cases.forEach((c: { dy: { data: number[] }; y: { data: number[] } }, i: number) => {
    // Another processor may round the last bit otherwise; the inputs are the same numbers.
    expect(c.dy).toEqual(kept.cases[i].dy);
    c.y.data.forEach((value, j) => (typeof value === "number" ? expect(value).toBeCloseTo(kept.cases[i].y.data[j], 8) : expect(value).toBe(kept.cases[i].y.data[j])));
  });
}, 120_000);
