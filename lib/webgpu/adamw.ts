import type { Tensor } from "../tensor";
import { gpu } from "./connect";
import { floatBits, grid } from "./gpu";
import { adamw, ADAMW_SIZE } from "./kernels/adamw";
import { outsideScopes } from "./storage";
import { floats, GpuTensor } from "./tensor";

export interface AdamwOptions {
  readonly lr?: number;
  readonly betas?: readonly [number, number];
  readonly eps?: number;
  readonly weightDecay?: number;
}

/** The moments of parameters that are updated together. */
interface Moments {
  readonly m: GpuTensor;
  readonly v: GpuTensor;
}

/** Where one parameter's begin, counted in fours. */
interface Slot {
  readonly moments: Moments;
  readonly start: number;
}

interface Update {
  readonly name: string;
  readonly w: GpuTensor;
  readonly g: Tensor;
}

const fours = (t: Tensor): number => Math.ceil(t.size / 4);

/**
 * AdamW for parameters that live on the GPU, updated where they lie, several by one kernel. `step(parameters, gradients)`
 * takes both by name; a parameter without a gradient stays as it is. `scale` multiplies the gradients first: below 1, it
 * clips them.
 *
 * @throws when a parameter is not on the GPU: a plain tensor would be copied there and the update lost
 */
export function adamwOnGpu({ lr = 1e-3, betas: [b1, b2] = [0.9, 0.999], eps = 1e-8, weightDecay = 0.01 }: AdamwOptions = {}) {
  const slots = new Map<string, Slot>();
  let t = 0;

  /** Moments, 0 at first, for parameters that had none. */
  const begin = (updates: readonly Update[]): void => {
    for (const some of batches(updates)) {
      const shape = [4 * some.reduce((n, { w }) => n + fours(w), 0)];
      const moments = outsideScopes(() => ({ m: GpuTensor.zeros(shape), v: GpuTensor.zeros(shape) }));
      let start = 0;
      for (const { name, w } of some) {
        slots.set(name, { moments, start });
        start += fours(w);
      }
    }
  };

  return {
    /** The learning rate; a schedule sets it between steps. */
    lr,
    step(parameters: Readonly<Record<string, Tensor>>, gradients: Readonly<Record<string, Tensor | undefined>>, { scale = 1 } = {}): void {
      t++;
      const updates: Update[] = [];
      for (const [name, w] of Object.entries(parameters)) {
        const g = gradients[name];
        if (!g) continue;
        if (!(w instanceof GpuTensor)) throw new Error(`adamwOnGpu: ${name} is not on the GPU; put it there with GpuTensor.from(${name})`);
        if (g.size !== w.size) throw new Error(`adamwOnGpu: ${name}'s gradient has ${g.size} numbers, ${name} has ${w.size}`);
        updates.push({ name, w, g });
      }
      begin(updates.filter(({ name }) => !slots.has(name)));
      const numbers = [this.lr, b1, b2, eps, weightDecay, 1 - b1 ** t, 1 - b2 ** t, scale].map(floatBits);
      for (const some of batches(updates, ({ name }) => slots.get(name)!.moments)) {
        const { m, v } = slots.get(some[0].name)!.moments;
        let groups = 0;
        const each = some.flatMap(({ name, w }) => [groups, (groups += Math.ceil(fours(w) / ADAMW_SIZE)), w.size, slots.get(name)!.start]);
        for (const { w } of some) w.changing();
        gpu().run(adamw(some.length), {
          buffers: [...some.flatMap(({ w, g }) => [floats(g), w]), m, v].map((tensor) => tensor.binding),
          params: [...numbers, ...each],
          groups: grid(groups),
        });
      }
    },
  };
}

/** Updates that one kernel can do: as many as it can bind, no buffer written twice, moments that fit a tensor and are the same. */
function batches(updates: readonly Update[], momentsOf?: (update: Update) => Moments): Update[][] {
  const { limits: { buffers }, device: { limits } } = gpu();
  const mostBytes = Math.min(limits.maxStorageBufferBindingSize, limits.maxBufferSize);
  const found: Update[][] = [];
  let bytes = 0;
  for (const update of updates) {
    const last = found.at(-1);
    bytes += 16 * fours(update.w);
    const fits = last && 2 * (last.length + 1) + 2 <= buffers && bytes <= mostBytes / 2 && momentsOf?.(last[0]) === momentsOf?.(update) &&
      last.every(({ w }) => w.place.buffer !== update.w.place.buffer);
    if (fits) last.push(update);
    else [found[found.length], bytes] = [[update], 16 * fours(update.w)];
  }
  return found;
}
