import { checkInterrupt } from "../interrupt";
import { withDevice } from "../layers/device";
import { constantSchedule } from "../schedules";
import type { Tensor } from "../tensor";
import { adamwOnGpu, GpuTensor, gpuScope } from "../webgpu";
import { sumsOfSquares } from "../webgpu/norms";
import type { Gpt, Named } from "./gpt";
import { joinByLayer, sampleBatch, type TrainOptions, type TrainStep } from "./train";

/**
 * `train` on device "webgpu". The parameters move to the GPU for as long as the loop runs; when it ends, however it ends,
 * the model's own tensors hold the trained numbers. Each step waits for its loss and its norms, which come back together.
 */
export async function* trainOnGpu(
  model: Gpt, ids: Int32Array,
  { steps, optimizer, rng, batch = 8, tokens = model.config.context, schedule = constantSchedule, clip = 1 }: TrainOptions,
): AsyncGenerator<TrainStep, void, void> {
  const { b1, b2, eps, weightDecay, amsgrad } = optimizer.settings;
  // Without decay the two are one rule.
  const isAdamW = optimizer.name === "adamW" || (optimizer.name === "adam" && weightDecay === 0);
  if (!isAdamW || amsgrad) throw new Error(`train: the optimizer is ${optimizer.name}, on webgpu it should be adamW, or adam without weightDecay, and without amsgrad`);
  const adamW = adamwOnGpu({ betas: [b1, b2], eps, weightDecay });
  // Under LoRA what is trained is not among the parameters.
  const moved = [...new Set([model.parameters, model.trainable])].map((home) => ({ home, plain: { ...home } }));
  for (const { home } of moved) for (const [name, t] of Object.entries(home)) home[name] = GpuTensor.from(t);
  try {
    for (let step = 0; step < steps; step++) {
      checkInterrupt();
      const { inputs, targets } = sampleBatch(ids, batch, tokens, rng);
      const { gradients, measured } = gpuScope(() => withDevice("webgpu", () => {
        const { lossTensor, cache } = model.forward(inputs, targets);
        const gradients = model.backward(cache);
        return { gradients, measured: [lossTensor!, sumsOfSquares(Object.values(gradients))] };
      }));
      const [{ data: [loss] }, { data: squares }] = await Promise.all(measured.map((t) => t.read()));
      const norms = Object.fromEntries(Object.keys(gradients).map((name, i) => [name, Math.sqrt(squares[i])]));
      const norm = Math.hypot(...Object.values(norms));
      adamW.lr = optimizer.lr * schedule(step);
      // As clipGlobalNorm: a norm that is NaN makes every gradient NaN.
      gpuScope(() => adamW.step(model.trainable, gradients, { scale: norm > clip ? clip / norm : Number.isNaN(norm) ? NaN : 1 }));
      free(measured, gradients);
      yield { step, loss, lr: adamW.lr, norm, norms: joinByLayer(norms) };
    }
  } finally {
    const trained = { ...model.trainable };
    const own = moved.find(({ home }) => home === model.trainable)!.plain;
    for (const { home, plain } of moved) Object.assign(home, plain);
    for (const [name, t] of Object.entries(trained)) own[name].data.set((await t.read()).data);
  }
}

function free(measured: readonly Tensor[], gradients: Named): void {
  for (const t of [...measured, ...Object.values(gradients)]) (t as GpuTensor).dispose();
}
