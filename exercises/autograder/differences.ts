/** Finite differences for the report: what a student would compute to check a gradient, with an error bar. */
import { Tensor } from "gradbook";
import { asTensor, largest } from "./judge";
import type { Args, Part } from "./spec";

/** Finite differences of some numbers of an output: positions in its flat data, and what stands there. */
export interface Differences {
  at: number[];
  values: number[];
  /** How many numbers the output has in all. */
  of: number;
}

/** Numbers that a report differentiates by, over all outputs of a part: a check stays well below a second. */
const budget = 48;

/** `count` positions spread evenly over `size`, or all. */
function spread(size: number, count: number): number[] {
  if (size <= count) return Array.from({ length: size }, (_, i) => i);
  return Array.from({ length: count }, (_, i) => Math.floor(((i + 0.5) * size) / count));
}

/** The scalar that is differentiated: <forward(args), cotangent>, or forward itself where it returns a number. */
function scalar(part: Part, args: Args): number {
  const y = part.forward!(args);
  if (!(y instanceof Tensor)) return y;
  const c = part.cotangent ? asTensor(args[part.cotangent] as Tensor) : undefined;
  let sum = 0;
  for (let i = 0; i < y.size; i++) sum += y.data[i] * (c ? c.data[i] : 1);
  return sum;
}

/** d f(args) / d args[name] by central differences and one Richardson step, O(h^4), at `count` of the input's numbers. */
function differentiate(f: (args: Args) => ArrayLike<number>, args: Args, name: string, count: number): Differences | undefined {
  const value = args[name];
  if (typeof value !== "number" && !(value instanceof Tensor)) return undefined;
  const x = asTensor(value);
  if (x.dtype === "int32") return undefined;
  const at = (i: number, step: number): ArrayLike<number> => {
    const data = x.data.slice();
    data[i] += step;
    return f({ ...args, [name]: value instanceof Tensor ? new Tensor(data, x.shape) : data[0] });
  };
  const h = x.dtype === "float32" ? 1e-2 : 1e-3;
  const outputs = f(args).length;
  const found: Differences = { at: [], values: [], of: outputs * x.size };
  for (const i of spread(x.size, count)) {
    const [far, near] = [h, h / 2].map((step) => [at(i, step), at(i, -step)]);
    for (let o = 0; o < outputs; o++) {
      const wide = (far[0][o] - far[1][o]) / (2 * h);
      const narrow = (near[0][o] - near[1][o]) / h;
      found.at.push(o * x.size + i);
      found.values.push((4 * narrow - wide) / 3);
    }
  }
  return found;
}

/** Finite differences of the outputs that have any, by name: of a sample of their numbers, or of `all`. */
export function finiteDifferences(part: Part, args: Args, names: readonly string[], all = false): Map<string, Differences> {
  const found = new Map<string, Differences>();
  for (const [name, value] of Object.entries(part.differences?.(args) ?? {})) {
    const values = Array.from(asTensor(value).data);
    found.set(name, { at: values.map((_, i) => i), values, of: values.length });
  }
  if (!part.forward) return found;
  const inputs = names.flatMap((name) => {
    const of = part.jacobians?.[name];
    const input = of ?? (name.startsWith("d") ? name.slice(1) : "");
    return !found.has(name) && Object.hasOwn(args, input) ? [{ name, input, jacobian: of !== undefined }] : [];
  });
  const count = all ? Infinity : Math.max(3, Math.floor(budget / Math.max(inputs.length, 1)));
  for (const { name, input, jacobian } of inputs) {
    const f = jacobian ? (at: Args) => asTensor(part.forward!(at)).data : (at: Args) => [scalar(part, at)];
    const differences = differentiate(f, args, input, count);
    if (differences) found.set(name, differences);
  }
  return found;
}

/** How far numbers are from their finite differences, relative to the largest of these; undefined where the sizes differ. */
export function distance(data: ArrayLike<number>, { at, values, of }: Differences): number | undefined {
  if (data.length !== of) return undefined;
  return at.reduce((most, i, k) => Math.max(most, Math.abs(data[i] - values[k])), 0) / (largest(values) || 1);
}
