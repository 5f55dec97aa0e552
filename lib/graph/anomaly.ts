import { observeLayers } from "../layers";
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

/**
 * Runs `body` and stops at the first layer whose forward or backward makes a NaN or an infinity, with the name of the
 * layer and of its place in the model (`layerScope`). The counterpart for layers called by hand of a tape's `anomaly`.
 * Costs a reading of every number that layers make. Layers on WebGPU keep their numbers on the GPU and are refused.
 *
 * ```ts
 * detectAnomaly(() => model.backward(model.forward(ids, targets).cache));
 * // AnomalyError: anomaly: backward of layerNorm in block0.norm1 made a NaN in dx at [0, 3, 1]
 * ```
 */
export function detectAnomaly<T>(body: () => T): T {
  return observeLayers(({ layer, pass, device, given, made, scope }) => {
    if (device === "webgpu") throw new Error(`detectAnomaly: ${layer} runs on webgpu, expected device cpu or wasm`);
    const at = `${pass} of ${layer}${scope ? ` in ${scope}` : ""}`;
    for (const [name, t] of Object.entries(made)) {
      if (!firstNonFinite(t)) continue;
      for (const [input, from] of Object.entries(given)) {
        if (from && from.dtype !== "int32") checkFinite(from, () => `${at} was given, in ${input},`);
      }
      checkFinite(t, () => `${at} made, in ${name},`);
    }
  }, body);
}
