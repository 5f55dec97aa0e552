/**
 * The WebGPU tier on the table that every device answers to, and on what is its own: large sizes, extremes, buffers.
 * @jest-environment ./test/support/gpu-environment.js
 */

import { execFileSync } from "node:child_process";
import path from "node:path";
import {
  adamW, attention, device, embedding, flashAttention, gpt, layerNorm, linear, maxPool2d, mse, randn, relu, rng, softmax, softmaxCrossEntropy, SparseRows,
  tensor, Tensor, train, transformerBlock, type AnyLayer,
} from "../../../lib";
import { adamwOnGpu, GpuTensor, gpuScope, webgpu } from "../../../lib/webgpu";
import { gpu } from "../../../lib/webgpu/connect";
import { matmul } from "../../../lib/webgpu/kernels/matmul";
import { layerCases } from "../layers/cases";
import { expectClose } from "../layers/close";
import { goldenCases } from "../layers/golden";
import { upstream } from "../layers/suite";

declare const haveGpu: boolean;
const gpuIt = haveGpu ? it : it.skip;
const needs = "(needs a Vulkan driver, or Debian's chromium)";
const TOLERANCE = 2e-4;

beforeAll(async () => {
  if (haveGpu) await webgpu();
});

/** What no kernel made is not on the GPU; a sparse gradient keeps its rows there. */
async function read(t: Tensor): Promise<Tensor> {
  if (t instanceof SparseRows) return new SparseRows(t.rows, await read(t.values), t.shape);
  return t instanceof GpuTensor ? t.read() : t;
}

async function expectSame(layer: AnyLayer, inputs: Record<string, Tensor>, options: object = {}, tolerance = TOLERANCE): Promise<void> {
  const single = Object.fromEntries(Object.entries(inputs).map(([name, t]) => [name, t.dtype === "int32" ? t : t.astype("float32")]));
  const plain = layer.forward(inputs, { ...options, device: "cpu" });
  const there = layer.forward(single, { ...options, device: "webgpu" });
  expect(there.y).toBeInstanceOf(GpuTensor);
  expectClose(await read(there.y), plain.y, tolerance, "y");
  const dy = upstream(plain.y);
  const expected = layer.backward(dy, plain.cache) as Record<string, Tensor>;
  const found = layer.backward(dy.astype("float32"), there.cache) as Record<string, Tensor>;
  expect(Object.keys(found).sort()).toEqual(Object.keys(expected).sort());
  for (const [name, gradient] of Object.entries(expected)) expectClose(await read(found[name]), gradient, tolerance, name);
}

describe.each(layerCases)("$name on webgpu", ({ layer, inputs, options }) => {
  gpuIt(`equals plain TypeScript ${needs}`, async () => {
    const plain = layer.forward(inputs(), { ...options(), device: "cpu" });
    const there = layer.forward(inputs("float32"), { ...options(), device: "webgpu" });
    expectClose(await read(there.y), plain.y, TOLERANCE, "y");
    const dy = upstream(plain.y);
    const expected = layer.backward(dy, plain.cache) as Record<string, Tensor>;
    const found = layer.backward(dy.astype("float32"), there.cache) as Record<string, Tensor>;
    expect(Object.keys(found).sort()).toEqual(Object.keys(expected).sort());
    for (const [name, gradient] of Object.entries(expected)) expectClose(await read(found[name]), gradient, TOLERANCE, name);
  });
});

describe.each(goldenCases)("$name on webgpu", ({ layer, inputs, options, dy, y, gradients }) => {
  gpuIt(`equals PyTorch ${needs}`, async () => {
    const there = layer.forward(inputs("float32"), { ...options, device: "webgpu" });
    expectClose(await read(there.y), y, TOLERANCE, "y");
    const found = layer.backward(dy.astype("float32"), there.cache) as Record<string, Tensor>;
    for (const [name, gradient] of Object.entries(gradients)) expectClose(await read(found[name]), gradient, TOLERANCE, name);
  });
});

const random = rng(11);
const draw = (...shape: number[]): Tensor => randn(shape, random);

