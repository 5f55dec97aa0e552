import { tensor, type Tensor } from "gradbook";

/** g(x) = (x1², x1 x2, exp x2): x [2] -> [3]. Given, for the pullback. */
export function g(x: Tensor): Tensor {
  const [x1, x2] = x.data;
  return tensor([x1 ** 2, x1 * x2, Math.exp(x2)]);
}

/** J_f(u): u [3] -> [2, 3]. Row 1 differentiates u1 u2, row 2 differentiates u2 + u3². */
export function jacobianF(u: Tensor): Tensor {
  const [u1, u2, u3] = u.data;
  return tensor([
    [u2, u1, 0],
    [0, 1, 2 * u3],
  ]);
}

/** J_g(x): x [2] -> [3, 2]. */
export function jacobianG(x: Tensor): Tensor {
  const [x1, x2] = x.data;
  return tensor([
    [2 * x1, 0],
    [x2, x1],
    [0, Math.exp(x2)],
  ]);
}

/** J_h(x): x [2] -> [2, 2], from h(x) = (x1³ x2, x1 x2 + exp(2 x2)). */
export function jacobianH(x: Tensor): Tensor {
  const [x1, x2] = x.data;
  return tensor([
    [3 * x1 ** 2 * x2, x1 ** 3],
    [x2, x1 + 2 * Math.exp(2 * x2)],
  ]);
}

/** J_h(x)ᵀ dy = J_g(x)ᵀ (J_f(g(x))ᵀ dy): two products with a vector, none with a matrix. */
export function pullback(x: Tensor, dy: Tensor): Tensor {
  const du = jacobianF(g(x)).T.matmul(dy.reshape(2, 1));
  return jacobianG(x).T.matmul(du).reshape(2);
}
