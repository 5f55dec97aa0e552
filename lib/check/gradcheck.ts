/**
 * gradcheck: a backward against Richardson differences, element by element, each with its own error bar.
 *
 * A vector-valued y is checked through the scalar L = <y, dy> with a random dy, which sees every entry of the Jacobian.
 */

import type { AnyLayer } from "../layers";
import { formatShape, randn, rng, sameShape, Tensor, type Shape } from "../tensor";
import { alongElement, movable, richardson, type Slope } from "./numerical";
import { isSmooth, readResult } from "./tree";

export interface GradcheckOptions {
  /** The layer's own options; a function is called before each forward, so that a generator can start afresh. */
  readonly options?: Readonly<Record<string, unknown>> | (() => Readonly<Record<string, unknown>>);
  /** The upstream gradient; random where it is left out. */
  readonly dy?: Tensor;
  /** Allowed error relative to the greatest gradient of the input. Default 1e-7, for float32 2e-4. */
  readonly tolerance?: number;
  /** At most so many elements of each input are checked, spread evenly. Default 200. */
  readonly elements?: number;
  readonly seed?: number;
  /** Inputs that need no gradient, where the layer does not say so itself. */
  readonly frozen?: readonly string[];
}

/** Anything with a forward and a backward: a layer, a student's own, a model. */
export interface Checkable {
  readonly name?: string;
  readonly differentiable?: readonly string[];
  forward(inputs: any, options?: any): { y: Tensor | number; cache: any };
  backward(dy: any, cache: any): any;
}

/** A function of inputs that returns its scalar y together with its gradients, `{ y, dx, dW, ... }`. */
export type WithGradients = (inputs: any) => { readonly y: Tensor | number; readonly [gradient: string]: Tensor | number };

export interface InputCheck {
  readonly passed: boolean;
  /** In one sentence, what is wrong. */
  readonly message?: string;
  /** The greatest |analytic - numeric| over the elements checked. */
  readonly maxError: number;
  /** The same, relative to the greatest gradient. */
  readonly relativeError: number;
  /** The element that is furthest off, beyond its error bar. */
  readonly worst?: { readonly index: readonly number[]; readonly analytic: number; readonly numeric: number; readonly bar: number };
  readonly checked: number;
  /** Elements at a kink, where any slope between left and right passes. */
  readonly kinks: number;
  /** Elements whose differences did not settle and prove nothing. */
  readonly undecided: number;
}

export class GradcheckResult {
  constructor(readonly name: string, readonly inputs: Readonly<Record<string, InputCheck>>, readonly evaluations: number) {}

  get passed(): boolean {
    return Object.values(this.inputs).every((check) => check.passed);
  }

  toString(): string {
    const lines = Object.entries(this.inputs).map(([input, check]) => {
      const notes = [
        check.kinks ? `${check.kinks} at a kink` : "",
        check.undecided ? `${check.undecided} undecided` : "",
      ].filter(Boolean).map((note) => `, ${note}`).join("");
      return check.passed
        ? `  d${input}: right (relative error ${check.relativeError.toExponential(1)}, ${check.checked} elements${notes})`
        : `  d${input}: wrong, ${check.message}`;
    });
    return `${this.name}: ${this.passed ? "passed" : "failed"}\n${lines.join("\n")}`;
  }
}

/**
 * Checks the gradients of a layer (or anything with forward and backward, or a function that returns
 * `{ y, dx, ... }` with a scalar y) against Richardson differences. Never throws on a wrong gradient: read `passed`,
 * print the result.
 *
 * ```ts
 * gradcheck(linear, { x: randn([2, 3], rng(1)), W: randn([4, 3], rng(2)) }).passed;   // true
 * gradcheck(({ x }) => ({ y: x.square().sum(), dx: x.mul(2) }), { x });
 * ```
 *
 * Differences are taken in float64 whatever the inputs' dtype.
 */
export function gradcheck(
  target: Checkable | AnyLayer | WithGradients, inputs: Readonly<Record<string, unknown>>, options: GradcheckOptions = {},
): GradcheckResult {
  const name = (typeof target === "function" ? target.name : target.name) || "function";
  const subject = typeof target === "function" ? fromFunction(target) : (target as Checkable);
  if (typeof subject?.forward !== "function" || typeof subject.backward !== "function") {
    throw new Error("gradcheck: the first argument should be a layer, an object with forward and backward, or a function");
  }
  const layerOptions = (): any => (typeof options.options === "function" ? options.options() : options.options);
  const { y: result, cache } = subject.forward(inputs, layerOptions());
  const y = readResult(name, result);
  const dy = options.dy ?? (y.rank === 0 ? undefined : randn(y.shape, rng(options.seed ?? 1), y.dtype as "float64"));
  if (dy && !sameShape(dy.shape, y.shape)) {
    throw new Error(`gradcheck: dy has shape ${formatShape(dy.shape)}, y has shape ${formatShape(y.shape)}`);
  }
  const upstream = dy ?? new Tensor(new (y.dtype === "float32" ? Float32Array : Float64Array)([1]), y.shape);
  const gradients = subject.backward(upstream, cache) as Record<string, Tensor | undefined>;

  const smooth = Object.fromEntries(Object.entries(inputs).filter((entry): entry is [string, Tensor] => isSmooth(entry[1])));
  const frozen = [...(options.frozen ?? []), ...((cache?.frozen as string[] | undefined) ?? [])];
  const moving = movable(smooth);
  const everything = { ...inputs, ...moving };
  const weights = Float64Array.from(upstream.data);
  let evaluations = 0;
  const loss = (): number => {
    evaluations++;
    const { data } = readResult(name, subject.forward(everything, layerOptions()).y);
    let sum = 0;
    for (let i = 0; i < weights.length; i++) sum += data[i] * weights[i];
    return sum;
  };

  const checks: Record<string, InputCheck> = {};
  for (const [input, t] of Object.entries(smooth)) {
    if (frozen.includes(input) && gradients?.[`d${input}`] === undefined) continue;
    const slopeAt = (i: number): Slope => {
      const at = moving[input];
      return richardson(alongElement(loss, moving, at, i), at.data[i]);
    };
    checks[input] = checkInput(input, t, gradients?.[`d${input}`], slopeAt, options);
  }
  return new GradcheckResult(name, checks, evaluations);
}

