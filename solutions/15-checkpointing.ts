import { type Tensor } from "gradbook";

/** A handle: the numbers stay inside the net. */
export interface Activation {
  readonly id: number;
}

/** L layers whose live activations and forward runs are counted. */
export interface Net {
  readonly depth: number;
  forward(l: number, a: Activation): Activation;
  backward(l: number, da: Tensor, a: Activation): Tensor;
  free(a: Activation): void;
  state(): unknown;
  restore(state: unknown): void;
}

/** Keeps every activation. dy = ∂L/∂a_L -> dx = ∂L/∂a_0. */
export function plain(net: Net, x: Activation, dy: Tensor): Tensor {
  const inputs = [x];
  for (let l = 1; l <= net.depth; l++) inputs.push(net.forward(l, inputs[l - 1]));
  let da = dy;
  for (let l = net.depth; l >= 1; l--) da = net.backward(l, da, inputs[l - 1]);
  return da;
}

/** Keeps a_0, a_k, a_2k, ... and recomputes the rest. dy = ∂L/∂a_L -> dx = ∂L/∂a_0. */
export function checkpointed(net: Net, x: Activation, dy: Tensor, k: number): Tensor {
  const kept: { start: number; a: Activation; state: unknown }[] = [];
  let a = x;
  for (let l = 1; l <= net.depth; l++) {
    const checkpoint = (l - 1) % k === 0;
    if (checkpoint) kept.push({ start: l - 1, a, state: net.state() });
    const next = net.forward(l, a);
    if (!checkpoint) net.free(a);
    a = next;
  }
  net.free(a);

  let da = dy;
  for (const { start, a: first, state } of kept.reverse()) {
    const end = Math.min(start + k, net.depth);
    net.restore(state);
    const inputs = [first];
    for (let l = start + 1; l < end; l++) inputs.push(net.forward(l, inputs[inputs.length - 1]));
    for (let l = end; l > start; l--) da = net.backward(l, da, inputs[l - 1 - start]);
    for (const done of inputs) net.free(done);
  }
  return da;
}

/** The smallest k in 1..L with the smallest memory(k) * compute(k). */
export function bestInterval(L: number): number {
  let best = 1;
  let least = Infinity;
  for (let k = 1; k <= L; k++) {
    const segments = Math.ceil(L / k);
    const product = (segments + k) * (3 * L + (L - segments));
    if (product < least) {
      least = product;
      best = k;
    }
  }
  return best;
}
