import { Tensor } from "gradbook";

/** A function of one number and its derivative. */
export interface Activation {
  f(z: number): number;
  df(z: number): number;
}

/** `depth` sigmoid units in a row, all with weight w: the output and its derivative by x. */
export function scalarChain(x: number, w: number, depth: number): { y: number; slope: number } {
  throw new Error("not written yet");
}

/** dL/dz of every layer, first layer first: Ws[l] [n_out, n_in], x [n_0], da = dL/da of the last layer. */
export function errorSignals(Ws: Tensor[], x: Tensor, da: Tensor, activation: Activation): Tensor[] {
  throw new Error("not written yet");
}

/** The same where each layer adds its input to its output; all Ws are square. */
export function residualSignals(Ws: Tensor[], x: Tensor, da: Tensor, activation: Activation): Tensor[] {
  throw new Error("not written yet");
}

/** The Euclidean norm of each tensor. */
export function normsOf(signals: Tensor[]): number[] {
  throw new Error("not written yet");
}
