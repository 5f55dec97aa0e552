/**
 * The WebGPU tier on this machine's GPU, beside PyTorch (float32, TF32 off) on the same card where python3 has it with CUDA.
 *
 *     npm run build && node dist/bench/webgpu/run.js [--small] [--peak TFLOP/s] [--bandwidth GB/s]
 *
 * Before it is timed, each case is checked at its full size against plain TypeScript, on a sample of rows (the GPT on a
 * shorter text); one that is wrong ends the run. --peak and --bandwidth are the card's figures; those of common cards are
 * known, for others the shares are left out. --small is for emulated adapters, whose speed says nothing about a GPU. Beside the
 * times stand the kernels of one run and the bytes of the buffers that they bind, which are the same on every card.
 *
 * A machine needs Node 20, a Vulkan driver, and of this folder: dist/, bench/webgpu/pytorch.py, and from
 * node_modules/webgpu package.json, index.js and dist/linux-x64/. Nothing is compiled or fetched there.
 */

import { spawnSync } from "node:child_process";
import path from "node:path";
import { parseArgs } from "node:util";
import {
  adamW, adamwOnGpu, attention, device, gpt, GpuTensor, gpuScope, layerNorm, linear, randn, rng, softmax, tensor, webgpu, type AnyLayer, type Tensor,
} from "../../lib";
import { gpu } from "../../lib/webgpu/connect";

const { values } = parseArgs({ options: { peak: { type: "string" }, bandwidth: { type: "string" }, small: { type: "boolean" } } });

/**
 * Peak float32 TFLOP/s (no tensor cores) and memory GB/s, checked in November 2026 against pages that quote NVIDIA's data sheets
 * and white papers, and against 2 x cores x boost clock: H100 and A100 (both forms) glennklockwood.com/garden/processors and
 * thundercompute.com/blog/nvidia-a100-specs-full-guide, H100 PCIe gpu.blog/gpus/nvidia-h100-pcie, H200 (the H100's chip with
 * 4.8 TB/s) aiminingco.com/gpu/h200/specs, L4 fpsbench.com, L40S and T4 hmc-tech.com, RTX 3090 and 4090 techpowerup's tables.
 * Cards that share a name and differ (NVL, Ti, D, laptops) are left out: give --peak and --bandwidth.
 */
const CARDS: readonly (readonly [name: RegExp, peak: number, bandwidth: number])[] = [
  [/H200(?! NVL)/, 66.9, 4800],
  [/H100 PCIe/, 51.2, 2039],
  [/H100(?! NVL)/, 66.9, 3350],
  [/A100 80GB PCIe/, 19.5, 1935],
  [/A100.*80GB/, 19.5, 2039],
  [/A100/, 19.5, 1555],
  [/L40S/, 91.6, 864],
  [/\bL4\b/, 30.3, 300],
  [/\bT4\b/, 8.1, 320],
  [/RTX 4090(?! D| Laptop)/, 82.6, 1008],
  [/RTX 3090(?! Ti)/, 35.6, 936],
];

const random = rng(1);
const draw = (...shape: number[]): Tensor => randn(shape, random).astype("float32");
/** A case is timed until its runs have taken so many milliseconds. */
const ENOUGH = values.small ? 10 : 300;

interface Cost {
  /** Milliseconds of one run among many recorded together, so that neither recording nor waiting counts twice. */
  ms: number;
  /** Milliseconds in which the cpu recorded one: where this is most of `ms`, it is the number of kernels that costs. */
  recording: number;
  kernels: number;
  /** Bytes of the buffers that they bind, each once a kernel. */
  moved: number;
}

async function time(body: () => void): Promise<Cost> {
  gpuScope(body);
  await gpu().finish();
  const [kernels, moved] = [gpu().dispatches, gpu().bytes];
  gpuScope(body);
  await gpu().finish();
  const once = { kernels: gpu().dispatches - kernels, moved: gpu().bytes - moved };
  let runs = 1;
  for (;;) {
    const start = performance.now();
    for (let i = 0; i < runs; i++) gpuScope(body);
    const recording = performance.now() - start;
    await gpu().finish();
    const took = performance.now() - start;
    if (took > ENOUGH || runs >= 1000) return { ms: took / runs, recording: recording / runs, ...once };
    runs *= 2;
  }
}