describe("sizes that fill several tiles and end in the middle of one", () => {
  gpuIt.each([[1, 1, 1], [65, 33, 129], [70, 17, 31], [3, 200, 5]])(`linear %i x %i -> %i ${needs}`, async (m, inner, out) => {
    await expectSame(linear, { x: draw(m, inner), W: draw(out, inner), b: draw(out) });
  });

  gpuIt.each([[32, 16], [64, 16], [128, 8]] as const)(`the product in tiles of %i ${needs}`, async (tile, step) => {
    const [m, n, k] = [tile + 3, tile - 5, 37];
    for (const [transA, transB] of [[false, false], [false, true], [true, false], [true, true]]) {
      const [a, b] = [draw(transA ? k : m, transA ? m : k), draw(transB ? n : k, transB ? k : n)].map((t) => t.astype("float32"));
      const c = GpuTensor.allocate([m, n]);
      gpu().run(matmul({ tile, step }, transA, transB, false), {
        buffers: [GpuTensor.from(a).buffer, GpuTensor.from(b).buffer, c.buffer],
        params: [m, n, k, 0, m * k, k * n, m * n, 0],
        groups: [Math.ceil(n / tile), Math.ceil(m / tile), 1],
      });
      expectClose(await c.read(), (transA ? a.T : a).matmul(transB ? b.T : b), 1e-5, `${transA} ${transB}`);
    }
  });

  gpuIt.each([true, false])(`attention over 130 tokens, causal %s ${needs}`, async (causal) => {
    await expectSame(attention, { q: draw(2, 130, 9), k: draw(2, 130, 9), v: draw(2, 130, 6) }, { causal });
    await expectSame(flashAttention, { q: draw(70, 8), k: draw(90, 8), v: draw(90, 8) }, {});
  });

  gpuIt.each([1, 63, 65, 300])(`rows of %i ${needs}`, async (n) => {
    await expectSame(softmax, { x: draw(5, n) });
    if (n > 1) await expectSame(layerNorm, { x: draw(70, n), gamma: draw(n), beta: draw(n) });
    await expectSame(softmaxCrossEntropy, { logits: draw(4, n), targets: tensor(Int32Array.from([0, n - 1, 0, n >> 1])) });
  });

  gpuIt(`windows that overlap and windows that leave gaps ${needs}`, async () => {
    await expectSame(maxPool2d, { x: draw(2, 3, 9, 8) }, { kernel: 3, stride: 2 });
    await expectSame(maxPool2d, { x: draw(1, 2, 9, 9) }, { kernel: 2, stride: 3 });
  });

  gpuIt(`an embedding that repeats its rows ${needs}`, async () => {
    await expectSame(embedding, { E: draw(40, 7), ids: tensor(Int32Array.from({ length: 100 }, (_, i) => (i * i) % 13)) });
  });

  gpuIt(`a transformer block of two heads over 20 tokens ${needs}`, async () => {
    const C = 16;
    await expectSame(transformerBlock, {
      x: draw(2, 20, C), gamma1: draw(C), beta1: draw(C), Wqkv: draw(3 * C, C), bqkv: draw(3 * C), Wo: draw(C, C), bo: draw(C),
      gamma2: draw(C), beta2: draw(C), W1: draw(4 * C, C), b1: draw(4 * C), W2: draw(C, 4 * C), b2: draw(C),
    }, { heads: 2, causal: true }, 1e-3);
  });
});

