import type { Tensor } from "../tensor";

/** The position of the first NaN or infinity, and which of the two; nothing when all numbers are finite. */
export function firstNonFinite(t: Tensor): { index: number[]; value: number } | undefined {
  const { data, shape } = t;
  for (let i = 0; i < data.length; i++) {
    if (Number.isFinite(data[i])) continue;
    const index: number[] = [];
    for (let axis = shape.length - 1, rest = i; axis >= 0; axis--) {
      index.unshift(rest % shape[axis]);
      rest = Math.floor(rest / shape[axis]);
    }
    return { index, value: data[i] };
  }
  return undefined;
}

/** Thrown by anomaly mode. */
export class AnomalyError extends Error {
  override readonly name = "AnomalyError";
}

/** @throws AnomalyError with one sentence: `where`, what was found, and at which position. */
export function checkFinite(t: Tensor, where: () => string): void {
  const bad = firstNonFinite(t);
  if (!bad) return;
  const what = Number.isNaN(bad.value) ? "a NaN" : bad.value > 0 ? "an infinity" : "a negative infinity";
  throw new AnomalyError(`anomaly: ${where()} ${what} at [${bad.index.join(", ")}]`);
}