/** Throws unless `found` is within 1e-3 of the largest of `expected`, which is what a kernel that misses a tile is not. */
function check(what: string, found: Tensor, expected: Tensor): void {
  let [scale, worst] = [0.1, 0];
  for (let i = 0; i < expected.size; i++) {
    scale = Math.max(scale, Math.abs(expected.data[i]));
    worst = Math.max(worst, Math.abs(expected.data[i] - found.data[i]));
  }
  if (!(found.size === expected.size && worst <= 1e-3 * scale)) {
    throw new Error(`${what} is wrong on this GPU: it is off by ${worst} where the largest number is ${scale}; no times are given`);
  }
}

/** A few row numbers, the first and the last among them. */
const sample = (rows: number): number[] => [0, 1, rows >> 1, rows - 2, rows - 1];
const pick = (t: Tensor, rows: number[]): Tensor => rows.map((row) => t.slice(row, row + 1, 0)).reduce((a, b) => a.concat(b, 0));

/** A layer that works row by row: the same rows by plain TypeScript. */
async function checkRows(what: string, layer: AnyLayer, inputs: Record<string, Tensor>): Promise<void> {
  const rows = sample(inputs.x.shape[0]);
  const onGpu = await layer.forward(inputs).y.read();
  check(what, pick(onGpu, rows), layer.forward({ ...inputs, x: pick(inputs.x, rows) }, { device: "cpu" }).y);
}

interface Row extends Cost {
  name: string;
  flops?: number;
  bytes?: number;
}

async function matmulRow(n: number): Promise<Row> {
  const [x, W] = [draw(n, n), draw(n, n)];
  await checkRows(`matmul ${n}`, linear, { x, W });
  const there = { x: GpuTensor.from(x), W: GpuTensor.from(W) };
  return { name: `matmul ${n}`, ...await time(() => linear.forward(there)), flops: 2 * n ** 3 };
}

async function rowwise(name: string, layer: AnyLayer, inputs: Record<string, Tensor>): Promise<Row> {
  await checkRows(name, layer, inputs);
  const there = Object.fromEntries(Object.entries(inputs).map(([key, t]) => [key, GpuTensor.from(t)]));
  return { name, ...await time(() => layer.forward(there)), bytes: 8 * inputs.x.size };
}

async function attentionRow([B, H, T]: readonly number[]): Promise<Row> {
  const name = `attention B${B} H${H} T${T} d64, forward + backward`;
  const [q, k, v, dy] = [0, 1, 2, 3].map(() => draw(B, H, T, 64));
  const there = { q: GpuTensor.from(q), k: GpuTensor.from(k), v: GpuTensor.from(v) };
  const up = GpuTensor.from(dy);
  const step = (): { y: Tensor; gradients: Record<string, Tensor> } => {
    const { y, cache } = attention.forward(there, { causal: true });
    return { y, gradients: attention.backward(up, cache) };
  };
  // The last head of all by plain TypeScript.
  const head = (t: Tensor): Tensor => t.at(-1).at(-1);
  const plain = attention.forward({ q: head(q), k: head(k), v: head(v) }, { causal: true, device: "cpu" });
  const expected = attention.backward(head(dy), plain.cache) as Record<string, Tensor>;
  const { y, gradients } = step();
  check(name, head(await y.read()), plain.y);
  for (const [key, g] of Object.entries(gradients)) check(`${name}: ${key}`, head(await g.read()), expected[key]);
  return { name, ...await time(step) };
}

async function gptRow([B, T, C, L]: readonly number[]): Promise<Row> {
  const name = `GPT training step L${L} C${C} T${T} B${B}`;
  const make = (tokens: number) => gpt({ vocabulary: 256, context: tokens, width: C, heads: C / 32, blocks: L, activation: "geluTanh" }, rng(3), { dtype: "float32" });
  const text = (rows: number, tokens: number): Tensor => tensor(Int32Array.from({ length: rows * tokens }, (_, i) => (i * i) % 251), [rows, tokens]);
  const move = (model: ReturnType<typeof make>): void => {
    for (const key of Object.keys(model.parameters)) model.parameters[key] = GpuTensor.from(model.parameters[key]);
  };
  {
    const short = Math.min(T, 48);
    const ids = text(1, short);
    const [plain, there] = [make(short), make(short)];
    move(there);
    const before = device();
    device("cpu");
    adamW().step(plain.trainable, plain.backward(plain.forward(ids, ids).cache));
    device(before);
    adamwOnGpu().step(there.trainable, there.backward(there.forward(ids, ids).cache));
    for (const key of ["tokens", "block0.Wq", `block${L - 1}.Wcontract`, "Wlogits", "gamma"]) check(`${name}: ${key}`, await there.parameters[key].read(), plain.parameters[key]);
  }
  const model = make(T);
  move(model);
  const ids = text(B, T);
  const optimizer = adamwOnGpu();
  return { name, ...await time(() => optimizer.step(model.trainable, model.backward(model.forward(ids, ids).cache))) };
}

