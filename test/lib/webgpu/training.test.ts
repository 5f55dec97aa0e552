/**
 * Whole training steps on the GPU: the numbers, the memory, and how much is asked of the GPU.
 * @jest-environment ./test/support/gpu-environment.js
 */

import {
  adamW, device, gpt, linear, mse, relu, rng, sgd, tensor, tidy, train, warmupCosine, type DeviceName, type Gpt, type Tensor,
} from "../../../lib";
import { adamwOnGpu, GpuTensor, gpuScope } from "../../../lib/webgpu";
import { gpu } from "../../../lib/webgpu/connect";
import { sumsOfSquares } from "../../../lib/webgpu/norms";
import { expectClose } from "../layers/close";
import { connectFirst, draw, gpuIt } from "./support";

connectFirst();
afterEach(() => jest.restoreAllMocks());

describe("training on the GPU", () => {
  gpuIt("takes the steps that plain TypeScript takes", async () => {
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
    const before = device();
    device("webgpu");
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
    for (const name of Object.keys(start) as (keyof Weights)[]) expectClose(await onGpu[name].read(), onCpu[name], 1e-3, name);
  });
});

describe("the minimal GPT", () => {
  gpuIt("has on the GPU the loss and every gradient that it has in plain TypeScript", async () => {
    const config = { vocabulary: 11, context: 7, width: 8, heads: 2, blocks: 2 };
    const ids = tensor(Int32Array.from({ length: 14 }, (_, i) => (i * 5) % 11), [2, 7]);
    const plain = gpt(config, rng(3), { std: 0.3 });
    const expected = plain.forward(ids, ids);
    const gradients = plain.backward(expected.cache);
    const there = gpt(config, rng(3), { std: 0.3, dtype: "float32" });
    for (const [name, t] of Object.entries(there.parameters)) there.parameters[name] = GpuTensor.from(t);
    const before = device();
    device("webgpu");
    try {
      const { lossTensor, cache } = there.forward(ids, ids);
      const found = there.backward(cache);
      expect((await lossTensor!.read()).item()).toBeCloseTo(expected.loss, 5);
      expect(Object.keys(found).sort()).toEqual(Object.keys(gradients).sort());
      // db of the keys is 0 but for rounding: measured against the other biases, not against itself.
      for (const [name, g] of Object.entries(gradients)) if (!name.endsWith(".bk")) expectClose(await found[name].read(), g, 1e-3, name);
    } finally {
      device(before);
    }
  });
});

describe("a training step of the minimal GPT", () => {
  const config = { vocabulary: 11, context: 8, width: 8, heads: 2, activation: "geluTanh" as const };
  const ids = tensor(Int32Array.from({ length: 16 }, (_, i) => (i * 7) % 11), [2, 8]);

  function onGpu(blocks: number) {
    const model = gpt({ ...config, blocks }, rng(3), { std: 0.3, dtype: "float32" });
    for (const [name, t] of Object.entries(model.parameters)) model.parameters[name] = GpuTensor.from(t);
    const optimizer = adamwOnGpu({ lr: 0.01, eps: 1e-4 });
    const step = (): void => {
      const before = device();
      device("webgpu");
      try {
        tidy(() => optimizer.step(model.trainable, model.backward(model.forward(ids, ids).cache)));
      } finally {
        device(before);
      }
    };
    return { model, step };
  }

  gpuIt("changes every parameter as on the cpu", async () => {
    const plain = gpt({ ...config, blocks: 2 }, rng(3), { std: 0.3 });
    const optimizer = adamW({ lr: 0.01, eps: 1e-4 });
    const { model, step } = onGpu(2);
    for (let i = 0; i < 3; i++) {
      optimizer.step(plain.trainable, plain.backward(plain.forward(ids, ids).cache));
      step();
    }
    for (const [name, w] of Object.entries(plain.parameters)) expectClose(await model.parameters[name].read(), w, 1e-3, name);
  });

  // A kernel more is not wrong, but small models feel it: change the figures on purpose.
  gpuIt.each([0, 1, 2])("of %i blocks is so many kernels, one submission, and no new memory after the first ones", async (blocks) => {
    const { step } = onGpu(blocks);
    for (let i = 0; i < 2; i++) {
      step();
      await gpu().finish();
    }
    const [dispatches, submissions, used] = [gpu().dispatches, gpu().submissions, gpu().used];
    const create = jest.spyOn(gpu().device, "createBuffer");
    for (let i = 0; i < 30; i++) {
      step();
      await gpu().finish();
    }
    expect(create).not.toHaveBeenCalled();
    create.mockRestore();
    expect(gpu().used).toBeLessThanOrEqual(used);
    expect((gpu().submissions - submissions) / 30).toBe(1);
    expect((gpu().dispatches - dispatches) / 30).toBe(17 + 30 * blocks);
  });
});

