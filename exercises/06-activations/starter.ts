import { Tensor } from "gradbook";

/** max(0, z); the slope at 0 is 0. */
export function reluBackward(da: Tensor, z: Tensor): Tensor {
  throw new Error("not written yet");
}

/** z where z > 0, slope · z elsewhere. */
export function leakyReluBackward(da: Tensor, z: Tensor, slope: number): Tensor {
  throw new Error("not written yet");
}

/** 1 / (1 + exp(-z)) */
export function sigmoidBackward(da: Tensor, z: Tensor): Tensor {
  throw new Error("not written yet");
}

/** tanh z */
export function tanhBackward(da: Tensor, z: Tensor): Tensor {
  throw new Error("not written yet");
}

/** log(1 + exp z) */
export function softplusBackward(da: Tensor, z: Tensor): Tensor {
  throw new Error("not written yet");
}

/** z / (1 + exp(-z)) */
export function siluBackward(da: Tensor, z: Tensor): Tensor {
  throw new Error("not written yet");
}

/** z Φ(z), with Φ(z) = (1 + erf(z / √2)) / 2 */
export function geluBackward(da: Tensor, z: Tensor): Tensor {
  throw new Error("not written yet");
}
