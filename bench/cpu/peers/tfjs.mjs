/** tfjs-wasm's times on the cases of ../ours.ts that it can run. */
import * as tf from "@tensorflow/tfjs";
import { setWasmPaths } from "@tensorflow/tfjs-backend-wasm";
import { createRequire } from "node:module";
import path from "node:path";
import { best, print } from "./time.mjs";

const require = createRequire(import.meta.url);
setWasmPaths(path.dirname(require.resolve("@tensorflow/tfjs-backend-wasm")) + path.sep);
// Keeps the backend from fetching its binary as a URL.
globalThis.fetch = undefined;
await tf.setBackend("wasm");
await tf.ready();

const times = {};
const scoped = (body) => () => tf.tidy(() => void body().forEach((t) => t.dataSync()));

for (const n of [256, 512, 1024]) {
  const [x, w] = [tf.randomNormal([n, n]), tf.randomNormal([n, n])];
  times[`matmul ${n}`] = await best(scoped(() => [tf.matMul(x, w, false, true)]));
}

const gradients = (f, inputs, dy) => scoped(() => tf.grads(f)(inputs, dy));

{
  const norm = (x, gamma, beta) => {
    const { mean, variance } = tf.moments(x, -1, true);
    return x.sub(mean).div(variance.add(1e-5).sqrt()).mul(gamma).add(beta);
  };
  times["layerNorm 1024x768"] = await best(gradients(norm, [tf.randomNormal([1024, 768]), tf.randomNormal([768]), tf.randomNormal([768])], tf.randomNormal([1024, 768])));
}
{
  const above = tf.linalg.bandPart(tf.ones([256, 256]), 0, -1).sub(tf.eye(256)).mul(-1e9);
  const attend = (q, k, v) => tf.matMul(tf.softmax(tf.matMul(q, k, false, true).div(Math.sqrt(32)).add(above)), v);
  const draw = () => tf.randomNormal([4, 4, 256, 32]);
  times["attention B4 H4 T256 d32"] = await best(gradients(attend, [draw(), draw(), draw()], draw()));
}
{
  const onehot = tf.oneHot(tf.randomUniform([1024], 0, 4096, "int32"), 4096);
  const loss = (logits) => tf.losses.softmaxCrossEntropy(onehot, logits);
  times["softmax-CE 1024x4096"] = await best(gradients(loss, [tf.randomNormal([1024, 4096])]));
}
print(times);
