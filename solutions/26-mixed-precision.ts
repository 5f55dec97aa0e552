import { type Tensor } from "gradbook";

/** Rounds to float16; given. */
export type Half = <T extends Tensor | number>(x: T) => T;

/** x [N, in], w [out, in], target [N, out] -> the scaled gradient of w, in float16, and the true one, unscaled. */
export function scaledGradient(
  half: Half, x: Tensor, w: Tensor, target: Tensor, S: number,
): { scaled: Tensor; dw: Tensor } {
  const y = half(x.matmul(half(w).T));
  const dy = half(y.sub(target).mul(S / x.shape[0]));
  const scaled = half(dy.T.matmul(x));
  return { scaled, dw: scaled.div(S) };
}

/** 1 if every number of every tensor is finite, else 0. */
export function isFinite16(gradients: Tensor[]): number {
  return gradients.every((g) => g.data.every((value: number) => Number.isFinite(value))) ? 1 : 0;
}

/** The loss scale after a step: finite is 1, or 0 after an overflow. */
export function updateScale(
  state: { S: number; good: number }, finite: number, growthInterval: number,
): { S: number; good: number } {
  if (!finite) return { S: state.S / 2, good: 0 };
  const good = state.good + 1;
  return good === growthInterval ? { S: state.S * 2, good: 0 } : { S: state.S, good };
}

/** Gradient descent in float16 with float32 master weights w. */
export function train(
  half: Half, x: Tensor, target: Tensor, w: Tensor, lr: number, S: number, steps: number,
): { w: Tensor; S: number; skipped: number } {
  let skipped = 0;
  for (let step = 0; step < steps; step++) {
    const { scaled, dw } = scaledGradient(half, x, w, target, S);
    if (isFinite16([scaled])) {
      w = w.sub(dw.mul(lr));
    } else {
      S /= 2;
      skipped++;
    }
  }
  return { w, S, skipped };
}
