/**
 * Wrong calls that must not compile. `npm run typecheck` reads this file: an unused `@ts-expect-error` is an error, so
 * each line below proves that the compiler refuses what follows it.
 */

import { attention, defineLayer, dropout, embedding, linear, lora, mse, multiHeadAttention, relu, rng, Tensor, tensor } from "../../../lib";

const x = tensor([[1, 2]]);
const W = tensor([[1, 2], [3, 4]]);
const b = tensor([1, 2]);

/** Compiled, never run. */
function wrongCalls(): void {
  const { y, cache } = linear.forward({ x, W, b });
  const { dx, dW, db }: { dx: Tensor; dW: Tensor; db: Tensor } = linear.backward(y, cache);
  void [dx, dW, db];

  // @ts-expect-error there is no gradient dw
  void linear.backward(y, cache).dw;
  // @ts-expect-error W is missing
  linear.forward({ x });
  // @ts-expect-error there is no input w
  linear.forward({ x, W, w: W });
  // @ts-expect-error a number is no Tensor
  linear.forward({ x: 3, W });
  // @ts-expect-error linear has no option eps
  linear.forward({ x, W }, { eps: 1 });
  // @ts-expect-error relu's backward takes relu's cache
  relu.backward(y, cache);
  // @ts-expect-error a cache is not a gradient
  linear.backward(cache, y);

  const without = linear.backward(y, linear.forward({ x, W }).cache);
  // @ts-expect-error no b was given, so there is no db
  void without.db;
  const bias = b as Tensor | undefined;
  const maybe = linear.backward(y, linear.forward({ x, W, b: bias }).cache);
  // @ts-expect-error db may be undefined
  maybe.db.sum();

  const frozen = linear.backward(y, linear.forward({ x, W, b }, { frozen: ["W"] }).cache);
  void frozen.dx;
  // @ts-expect-error W is frozen
  void frozen.dW;
  // @ts-expect-error there is no input Wx to freeze
  linear.forward({ x, W }, { frozen: ["Wx"] });

  const loss = mse.backward(mse.forward({ x, target: x }).cache);
  // @ts-expect-error the target's gradient was not asked for
  void loss.dtarget;
  void (mse.backward(mse.forward({ x, target: x }, { frozen: [] }).cache).dtarget satisfies Tensor);
  // @ts-expect-error not a reduction
  mse.forward({ x, target: x }, { reduction: "average" });

  const low = lora.backward(y, lora.forward({ x, W, A: W, B: W }).cache);
  // @ts-expect-error W is frozen under LoRA
  void low.dW;

  const rows = embedding.backward(y, embedding.forward({ E: W, ids: [0, 1] }).cache);
  void (rows.dE satisfies Tensor);
  // @ts-expect-error whole numbers have no gradient
  void rows.dids;
  // @ts-expect-error ids are numbers
  embedding.forward({ E: W, ids: ["a"] });
  void embedding.forward({ E: W, ids: [0] }, { frozen: ["E"] });
  // @ts-expect-error whole numbers cannot be frozen
  embedding.forward({ E: W, ids: [0] }, { frozen: ["ids"] });
  // @ts-expect-error whole numbers have no tangent
  embedding.jvp({ E: W, ids: [0] }, { ids: x });

  // @ts-expect-error heads must be given
  multiHeadAttention.forward({ x, Wqkv: W, Wo: W });
  // @ts-expect-error rng must be given
  dropout.forward({ x }, { p: 0.5 });
  dropout.forward({ x }, { rng: rng(1) });
  // @ts-expect-error causal is true or false
  attention.forward({ q: x, k: x, v: x }, { causal: "yes" });
  // @ts-expect-error not a device
  relu.forward({ x }, { device: "tpu" });

  defineLayer({
    name: "twice", inputs: { x: "[...]", k: "[...]" }, output: "[...]",
    forward: ({ x: t, k }) => ({ y: t.mul(k), saved: undefined }),
    // @ts-expect-error dk is missing
    backward: (dy, { k }) => ({ dx: dy.mul(k) }),
    jvp: ({ x: dt }, { k }) => dt.mul(k),
  });
}

it("is checked by the compiler", () => {
  expect(typeof wrongCalls).toBe("function");
});
