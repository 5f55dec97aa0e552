/**
 * The WebGPU tier on the table that every device answers to, and on what is its own: large sizes and extremes.
 * @jest-environment ./test/support/gpu-environment.js
 */

import {
  attention, conv2d, embedding, flashAttention, gelu, layerNorm, linear, maxPool2d, relu, softmax, softmaxCrossEntropy,
  tensor, Tensor, transformerBlock,
} from "../../../lib";
import { GpuTensor } from "../../../lib/webgpu";
import { gpu } from "../../../lib/webgpu/connect";
import * as gpuModule from "../../../lib/webgpu/gpu";
import { flashTraits } from "../../../lib/webgpu/kernels/flash";
import { product as multiply } from "../../../lib/webgpu/products";
import { layerCases } from "../layers/cases";
import { expectClose } from "../layers/close";
import { goldenCases } from "../layers/golden";
import { connectFirst, draw, expectSame, gpuIt, read, TOLERANCE } from "./support";

connectFirst();

describe.each(layerCases)("$name on webgpu", ({ layer, inputs, options }) => {
  gpuIt("equals plain TypeScript", () => expectSame(layer, inputs(), options));
});

describe.each(goldenCases)("$name on webgpu", ({ layer, inputs, options, dy, y, gradients }) => {
  gpuIt("equals PyTorch", async () => {
    const there = layer.forward(inputs("float32"), { ...options, device: "webgpu" });
    expectClose(await read(there.y), y, TOLERANCE, "y");
    const found = layer.backward(dy.astype("float32"), there.cache) as Record<string, Tensor>;
    for (const [name, gradient] of Object.entries(gradients)) expectClose(await read(found[name]), gradient, TOLERANCE, name);
  });
});

afterEach(() => jest.restoreAllMocks());

