import { Tensor } from "gradbook";

/** y = x + W2 tanh(W1 x): dy [n], x [n], W1 [h, n], W2 [n, h]. */
export function blockBackward(dy: Tensor, x: Tensor, W1: Tensor, W2: Tensor): { dW2: Tensor; dW1: Tensor; dx: Tensor } {
  const a = W1.matmul(x).tanh();
  const dW2 = dy.reshape(-1, 1).matmul(a.reshape(1, -1));
  const da = W2.T.matmul(dy);
  const dz = da.mul(a.square().neg().add(1));
  const dW1 = dz.reshape(-1, 1).matmul(x.reshape(1, -1));
  // x went two ways: over the skip, and into the branch.
  return { dW2, dW1, dx: dy.add(W1.T.matmul(dz)) };
}

/** From dL/dx_L [n] to dL/dx_0 [n]: the branch of block l has the Jacobian Js[l - 1] [n, n]. */
export function stackBackward(dy: Tensor, Js: Tensor[]): Tensor {
  let dx = dy;
  for (let l = Js.length - 1; l >= 0; l--) dx = dx.add(Js[l].T.matmul(dx));
  return dx;
}

/** The same gradient by length of path: entry k [n] sums over all paths through exactly k branches. */
export function pathsByLength(dy: Tensor, Js: Tensor[]): Tensor[] {
  const paths = [dy];
  for (let l = Js.length - 1; l >= 0; l--) {
    const through = paths.map((path) => Js[l].T.matmul(path));
    // A path that takes this branch has one branch more than it had before.
    through.forEach((path, k) => {
      paths[k + 1] = k + 1 < paths.length ? paths[k + 1].add(path) : path;
    });
  }
  return paths;
}