describe("AdamW on the GPU", () => {
  // More than one kernel can bind, lengths that are no multiple of 4 or of a workgroup, one that is empty.
  const sizes = [1, 3, 4, 5, 64, 255, 256, 257, 0, 1000, 7];
  const tensors = (): Record<string, Tensor> => Object.fromEntries(sizes.map((n, i) => [`w${i}`, draw(n)]));
  const there = (all: Record<string, Tensor>): Record<string, GpuTensor> =>
    Object.fromEntries(Object.entries(all).map(([name, t]) => [name, GpuTensor.from(t.astype("float32")).clone() as GpuTensor]));

  gpuIt.each([["this GPU binds", undefined], ["every GPU binds", 8]])("updates several parameters a kernel, as many as %s", async (_, buffers) => {
    if (buffers) jest.spyOn(gpu(), "limits", "get").mockReturnValue({ ...gpu().limits, buffers });
    const own = tensors();
    const onGpu = there(own);
    const [here, far] = [adamW({ lr: 0.1, weightDecay: 0.1 }), adamwOnGpu({ lr: 0.1, weightDecay: 0.1 })];
    let dispatches = 0;
    for (let step = 0; step < 4; step++) {
      const gradients = tensors();
      const copies = there(gradients);
      here.step(own, gradients);
      const before = gpu().dispatches;
      far.step(onGpu, copies);
      dispatches = gpu().dispatches - before;
    }
    const most = (gpu().limits.buffers - 2) / 2;
    expect(dispatches).toBeGreaterThanOrEqual(Math.ceil((sizes.length - 1) / most));
    expect(dispatches).toBeLessThanOrEqual(Math.ceil((sizes.length - 1) / most) + 2);
    for (const [name, w] of Object.entries(own)) expectClose(await onGpu[name].read(), w, 1e-4, name);
  });

  gpuIt("leaves a parameter without a gradient as it is, and finds the others' moments by name", async () => {
    const [own, alone] = [{ a: draw(5), b: draw(6), c: draw(7) }, draw(3)];
    const onGpu = there({ ...own, alone });
    const [here, far] = [adamW({ lr: 0.1 }), adamwOnGpu({ lr: 0.1 })];
    const parameters = { a: own.a, b: own.b, c: own.c };
    for (let step = 0; step < 3; step++) {
      const gradients = { a: draw(5), b: draw(6), c: draw(7) };
      here.step(parameters, gradients);
      const copies = there(gradients);
      // In another order each time, and with moments of one that come first and then not.
      far.step({ c: onGpu.c, ...(step === 0 ? {} : { alone: onGpu.alone }), a: onGpu.a, b: onGpu.b }, copies);
    }
    for (const [name, w] of Object.entries(own)) expectClose(await onGpu[name].read(), w, 1e-4, name);
    expectClose(await onGpu.alone.read(), alone, 1e-7, "alone");
  });

  gpuIt("steps twice on a tensor that has two names", async () => {
    const [w, g1, g2] = [draw(9), draw(9), draw(9)];
    const [one] = Object.values(there({ w }));
    adamwOnGpu({ lr: 0.1 }).step({ a: one, b: one }, { a: g1.astype("float32"), b: g2.astype("float32") });
    const own = w.clone();
    adamW({ lr: 0.1 }).step({ a: own, b: own }, { a: g1, b: g2 });
    expectClose(await one.read(), own, 1e-4, "w");
  });

  gpuIt("sums the squares of many tensors in few kernels, and none of what lies beside them", async () => {
    // What a tensor held before lies behind a shorter one in the same buffer.
    for (const n of sizes) GpuTensor.from(tensor(new Float32Array(Math.max(64, n + 60)).fill(NaN))).dispose();
    await gpu().finish();
    const all = [...Object.values(tensors()), draw(20_000)];
    const copies = all.map((t) => GpuTensor.from(t.astype("float32")));
    const before = gpu().dispatches;
    const sums = sumsOfSquares(copies);
    expect(gpu().dispatches - before).toBe(Math.ceil(all.length / (gpu().limits.buffers - 1)) + 1);
    const { data } = await sums.read();
    all.forEach((t, i) => expect(data[i]).toBeCloseTo(t.norm() ** 2, t.size > 10_000 ? 0 : 2));
    expect((await sumsOfSquares([]).read()).shape).toEqual([0]);
  });
});

