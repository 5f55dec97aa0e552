/** Run by layers.test.ts with --expose-gc: trains for 10,000 steps, then fills the memory without letting go. Prints bytes as JSON. */

import { gelu, linear, mse, randn, rng, Tensor } from "../../../lib";
import { wasm } from "../../../lib/wasm/module";

const random = rng(1);
const draw = (...shape: number[]): Tensor => randn(shape, random).astype("float32");
const [x, target, W1, W2] = [draw(16, 32), draw(16, 8), draw(64, 32), draw(8, 64)];
const device = "wasm" as const;

function step(): void {
  const a = linear.forward({ x, W: W1 }, { device });
  const b = gelu.forward({ x: a.y }, { device });
  const c = linear.forward({ x: b.y, W: W2 }, { device });
  const loss = mse.forward({ x: c.y, target }, { device });
  linear.backward(gelu.backward(linear.backward(mse.backward(loss.cache).dx, c.cache).dx, b.cache).dx, a.cache);
}

async function collect(): Promise<void> {
  global.gc!();
  await new Promise((resolve) => setTimeout(resolve, 10));
}

async function main(): Promise<void> {
  let peak = 0;
  for (let i = 0; i < 10_000; i++) {
    step();
    peak = Math.max(peak, wasm().memory.used);
    // A training loop in a notebook lets the event loop turn, to draw; that is when blocks are given back.
    if (i % 500 === 0) await collect();
  }
  await collect();
  const after = wasm().memory.used;

  const big = draw(1024, 1024);
  const held: Tensor[] = [];
  let full = 0;
  for (let i = 0; i < 250; i++) {
    const { y } = gelu.forward({ x: big }, { device });
    held.push(y);
    full = Math.max(full, Math.abs(y.data[12345] - held[0].data[12345]));
  }
  console.log(JSON.stringify({ peak, after, full }));
}

void main();
