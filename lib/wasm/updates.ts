/**
 * Optimisers' updates of float32 weights on WebAssembly kernels: the rules of lib/optim, their state in float32 too and
 * kept in WebAssembly's memory. One thread does it: it waits for the memory, not for arithmetic.
 */

import type { DeviceUpdate } from "../optim/optimizer";
import { Tensor } from "../tensor";
import { wasm } from "./module";
import { frame } from "./tensor";

/**
 * Runs `kernel` on the addresses of the weights, their gradient and the state arrays named. False leaves the update to
 * plain TypeScript: for another dtype, and for a state that was begun there, in doubles.
 */
function update({ w, g, state }: DeviceUpdate, slots: readonly string[], kernel: (...addresses: number[]) => void): boolean {
  if (w.dtype !== "float32" || g.dtype !== "float32") return false;
  for (const name of slots) state[name] ??= zeros(w.size);
  const arrays = slots.map((name) => state[name]);
  if (!arrays.every((array) => array instanceof Float32Array)) return false;
  frame((f) => kernel(f.change(w), f.read(g), ...arrays.map((array) => f.change(new Tensor(array, [w.size])))));
  return true;
}

/** Numbers that outlive the training step, and any `tidy` around it. */
function zeros(size: number): Float32Array {
  const { memory } = wasm();
  const block = memory.allocate(4 * size, "lasting");
  return block ? (memory.view(block, "float32", size) as Float32Array).fill(0) : new Float32Array(size);
}

const adam = (decoupled: boolean) => (u: DeviceUpdate): boolean => {
  const { w, lr, t, settings: { b1, b2, eps, weightDecay, amsgrad } } = u;
  if (amsgrad) return false;
  return update(u, ["m", "v"], (...at) => wasm().kernels.adam(w.size, ...at, b1, 1 - b1, b2, 1 - b2, lr / (1 - b1 ** t), 1 / (1 - b2 ** t), eps,
    decoupled ? 0 : weightDecay, decoupled ? 1 - lr * weightDecay : 1));
};

export const updates = {
  sgd(u: DeviceUpdate): boolean {
    const { w, lr, t, settings: { momentum, dampening, weightDecay, nesterov } } = u;
    if (momentum === 0) return update(u, [], (...at) => wasm().kernels.sgd(w.size, ...at, lr, weightDecay));
    return update(u, ["v"], (...at) => wasm().kernels.momentum(w.size, ...at, lr, weightDecay, momentum, t === 1 ? 1 : 1 - dampening, nesterov));
  },
  adam: adam(false),
  adamW: adam(true),
};
