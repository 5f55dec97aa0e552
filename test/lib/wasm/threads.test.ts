/** Layers shared between threads: the same numbers, and nothing that a lost thread can break. */

import { execFileSync } from "node:child_process";
import path from "node:path";
import { Worker } from "node:worker_threads";
import { attention, layerNorm, linear, randn, rng, softmaxCrossEntropy, tensor, useThreads, type AnyLayer, type Tensor } from "../../../lib";
import { wasm } from "../../../lib/wasm/module";
import { expectClose } from "../layers/close";
import { upstream } from "../layers/both";

const random = rng(5);
const draw = (...shape: number[]): Tensor => randn(shape, random).astype("float32");

afterAll(() => void useThreads(1));

/** The threads, and what is private of them. */
const inside = () => wasm().threads as unknown as { patience: number; words: Int32Array; workers: Worker[] | undefined };

/** Every output of a layer, forward and backward, on wasm. */
function outputs(layer: AnyLayer, inputs: Record<string, Tensor>, options: object = {}): Record<string, Tensor> {
  const { y, cache } = layer.forward(inputs, { ...options, device: "wasm" });
  return { y, ...layer.backward(upstream(y), cache) };
}

const cases: [string, AnyLayer, Record<string, Tensor>, object][] = [
  ["linear, by rows", linear, { x: draw(513, 66), W: draw(130, 66), b: draw(130) }, {}],
  ["linear, by columns", linear, { x: draw(33, 130), W: draw(517, 130), b: draw(517) }, {}],
  ["attention", attention, { q: draw(9, 100, 16), k: draw(9, 100, 16), v: draw(9, 100, 16) }, { causal: true }],
  ["layerNorm", layerNorm, { x: draw(501, 260), gamma: draw(260), beta: draw(260) }, {}],
  ["softmaxCrossEntropy", softmaxCrossEntropy, { logits: draw(257, 300), targets: tensor(Int32Array.from({ length: 257 }, (_, i) => i)) }, {}],
];

describe.each([2, 3])("%i threads", (count) => {
  it.each(cases)("%s gives what one thread gives", (_, layer, inputs, options) => {
    useThreads(1);
    const alone = outputs(layer, inputs, options);
    useThreads(count);
    expect(wasm().threads.pieces(513, 2 * 66 * 130).length).toBeGreaterThan(1);
    for (let round = 0; round < 3; round++) {
      const shared = outputs(layer, inputs, options);
      for (const [name, t] of Object.entries(alone)) expectClose(shared[name], t, 1e-5, name);
    }
  });
});

const large = { x: draw(600, 128), W: draw(128, 128) };

it("leaves small layers to one thread", () => {
  useThreads(2);
  linear.forward({ x: draw(32, 64), W: draw(64, 64) }, { device: "wasm" });
  expect(inside().workers).toBeUndefined();
  linear.forward(large, { device: "wasm" });
  expect(inside().workers).toHaveLength(1);
});

it("goes on when its workers are killed", async () => {
  useThreads(1);
  const { y } = linear.forward(large, { device: "wasm" });
  useThreads(2);
  inside().patience = 500;
  linear.forward(large, { device: "wasm" });
  const killed = inside().workers!.map((worker) => worker.terminate());
  expectClose(linear.forward(large, { device: "wasm" }).y, y, 0, "y while they end");
  await Promise.all(killed);
  expectClose(linear.forward(large, { device: "wasm" }).y, y, 0, "y without them");
});

it("makes the calls again that a lost worker had taken", async () => {
  useThreads(1);
  const { y } = linear.forward(large, { device: "wasm" });
  useThreads(2);
  inside().patience = 200;
  // Takes one call and dies with it.
  const thief = new Worker(`
    const { parentPort, workerData: { memory, queue } } = require("node:worker_threads");
    const words = new Int32Array(memory.buffer, queue, 16);
    parentPort.postMessage("ready");
    for (;;) {
      const ticket = Atomics.load(words, 0);
      if ((ticket & 0xfff) > 0 && Atomics.compareExchange(words, 0, ticket, ticket - 1) === ticket) break;
    }`, { eval: true, execArgv: [], workerData: { memory: wasm().memory.memory, queue: inside().words.byteOffset } });
  const gone = new Promise((resolve) => thief.once("exit", resolve));
  await new Promise((resolve) => thief.once("message", resolve));
  inside().workers = [thief];
  // On a busy machine the main thread may be quicker than the thief for a while.
  while (inside().workers!.length > 0) expectClose(linear.forward(large, { device: "wasm" }).y, y, 0, "y");
  await gone;
});

it("does not keep the process alive", () => {
  const out = execFileSync(process.execPath, ["-r", "ts-node/register/transpile-only", path.join(__dirname, "threaded.ts")], { encoding: "utf8", timeout: 60_000 });
  expect(JSON.parse(out)).toEqual({ workers: 1 });
}, 70_000);

it("takes 1 to 8", () => {
  expect(() => useThreads(0)).toThrow("useThreads: the number is 0, it should be a whole number from 1 to 8");
  expect(() => useThreads(1.5)).toThrow("useThreads: the number is 1.5");
  expect(useThreads(3)).toBe(3);
  expect(useThreads()).toBe(3);
});
