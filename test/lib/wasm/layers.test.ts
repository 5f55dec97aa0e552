/** The WebAssembly tier on the table that every device answers to, and on what is its own: large sizes, extremes, memory. */

import { execFileSync } from "node:child_process";
import path from "node:path";
import {
  attention, gelu, layerNorm, linear, multiHeadAttention, randn, relu, rng, sigmoid, silu, softmax, softmaxCrossEntropy, tanh,
  tensor, Tensor, type AnyLayer,
} from "../../../lib";
import { wasm } from "../../../lib/wasm/module";
import { expectClose } from "../layers/close";
import { proveDevice, upstream } from "../layers/suite";

proveDevice("wasm", { dtype: "float32", tolerance: 2e-4 });

const random = rng(7);
const draw = (...shape: number[]): Tensor => randn(shape, random);

/** Forward and backward in float32 on wasm against float64 in plain TypeScript. */
function expectSame(layer: AnyLayer, inputs: Record<string, Tensor>, options: object = {}, tolerance = 2e-5): void {
  const single = Object.fromEntries(Object.entries(inputs).map(([name, t]) => [name, t.dtype === "int32" ? t : t.astype("float32")]));
  const plain = layer.forward(inputs, { ...options, device: "cpu" });
  const there = layer.forward(single, { ...options, device: "wasm" });
  expectClose(there.y, plain.y, tolerance, "y");
  const dy = upstream(plain.y);
  const expected = layer.backward(dy, plain.cache) as Record<string, Tensor>;
  const found = layer.backward(dy.astype("float32"), there.cache) as Record<string, Tensor>;
  for (const [name, gradient] of Object.entries(expected)) expectClose(found[name], gradient, tolerance, name);
}

describe("sizes that fill several blocks and end in the middle of one", () => {
  it.each([[1, 1, 1], [4, 8, 8], [97, 257, 9], [101, 300, 1030], [5, 513, 3]])("linear %i x %i -> %i", (m, inner, out) => {
    expectSame(linear, { x: draw(m, inner), W: draw(out, inner), b: draw(out) });
  });

  it("linear in float64 agrees to the last digits", () => {
    const [x, W, dy] = [draw(33, 70), draw(21, 70), draw(33, 21)];
    const [plain, there] = (["cpu", "wasm"] as const).map((device) => {
      const { y, cache } = linear.forward({ x, W }, { device });
      return { y, ...linear.backward(dy, cache) };
    });
    for (const name of ["y", "dx", "dW"] as const) expectClose(there[name], plain[name], 1e-13, name);
  });

  it.each([true, false])("attention over 150 tokens, causal %s", (causal) => {
    expectSame(attention, { q: draw(2, 150, 17), k: draw(2, 150, 17), v: draw(2, 150, 5) }, { causal });
  });

  it("multi-head attention over 70 tokens", () => {
    const C = 24;
    expectSame(multiHeadAttention, { x: draw(2, 70, C), Wqkv: draw(3 * C, C), bqkv: draw(3 * C), Wo: draw(C, C), bo: draw(C) }, { heads: 3, causal: true }, 1e-4);
  });

  it.each([1, 3, 7, 1025])("layer norm and softmax over rows of %i", (n) => {
    expectSame(softmax, { x: draw(5, n) });
    if (n > 1) expectSame(layerNorm, { x: draw(5, n), gamma: draw(n), beta: draw(n) });
  });

  it.each([relu, sigmoid, tanh, gelu, silu])("$name from -30 to 30", (layer) => {
    expectSame(layer, { x: tensor(Array.from({ length: 601 }, (_, i) => (i - 300) / 10)) });
  });
});

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

  it("is flat over 10,000 steps, and still right when it is full and nothing was collected", () => {
    const out = execFileSync(process.execPath, ["--expose-gc", "-r", "ts-node/register/transpile-only", path.join(__dirname, "soak.ts")], { encoding: "utf8" });
    const { peak, after, full } = JSON.parse(out) as { peak: number; after: number; full: number };
    expect(after).toBeLessThan(2 ** 20);
    expect(peak).toBeLessThan(256 * 2 ** 20);
    expect(full).toBe(0);
  }, 120_000);
});
