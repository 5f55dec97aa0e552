import { Tensor } from "gradbook";

/** max(0, z); the slope at 0 is 0. */
export function reluBackward(da: Tensor, z: Tensor): Tensor {
  return da.mul(z.gt(0));
}

/** z where z > 0, slope · z elsewhere. */
export function leakyReluBackward(da: Tensor, z: Tensor, slope: number): Tensor {
  return da.mul(z.map((x) => (x > 0 ? 1 : slope)));
}

/** 1 / (1 + exp(-z)) has the slope s (1 - s). */
export function sigmoidBackward(da: Tensor, z: Tensor): Tensor {
  const s = z.sigmoid();
  return da.mul(s).mul(s.neg().add(1));
}

/** tanh z has the slope 1 - tanh² z. */
export function tanhBackward(da: Tensor, z: Tensor): Tensor {
  return da.mul(z.tanh().square().neg().add(1));
}

/** log(1 + exp z) has the slope exp z / (1 + exp z), which is the sigmoid. */
export function softplusBackward(da: Tensor, z: Tensor): Tensor {
  return da.mul(z.sigmoid());
}

/** z s has the slope s + z s (1 - s). */
export function siluBackward(da: Tensor, z: Tensor): Tensor {
  const s = z.sigmoid();
  return da.mul(s.add(z.mul(s).mul(s.neg().add(1))));
}

/** z Φ(z) has the slope Φ(z) + z φ(z). */
export function geluBackward(da: Tensor, z: Tensor): Tensor {
  const Phi = z.div(Math.SQRT2).erf().add(1).div(2);
  const phi = z.square().div(-2).exp().div(Math.sqrt(2 * Math.PI));
  return da.mul(Phi.add(z.mul(phi)));
}
