import { Tensor } from "gradbook";

/** A function of one number and its derivative. */
export interface Activation {
  f(z: number): number;
  df(z: number): number;
}

/** `depth` sigmoid units in a row, all with weight w: the output and its derivative by x. */
export function scalarChain(x: number, w: number, depth: number): { y: number; slope: number } {
  let y = x;
  let slope = 1;
  for (let l = 0; l < depth; l++) {
    y = 1 / (1 + Math.exp(-w * y));
    // The sigmoid's slope is s (1 - s); w is the slope of what enters it.
    slope *= w * y * (1 - y);
  }
  return { y, slope };
}

/** dL/dz of every layer, first layer first: Ws[l] [n_out, n_in], x [n_0], da = dL/da of the last layer. */
export function errorSignals(Ws: Tensor[], x: Tensor, da: Tensor, activation: Activation): Tensor[] {
  const zs: Tensor[] = [];
  let a = x;
  for (const W of Ws) {
    const z = W.matmul(a);
    zs.push(z);
    a = z.map(activation.f);
  }
  const signals: Tensor[] = [];
  for (let l = Ws.length - 1; l >= 0; l--) {
    const delta = da.mul(zs[l].map(activation.df));
    signals.unshift(delta);
    da = Ws[l].T.matmul(delta);
  }
  return signals;
}

/** The same where each layer adds its input to its output; all Ws are square. */
export function residualSignals(Ws: Tensor[], x: Tensor, da: Tensor, activation: Activation): Tensor[] {
  const zs: Tensor[] = [];
  let a = x;
  for (const W of Ws) {
    const z = W.matmul(a);
    zs.push(z);
    a = a.add(z.map(activation.f));
  }
  const signals: Tensor[] = [];
  for (let l = Ws.length - 1; l >= 0; l--) {
    const delta = da.mul(zs[l].map(activation.df));
    signals.unshift(delta);
    // The input went two ways: over the skip, and through the layer.
    da = da.add(Ws[l].T.matmul(delta));
  }
  return signals;
}

/** The Euclidean norm of each tensor. */
export function normsOf(signals: Tensor[]): number[] {
  return signals.map((signal) => signal.norm());
}