/** PyTorch's milliseconds by case, or why there are none. */
function pytorch(): Record<string, number> | string {
  const script = path.join(__dirname, path.basename(path.dirname(path.dirname(__dirname))) === "dist" ? "../../.." : "../..", "bench/webgpu/pytorch.py");
  const { status, stdout, stderr } = spawnSync("python3", [script, ...(values.small ? ["--small"] : [])], { encoding: "utf8" });
  return status === 0 ? (JSON.parse(stdout.trim().split("\n").at(-1)!) as Record<string, number>) : stderr?.trim().split("\n").at(-1) || "there is no python3";
}

async function main(): Promise<void> {
  const info = await webgpu();
  device("webgpu");
  const card = CARDS.find(([name]) => name.test(info.description));
  const peak = values.peak ? Number(values.peak) : card?.[1];
  const bandwidth = values.bandwidth ? Number(values.bandwidth) : card?.[2];

  const [m, d] = values.small ? [64, 128] : [16384, 1024];
  const rows: Row[] = [];
  for (const n of values.small ? [128] : [1024, 2048, 4096]) rows.push(await matmulRow(n));
  rows.push(await rowwise(`layerNorm ${m}x${d}`, layerNorm, { x: draw(m, d), gamma: draw(d), beta: draw(d) }));
  rows.push(await rowwise(`softmax ${m}x${d}`, softmax, { x: draw(m, d) }));
  rows.push(await attentionRow(values.small ? [1, 2, 64] : [4, 12, 1024]));
  rows.push(await gptRow(values.small ? [1, 16, 32, 1] : [8, 1024, 768, 4]));

  const theirs = pytorch();
  const share = (rate: number, best: number | undefined): string => (best && !info.emulated ? `${((100 * rate) / best).toFixed(0)} %` : "");
  console.log(`${info.description}${info.emulated ? " (emulated: no speed of a GPU)" : ""}, Node ${process.versions.node}, ${new Date().toISOString().slice(0, 10)}`);
  console.log(`Peak float32 ${peak ? `${peak} TFLOP/s` : "unknown (--peak)"}, memory ${bandwidth ? `${bandwidth} GB/s` : "unknown (--bandwidth)"}. Every case was checked against plain TypeScript.`);
  console.log("Aims: 60 % of the peak in matmul, 80 % of the bandwidth in layerNorm and softmax, a GPT step within 1.5 of PyTorch's time.");
  if (typeof theirs === "string") console.log(`PyTorch is left out, so there is no ratio: ${theirs}.`);
  console.log("\n| float32 | ms | of which recording | kernels | MB bound | rate | share of the card's | PyTorch's ms | ratio |\n|---|---|---|---|---|---|---|---|---|");
  for (const { name, ms, recording, kernels, moved, flops, bytes } of rows) {
    const rate = flops ? `${(flops / ms / 1e9).toFixed(2)} TFLOP/s` : bytes ? `${(bytes / ms / 1e6).toFixed(0)} GB/s` : "";
    const part = flops ? share(flops / ms / 1e9, peak) : bytes ? share(bytes / ms / 1e6, bandwidth) : "";
    const other = typeof theirs === "string" ? undefined : theirs[name];
    console.log(`| ${name} | ${ms.toFixed(3)} | ${recording.toFixed(3)} | ${kernels} | ${(moved / 1e6).toFixed(1)} | ${rate} | ${part} | ${other?.toFixed(3) ?? ""} | ${other ? (ms / other).toFixed(2) : ""} |`);
  }
}

main().then(() => process.exit(0), (error: Error) => {
  console.error(error.message);
  process.exit(1);
});
