/** jax-js's times, on its wasm backend, on the cases of ../ours.ts that it can run. */
import { best, print } from "./time.mjs";

globalThis.navigator ??= {};
const { defaultDevice, grad, init, jit, nn, numpy: np, random } = await import("@jax-js/jax");
await init("wasm");
defaultDevice("wasm");

const times = {};
let seed = 0;
const draw = (...shape) => random.normal(random.key(seed++), shape);
const done = (...arrays) => Promise.all(arrays.map((a) => a.data()));

for (const n of [256, 512, 1024]) {
  const [x, w] = [draw(n, n), draw(n, n)];
  const f = jit((x, w) => np.matmul(x, np.transpose(w)));
  times[`matmul ${n}`] = await best(() => done(f(x.ref, w.ref)));
}
{
  const [x, dy] = [draw(1024, 768), draw(1024, 768)];
  const norm = (x) => {
    const mean = np.mean(x.ref, -1, { keepdims: true });
    const c = x.sub(mean);
    const variance = np.mean(np.square(c.ref), -1, { keepdims: true });
    return np.sum(c.div(np.sqrt(variance.add(1e-5))).mul(dy.ref));
  };
  const f = jit(grad(norm));
  times["layerNorm 1024x768"] = await best(() => done(f(x.ref)));
}
{
  const logits = draw(1024, 4096);
  const targets = np.array(Int32Array.from({ length: 1024 }, () => Math.floor(Math.random() * 4096)));
  const f = jit(grad((x) => np.mean(np.sum(nn.logSoftmax(x).mul(nn.oneHot(targets.ref, 4096)), -1)).mul(-1)));
  times["softmax-CE 1024x4096"] = await best(() => done(f(logits.ref)));
}
print(times);
