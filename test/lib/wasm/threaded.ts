/** Run by threads.test.ts: uses a second thread, and ends. */

import { linear, randn, rng, useThreads } from "../../../lib";
import { wasm } from "../../../lib/wasm/module";

useThreads(2);
const [x, W] = [randn([512, 128], rng(1)).astype("float32"), randn([128, 128], rng(2)).astype("float32")];
for (let i = 0; i < 20; i++) linear.forward({ x, W }, { device: "wasm" });
console.log(JSON.stringify({ workers: (wasm().threads as unknown as { workers: unknown[] }).workers.length }));