describe("sizes that fill several tiles and end in the middle of one", () => {
  gpuIt.each([[1, 1, 1], [65, 33, 129], [70, 17, 31], [3, 200, 5]])("linear %i x %i -> %i", async (m, inner, out) => {
    await expectSame(linear, { x: draw(m, inner), W: draw(out, inner), b: draw(out) });
  });

  gpuIt.each([32, 64, 128] as const)("the product in tiles of %i, rows of any length and of fours", async (tile) => {
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

  gpuIt("a product of long sums is cut along them, in a batch too", async () => {
    const [a, b] = [draw(3, 9, 1100), draw(3, 1100, 10)].map((t) => t.astype("float32"));
    const before = gpu().dispatches;
    const y = GpuTensor.from(a).matmul(GpuTensor.from(b));
    expect(gpu().dispatches - before).toBe(2);
    expectClose(await read(y), a.matmul(b), 1e-5, "batch");
    expectClose(await read(GpuTensor.from(a.at(0)).matmul(b.at(0))), a.at(0).matmul(b.at(0)), 1e-5, "one");
  });

  gpuIt.each([["relu", relu, 5, 7], ["gelu", gelu, 4, 8]] as const)("%s comes out of the kernel of the linear map before it", async (_, layer, inner, out) => {
    const [x, W, b] = [draw(9, inner), draw(out, inner), draw(out)];
    const plain = linear.forward({ x, W, b });
    const before = gpu().dispatches;
    const there = linear.forward({ x, W, b }, { device: "webgpu" });
    const act = layer.forward({ x: there.y }, { device: "webgpu" });
    expect(gpu().dispatches - before).toBe(1);
    expectClose(await read(there.y), plain.y, TOLERANCE, "before");
    expectClose(await read(act.y), layer.forward({ x: plain.y }).y, TOLERANCE, "after");
  });

  // Rows of fours and others; the result on either side; a number; and what must not be taken in.
  gpuIt.each([[9, 4, 8], [5, 5, 7]])("what follows a product number by number comes out of its kernel: %i x %i -> %i", async (m, inner, out) => {
    const [x, W, b, other] = [draw(m, inner), draw(out, inner), draw(out), draw(m, out)].map((t) => t.astype("float32"));
    const y = linear.forward({ x, W, b }).y;
    const there = GpuTensor.from(other);
    const cases: [string, (y: Tensor, other: Tensor) => Tensor, number][] = [
      ["added to", (t, o) => o.add(t), 1], ["taken from", (t, o) => o.sub(t), 1], ["less another", (t, o) => t.sub(o), 1], ["a number less", (t) => t.sub(3), 1],
      ["a comparison", (t, o) => t.gt(o), 1], ["itself twice", (t) => t.mul(t), 2], ["stretched", (t, o) => t.add(o.slice(0, 1)), 2],
      ["a part", (t) => t.slice(0, 2).add(1), 2], ["too late", (t, o) => (o.mul(2), t.add(o)), 3],
    ];
    for (const [name, f, expected] of cases) {
      const before = gpu().dispatches;
      const made = linear.forward({ x, W, b }, { device: "webgpu" }).y;
      const found = f(made, there);
      expect([name, gpu().dispatches - before]).toEqual([name, expected]);
      expectClose(await read(found), f(y, other), TOLERANCE, name);
      expectClose(await read(made), y, TOLERANCE, `${name}: the product itself`);
    }
  });

  gpuIt.each([8, 5])("layer norm's backward over rows of %i adds the gradient of the path beside it", async (d) => {
    const inputs = { x: draw(70, d), gamma: draw(d), beta: draw(d) };
    const [dy, other] = [draw(70, d), draw(70, d)];
    const expected = layerNorm.backward(dy, layerNorm.forward(inputs).cache);
    const single = Object.fromEntries(Object.entries(inputs).map(([name, t]) => [name, t.astype("float32")])) as typeof inputs;
    const { cache } = layerNorm.forward(single, { device: "webgpu" });
    const there = GpuTensor.from(other.astype("float32"));
    const { dx, dgamma, dbeta } = layerNorm.backward(dy.astype("float32"), cache);
    const before = gpu().dispatches;
    const sum = there.add(dx);
    expect(gpu().dispatches - before).toBe(0);
    expectClose(await read(sum), expected.dx.add(other), TOLERANCE, "sum");
    for (const [name, found] of Object.entries({ dx, dgamma, dbeta })) expectClose(await read(found), expected[name as "dx"], TOLERANCE, name);
    // Only a sum: a product of the two is a kernel of its own.
    const again = layerNorm.backward(dy.astype("float32"), cache).dx;
    expectClose(await read(again.mul(there)), expected.dx.mul(other), TOLERANCE, "product");
  });

  gpuIt("sums of all, of rows and of columns, long enough to be cut into parts", async () => {
    const x = draw(9000, 3).astype("float32");
    const g = GpuTensor.from(x);
    for (const [name, f] of [
      ["all", (t: Tensor) => t.sum()], ["max", (t: Tensor) => t.max()], ["columns", (t: Tensor) => t.reshape(300, 90).sum(0)],
      ["rows", (t: Tensor) => t.reshape(3, 9000).sum(1)], ["middle", (t: Tensor) => t.reshape(2, 1500, 9).min(1)],
    ] as const) expectClose(await read(f(g)), f(x), 1e-5, name);
  });

  // 65536 workgroups take an emulated GPU minutes; a grid of two lines that is wider than needed is the same to a kernel.
  gpuIt("workgroups in two dimensions, some too many", async () => {
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

  gpuIt.each([true, false])("attention over 130 tokens, causal %s", async (causal) => {
    await expectSame(attention, { q: draw(2, 130, 9), k: draw(2, 130, 9), v: draw(2, 130, 6) }, { causal });
    await expectSame(flashAttention, { q: draw(70, 8), k: draw(90, 8), v: draw(90, 8) }, {});
  });

  // An invocation a row, two, and four; heads whose vectors of four cannot be shared out evenly; rows of fours and others.
  gpuIt.each([[21, 64, 4], [13, 128, 4], [9, 68, 4], [19, 67, 3], [7, 1, 1]])("attention of %i tokens in heads of %i and %i", async (T, d, e) => {
    await expectSame(attention, { q: draw(2, T, d), k: draw(2, T, d), v: draw(2, T, e) }, { causal: true });
    await expectSame(attention, { q: draw(T, d), k: draw(T + 2, d), v: draw(T + 2, e) });
  });

  gpuIt("attention keeps to the limits of a smaller GPU", async () => {
    const inputs = { q: draw(2, 40, 64), k: draw(2, 40, 64), v: draw(2, 40, 4) };
    const record = jest.spyOn(gpu(), "run");
    jest.spyOn(gpu(), "limits", "get").mockReturnValue({ invocations: 64, workgroupBytes: 8192, buffers: 8 });
    await expectSame(attention, inputs, { causal: true });
    const sizes = record.mock.calls.map(([{ code }]) => Number(/workgroup_size\((\d+)\)/.exec(code)![1]));
    expect(Math.max(...sizes)).toBe(64);
    for (const [{ code }] of record.mock.calls) {
      const vectors = [...code.matchAll(/var<workgroup> \w+: array<vec[34]f, (\d+)>/g)].reduce((n, [, size]) => n + Number(size), 0);
      expect(16 * vectors).toBeLessThanOrEqual(8192);
    }
  });

  gpuIt("attention reads and writes heads where they lie, of one product or of several", async () => {
    const [B, T, heads, d] = [2, 9, 3, 4];
    const C = heads * d;
    const split = (t: Tensor): Tensor => t.reshape(B, T, heads, d).transpose([0, 2, 1, 3]);
    const merge = (t: Tensor): Tensor => t.transpose([0, 2, 1, 3]).reshape(B, T, C);
    const qkv = draw(B, T, 3 * C).astype("float32");
    const dy = draw(B, T, C).astype("float32");
    const parts = (t: Tensor): Tensor[] => [0, 1, 2].map((i) => t.slice(i * C, (i + 1) * C, -1));
    const pass = (from: Tensor[], up: Tensor, device: "cpu" | "webgpu"): [Tensor, Tensor[]] => {
      const [q, k, v] = from.map(split);
      const { y, cache } = attention.forward({ q, k, v }, { causal: true, device });
      const { dq, dk, dv } = attention.backward(split(up), cache);
      return [merge(y), [dq, dk, dv].map(merge)];
    };
    const [y, gradients] = pass(parts(qkv), dy, "cpu");
    const there = GpuTensor.from(qkv);
    const up = GpuTensor.from(dy);

    let before = gpu().dispatches;
    const [one, [first, ...rest]] = pass(parts(there), up, "webgpu");
    const together = first.concat(rest, -1);
    expect(gpu().dispatches - before).toBe(3);
    expectClose(await read(one), y, TOLERANCE, "y");
    expectClose(await read(together), gradients[0].concat(gradients.slice(1), -1), TOLERANCE, "dqkv");

    const several = parts(qkv).map((t) => GpuTensor.from(t));
    before = gpu().dispatches;
    const [other, found] = pass(several, up, "webgpu");
    expect(gpu().dispatches - before).toBe(3);
    expectClose(await read(other), y, TOLERANCE, "y of several");
    for (const [i, g] of gradients.entries()) expectClose(await read(found[i]), g, TOLERANCE, `gradient ${i} of several`);

    // The same tensor three times, and tensors that overlap: each gradient needs room of its own.
    const [part] = parts(qkv);
    const same = GpuTensor.from(qkv).slice(0, C, -1);
    const [, plain] = pass([part, part, part], dy, "cpu");
    const [, three] = pass([same, same, same], up, "webgpu");
    for (const [i, g] of plain.entries()) expectClose(await read(three[i]), g, TOLERANCE, `gradient ${i} of one tensor`);
    const shifted = (t: Tensor): Tensor[] => [0, 1, 2].map((i) => t.slice(4 * i, 4 * i + C, -1));
    const [, crossed] = pass(shifted(qkv), dy, "cpu");
    const [, lapping] = pass(shifted(there), up, "webgpu");
    for (const [i, g] of crossed.entries()) expectClose(await read(lapping[i]), g, TOLERANCE, `gradient ${i} of tensors that overlap`);
  });

  gpuIt("attention in batches whose steps no place can say, and of stretched or turned rows", async () => {
    const [q, k, v] = [draw(3, 2, 4, 5, 8), draw(3, 2, 4, 5, 8), draw(3, 2, 4, 5, 8)].map((t) => t.astype("float32"));
    const there = [q, k, v].map((t) => GpuTensor.from(t));
    const ways: [string, (t: Tensor) => Tensor][] = [
      ["turned batch", (t) => t.transpose([2, 0, 1, 3, 4])], ["turned rows", (t) => t.T], ["stretched", (t) => t.slice(0, 1, 1).broadcastTo([3, 2, 4, 5, 8])],
      ["columns of rows", (t) => t.slice(1, 6, -1)], ["rows of rows", (t) => t.slice(1, 4, -2)], ["rows and batch exchanged", (t) => t.transpose([0, 3, 2, 1, 4])],
    ];
    for (const [name, f] of ways) {
      const plain = attention.forward({ q: f(q), k: f(k), v: f(v) });
      const dy = draw(...plain.y.shape).astype("float32");
      const { y, cache } = attention.forward({ q: f(there[0]), k: f(there[1]), v: f(there[2]) }, { device: "webgpu" });
      expectClose(await read(y), plain.y, TOLERANCE, name);
      const expected = attention.backward(dy, plain.cache);
      for (const [key, g] of Object.entries(attention.backward(dy, cache))) expectClose(await read(g), expected[key as "dq"], TOLERANCE, `${name}: ${key}`);
    }
  });

  // By ones and by fours; kept in registers by 64 or 256 invocations, or too long for that; joined by subgroups or not.
  gpuIt.each([1, 63, 65, 300, 2052, 4201, 16388].flatMap((n) => [[n, "with"], [n, "without"]] as const))("rows of %i %s subgroups", async (n, subgroups) => {
    if (subgroups === "without") jest.spyOn(gpu(), "subgroups", "get").mockReturnValue(undefined);
    await expectSame(softmax, { x: draw(5, n) });
    if (n > 1) await expectSame(layerNorm, { x: draw(n > 4000 ? 3 : 70, n), gamma: draw(n), beta: draw(n) });
    await expectSame(softmaxCrossEntropy, { logits: draw(4, n), targets: tensor(Int32Array.from([0, n - 1, 0, n >> 1])) });
  });

  gpuIt("windows that overlap and windows that leave gaps", async () => {
    await expectSame(maxPool2d, { x: draw(2, 3, 9, 8) }, { kernel: 3, stride: 2 });
    await expectSame(maxPool2d, { x: draw(1, 2, 9, 9) }, { kernel: 2, stride: 3 });
  });

  gpuIt.each([
    ["a batch of images, a bias", { x: [3, 2, 9, 7], W: [5, 2, 3, 2], b: [5] }, { stride: [2, 1], padding: [1, 2] }],
    ["gaps between windows", { x: [1, 3, 11, 10], W: [2, 3, 2, 2] }, { stride: 3 }],
    ["a kernel larger than the image", { x: [2, 1, 2, 3], W: [1, 1, 4, 5], b: [1] }, { padding: [1, 2] }],
    ["windows wholly in the padding", { x: [1, 1, 1, 1], W: [2, 1, 1, 1], b: [2] }, { padding: 2 }],
    ["more than a tile of outputs and of windows", { x: [2, 5, 13, 12], W: [40, 5, 3, 3], b: [40] }, { padding: 1 }],
    ["no image", { x: [0, 2, 4, 4], W: [3, 2, 2, 2], b: [3] }, {}],
    ["no output", { x: [2, 2, 4, 4], W: [0, 2, 2, 2], b: [0] }, {}],
    ["no channel", { x: [2, 0, 4, 4], W: [3, 0, 2, 2], b: [3] }, {}],
  ] as const)("conv2d of %s, without indices from the cpu", async (_, shapes, options) => {
    const inputs = Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [name, draw(...shape)]));
    const upload = jest.spyOn(gpu(), "upload");
    await expectSame(conv2d, inputs, options);
    // The inputs' own numbers and dy, nothing else: each copied when a pass needs it.
    const kinds = upload.mock.calls.map(([, words]) => words.constructor.name);
    expect(kinds).not.toContain("Int32Array");
  });

  gpuIt("an embedding that repeats its rows", async () => {
    await expectSame(embedding, { E: draw(40, 7), ids: tensor(Int32Array.from({ length: 100 }, (_, i) => (i * i) % 13)) });
  });

  gpuIt("a transformer block of two heads over 20 tokens", async () => {
    const C = 16;
    const before = gpu().dispatches;
    await expectSame(transformerBlock, {
      x: draw(2, 20, C), gamma1: draw(C), beta1: draw(C), Wqkv: draw(3 * C, C), bqkv: draw(3 * C), Wo: draw(C, C), bo: draw(C),
      gamma2: draw(C), beta2: draw(C), W1: draw(4 * C, C), b1: draw(4 * C), W2: draw(C, 4 * C), b2: draw(C),
    }, { heads: 2, causal: true }, 1e-3);
    // 7 forward and 14 backward; none splits or merges heads, adds a residual or a gradient's other path.
    expect(gpu().dispatches - before).toBe(21);
  });
});

it("attention keeps few enough numbers an invocation for NVIDIA's 255 registers, and a workgroup to the device's limits", () => {
  for (const invocations of [64, 128, 256]) {
    for (const workgroupBytes of [8192, 16384, 32768, 49152]) {
      for (const d of [1, 32, 33, 64, 100, 128]) {
        const kept = 4 * d;
        const { rows, share, tile } = flashTraits(d, d, d % 4 === 0, kept, { invocations, workgroupBytes });
        expect(kept / share).toBeLessThanOrEqual(128);
        expect(rows * share).toBeLessThanOrEqual(invocations);
        expect(tile % 4).toBe(0);
        const row = 16 * share * Math.ceil(Math.ceil(d / 4) / share);
        if (workgroupBytes >= 16384) expect(2 * tile * row + 16 * tile + (share > 1 ? 32 * rows * share : 0)).toBeLessThanOrEqual(workgroupBytes);
      }
    }
  }
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
  gpuIt("answer to every operation as plain ones do", async () => {
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

  gpuIt("keep a NaN", async () => {
    const g = GpuTensor.from(tensor([NaN, 1, -2]).astype("float32"));
    const kept = [g.add(1), g.maximum(0), g.gt(0), g.select(g, 0), g.tanh(), g.sigmoid(), g.erf(), g.sum(), g.max(), g.min(), g.pow(3)];
    for (const t of kept) expect((await read(t)).data[0]).toBeNaN();
    expect((await read(relu.forward({ x: g }, { device: "webgpu" }).y)).data[0]).toBeNaN();
  });

  gpuIt("say that their numbers are elsewhere", () => {
    const g = GpuTensor.from(draw(2));
    expect(() => g.data).toThrow("webgpu: this tensor's numbers are on the GPU; bring them back with await t.read()");
    expect(() => g.item()).toThrow();
    expect(() => g.map()).toThrow("webgpu: map runs a JavaScript function");
  });
});