function fromFunction(f: WithGradients): Checkable {
  return {
    forward: (inputs) => {
      const made = f(inputs);
      if (typeof made !== "object" || made === null || !("y" in made)) {
        throw new Error("gradcheck: the function should return { y, dx, ... }: its scalar result and its gradients");
      }
      const y = readResult("gradcheck", made.y);
      if (y.size !== 1) {
        throw new Error(`gradcheck: the function's y has shape ${formatShape(y.shape)}, it should be one number`);
      }
      return { y, cache: made };
    },
    backward: (_, made) => made,
  };
}

function failed(message: string): InputCheck {
  return { passed: false, message, maxError: NaN, relativeError: NaN, checked: 0, kinks: 0, undecided: 0 };
}

function checkInput(
  name: string, t: Tensor, gradient: Tensor | number | undefined, slopeAt: (i: number) => Slope, options: GradcheckOptions,
): InputCheck {
  if (gradient === undefined || gradient === null) return failed(`d${name} is missing`);
  if (!(gradient instanceof Tensor) && !(typeof gradient === "number" && t.rank === 0)) return failed(`d${name} is not a Tensor`);
  if (gradient instanceof Tensor && !sameShape(gradient.shape, t.shape)) {
    return failed(`d${name} has shape ${formatShape(gradient.shape)}, ${name} has shape ${formatShape(t.shape)}`);
  }
  const analytic = gradient instanceof Tensor ? gradient.data : [gradient];
  const places = spreadOver(t.size, options.elements ?? 200);
  const slopes = places.map(slopeAt);
  const finite = slopes.map((s) => Math.abs(s.value)).filter(Number.isFinite);
  const scale = Math.max(...finite, 1e-8);
  const tolerance = (options.tolerance ?? (t.dtype === "float32" ? 2e-4 : 1e-7)) * scale;

  let [maxError, kinks, undecided] = [0, 0, 0];
  let worst: InputCheck["worst"];
  let worstExcess = -Infinity;
  places.forEach((i, k) => {
    const slope = slopes[k];
    const own = analytic[i];
    let error = Math.abs(own - slope.value);
    // Not a number is wrong unless the function itself is not a number there.
    if (own !== own || slope.value !== slope.value) error = own !== own && slope.value !== slope.value ? 0 : Infinity;
    let bar = slope.error === slope.error ? slope.error : 0;
    if (slope.kink) kinks++;
    else if (bar > Math.max(1e-3 * scale, tolerance) && error > tolerance) {
      undecided++;
      return;
    }
    bar = slope.kink ? bar * (1 + 1e-6) : bar;
    const excess = error - bar - tolerance;
    if (error > maxError && !slope.kink) maxError = error;
    if (excess > worstExcess) {
      worstExcess = excess;
      worst = { index: indexOf(i, t.shape), analytic: own, numeric: slope.value, bar };
    }
  });
  const relativeError = maxError / scale;
  const counts = { maxError, relativeError, worst, checked: places.length, kinks, undecided };
  if (worstExcess > 0 && worst) {
    const where = worst.index.length ? `[${worst.index.join(", ")}]` : "";
    return {
      passed: false, ...counts,
      message: `d${name}${where} is ${worst.analytic}, differences give ${worst.numeric} (to ${worst.bar.toExponential(0)})`,
    };
  }
  // Differences that never settle must not count as agreement.
  if (undecided > places.length / 2) {
    return { passed: false, ...counts, message: `differences did not settle for ${undecided} of ${places.length} elements` };
  }
  return { passed: true, ...counts };
}

/** At most `most` of the whole numbers below n, evenly spread. */
function spreadOver(n: number, most: number): number[] {
  if (n <= most) return Array.from({ length: n }, (_, i) => i);
  return Array.from({ length: most }, (_, i) => Math.floor(((i + 0.5) * n) / most));
}

function indexOf(i: number, shape: Shape): number[] {
  const index: number[] = [];
  for (let axis = shape.length - 1, rest = i; axis >= 0; axis--) {
    index.unshift(rest % shape[axis]);
    rest = Math.floor(rest / shape[axis]);
  }
  return index;
}
