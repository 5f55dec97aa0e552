import type { Tensor } from "../tensor";
import { gpu } from "./connect";
import { floatBits, grid } from "./gpu";
import { adamw, ADAMW_SIZE } from "./kernels/adamw";
import { floats, GpuTensor, outsideScopes } from "./tensor";

export interface AdamwOptions {
  readonly lr?: number;
  readonly betas?: readonly [number, number];
  readonly eps?: number;
  readonly weightDecay?: number;
}

/**
 * AdamW for parameters that live on the GPU, updated where they lie. `step(parameters, gradients)` takes both by name;
 * a parameter without a gradient stays as it is. `scale` multiplies the gradients first: below 1, it clips them.
 *
 * @throws when a parameter is not on the GPU: a plain tensor would be copied there and the update lost
 */
export function adamwOnGpu({ lr = 1e-3, betas: [b1, b2] = [0.9, 0.999], eps = 1e-8, weightDecay = 0.01 }: AdamwOptions = {}) {
  const state = new Map<string, { m: GpuTensor; v: GpuTensor }>();
  let t = 0;
  return {
    /** The learning rate; a schedule sets it between steps. */
    lr,
    step(parameters: Readonly<Record<string, Tensor>>, gradients: Readonly<Record<string, Tensor | undefined>>, { scale = 1 } = {}): void {
      t++;
      for (const [name, w] of Object.entries(parameters)) {
        const g = gradients[name];
        if (!g) continue;
        if (!(w instanceof GpuTensor)) throw new Error(`adamwOnGpu: ${name} is not on the GPU; put it there with GpuTensor.from(${name})`);
        if (g.size !== w.size) throw new Error(`adamwOnGpu: ${name}'s gradient has ${g.size} numbers, ${name} has ${w.size}`);
        let own = state.get(name);
        if (!own) state.set(name, (own = outsideScopes(() => ({ m: w.mul(0) as GpuTensor, v: w.mul(0) as GpuTensor }))));
        gpu().run(adamw, {
          buffers: [floats(g), w, own.m, own.v].map((tensor) => tensor.buffer),
          params: [w.size, ...[this.lr, b1, b2, eps, weightDecay, 1 - b1 ** t, 1 - b2 ** t, scale].map(floatBits)],
          groups: grid(Math.ceil(w.size / ADAMW_SIZE)),
        });
      }
    },
  };
}
