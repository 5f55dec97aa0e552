/** Sizes at which kernels have edges, for every build of the kernels. */

import {
  attention, embedding, gelu, geluTanh, layerNorm, leakyRelu, linear, multiHeadAttention, randn, relu, rng, sigmoid, silu, softmax, tanh,
  tensor, Tensor, type AnyLayer,
} from "../../../lib";
import { onBoth } from "../layers/both";
import { expectClose } from "../layers/close";

const random = rng(7);
export const draw = (...shape: number[]): Tensor => randn(shape, random);

/** Forward and backward in float32 on wasm against float64 in plain TypeScript. */
export function expectSame(layer: AnyLayer, inputs: Record<string, Tensor>, options: object = {}, tolerance = 2e-5): void {
  for (const { name, found, expected } of onBoth("wasm", layer, inputs, () => options)) expectClose(found, expected, tolerance, name);
}

export function proveSizes(): void {
  describe("sizes that fill several blocks and end in the middle of one", () => {
    it.each([[1, 1, 1], [0, 3, 2], [3, 0, 2], [3, 2, 0], [4, 8, 8], [97, 257, 9], [101, 300, 1030], [5, 513, 3]])("linear %i x %i -> %i", (m, inner, out) => {
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

    it("embedding, rows read once, often and never", () => {
      expectSame(embedding, { E: draw(6, 5), ids: tensor(Int32Array.from([4, 0, 4, 4, 1, 5]), [2, 3]) });
      expectSame(embedding, { E: draw(6, 5), ids: tensor(new Int32Array(0), [0, 3]) });
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

    it.each([0, 1, 5, 9])("geluTanh and leakyRelu of %i numbers", (n) => {
      expectSame(geluTanh, { x: draw(n) });
      expectSame(leakyRelu, { x: draw(n) }, { slope: 0.1 });
    });

    it.each([relu, sigmoid, tanh, gelu, silu])("$name from -30 to 30", (layer) => {
      expectSame(layer, { x: tensor(Array.from({ length: 601 }, (_, i) => (i - 300) / 10)) });
    });
  });
}
