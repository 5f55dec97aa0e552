/**
 * Tensors on the GPU that share a buffer: views in an order of their own, parts of one result, and what scopes keep of them.
 * @jest-environment ./test/support/gpu-environment.js
 */

import { tensor, type Tensor } from "../../../lib";
import { adamwOnGpu, GpuTensor, gpuScope } from "../../../lib/webgpu";
import { gpu } from "../../../lib/webgpu/connect";
import { productAndSums } from "../../../lib/webgpu/products";
import { expectClose } from "../layers/close";
import { connectFirst, draw, gpuIt, read } from "./support";

connectFirst();

const single = (...shape: number[]): Tensor => draw(...shape).astype("float32");

/** Kernels that `body` records. */
function kernels(body: () => unknown): number {
  const before = gpu().dispatches;
  body();
  return gpu().dispatches - before;
}

describe("views", () => {
  gpuIt("transposed, sliced and reshaped one after the other are what plain tensors are", async () => {
    const x = single(3, 4, 10);
    const g = GpuTensor.from(x);
    const turns: [string, (t: Tensor) => Tensor][] = [
      ["a slice of a transpose", (t) => t.transpose([2, 0, 1]).slice(1, 3, 1)],
      ["a transpose of a slice", (t) => t.slice(2, 9, -1).transpose([1, 2, 0])],
      ["heads of a slice", (t) => t.slice(4, 8, -1).reshape(3, 4, 2, 2).transpose([0, 2, 1, 3])],
      ["there and back", (t) => t.reshape(3, 4, 5, 2).transpose([0, 2, 1, 3]).transpose([0, 2, 1, 3]).reshape(3, 40)],
      ["a shape that cuts across", (t) => t.transpose([1, 0, 2]).reshape(6, 20)],
      ["rows joined", (t) => t.slice(0, 4, -1).reshape(12, 4)],
      ["an axis of one", (t) => t.slice(1, 2, 1).transpose([1, 2, 0])],
      ["a stretched row", (t) => t.slice(1, 2, 0).broadcastTo([5, 4, 10]).slice(1, 4).transpose([2, 0, 1])],
      ["the first rows", (t) => t.slice(0, 1)],
      ["nothing", (t) => t.slice(2, 2).transpose()],
      ["an entry of an entry", (t) => t.at(1).at(2)],
    ];
    for (const [name, f] of turns) {
      expectClose(await read(f(g)), f(x), 0, name);
      expectClose(await read(f(g).add(1)), f(x).add(1), 1e-6, `${name}, read by a kernel`);
    }
  });

  gpuIt("cost no kernel before one needs the numbers row by row, and then one copy", () => {
    const g = GpuTensor.from(single(3, 4, 10));
    let turned!: Tensor;
    expect(kernels(() => (turned = g.slice(4, 8, -1).reshape(3, 4, 2, 2).transpose([0, 2, 1, 3])))).toBe(0);
    expect(kernels(() => turned.exp())).toBe(2);
    expect(kernels(() => turned.exp())).toBe(1);
    expect(kernels(() => turned.transpose([0, 2, 1, 3]))).toBe(0);
    expect(kernels(() => g.reshape(3, 4, 5, 2).transpose([0, 2, 1, 3]).transpose([0, 2, 1, 3]).reshape(12, 10).exp())).toBe(1);
  });

  gpuIt("that are transposes are read by a product as they lie", async () => {
    const [x, w, a, b] = [single(5, 6), single(7, 6), single(2, 3, 5), single(2, 4, 3)];
    const ways: [string, (...t: Tensor[]) => Tensor, number][] = [
      ["the right one", (x, w) => x.matmul(w.T), 1], ["in batches", (_x, _w, a, b) => a.transpose([0, 2, 1]).matmul(b.transpose([0, 2, 1])), 1],
      ["the left one", (x, w) => x.slice(0, 5).T.matmul(w.slice(0, 5)), 1], ["both", (x, w) => x.T.matmul(w.slice(0, 5).T.reshape(6, 5).T), 1],
      ["rows of turned ones", (x, _w, a) => a.transpose([0, 2, 1]).matmul(x.slice(0, 3).T.reshape(6, 3).T), 2],
      ["a vector", (x, w) => x.at(0).matmul(w.T), 1], ["turned twice", (x, w) => x.matmul(w.T.reshape(6, 7)), 1],
      ["a part", (x, w) => x.slice(0, 4, 1).matmul(w.slice(1, 5, 1).T), 3],
    ];
    const there = [x, w, a, b].map((t) => GpuTensor.from(t));
    for (const [name, f, expected] of ways) {
      let y!: Tensor;
      expect([name, kernels(() => (y = f(...there)))]).toEqual([name, expected]);
      expectClose(await read(y), f(x, w, a, b), 1e-5, name);
    }
  });

  gpuIt("next to each other are joined without a copy, others with", async () => {
    const x = single(6, 12);
    const parts = (t: Tensor, cuts: number[]): Tensor[] => cuts.slice(1).map((end, i) => t.slice(cuts[i], end, -1));
    for (const [cuts, expected] of [[[0, 4, 12], 0], [[0, 5, 7, 12], 0]] as const) {
      const [first, ...rest] = parts(GpuTensor.from(x), [...cuts]);
      let whole!: Tensor;
      expect(kernels(() => (whole = first.concat(rest, -1)))).toBe(expected);
      expectClose(await read(whole), x, 0, String(cuts));
    }
    const [a, b, c] = parts(GpuTensor.from(x), [0, 4, 8, 12]);
    const [pa, pb, pc] = parts(x, [0, 4, 8, 12]);
    expectClose(await read(b.concat([a, c], -1)), pb.concat([pa, pc], -1), 0, "another order");
    expectClose(await read(a.concat([c], -1)), pa.concat([pc], -1), 0, "a gap");
    expectClose(await read(a.concat([b], 0)), pa.concat([pb], 0), 0, "another axis");
  });

  gpuIt("keep the numbers they were taken of when a parameter is changed where it lies", async () => {
    const w = single(6, 8);
    const there = GpuTensor.from(w).clone() as GpuTensor;
    const [turned, row, start] = [there.T, there.row(2), there.slice(0, 2)];
    const step = adamwOnGpu({ lr: 0.5 });
    step.step({ w: there }, { w: GpuTensor.from(single(6, 8)) });
    expectClose(await read(turned), w.T, 0, "turned");
    expectClose(await read(row), w.row(2), 0, "row");
    expectClose(await read(start), w.slice(0, 2), 0, "start");
    expect((await read(there)).sub(w).norm()).toBeGreaterThan(1);
  });

  gpuIt("outlive the scope that needed them, leave one with what they are part of, or as a copy of little", async () => {
    const x = single(40, 64);
    const g = GpuTensor.from(x);
    const turned = g.T;
    gpuScope(() => void turned.add(1));
    await gpu().finish();
    const filled = GpuTensor.from(single(64, 40));
    expectClose(await read(turned.mul(2)), x.T.mul(2), 0, "needed in a scope, read after it");
    filled.dispose();

    const before = gpu().used;
    const [row, most] = gpuScope(() => {
      const made = g.mul(3);
      return [made.row(7), g.mul(2).slice(1)];
    });
    // A row of 64 numbers, and a tensor of 40 x 64.
    expect(gpu().used - before).toBe(256 + 4 * 40 * 64);
    await gpu().finish();
    GpuTensor.from(single(40, 64));
    expectClose(await read(row), x.row(7).mul(3), 1e-6, "row");
    expectClose(await read(most), x.slice(1).mul(2), 1e-6, "most");
  });

  gpuIt("live on when what they were taken of is disposed of", async () => {
    const x = single(8, 8);
    const g = GpuTensor.from(x);
    const turned = g.T;
    g.dispose();
    await gpu().finish();
    GpuTensor.from(single(8, 8));
    expectClose(await read(turned), x.T, 0, "turned");
  });
});

