import { formatShape, sameShape, type Tensor } from "../../../lib";

/**
 * Shapes equal, and every element within tolerance of the tensor's greatest one; NaN and infinity only where expected.
 * `least` is the size of the terms that may have cancelled: an error is never measured against less.
 */
export function expectClose(found: Tensor | undefined, expected: Tensor, tolerance: number, what: string, least = 0.1): void {
  if (!found) throw new Error(`${what} is missing`);
  if (!sameShape(found.shape, expected.shape)) {
    throw new Error(`${what} has shape ${formatShape(found.shape)}, expected ${formatShape(expected.shape)}`);
  }
  const finite = Array.from(expected.data).filter(Number.isFinite).map(Math.abs);
  const scale = Math.max(finite.reduce((a, b) => Math.max(a, b), 0), least);
  for (let i = 0; i < expected.size; i++) {
    const [a, b] = [found.data[i], expected.data[i]];
    const same = Object.is(a, b) || a === b || Math.abs(a - b) <= tolerance * scale;
    if (!same) throw new Error(`${what} at ${i} of ${formatShape(expected.shape)} is ${a}, expected ${b} (scale ${scale})`);
  }
}
