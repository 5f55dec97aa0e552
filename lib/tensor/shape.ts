/** Shapes: sizes, strides, axes and NumPy broadcasting, and the sentences said when they do not fit. */

export type Shape = readonly number[];

/** `[2, 3]`, as every error message writes a shape. */
export function formatShape(shape: Shape): string {
  return `[${shape.join(", ")}]`;
}

/** The number of elements of a shape; 1 for the scalar shape `[]`. */
export function sizeOf(shape: Shape): number {
  let size = 1;
  for (const dimension of shape) size *= dimension;
  return size;
}

export function sameShape(a: Shape, b: Shape): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** Row-major strides, in elements. */
export function stridesOf(shape: Shape): number[] {
  const strides = new Array<number>(shape.length);
  let stride = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    strides[i] = stride;
    stride *= shape[i];
  }
  return strides;
}

/** Checks that a shape is a list of whole numbers, none negative. */
export function checkShape(who: string, shape: Shape): void {
  if (!Array.isArray(shape) || shape.some((d) => !Number.isInteger(d) || d < 0)) {
    throw new Error(`${who}: the shape is ${JSON.stringify(shape)}, it should be a list of whole numbers`);
  }
}

/** `-1` is the last axis. */
export function normalizeAxis(who: string, axis: number, rank: number): number {
  const positive = axis < 0 ? axis + rank : axis;
  if (!Number.isInteger(axis) || positive < 0 || positive >= rank) {
    const range = rank === 0 ? "a scalar has no axes" : `it should be between ${-rank} and ${rank - 1}`;
    throw new Error(`${who}: the axis is ${axis}, ${range}`);
  }
  return positive;
}

/** One axis, several, or none (all of them), each as a position from the left, in rising order. */
export function normalizeAxes(who: string, axes: number | readonly number[] | undefined, rank: number): number[] {
  if (axes === undefined) return Array.from({ length: rank }, (_, i) => i);
  const list = (typeof axes === "number" ? [axes] : [...axes]).map((axis) => normalizeAxis(who, axis, rank));
  if (new Set(list).size !== list.length) throw new Error(`${who}: the axes ${formatShape(list)} name one axis twice`);
  return list.sort((a, b) => a - b);
}

/**
 * NumPy's rule: shapes are aligned at the right, and a dimension of 1 (or none) stretches to the other's.
 * `[2, 1]` and `[3]` give `[2, 3]`.
 */
export function broadcastShapes(who: string, a: Shape, b: Shape): number[] {
  const rank = Math.max(a.length, b.length);
  const out = new Array<number>(rank);
  for (let i = 1; i <= rank; i++) {
    const da = i <= a.length ? a[a.length - i] : 1;
    const db = i <= b.length ? b[b.length - i] : 1;
    if (da !== db && da !== 1 && db !== 1) {
      throw new Error(`${who}: shapes ${formatShape(a)} and ${formatShape(b)} do not broadcast`);
    }
    out[rank - i] = da === 1 ? db : da;
  }
  return out;
}

/** Strides with which a tensor of shape `shape` is read as if it had shape `out`: 0 along stretched axes. */
export function broadcastStrides(shape: Shape, out: Shape): number[] {
  const strides = stridesOf(shape);
  const lead = out.length - shape.length;
  return out.map((_, i) => (i < lead || shape[i - lead] === 1 ? 0 : strides[i - lead]));
}

/** The axes of `from` that broadcasting `to` up to `from` stretched: those a gradient is summed over. */
export function stretchedAxes(to: Shape, from: Shape): number[] {
  const lead = from.length - to.length;
  const axes: number[] = [];
  from.forEach((dimension, i) => {
    if (i < lead || (to[i - lead] === 1 && dimension !== 1)) axes.push(i);
  });
  return axes;
}
