/** The WebAssembly tier on the table that every device answers to, and on what is its own: large sizes, extremes, memory. */

import { execFileSync } from "node:child_process";
import path from "node:path";
import {
  attention, device, gelu, relu, sigmoid, silu, softmax, softmaxCrossEntropy, tanh, tensor, Tensor, tidy, WasmTensor, type AnyLayer,
} from "../../../lib";
import { recover } from "../../../lib/interrupt";
import { wasm } from "../../../lib/wasm/module";
import { expectClose } from "../layers/close";
import { proveDevice } from "../layers/suite";
import { draw, expectSame, proveSizes } from "./sizes";

proveDevice("wasm", { dtype: "float32", tolerance: 2e-4 });

proveSizes();

describe("extremes", () => {
  it("gives zeros for a row that is masked throughout", () => {
    const x = tensor([[-Infinity, -Infinity], [0, 0]]).astype("float32");
    expect(softmax.forward({ x }, { device: "wasm" }).y.toArray()).toEqual([[0, 0], [0.5, 0.5]]);
  });

  it("keeps logits of 1e4 finite", () => {
    const logits = tensor([[1e4, 0, -1e4], [-1e4, 1e4, 0]]);
    expectSame(softmaxCrossEntropy, { logits, targets: tensor(Int32Array.from([1, 1])) });
  });

  it("keeps a NaN", () => {
    const x = tensor([[NaN, 1, 2, 3, 4]]).astype("float32");
    for (const layer of [softmax, relu, sigmoid, tanh, gelu, silu] as AnyLayer[]) {
      const { y, cache } = layer.forward({ x }, { device: "wasm" });
      expect(y.data[0]).toBeNaN();
      expect(layer.backward(y, cache).dx.data[0]).toBeNaN();
    }
  });

  it("masks with plain TypeScript, for which it has no code", () => {
    const mask = tensor([[1, 0, 0], [1, 1, 0], [0, 0, 0]]);
    expectSame(attention, { q: draw(3, 4), k: draw(3, 4), v: draw(3, 2) }, { mask });
  });
});

describe("memory", () => {
  it("lets the next layer read a result where it lies, and plain TypeScript too", () => {
    const { y } = relu.forward({ x: draw(4, 4).astype("float32") }, { device: "wasm" });
    expect(y.data.buffer).toBe(wasm().memory.memory.buffer);
    expect(y.add(1).data.buffer).not.toBe(wasm().memory.memory.buffer);
    expect(y.data.slice().buffer).not.toBe(wasm().memory.memory.buffer);
  });

  it("adds, broadcasts and reorders as plain tensors do", () => {
    const [a, b, row, odd] = [draw(2, 3, 4, 8), draw(2, 3, 4, 8), draw(4, 8), draw(3)].map((t) => t.astype("float32"));
    const there = WasmTensor.from(a);
    for (const op of ["add", "sub", "mul", "div"] as const) {
      expectClose(there[op](b), a[op](b), 0, "numbers");
      expectClose(there[op](row), a[op](row), 0, "numbers");
      expectClose(there[op](2), a[op](2), 0, "numbers");
    }
    expectClose(WasmTensor.from(odd).add(odd), odd.add(odd), 0, "numbers");
    expectClose(WasmTensor.from(a.slice(0, 0)).add(b.slice(0, 0)), a.slice(0, 0), 0, "numbers");
    expectClose(there.transpose([0, 2, 1, 3]), a.transpose([0, 2, 1, 3]), 0, "numbers");
    expectClose(there.T, a.T, 0, "numbers");
    expectClose(there.slice(1, 3, 2), a.slice(1, 3, 2), 0, "numbers");
    expectClose(there.reshape(6, 32).row(3), a.reshape(6, 32).row(3), 0, "numbers");
    expectClose(row.broadcastTo([3, 4, 8]), WasmTensor.from(row).broadcastTo([3, 4, 8]), 0, "numbers");
  });

  it("keeps what somebody can see, be it a tensor, a part of its numbers, or what a layer saved", () => {
    const x = draw(64, 64).astype("float32");
    const expected = relu.forward({ x }).y;
    const { y } = relu.forward({ x }, { device: "wasm" });
    const part = relu.forward({ x }, { device: "wasm" }).y.data.subarray(5, 9);
    const { cache } = softmax.forward({ x }, { device: "wasm" });
    wasm().memory.collect();
    for (let i = 0; i < 20; i++) gelu.forward({ x }, { device: "wasm" });
    expectClose(y, expected, 0, "numbers");
    expect([...part]).toEqual([...expected.data.subarray(5, 9)]);
    expectClose(softmax.backward(x, cache).dx, softmax.backward(x, softmax.forward({ x }).cache).dx, 1e-5, "dx");
  });

  it("is chosen by name, for calls that name no device", () => {
    const x = draw(3).astype("float32");
    expect(device("wasm")).toBe("wasm");
    expect(relu.forward({ x }).y).toBeInstanceOf(WasmTensor);
    expect([device(), device("cpu"), device()]).toEqual(["wasm", "cpu", "cpu"]);
    expect(relu.forward({ x }).y).not.toBeInstanceOf(WasmTensor);
  });

  it("gives back at the end of a tidy all that is not returned", () => {
    const { memory } = wasm();
    const x = draw(100, 100).astype("float32");
    memory.collect();
    const before = memory.used;
    let leaked: Tensor | undefined;
    device("wasm");
    try {
      const kept = tidy(() => {
        leaked = relu.forward({ x }).y;
        const inner = tidy(() => ({ list: [gelu.forward({ x }).y], view: silu.forward({ x }).y.data }));
        tanh.forward({ x });
        return inner;
      });
      expect(memory.used - before).toBe(2 * 4 * x.size);
      const again = tidy(() => void relu.forward({ x }));
      expect(again).toBeUndefined();
      expectClose(kept.list[0], gelu.forward({ x }, { device: "cpu" }).y, 1e-5, "y");
      expect(() => leaked!.data).toThrow("wasm: this tensor was made in a tidy(...) that has ended; return it from there to keep it");
      expect(() => relu.forward({ x: leaked! })).toThrow("has ended");
      expect(() => tidy(() => {
        relu.forward({ x });
        throw new Error("mine");
      })).toThrow("mine");
      expect(memory.used - before).toBe(2 * 4 * x.size);
    } finally {
      device("cpu");
    }
  });

  it("has no tidy open after a signal has ended a cell in its midst", () => {
    const x = draw(100).astype("float32");
    let made: Tensor;
    device("wasm");
    try {
      tidy(() => {
        recover();
        made = relu.forward({ x }).y;
      });
    } finally {
      device("cpu");
    }
    expectClose(made!, relu.forward({ x }).y, 0, "y");
  });

  it("is flat over 10,000 steps of a loop that never waits, and still right when it is full", () => {
    const out = execFileSync(process.execPath, ["-r", "ts-node/register/transpile-only", path.join(__dirname, "soak.ts")], { encoding: "utf8" });
    const { peak, inside, after, full, outside, again } = JSON.parse(out) as Record<"peak" | "inside" | "after" | "full" | "outside", number> & { again: boolean };
    expect(inside).toBe(10_000);
    expect(peak).toBeLessThanOrEqual(768 * 2 ** 20);
    expect(after).toBeLessThan(2 ** 20);
    expect(outside).toBeGreaterThan(0);
    expect(full).toBe(0);
    expect(again).toBe(true);
  }, 120_000);
});
