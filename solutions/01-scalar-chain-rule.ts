/** One function of a chain, with its derivative. */
export interface Step {
  f(x: number): number;
  df(x: number): number;
}

/** f'(g(t)) g'(t): f' is cos(u²) 2u at u = exp(3t), and g' is 3 exp(3t). */
export function derivativeFG(t: number): number {
  const u = Math.exp(3 * t);
  return Math.cos(u ** 2) * 2 * u * (3 * u);
}

/** g'(f(t)) f'(t): g' is 3 exp(3u) at u = sin(t²), and f' is cos(t²) 2t. */
export function derivativeGF(t: number): number {
  const u = Math.sin(t ** 2);
  return 3 * Math.exp(3 * u) * (Math.cos(t ** 2) * 2 * t);
}

/** The slope of h at t from h(t + step) and h(t - step). */
export function centredDifference(h: (t: number) => number, t: number, step: number): number {
  return (h(t + step) - h(t - step)) / (2 * step);
}

/** Value and slope at t of steps[0], then steps[1], and so on. */
export function chain(steps: Step[], t: number): { y: number; dy: number } {
  let y = t;
  let dy = 1;
  for (const { f, df } of steps) {
    // df belongs to the value that enters the step, so the slope comes before the value.
    dy *= df(y);
    y = f(y);
  }
  return { y, dy };
}