describe("tensors on the GPU", () => {
  gpuIt(`answer to every operation as plain ones do ${needs}`, async () => {
    const [a, b] = [draw(3, 1, 4), draw(2, 4)].map((t) => t.astype("float32"));
    const g = GpuTensor.from(a);
    const both: [string, (t: Tensor) => Tensor][] = [
      ["add", (t) => t.add(b)], ["sub", (t) => t.sub(b)], ["mul", (t) => b.mul(t)], ["div", (t) => t.div(b)], ["sub from a plain one", (t) => b.sub(t)],
      ["gt", (t) => t.gt(b)], ["le", (t) => t.le(0.1)], ["select", (t) => t.select(b.gt(0), -1)], ["select plain", (t) => b.select(t.gt(0), t)],
      ["exp", (t) => t.exp()], ["log", (t) => t.abs().log()], ["sqrt", (t) => t.square().add(1).sqrt()], ["tanh", (t) => t.tanh()],
      ["erf", (t) => t.erf()], ["sigmoid", (t) => t.mul(20).sigmoid()], ["expm1", (t) => t.mul(0.01).expm1()], ["log1p", (t) => t.mul(0.001).log1p()],
      ["sin", (t) => t.sin()], ["cos", (t) => t.cos()], ["sign", (t) => t.sign()], ["floor", (t) => t.mul(3).floor()], ["round", (t) => t.mul(3).round()],
      ["pow 3", (t) => t.pow(3)], ["pow -0.5", (t) => t.abs().pow(-0.5)], ["pow 0", (t) => t.pow(0)], ["clip", (t) => t.clip(-0.5, 0.5)], ["maximum", (t) => t.maximum(b)],
      ["sum", (t) => t.sum()], ["sum of an axis", (t) => t.sum(0)], ["sum of two", (t) => t.sum([0, 2], true)], ["mean", (t) => t.mean(-1)],
      ["max", (t) => t.max(-1)], ["min", (t) => t.min(0, true)],
      ["transpose", (t) => t.transpose([2, 0, 1])], ["T", (t) => t.T], ["broadcastTo", (t) => t.broadcastTo([3, 2, 4])], ["slice", (t) => t.slice(1, 3, -1)],
      ["at", (t) => t.at(1)], ["concat", (t) => t.concat([a, t], 1)], ["concat on the last", (t) => t.concat(a, -1)],
      ["matmul", (t) => t.matmul(b.T)], ["matmul of batches", (t) => t.matmul(draws[0])], ["matmul with a vector", (t) => t.matmul(draws[1])],
      ["gather", (t) => t.gather(Int32Array.from([3, -1, 0]), [3])], ["scatter", (t) => t.scatter(Int32Array.from([0, 0, 1, -1, 2, 2, 2, 0, 1, 1, 0, 3]), [5])],
      ["norm layers' r", (t) => t.square().mean(-1, true).add(1e-5).pow(-0.5)],
    ];
    const draws = [draw(3, 4, 2), draw(4)].map((t) => t.astype("float32"));
    // WGSL promises sin and cos to 2^-11 only.
    for (const [name, f] of both) expectClose(await read(f(g)), f(a), /sin|cos/.test(name) ? 5e-4 : 1e-5, name);
  });

  gpuIt(`keep a NaN ${needs}`, async () => {
    const g = GpuTensor.from(tensor([NaN, 1, -2]).astype("float32"));
    const kept = [g.add(1), g.maximum(0), g.gt(0), g.select(g, 0), g.tanh(), g.sigmoid(), g.erf(), g.sum(), g.max(), g.min(), g.pow(3)];
    for (const t of kept) expect((await read(t)).data[0]).toBeNaN();
    expect((await read(relu.forward({ x: g }, { device: "webgpu" }).y)).data[0]).toBeNaN();
  });

  gpuIt(`say that their numbers are elsewhere ${needs}`, () => {
    const g = GpuTensor.from(draw(2));
    expect(() => g.data).toThrow("webgpu: this tensor's numbers are on the GPU; bring them back with await t.read()");
    expect(() => g.item()).toThrow();
    expect(() => g.map()).toThrow("webgpu: map runs a JavaScript function");
  });

  gpuIt(`are refused when they are larger than the device allows, and the process lives ${needs}`, async () => {
    expect(() => GpuTensor.allocate([2 ** 31])).toThrow(/^webgpu: a tensor of 8192 MiB is larger than this device's limit/);
    expect((await GpuTensor.from(tensor([1, 2])).add(1).clone().sum().reshape(1).add(0).reshape([]).mul(1).broadcastTo([1]).reshape([1]).at(0) as GpuTensor).size).toBe(1);
  });

  gpuIt(`give their buffers back at the end of a scope ${needs}`, async () => {
    const W = GpuTensor.from(draw(8, 8).astype("float32"));
    const step = async (): Promise<void> => {
      (gpuScope(() => W.matmul(W).add(W).exp().sum()) as GpuTensor).dispose();
      await gpu().finish();
    };
    await step();
    const create = jest.spyOn(gpu().device, "createBuffer");
    for (let i = 0; i < 50; i++) await step();
    expect(create).not.toHaveBeenCalled();
    create.mockRestore();
  });
});

describe("training on the GPU", () => {
  gpuIt(`takes the steps that plain TypeScript takes ${needs}`, async () => {
    const [x, target] = [draw(12, 6), draw(12, 3)];
    const start = { W1: draw(10, 6).mul(0.4), b1: draw(10), W2: draw(3, 10).mul(0.4), b2: draw(3) };
    type Weights = Record<keyof typeof start, Tensor>;
    const gradients = ({ W1, b1, W2, b2 }: Weights) => {
      const first = linear.forward({ x: x.astype(W1.dtype), W: W1, b: b1 });
      const act = relu.forward({ x: first.y });
      const second = linear.forward({ x: act.y, W: W2, b: b2 });
      const loss = mse.forward({ x: second.y, target: target.astype(W1.dtype) });
      const top = linear.backward(mse.backward(loss.cache).dx, second.cache);
      const below = linear.backward(relu.backward(top.dx, act.cache).dx, first.cache);
      return { loss: loss.y, W1: below.dW, b1: below.db!, W2: top.dW, b2: top.db! };
    };
    const onCpu: Weights = Object.fromEntries(Object.entries(start).map(([name, t]) => [name, t.clone()])) as Weights;
    const optimizer = adamW({ lr: 0.01 });
    for (let i = 0; i < 20; i++) {
      const { loss, ...g } = gradients(onCpu);
      optimizer.step(onCpu, g);
    }
    const onGpu = Object.fromEntries(Object.entries(start).map(([name, t]) => [name, GpuTensor.from(t.astype("float32")).clone()])) as Weights;
    const before = device("webgpu");
    try {
      const there = adamwOnGpu({ lr: 0.01 });
      for (let i = 0; i < 20; i++) {
        gpuScope(() => {
          const { loss, ...g } = gradients(onGpu);
          there.step(onGpu, g);
        });
      }
    } finally {
      device(before);
    }
    for (const name of Object.keys(start) as (keyof Weights)[]) expectClose(await read(onGpu[name]), onCpu[name], 1e-3, name);
  });
});

describe("the minimal GPT", () => {
  gpuIt(`has on the GPU the loss and every gradient that it has in plain TypeScript ${needs}`, async () => {
    const config = { vocabulary: 11, context: 7, width: 8, heads: 2, blocks: 2 };
    const ids = tensor(Int32Array.from({ length: 14 }, (_, i) => (i * 5) % 11), [2, 7]);
    const plain = gpt(config, rng(3), { std: 0.3 });
    const expected = plain.forward(ids, ids);
    const gradients = plain.backward(expected.cache);
    const there = gpt(config, rng(3), { std: 0.3, dtype: "float32" });
    for (const [name, t] of Object.entries(there.parameters)) there.parameters[name] = GpuTensor.from(t);
    const before = device("webgpu");
    try {
      const { lossTensor, cache } = there.forward(ids, ids);
      const found = there.backward(cache);
      expect((await read(lossTensor!)).item()).toBeCloseTo(expected.loss, 5);
      expect(Object.keys(found).sort()).toEqual(Object.keys(gradients).sort());
      // db of the keys is 0 but for rounding: measured against the other biases, not against itself.
      for (const [name, g] of Object.entries(gradients)) if (!name.endsWith(".bk")) expectClose(await read(found[name]), g, 1e-3, name);
    } finally {
      device(before);
    }
  });
});

describe("training the minimal GPT", () => {
  gpuIt(`walked with for await, loses what it loses in plain TypeScript ${needs}`, async () => {
    const ids = Int32Array.from({ length: 300 }, (_, i) => (i * i) % 11);
    const losses = async (where: "cpu" | "webgpu"): Promise<number[]> => {
      const before = device(where);
      try {
        const model = gpt({ vocabulary: 11, context: 7, width: 8, heads: 2, blocks: 1 }, rng(3), { std: 0.3, dtype: "float32" });
        const found: number[] = [];
        for await (const { loss } of train(model, ids, { steps: 4, batch: 2, rng: rng(5), optimizer: adamW({ lr: 0.02 }) })) found.push(loss);
        return found;
      } finally {
        device(before);
      }
    };
    const [here, there] = [await losses("cpu"), await losses("webgpu")];
    expect(here[3]).toBeLessThan(here[0]!);
    there.forEach((loss, i) => expect(loss).toBeCloseTo(here[i]!, 3));
  });
});

describe("what can go wrong", () => {
  gpuIt(`a lost device is one clear sentence, and a new one can be had ${needs}`, async () => {
    const x = GpuTensor.from(draw(3));
    gpu().device.destroy();
    await gpu().device.lost;
    expect(() => x.add(1)).toThrow(/^webgpu: (the device was lost \(destroyed.*call await webgpu\(\) for a new one|no device is connected)/);
    expect(() => device("webgpu")).not.toThrow();
    device("cpu");
    await webgpu();
    expectClose(await read(relu.forward({ x: draw(3).astype("float32").abs() }, { device: "webgpu" }).y.mul(0)), tensor([0, 0, 0]), 0, "y");
  });

  it("without an adapter one sentence says what was tried, and the cpu goes on", () => {
    const script = `
      const { webgpu } = require("./lib/webgpu");
      const { relu, tensor } = require("./lib");
      webgpu().catch((e) => console.log(e.message)).finally(() => console.log(relu.forward({ x: tensor([-1, 2]) }).y.toArray()));`;
    const out = execFileSync(process.execPath, ["-r", "ts-node/register/transpile-only", "-e", script], {
      encoding: "utf8", cwd: path.join(__dirname, "../../.."), stdio: ["ignore", "pipe", "ignore"],
      env: { ...process.env, VK_ICD_FILENAMES: "/nonexistent.json", VK_DRIVER_FILES: "/nonexistent.json" },
    });
    expect(out).toMatch(/^webgpu: Dawn \(the npm package webgpu\) found no graphics adapter; install .* or use device "cpu"\n\[ 0, 2 \]\n$/);
  });
});
