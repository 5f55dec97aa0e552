/** One line of the tape; a and b are positions of earlier lines. */
export type Entry =
  | { op: "input" }
  | { op: "add" | "mul"; a: number; b: number }
  | { op: "exp" | "sin"; a: number };

/** A function of n numbers with m results, at one point. */
export interface Differentiable {
  n: number;
  m: number;
  /** J dx: [n] -> [m]. */
  push(dx: number[]): number[];
  /** Jᵀ dy: [m] -> [n]. */
  pull(dy: number[]): number[];
}

/** Given: the values of all entries at x. */
export function runTape(tape: Entry[], x: number[]): number[] {
  const v: number[] = [];
  for (const entry of tape) {
    if (entry.op === "input") v.push(x[v.length]);
    else if (entry.op === "add") v.push(v[entry.a] + v[entry.b]);
    else if (entry.op === "mul") v.push(v[entry.a] * v[entry.b]);
    else if (entry.op === "exp") v.push(Math.exp(v[entry.a]));
    else v.push(Math.sin(v[entry.a]));
  }
  return v;
}

/** Forward mode: the tangent of every entry when the inputs move along dx. */
export function tapeJvp(tape: Entry[], values: number[], dx: number[]): number[] {
  const dot: number[] = [];
  tape.forEach((entry, i) => {
    if (entry.op === "input") dot.push(dx[i]);
    else if (entry.op === "add") dot.push(dot[entry.a] + dot[entry.b]);
    else if (entry.op === "mul") dot.push(values[entry.b] * dot[entry.a] + values[entry.a] * dot[entry.b]);
    else if (entry.op === "exp") dot.push(values[i] * dot[entry.a]);
    else dot.push(Math.cos(values[entry.a]) * dot[entry.a]);
  });
  return dot;
}

/** Reverse mode: the adjoint of every entry when output k has the gradient dy[k]. */
export function tapeVjp(tape: Entry[], values: number[], outputs: number[], dy: number[]): number[] {
  const bar = tape.map(() => 0);
  outputs.forEach((position, k) => (bar[position] += dy[k]));
  for (let i = tape.length - 1; i >= 0; i--) {
    const entry = tape[i];
    if (entry.op === "add") {
      bar[entry.a] += bar[i];
      bar[entry.b] += bar[i];
    } else if (entry.op === "mul") {
      bar[entry.a] += values[entry.b] * bar[i];
      bar[entry.b] += values[entry.a] * bar[i];
    } else if (entry.op === "exp") {
      bar[entry.a] += values[i] * bar[i];
    } else if (entry.op === "sin") {
      bar[entry.a] += Math.cos(values[entry.a]) * bar[i];
    }
  }
  return bar;
}

/** All of J, m rows of n, from as few passes as possible. */
export function fullJacobian(f: Differentiable): number[][] {
  const unit = (size: number, at: number): number[] => Array.from({ length: size }, (_, i) => (i === at ? 1 : 0));
  const range = (size: number): number[] => Array.from({ length: size }, (_, i) => i);
  // A pull gives a row, a push a column.
  if (f.m <= f.n) return range(f.m).map((row) => f.pull(unit(f.m, row)));
  const columns = range(f.n).map((column) => f.push(unit(f.n, column)));
  return range(f.m).map((row) => columns.map((column) => column[row]));
}

/** The Hessian of the last entry times v, one number for each input. */
export function tapeHvp(tape: Entry[], values: number[], v: number[]): number[] {
  const dot = tapeJvp(tape, values, v);
  const bar = tape.map(() => 0);
  const dotBar = tape.map(() => 0);
  bar[tape.length - 1] = 1;
  for (let i = tape.length - 1; i >= 0; i--) {
    const entry = tape[i];
    // One operand's share: the slope and the slope's own tangent.
    const send = (to: number, slope: number, slopeDot: number): void => {
      bar[to] += slope * bar[i];
      dotBar[to] += slope * dotBar[i] + slopeDot * bar[i];
    };
    if (entry.op === "add") {
      send(entry.a, 1, 0);
      send(entry.b, 1, 0);
    } else if (entry.op === "mul") {
      send(entry.a, values[entry.b], dot[entry.b]);
      send(entry.b, values[entry.a], dot[entry.a]);
    } else if (entry.op === "exp") {
      send(entry.a, values[i], dot[i]);
    } else if (entry.op === "sin") {
      send(entry.a, Math.cos(values[entry.a]), -Math.sin(values[entry.a]) * dot[entry.a]);
    }
  }
  return dotBar.slice(0, v.length);
}
