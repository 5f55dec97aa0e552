import { type Tensor } from "gradbook";

/** step * clip(round(w / step), -n, n), of any shape. */
export function quantize(w: Tensor, step: number, n: number): Tensor {
  return w.div(step).round().clip(-n, n).mul(step);
}

/** The straight-through gradient with respect to w; dwhat has w's shape. */
export function quantizeBackward(dwhat: Tensor, w: Tensor, step: number, n: number): Tensor {
  return dwhat.mul(w.div(step).abs().le(n));
}

/** ŵ = round(w), L = (ŵ - target)². */
export function steUpdate(w: number, target: number, lr: number): { loss: number; dw: number; next: number } {
  const error = Math.round(w) - target;
  const dw = 2 * error;
  return { loss: error ** 2, dw, next: w - lr * dw };
}

/** x [N, in], target [N, out], w [out, in]. One loss a step, before its change. */
export function trainQuantized(
  x: Tensor, target: Tensor, w: Tensor, step: number, n: number, lr: number, steps: number,
): { losses: number[]; w: Tensor } {
  const N = x.shape[0];
  const losses: number[] = [];
  for (let s = 0; s < steps; s++) {
    const error = x.matmul(quantize(w, step, n).T).sub(target);
    losses.push(error.square().sum().item() / (2 * N));
    const dwhat = error.T.matmul(x).div(N);
    w = w.sub(quantizeBackward(dwhat, w, step, n).mul(lr));
  }
  return { losses, w };
}