describe("train on webgpu", () => {
  const config = { vocabulary: 5, context: 8, width: 8, heads: 2, blocks: 1 };
  const ids = Int32Array.from({ length: 200 }, (_, i) => (i * i) % 5);
  const options = () => ({ steps: 4, batch: 2, clip: 0.5, rng: rng(2), optimizer: adamW({ lr: 0.05, eps: 1e-4 }), schedule: warmupCosine(2, 4, 0.1) });
  const model = (): Gpt => gpt(config, rng(1), { dtype: "float32", std: 0.3 });

  gpuIt.each([["every parameter", (m: Gpt) => m], ["LoRA's", (m: Gpt) => m.withLora({ rank: 2, on: "all" }, rng(4))]])(
    `takes the steps of the cpu, and the model's own tensors hold %s in the end`, async (_, adapted) => {
      const [plain, there] = [adapted(model()), adapted(model())];
      const expected = [...train(plain, ids, options())];
      const found = [];
      for await (const step of train(there, ids, { ...options(), device: "webgpu" })) found.push(step);
      expect(found.map(({ step, lr }) => [step, lr])).toEqual(expected.map(({ step, lr }) => [step, lr]));
      for (const [i, { loss, norm, norms }] of found.entries()) {
        expect(loss).toBeCloseTo(expected[i].loss, 3);
        expect(norm).toBeCloseTo(expected[i].norm, 3);
        expect(Object.keys(norms)).toEqual(Object.keys(expected[i].norms));
        for (const [name, own] of Object.entries(norms)) expect(own).toBeCloseTo(expected[i].norms[name], 3);
      }
      for (const [name, w] of Object.entries(plain.trainable)) {
        expect(there.trainable[name]).not.toBeInstanceOf(GpuTensor);
        expectClose(there.trainable[name], w, 2e-3, name);
      }
    });

  gpuIt("gives the parameters back when the loop is left, and keeps no memory", async () => {
    const own = model();
    const start = own.parameters.Wlogits.clone();
    const [used, dispatches, groups]: [number[], number[], number[]] = [[], [], []];
    const made = jest.spyOn(gpu().device, "createBindGroup");
    for await (const { step } of train(own, ids, { ...options(), steps: 100, device: "webgpu" })) {
      used.push(gpu().used);
      dispatches.push(gpu().dispatches);
      groups.push(made.mock.calls.length);
      if (step === 19) break;
    }
    made.mockRestore();
    // After the first steps what is bound comes again. Now and then a buffer of an earlier test comes back, and moves the others.
    expect(groups[0]).toBeGreaterThan(20);
    expect(groups[19]).toBeLessThan((dispatches[19] - dispatches[0]) / 2);
    expect(used[5]).toBeLessThanOrEqual(used[1]);
    // A step's kernels, and those of the 22 gradients' norms.
    expect(dispatches[5] - dispatches[4]).toBe(17 + 30 + Math.ceil(22 / (gpu().limits.buffers - 1)) + 1);
    expect(own.parameters.Wlogits.sub(start).norm()).toBeGreaterThan(0.01);
  });

  gpuIt("says what it cannot do", async () => {
    const there = train(model(), ids, { ...options(), device: "webgpu" as DeviceName });
    expect(() => [...there]).toThrow("train: on webgpu the loss has to come back from the GPU; write `for await (... of train(...))`");
    await expect(train(model(), ids, { ...options(), optimizer: sgd({ lr: 1 }), device: "webgpu" }).next()).rejects.toThrow(
      "train: the optimizer is sgd, on webgpu it should be adamW, or adam without weightDecay, and without amsgrad");
  });
});
