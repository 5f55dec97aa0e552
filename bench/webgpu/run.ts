/**
 * The WebGPU tier on this machine's GPU, beside PyTorch (float32, TF32 off) on the same card where python3 has it with CUDA.
 *
 *     npx ts-node -T bench/webgpu/run.ts [--peak TFLOP/s] [--bandwidth GB/s] [--small]
 *
 * --peak and --bandwidth are the card's figures, from its data sheet; without them the shares are left out. --small is for
 * emulated adapters, whose speed says nothing about a GPU.
 */

import { spawnSync } from "node:child_process";
import path from "node:path";
import { parseArgs } from "node:util";
import { attention, device, gpt, GpuTensor, gpuScope, layerNorm, linear, randn, rng, softmax, tensor, webgpu, type Tensor } from "../../lib";
import { gpu } from "../../lib/webgpu/connect";

const { values } = parseArgs({ options: { peak: { type: "string" }, bandwidth: { type: "string" }, small: { type: "boolean" } } });
const random = rng(1);
const draw = (...shape: number[]): Tensor => GpuTensor.from(randn(shape, random).astype("float32"));

/** Milliseconds of one run among many recorded together, so that neither recording nor waiting counts twice. */
async function time(body: () => void): Promise<number> {
  gpuScope(body);
  await gpu().finish();
  let runs = 1;
  for (;;) {
    const start = performance.now();
    for (let i = 0; i < runs; i++) gpuScope(body);
    await gpu().finish();
    const took = performance.now() - start;
    if (took > 300 || runs >= 1000) return took / runs;
    runs *= 2;
  }
}

interface Row {
  name: string;
  ms: number;
  flops?: number;
  bytes?: number;
}

async function main(): Promise<void> {
  const info = await webgpu();
  device("webgpu");
  const rows: Row[] = [];
  for (const n of values.small ? [128] : [1024, 2048, 4096]) {
    const [x, W] = [draw(n, n), draw(n, n)];
    rows.push({ name: `matmul ${n}`, ms: await time(() => linear.forward({ x, W })), flops: 2 * n ** 3 });
  }
  const [m, d] = values.small ? [64, 128] : [16384, 1024];
  {
    const [x, gamma, beta] = [draw(m, d), draw(d), draw(d)];
    rows.push({ name: `layerNorm ${m}x${d}`, ms: await time(() => layerNorm.forward({ x, gamma, beta })), bytes: 8 * m * d });
    rows.push({ name: `softmax ${m}x${d}`, ms: await time(() => softmax.forward({ x })), bytes: 8 * m * d });
  }
  {
    const T = values.small ? 64 : 1024;
    const [q, k, v, dy] = [0, 1, 2, 3].map(() => draw(4, 12, T, 64));
    rows.push({ name: `attention B4 H12 T${T} d64, forward + backward`, ms: await time(() => attention.backward(dy, attention.forward({ q, k, v }, { causal: true }).cache)) });
  }
  {
    const [B, T, C, L] = values.small ? [1, 16, 32, 1] : [8, 1024, 768, 4];
    const model = gpt({ vocabulary: 256, context: T, width: C, heads: C / 32, blocks: L, activation: "geluTanh" }, random, { dtype: "float32" });
    for (const name of Object.keys(model.parameters)) model.parameters[name] = GpuTensor.from(model.parameters[name]);
    const ids = tensor(Int32Array.from({ length: B * T }, () => random.integer(0, 256)), [B, T]);
    rows.push({ name: `GPT step L${L} C${C} T${T} B${B}`, ms: await time(() => model.backward(model.forward(ids, ids).cache)) });
  }

  const torch = spawnSync("/usr/bin/python3", [path.join(__dirname, "pytorch.py"), ...(values.small ? ["--small"] : [])], { encoding: "utf8" });
  const theirs = torch.status === 0 ? (JSON.parse(torch.stdout.trim().split("\n").at(-1)!) as Record<string, number>) : undefined;
  if (!theirs) console.error(`PyTorch left out: ${torch.stderr?.trim().split("\n").at(-1) || "no python3"}`);

  console.log(`${info.description}${info.emulated ? " (emulated: no speed of a GPU)" : ""}, Node ${process.versions.node}, ${new Date().toISOString().slice(0, 10)}\n`);
  console.log("| float32 | ms | rate | share | PyTorch's ms | ratio |\n|---|---|---|---|---|---|");
  for (const { name, ms, flops, bytes } of rows) {
    const rate = flops ? `${(flops / ms / 1e9).toFixed(2)} TFLOP/s` : bytes ? `${(bytes / ms / 1e6).toFixed(0)} GB/s` : "";
    const best = flops ? values.peak && (flops / ms / 1e9) / Number(values.peak) : bytes ? values.bandwidth && (bytes / ms / 1e6) / Number(values.bandwidth) : undefined;
    const other = theirs?.[name];
    console.log(`| ${name} | ${ms.toFixed(3)} | ${rate} | ${best ? `${(100 * best).toFixed(0)} %` : ""} | ${other?.toFixed(3) ?? ""} | ${other ? (ms / other).toFixed(2) : ""} |`);
  }
}

main().catch((error: Error) => {
  console.error(error.stack);
  process.exitCode = 1;
});
