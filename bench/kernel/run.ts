/**
 * The kernel beside stock tslab and Debian's ipykernel, in turns in one run:
 *
 *     npm run build && npx ts-node -T bench/kernel/run.ts [ROUNDS] [--add]
 *
 * Needs python3-jupyter-client and python3-ipykernel. Writes medians over the rounds, their spread, and the ratios to the
 * two peers. With --add the rounds are added to those stored: a machine has to be quiet only for one of them at a time.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { cpus, loadavg } from "node:os";
import path from "node:path";

const root = path.join(__dirname, "..", "..");
const results = path.join(root, "bench", "results");
const stored = path.join(results, "kernel.json");
const python = "/usr/bin/python3";
const args = process.argv.slice(2);
const count = Number(args.find((arg) => /^\d+$/.test(arg)) ?? 5);
/** For all figures of one kernel, each of which has a limit of its own in measure.py. */
const ROUND_LIMIT = 240_000;

const kernels: Record<string, { argv: string[]; language: string }> = {
  gradbook: { argv: [process.execPath, path.join(root, "dist", "kernel", "main.js"), "{connection_file}"], language: "typescript" },
  tslab: { argv: [process.execPath, path.join(root, "node_modules", "tslab", "bin", "tslab"), "kernel", "--config-path", "{connection_file}"], language: "typescript" },
  ipykernel: { argv: [python, "-m", "ipykernel_launcher", "-f", "{connection_file}"], language: "python" },
};

type Measured = Record<string, number | null>;

interface Round {
  /** The machine's load when the round began. */
  load: number;
  date: string;
  kernels: Record<string, Measured>;
}

/** What a kernel never answers takes its whole time limit: it is asked for in the first round only. */
function neverAnswered(name: string, rounds: readonly Round[]): string[] {
  const [first] = rounds;
  return Object.entries(first?.kernels[name] ?? {}).filter(([, value]) => value === null).map(([key]) => key);
}

function measure(name: string, skip: string[]): Measured | undefined {
  const spec = JSON.stringify({ ...kernels[name], skip });
  const { status, stdout, stderr } = spawnSync(python, [path.join(__dirname, "measure.py"), spec], { encoding: "utf8", timeout: ROUND_LIMIT });
  for (const line of stderr.trim().split("\n").filter((text) => text.includes(": no answer"))) console.error(`${name} ${line}`);
  if (status === 0) return JSON.parse(stdout.trim().split("\n").at(-1)!) as Measured;
  console.error(`${name} could not be measured: ${stderr.trim().split("\n").at(-1)}`);
  return undefined;
}

function median(values: readonly number[]): number | undefined {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1];
}

const format = (value: number): string => value.toFixed(value < 10 ? 2 : 0);

function report(rounds: readonly Round[]): string {
  const values = (name: string, key: string): number[] =>
    rounds.map(({ kernels: all }) => all[name]?.[key]).filter((value): value is number => typeof value === "number");
  const cell = (name: string, key: string): string => {
    const all = values(name, key);
    if (all.length === 0) return rounds.some(({ kernels: round }) => round[name]?.[key] === null) ? "lost" : "";
    return `${format(median(all)!)} (${format(Math.min(...all))}..${format(Math.max(...all))})`;
  };
  const ratio = (key: string, peer: string): string => {
    const [ours, theirs] = [median(values("gradbook", key)), median(values(peer, key))];
    return ours === undefined || theirs === undefined ? "" : format(ours / theirs);
  };
  const loads = rounds.map(({ load }) => load.toFixed(1)).join(", ");
  const [first, last] = [rounds[0].date, rounds.at(-1)!.date];
  const lines = [
    `Medians of ${rounds.length} rounds (least..most), ms unless named otherwise; Node ${process.versions.node}, ${cpus().length} cores,`,
    `${first === last ? first : `${first} to ${last}`}, load at the start of each round ${loads}.`, "",
    "| | gradbook | tslab | ipykernel | / tslab | / ipykernel |", "|---|---|---|---|---|---|",
  ];
  for (const key of Object.keys(rounds[0].kernels.gradbook)) {
    lines.push(`| ${[key, ...Object.keys(kernels).map((name) => cell(name, key)), ratio(key, "tslab"), ratio(key, "ipykernel")].join(" | ")} |`);
  }
  lines.push("", "\"lost\": tslab gave no answer within 15 s (printing) or 20 s (the write loop); this was tried in the first round only.");
  return lines.join("\n");
}

const rounds: Round[] = args.includes("--add") && existsSync(stored) ? JSON.parse(readFileSync(stored, "utf8")) as Round[] : [];
for (let i = 0; i < count; i++) {
  const round: Round = { load: loadavg()[0], date: new Date().toISOString().slice(0, 10), kernels: {} };
  for (const name of Object.keys(kernels)) {
    const measured = measure(name, neverAnswered(name, rounds));
    if (measured) round.kernels[name] = measured;
  }
  rounds.push(round);
}
mkdirSync(results, { recursive: true });
console.log(report(rounds));
writeFileSync(path.join(results, "kernel.md"), `${report(rounds)}\n`);
writeFileSync(stored, `${JSON.stringify(rounds, undefined, 2)}\n`);
