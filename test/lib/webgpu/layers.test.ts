/**
 * The WebGPU tier on the table that every device answers to, and on what is its own: large sizes and extremes.
 * @jest-environment ./test/support/gpu-environment.js
 */

import {
  attention, embedding, flashAttention, gelu, layerNorm, linear, maxPool2d, randn, relu, rng, softmax, softmaxCrossEntropy, SparseRows,
  tensor, Tensor, transformerBlock, type AnyLayer,
} from "../../../lib";
import { GpuTensor, webgpu } from "../../../lib/webgpu";
import { gpu } from "../../../lib/webgpu/connect";
import * as gpuModule from "../../../lib/webgpu/gpu";
import { product as multiply } from "../../../lib/webgpu/products";
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

afterEach(() => jest.restoreAllMocks());

describe("sizes that fill several tiles and end in the middle of one", () => {
  gpuIt.each([[1, 1, 1], [65, 33, 129], [70, 17, 31], [3, 200, 5]])(`linear %i x %i -> %i ${needs}`, async (m, inner, out) => {
    await expectSame(linear, { x: draw(m, inner), W: draw(out, inner), b: draw(out) });
  });

  gpuIt.each([32, 64, 128] as const)(`the product in tiles of %i, rows of any length and of fours ${needs}`, async (tile) => {
    for (const [m, n, k] of [[tile + 3, tile - 5, 37], [tile + 4, tile + 12, 20]]) {
      for (const [transA, transB] of [[false, false], [false, true], [true, false], [true, true]]) {
        // The larger tiles compile slowly here: two of the eight ways, in which each strip is fetched both along k and across.
        if (tile > 32 && (transA !== transB || transA !== (m % 4 === 0))) continue;
        const [a, b] = [draw(transA ? k : m, transA ? m : k), draw(transB ? n : k, transB ? k : n)].map((t) => t.astype("float32"));
        const c = multiply(GpuTensor.from(a), GpuTensor.from(b), { m, n, k, transA, transB, tile });
        expectClose(await c.read(), (transA ? a.T : a).matmul(transB ? b.T : b), 1e-5, `${m} ${transA} ${transB}`);
      }
    }
  });

  gpuIt(`a product of long sums is cut along them, in a batch too ${needs}`, async () => {
    const [a, b] = [draw(3, 9, 1100), draw(3, 1100, 10)].map((t) => t.astype("float32"));
    const before = gpu().dispatches;
    const y = GpuTensor.from(a).matmul(GpuTensor.from(b));
    expect(gpu().dispatches - before).toBe(2);
    expectClose(await read(y), a.matmul(b), 1e-5, "batch");
    expectClose(await read(GpuTensor.from(a.at(0)).matmul(b.at(0))), a.at(0).matmul(b.at(0)), 1e-5, "one");
  });

  gpuIt.each([["relu", relu, 5, 7], ["gelu", gelu, 4, 8]] as const)(`%s comes out of the kernel of the linear map before it ${needs}`, async (_, layer, inner, out) => {
    const [x, W, b] = [draw(9, inner), draw(out, inner), draw(out)];
    const plain = linear.forward({ x, W, b });
    const before = gpu().dispatches;
    const there = linear.forward({ x, W, b }, { device: "webgpu" });
    const act = layer.forward({ x: there.y }, { device: "webgpu" });
    expect(gpu().dispatches - before).toBe(1);
    expectClose(await read(there.y), plain.y, TOLERANCE, "before");
    expectClose(await read(act.y), layer.forward({ x: plain.y }).y, TOLERANCE, "after");
  });

  gpuIt(`sums of all, of rows and of columns, long enough to be cut into parts ${needs}`, async () => {
    const x = draw(9000, 3).astype("float32");
    const g = GpuTensor.from(x);
    for (const [name, f] of [
      ["all", (t: Tensor) => t.sum()], ["max", (t: Tensor) => t.max()], ["columns", (t: Tensor) => t.reshape(300, 90).sum(0)],
      ["rows", (t: Tensor) => t.reshape(3, 9000).sum(1)], ["middle", (t: Tensor) => t.reshape(2, 1500, 9).min(1)],
    ] as const) expectClose(await read(f(g)), f(x), 1e-5, name);
  });

  // 65536 workgroups take an emulated GPU minutes; a grid of two lines that is wider than needed is the same to a kernel.
  gpuIt(`workgroups in two dimensions, some too many ${needs}`, async () => {
    const lines = jest.spyOn(gpuModule, "grid").mockImplementation((n) => [Math.floor(n / 2) + 1, 2]);
    await expectSame(linear, { x: draw(70, 9), W: draw(40, 9), b: draw(40) });
    await expectSame(attention, { q: draw(3, 70, 4), k: draw(3, 70, 4), v: draw(3, 70, 4) }, { causal: true });
    await expectSame(softmaxCrossEntropy, { logits: draw(5, 6), targets: tensor(Int32Array.from([0, 5, 2, 1, 3])) });
    await expectSame(layerNorm, { x: draw(130, 70), gamma: draw(70), beta: draw(70) });
    await expectSame(maxPool2d, { x: draw(3, 3, 9, 8) }, { kernel: 2 });
    await expectSame(embedding, { E: draw(40, 7), ids: tensor([1, 2, 1]).astype("int32") });
    const x = draw(5, 7, 60).astype("float32");
    for (const f of [(t: Tensor) => t.exp(), (t: Tensor) => t.T, (t: Tensor) => t.sum(0), (t: Tensor) => t.sum(-1)]) {
      expectClose(await read(f(GpuTensor.from(x))), f(x), 1e-5, String(f));
    }
    expect(lines.mock.calls.length).toBeGreaterThan(20);
  });

  gpuIt.each([true, false])(`attention over 130 tokens, causal %s ${needs}`, async (causal) => {
    await expectSame(attention, { q: draw(2, 130, 9), k: draw(2, 130, 9), v: draw(2, 130, 6) }, { causal });
    await expectSame(flashAttention, { q: draw(70, 8), k: draw(90, 8), v: draw(90, 8) }, {});
  });

  gpuIt(`attention of wide heads, of which fewer rows fit workgroup memory ${needs}`, async () => {
    await expectSame(attention, { q: draw(2, 21, 100), k: draw(2, 21, 100), v: draw(2, 21, 97) }, { causal: true });
  });

  // By ones and by fours; kept in registers by 64 or 256 invocations, or too long for that; joined by subgroups or not.
  gpuIt.each([1, 63, 65, 300, 2052, 4201, 16388].flatMap((n) => [[n, "with"], [n, "without"]] as const))(`rows of %i %s subgroups ${needs}`, async (n, subgroups) => {
    if (subgroups === "without") jest.spyOn(gpu(), "subgroups", "get").mockReturnValue(undefined);
    await expectSame(softmax, { x: draw(5, n) });
    if (n > 1) await expectSame(layerNorm, { x: draw(n > 4000 ? 3 : 70, n), gamma: draw(n), beta: draw(n) });
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

it("workgroups fill a grid no side of which is longer than WebGPU allows", () => {
  for (const n of [1, 65535, 65536, 70_001, 10_000_019]) {
    const [x, y] = gpuModule.grid(n);
    expect(x).toBeLessThanOrEqual(65535);
    expect(x * y).toBeGreaterThanOrEqual(n);
    expect(x * y - n).toBeLessThan(y);
  }
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
});
