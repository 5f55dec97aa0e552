/** Run by layers.test.ts: trains for 10,000 steps in one job, then fills the memory without letting go. Prints bytes as JSON. */

import { gelu, linear, mse, randn, rng, Tensor } from "../../../lib";
import { wasm } from "../../../lib/wasm/module";

const random = rng(1);
const draw = (...shape: number[]): Tensor => randn(shape, random).astype("float32");
const [x, target, W1, W2] = [draw(32, 64), draw(32, 8), draw(128, 64), draw(8, 128)];
const device = "wasm" as const;

/** Whether all of a step's results lie in WebAssembly's memory. */
function step(): boolean {
  const a = linear.forward({ x, W: W1 }, { device });
  const b = gelu.forward({ x: a.y }, { device });
  const c = linear.forward({ x: b.y, W: W2 }, { device });
  const loss = mse.forward({ x: c.y, target }, { device });
  const { dx } = linear.backward(gelu.backward(linear.backward(mse.backward(loss.cache).dx, c.cache).dx, b.cache).dx, a.cache);
  return [a.y, b.y, c.y, dx].every((t) => t.data.buffer === wasm().memory.memory.buffer);
}

// The event loop never turns here: what a student writes is a plain loop.
let [peak, inside] = [0, 0];
for (let i = 0; i < 10_000; i++) {
  inside += +step();
  peak = Math.max(peak, wasm().memory.used);
}
wasm().memory.collect();
const after = wasm().memory.used;

const big = draw(1024, 1024);
const held: Tensor[] = [];
let full = 0;
for (let i = 0; i < 250; i++) {
  const { y } = gelu.forward({ x: big }, { device });
  held.push(y);
  full = Math.max(full, Math.abs(y.data[12345] - held[0].data[12345]));
}
const outside = held.filter((t) => t.data.buffer !== wasm().memory.memory.buffer).length;
held.length = 0;
wasm().memory.collect();
const again = step();
console.log(JSON.stringify({ peak, inside, after, full, outside, again }));
