/** One function of a chain, with its derivative. */
export interface Step {
  f(x: number): number;
  df(x: number): number;
}

/** d/dt of f(g(t)), with f(t) = sin(t²) and g(t) = exp(3t). */
export function derivativeFG(t: number): number {
  throw new Error("not written yet");
}

/** d/dt of g(f(t)), with the same f and g. */
export function derivativeGF(t: number): number {
  throw new Error("not written yet");
}

/** The slope of h at t from h(t + step) and h(t - step). */
export function centredDifference(h: (t: number) => number, t: number, step: number): number {
  throw new Error("not written yet");
}

/** Value and slope at t of steps[0], then steps[1], and so on. */
export function chain(steps: Step[], t: number): { y: number; dy: number } {
  throw new Error("not written yet");
}
