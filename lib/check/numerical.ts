/**
 * Derivatives by differences: central, and Richardson's extrapolation of it with an error bar.
 *
 *     central      (f(x + h) - f(x - h)) / 2h            error c h^2 + c' h^4 + ...
 *     Richardson   (4 D(h/2) - D(h)) / 3                 the h^2 term cancels; again for h^4, h^6, ...
 *
 * Sources: Math for LLMs, appendix D.1; Ridders, "Accurate computation of F'(x) and F'(x) F''(x)",
 * Advances in Engineering Software 4 (1982), for the tableau and its error bar.
 */

import { checkInterrupt } from "../interrupt";
import { Tensor, zerosLike, type Nested } from "../tensor";
import { mapArgument, readArgument, readResult, type Argument } from "./tree";

export interface NumericalOptions {
  /** "richardson" (default): accurate to about 1e-11, some 12 evaluations an element; "central": two evaluations. */
  readonly method?: "richardson" | "central";
  /** The (first) step, relative to max(1, |x|). Default 0.02 for Richardson, 6e-6 for central (eps^(1/3)). */
  readonly step?: number;
}

/** One derivative with the bar within which it is known. */
export interface Slope {
  readonly value: number;
  /** An estimate of |value - true derivative|; at a kink half the gap between its slopes, huge at a jump. */
  readonly error: number;
  /** The slopes on both sides, where they differ: a kink, as of relu at 0. */
  readonly kink?: { readonly left: number; readonly right: number };
  readonly evaluations: number;
}

const EPS = Number.EPSILON;
/** Each step is half of the one before. */
const SHRINK = 2;
/** Levels of the tableau that always run, and those at most when a kink lies near. */
const LEVELS = 6;
const MOST_LEVELS = 15;
/** A relative error bar above this makes the tableau go on to smaller steps. */
const SATISFIED = 1e-9;

/** Richardson's derivative of a function of one number. */
export function richardson(f: (x: number) => number, x: number, step = 0.02): Slope {
  const size = Math.max(1, Math.abs(x));
  const at = f(x);
  let evaluations = 1;
  let best = { value: NaN, error: Infinity };
  let previous: number[] = [];
  let slopes = { left: NaN, right: NaN, h: 0 };
  let [wider, scale] = [slopes, Math.abs(at)];
  for (let level = 0; level < MOST_LEVELS; level++) {
    // x + h must be exact, or the rounding of x + h counts as part of the slope.
    const h = x + (step * size) / SHRINK ** level - x;
    const [up, down] = [f(x + h), f(x - h)];
    evaluations += 2;
    scale = Math.max(scale, Math.abs(up), Math.abs(down));
    [wider, slopes] = [slopes, { left: (at - down) / h, right: (up - at) / h, h }];
    const row = [(up - down) / (2 * h)];
    // Rounding of f's values, and of its argument.
    const noise = (4 * EPS * (scale + Math.abs(x * row[0]))) / h;
    let factor = 1;
    for (let k = 1; k <= level; k++) {
      factor *= SHRINK * SHRINK;
      row.push((row[k - 1] * factor - previous[k - 1]) / (factor - 1));
      const error = Math.max(Math.abs(row[k] - row[k - 1]), Math.abs(row[k] - previous[k - 1]), noise);
      if (error < best.error) best = { value: row[k], error };
    }
    previous = row;
    const good = best.error <= SATISFIED * Math.max(Math.abs(best.value), 1e-3 * scale);
    if (level + 1 >= LEVELS && good) break;
    // Not a number stays not a number at every step.
    if (level + 1 >= LEVELS && row[0] !== row[0] && previous.every((v) => v !== v)) break;
  }
  if (best.error === Infinity) return { value: NaN, error: NaN, evaluations };
  const { left, right, h } = slopes;
  const gap = Math.abs(right - left);
  // On a smooth function the gap between left and right slopes halves with the step.
  const smooth = gap <= 0.75 * Math.abs(wider.right - wider.left) || gap <= (64 * EPS * scale) / h + 1e-7 * Math.abs(left);
  if (smooth) return { ...best, evaluations };
  // At a kink both slopes have settled; elsewhere (a jump, noise) they have not, and nothing is known.
  const settled = Math.abs(left - wider.left) + Math.abs(right - wider.right) <= 0.1 * gap;
  return settled
    ? { value: (left + right) / 2, error: gap / 2, kink: { left, right }, evaluations }
    : { ...best, error: Math.max(best.error, gap), evaluations };
}

/** The central difference of a function of one number. */
export function central(f: (x: number) => number, x: number, step = Math.cbrt(EPS)): number {
  const h = x + step * Math.max(1, Math.abs(x)) - x;
  return (f(x + h) - f(x - h)) / (2 * h);
}

/** The scalar result of f; anything else is an error. */
function scalar(who: string, y: unknown): number {
  const t = readResult(who, y);
  if (t.size !== 1) throw new Error(`${who}: the function returned shape [${t.shape.join(", ")}], it should return one number`);
  return t.item();
}

/** A float64 copy of the argument whose numbers may be moved one at a time. */
function movable<A extends Argument>(x: A): A {
  return mapArgument(x, (t) => new Tensor(Float64Array.from(t.data), t.shape));
}

/** f as a function of one element of t, which is part of x; t holds its old number again after each call. */
export function alongElement<A extends Argument>(f: (x: A) => number, x: A, t: Tensor, i: number): (value: number) => number {
  return (value) => {
    checkInterrupt();
    const before = t.data[i];
    t.data[i] = value;
    try {
      return f(x);
    } finally {
      t.data[i] = before;
    }
  };
}

export { movable, scalar };

/**
 * The gradient of a scalar function by differences, of x's shape (or an object of gradients, for an object of tensors).
 * A plain number gives a plain derivative: `numericalGradient((x) => x * x, 3)` is 6.
 *
 * Works on a float64 copy, whatever x's dtype. `f` sees x change in place between calls, and must not keep it.
 */
export function numericalGradient(f: (x: number) => number, x: number, options?: NumericalOptions): number;
export function numericalGradient<A extends Argument>(f: (x: A) => Tensor | number, x: A, options?: NumericalOptions): A;
export function numericalGradient(f: (x: Tensor) => Tensor | number, x: readonly Nested[], options?: NumericalOptions): Tensor;
export function numericalGradient(f: any, x: number | Argument | readonly Nested[], options: NumericalOptions = {}): number | Argument {
  const who = "numericalGradient";
  const { method = "richardson", step } = options;
  if (method !== "richardson" && method !== "central") {
    throw new Error(`${who}: the method is ${JSON.stringify(method)}, it should be "richardson" or "central"`);
  }
  if (step !== undefined && !(step > 0)) throw new Error(`${who}: the step is ${step}, it should be a positive number`);
  const slope = (along: (value: number) => number, at: number): number =>
    method === "central" ? central(along, at, step) : richardson(along, at, step).value;
  if (typeof x === "number") return slope((value) => scalar(who, f(value)), x);
  const moving = movable(readArgument<Argument>(who, x as Argument));
  return mapArgument(moving, (t) => {
    const gradient = zerosLike(t);
    for (let i = 0; i < t.size; i++) {
      gradient.data[i] = slope(alongElement((at) => scalar(who, f(at)), moving, t, i), t.data[i]);
    }
    return gradient;
  });
}
