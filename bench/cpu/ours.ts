/**
 * gradbook's own times on one device, as JSON on the last line: milliseconds by case. Run by run.ts, a process a column.
 * Usage: ours.ts DEVICE THREADS [relaxed | wide]
 */

import {
  adamW, attention, device, Gpt, gpt, layerNorm, linear, mse, randn, relu, rng, softmaxCrossEntropy, tensor, tidy, useRelaxedSimd, useThreads, useWideSimd,
  WasmTensor, type DeviceName, type Tensor,
} from "../../lib";

const [name, threads, build] = process.argv.slice(2) as [DeviceName, string, ("relaxed" | "wide")?];
if (build && !{ relaxed: useRelaxedSimd, wide: useWideSimd }[build]()) {
  console.log("{}");
  process.exit(0);
}
device(name);
useThreads(Number(threads));

const random = rng(1);
/** Where the device has its tensors, as PyTorch's inputs are where it has its own. */
const there = (t: Tensor): Tensor => (name === "wasm" ? WasmTensor.from(t) : t);
const draw = (...shape: number[]): Tensor => there(randn(shape, random).astype("float32"));

/** The best of several runs, in milliseconds: the machine's noise only adds. */
function best(layers: () => unknown): number {
  // What a step made is given back after it, as PyTorch's reference counts do.
  const body = (): void => tidy(() => void layers());
  body();
  let least = Infinity;
  const until = performance.now() + 1500;
  for (let i = 0; i < 3 || performance.now() < until; i++) {
    const start = performance.now();
    body();
    least = Math.min(least, performance.now() - start);
  }
  return least;
}

const times: Record<string, number> = {};

for (const n of [256, 512, 1024]) {
  const [x, W] = [draw(n, n), draw(n, n)];
  times[`matmul ${n}`] = best(() => linear.forward({ x, W }));
}

{
  const [x, gamma, beta, dy] = [draw(1024, 768), draw(768), draw(768), draw(1024, 768)];
  times["layerNorm 1024x768"] = best(() => layerNorm.backward(dy, layerNorm.forward({ x, gamma, beta }).cache));
}
{
  const [q, k, v, dy] = [0, 1, 2, 3].map(() => draw(4, 4, 256, 32));
  times["attention B4 H4 T256 d32"] = best(() => attention.backward(dy, attention.forward({ q, k, v }, { causal: true }).cache));
}
{
  const logits = draw(1024, 4096);
  const targets = tensor(Int32Array.from({ length: 1024 }, () => random.integer(0, 4096)));
  times["softmax-CE 1024x4096"] = best(() => softmaxCrossEntropy.backward(softmaxCrossEntropy.forward({ logits, targets }).cache));
}
{
  const config = { vocabulary: 256, context: 128, width: 128, heads: 4, blocks: 4, activation: "gelu" } as const;
  const drawn = gpt(config, random, { dtype: "float32" });
  const model = new Gpt(config, Object.fromEntries(Object.entries(drawn.parameters).map(([key, t]) => [key, there(t)])));
  const ids = tensor(Int32Array.from({ length: 8 * 128 }, () => random.integer(0, 256)), [8, 128]);
  times["GPT step"] = best(() => model.backward(model.forward(ids, ids).cache));
  const gradients = model.backward(model.forward(ids, ids).cache);
  const optimizer = adamW();
  times["AdamW, 842,496 weights"] = best(() => optimizer.step(model.parameters, gradients));
}
{
  // What a notebook trains: 20 layers of 64, a batch of 32.
  const layers = Array.from({ length: 20 }, () => ({ W: draw(64, 64).mul(0.15), b: draw(64) }));
  const [x, target] = [draw(32, 64), draw(32, 64)];
  times["20 layers of 64"] = best(() => {
    const backwards: ((dy: Tensor) => Tensor)[] = [];
    let a = x;
    for (const { W, b } of layers) {
      const z = linear.forward({ x: a, W, b });
      const r = relu.forward({ x: z.y });
      backwards.push((dy) => linear.backward(relu.backward(dy, r.cache).dx, z.cache).dx);
      a = r.y;
    }
    let { dx: d } = mse.backward(mse.forward({ x: a, target }).cache);
    for (const back of backwards.reverse()) d = back(d);
  });
}

console.log(JSON.stringify(times));
