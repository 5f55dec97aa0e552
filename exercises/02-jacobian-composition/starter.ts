import { tensor, type Tensor } from "gradbook";

/** g(x) = (x1², x1 x2, exp x2): x [2] -> [3]. Given, for the pullback. */
export function g(x: Tensor): Tensor {
  const [x1, x2] = x.data;
  return tensor([x1 ** 2, x1 * x2, Math.exp(x2)]);
}

/** J_f(u): u [3] -> [2, 3]. */
export function jacobianF(u: Tensor): Tensor {
  throw new Error("not written yet");
}

/** J_g(x): x [2] -> [3, 2]. */
export function jacobianG(x: Tensor): Tensor {
  throw new Error("not written yet");
}

/** J_h(x): x [2] -> [2, 2], from h written out in x. */
export function jacobianH(x: Tensor): Tensor {
  throw new Error("not written yet");
}

/** J_h(x)ᵀ dy: x [2], dy [2] -> [2], through f first, then through g. */
export function pullback(x: Tensor, dy: Tensor): Tensor {
  throw new Error("not written yet");
}
