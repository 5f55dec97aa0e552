/**
 * The kernel beside stock tslab and Debian's ipykernel, in turns in one run:
 *
 *     npm run build && npx ts-node -T bench/kernel/run.ts [ROUNDS]
 *
 * Needs python3-jupyter-client and python3-ipykernel. Prints medians over the rounds and the ratios to the two peers.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { cpus, loadavg } from "node:os";
import path from "node:path";

const root = path.join(__dirname, "..", "..");
const python = "/usr/bin/python3";
const rounds = Number(process.argv[2] ?? 5);
/** For all figures of one kernel, each of which has a limit of its own in measure.py. */
const ROUND_LIMIT = 240_000;

const kernels: Record<string, { argv: string[]; language: string }> = {
  gradbook: { argv: [process.execPath, path.join(root, "dist", "kernel", "main.js"), "{connection_file}"], language: "typescript" },
  tslab: { argv: [process.execPath, path.join(root, "node_modules", "tslab", "bin", "tslab"), "kernel", "--config-path", "{connection_file}"], language: "typescript" },
  ipykernel: { argv: [python, "-m", "ipykernel_launcher", "-f", "{connection_file}"], language: "python" },
};

type Measured = Record<string, number | null>;

function measure(name: string): Measured | undefined {
  const { status, stdout, stderr } = spawnSync(python, [path.join(__dirname, "measure.py"), JSON.stringify(kernels[name])], { encoding: "utf8", timeout: ROUND_LIMIT });
  for (const line of stderr.trim().split("\n").filter((text) => text.includes(": no answer"))) console.error(`${name} ${line}`);
  if (status === 0) return JSON.parse(stdout.trim().split("\n").at(-1)!) as Measured;
  console.error(`${name} could not be measured: ${stderr.trim().split("\n").at(-1)}`);
  return undefined;
}

function median(values: number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1];
}

const [load] = loadavg();
const runs: Record<string, Measured[]> = Object.fromEntries(Object.keys(kernels).map((name) => [name, []]));
for (let round = 0; round < rounds; round++) {
  for (const name of Object.keys(kernels)) {
    const measured = measure(name);
    if (measured) runs[name].push(measured);
  }
}

const medians: Record<string, Measured> = {};
for (const [name, measured] of Object.entries(runs)) {
  medians[name] = {};
  for (const key of Object.keys(measured[0] ?? {})) {
    const values = measured.map((run) => run[key]).filter((value): value is number => typeof value === "number");
    medians[name][key] = values.length * 2 > measured.length ? median(values) : null;
  }
}

const keys = Object.keys(medians.gradbook);
const show = (value: number | null | undefined): string => (typeof value === "number" ? value.toFixed(value < 10 ? 2 : 0) : "lost");
const ratio = (key: string, peer: string): string => {
  const [ours, theirs] = [medians.gradbook[key], medians[peer][key]];
  return typeof ours === "number" && typeof theirs === "number" ? (ours / theirs).toFixed(2) : "";
};
const lines: string[] = [];
lines.push(`Medians of ${rounds} rounds, ms unless named otherwise; Node ${process.versions.node}, ${cpus().length} cores, load ${load.toFixed(1)} at the start of the run.`, "");
lines.push("| | gradbook | tslab | ipykernel | / tslab | / ipykernel |\n|---|---|---|---|---|---|");
for (const key of keys) {
  const row = [key, show(medians.gradbook[key]), show(medians.tslab[key]), key in medians.ipykernel ? show(medians.ipykernel[key]) : "", ratio(key, "tslab"), ratio(key, "ipykernel")];
  lines.push(`| ${row.join(" | ")} |`);
}
mkdirSync(path.join(root, "bench", "results"), { recursive: true });
console.log(lines.join("\n"));
writeFileSync(path.join(root, "bench", "results", "kernel.md"), `${lines.join("\n")}\n`);
writeFileSync(path.join(root, "bench", "results", "kernel.json"), `${JSON.stringify(medians, undefined, 2)}\n`);
