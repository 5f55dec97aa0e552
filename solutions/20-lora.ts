import { type Tensor } from "gradbook";

/** dy [N, m], x [N, n], W [m, n], A [r, n], B [m, r] -> dB [m, r], dA [r, n], dx [N, n]. */
export function loraBackward(
  dy: Tensor, x: Tensor, W: Tensor, A: Tensor, B: Tensor, alpha: number,
): { dB: Tensor; dA: Tensor; dx: Tensor } {
  const s = alpha / A.shape[0];
  const u = x.matmul(A.T);
  const du = dy.matmul(B).mul(s);
  return { dB: dy.T.matmul(u).mul(s), dA: du.T.matmul(x), dx: dy.matmul(W).add(du.matmul(A)) };
}

/** How many numbers get a gradient: W of [m, n] itself, or A [r, n] and B [m, r]. */
export function loraCounts(m: number, n: number, r: number): { full: number; lora: number } {
  return { full: m * n, lora: r * (m + n) };
}

/** Gradient descent on A and B; W is frozen. x [N, n], target [N, m]. One loss a step, before its change. */
export function trainLora(
  x: Tensor, target: Tensor, W: Tensor, A: Tensor, B: Tensor, alpha: number, lr: number, steps: number,
): { losses: number[]; A: Tensor; B: Tensor } {
  const N = x.shape[0];
  const s = alpha / A.shape[0];
  const losses: number[] = [];
  for (let step = 0; step < steps; step++) {
    const error = x.matmul(W.T).add(x.matmul(A.T).matmul(B.T).mul(s)).sub(target);
    losses.push(error.square().sum().item() / (2 * N));
    const { dA, dB } = loraBackward(error.div(N), x, W, A, B, alpha);
    A = A.sub(dA.mul(lr));
    B = B.sub(dB.mul(lr));
  }
  return { losses, A, B };
}

/** Gradient descent on W. x [N, n], target [N, m], W [m, n]. One loss a step, before its change. */
export function trainFull(x: Tensor, target: Tensor, W: Tensor, lr: number, steps: number): { losses: number[]; W: Tensor } {
  const N = x.shape[0];
  const losses: number[] = [];
  for (let step = 0; step < steps; step++) {
    const error = x.matmul(W.T).sub(target);
    losses.push(error.square().sum().item() / (2 * N));
    W = W.sub(error.T.matmul(x).mul(lr / N));
  }
  return { losses, W };
}
