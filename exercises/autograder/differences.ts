/** Finite differences for the report: what a student would compute to check a gradient, with an error bar. */
import { Tensor } from "gradbook";
import { asTensor } from "./judge";
import type { Args, Part } from "./spec";

/** Beyond this many numbers the report does without: two forwards each. */
const limit = 400;

/** The scalar that is differentiated: <forward(args), cotangent>, or forward itself where it returns a number. */
function scalar(part: Part, args: Args): number {
  const y = part.forward!(args);
  if (!(y instanceof Tensor)) return y;
  const c = part.cotangent ? asTensor(args[part.cotangent] as Tensor) : undefined;
  let sum = 0;
  for (let i = 0; i < y.size; i++) sum += y.data[i] * (c ? c.data[i] : 1);
  return sum;
}

/** d f(args) / d args[name] by central differences and one Richardson step, O(h^4): [outputs of f, numbers of args[name]]. */
function differentiate(f: (args: Args) => ArrayLike<number>, args: Args, name: string): Tensor | undefined {
  const value = args[name];
  if (typeof value !== "number" && !(value instanceof Tensor)) return undefined;
  const x = asTensor(value);
  if (x.size > limit || x.dtype === "int32") return undefined;
  const at = (i: number, step: number): ArrayLike<number> => {
    const data = x.data.slice();
    data[i] += step;
    return f({ ...args, [name]: value instanceof Tensor ? new Tensor(data, x.shape) : data[0] });
  };
  const h = x.dtype === "float32" ? 1e-2 : 1e-3;
  const outputs = f(args).length;
  const data = new Float64Array(outputs * x.size);
  for (let i = 0; i < x.size; i++) {
    const [far, near] = [h, h / 2].map((step) => [at(i, step), at(i, -step)]);
    for (let o = 0; o < outputs; o++) {
      const wide = (far[0][o] - far[1][o]) / (2 * h);
      const narrow = (near[0][o] - near[1][o]) / h;
      data[o * x.size + i] = (4 * narrow - wide) / 3;
    }
  }
  return new Tensor(data, [outputs, x.size]);
}

/** Finite differences of the outputs that have any, by name. */
export function finiteDifferences(part: Part, args: Args, names: readonly string[]): Map<string, Tensor> {
  const found = new Map<string, Tensor>();
  for (const [name, value] of Object.entries(part.differences?.(args) ?? {})) found.set(name, asTensor(value));
  if (!part.forward) return found;
  for (const name of names) {
    if (found.has(name)) continue;
    const of = part.jacobians?.[name];
    const input = of ?? (name.startsWith("d") ? name.slice(1) : "");
    if (!Object.hasOwn(args, input)) continue;
    const f = of ? (at: Args) => asTensor(part.forward!(at)).data : (at: Args) => [scalar(part, at)];
    const difference = differentiate(f, args, input);
    if (difference) found.set(name, of ? difference : difference.reshape(difference.size));
  }
  return found;
}