describe("parts of one result", () => {
  // 5 x 7 numbers do not end where a part can begin; sums over 600 are cut.
  gpuIt.each([[5, 7, 3], [5, 8, 600], [70, 33, 9], [66, 4, 520], [1, 1, 1]])("a product %i x %i over %i and the sums of its rows", async (m, n, k) => {
    const [a, b] = [single(m, k), single(k, n)];
    const [c, sums] = productAndSums(GpuTensor.from(a), GpuTensor.from(b), { m, n, k });
    expectClose(await read(c), a.matmul(b), 1e-5, "product");
    expectClose(await read(sums), a.sum(1), 1e-5, "sums");
    expectClose(await read(sums.reshape(m, 1).mul(2)), a.sum(1, true).mul(2), 1e-5, "sums, read by a kernel");
  });

  gpuIt("are given back one by one, the buffer with the last", async () => {
    const [a, b] = [single(5, 3), single(3, 7)];
    const there = [a, b].map((t) => GpuTensor.from(t));
    const before = gpu().used;
    const [c, sums] = productAndSums(there[0], there[1], { m: 5, n: 7, k: 3 });
    const both = gpu().used;
    expect(both).toBeGreaterThan(before);
    c.dispose();
    c.dispose();
    expect(gpu().used).toBe(both);
    expectClose(await read(sums), a.sum(1), 1e-5, "sums");
    sums.dispose();
    expect(gpu().used).toBe(before);
  });
});

gpuIt("a tensor that is all padding but one number keeps to it", async () => {
  const one = GpuTensor.from(tensor([2]).astype("float32"));
  expectClose(await read(one.mul(one).add(one)), tensor([6]), 0, "one");
});
