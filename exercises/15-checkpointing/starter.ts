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
  throw new Error("not written yet");
}

/** Keeps a_0, a_k, a_2k, ... and recomputes the rest. dy = ∂L/∂a_L -> dx = ∂L/∂a_0. */
export function checkpointed(net: Net, x: Activation, dy: Tensor, k: number): Tensor {
  throw new Error("not written yet");
}

/** The smallest k in 1..L with the smallest memory(k) * compute(k). */
export function bestInterval(L: number): number {
  throw new Error("not written yet");
}
