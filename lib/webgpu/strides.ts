/** Walking tensors whose axes lie in memory in any order. */

import type { Shape } from "../tensor";

export interface Axis {
  size: number;
  /** How far each tensor advances along it. */
  readonly strides: readonly number[];
}

/** The axes, last first, with neighbours merged along which every tensor advances evenly. */
export function mergedAxes(shape: Shape, strides: readonly (readonly number[])[]): Axis[] {
  const axes: Axis[] = [];
  for (let i = shape.length - 1; i >= 0; i--) {
    if (shape[i] === 1) continue;
    const own = strides.map((s) => s[i]);
    const last = axes.at(-1);
    if (last && own.every((s, k) => s === last.strides[k] * last.size)) last.size *= shape[i];
    else axes.push({ size: shape[i], strides: own });
  }
  return axes;
}

/** Strides that give the numbers of a view another shape, where there are any. */
export function stridesThrough(shape: Shape, strides: readonly number[], other: Shape): number[] | undefined {
  const runs = mergedAxes(shape, [strides]);
  const own = new Array<number>(other.length).fill(0);
  let [run, left, step] = [0, runs[0]?.size ?? 1, runs[0]?.strides[0] ?? 1];
  for (let i = other.length - 1; i >= 0; i--) {
    if (other[i] === 1) continue;
    if (left === 1) [run, left, step] = [run + 1, runs[run + 1].size, runs[run + 1].strides[0]];
    if (left % other[i] !== 0) return undefined;
    own[i] = step;
    step *= other[i];
    left /= other[i];
  }
  return own;
}
