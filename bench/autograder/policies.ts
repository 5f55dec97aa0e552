/** How others decide whether a gradient is right, restated from their sources: what is drawn, what is compared, how loosely. */
import { randn, Tensor, zeros, type Rng } from "gradbook";
import type { Args, Part } from "gradbook/autograder";

/** A backward under test: gradients by name for some cotangent. */
export type Backward = (args: Args) => Record<string, unknown>;

export interface Policy {
  name: string;
  accepts(part: Part, args: Args, backward: Backward, random: Rng): boolean;
}

const asTensor = (value: unknown): Tensor => (value instanceof Tensor ? value : new Tensor(Float64Array.of(value as number), []));
const total = (t: Tensor): number => t.sum().item();
const dot = (a: Tensor, b: Tensor): number => total(a.mul(b));
const forward = (part: Part, args: Args): Tensor => asTensor(part.forward!(args));

/** The inputs that have a gradient among the outputs. */
export function differentiated(args: Args, outputs: Record<string, unknown>): string[] {
  return Object.keys(args).filter((name) => Object.hasOwn(outputs, `d${name}`) && args[name] instanceof Tensor && args[name].dtype === "float64");
}

function moved(args: Args, name: string, i: number, step: number): Args {
  const data = (args[name] as Tensor).data.slice();
  data[i] += step;
  return { ...args, [name]: new Tensor(data, (args[name] as Tensor).shape) };
}

/** The student's gradient, or nothing where its shape is not the input's. */
function gradient(outputs: Record<string, unknown>, name: string, shape: readonly number[]): Tensor | undefined {
  const value = outputs[`d${name}`];
  return value instanceof Tensor && value.shape.join() === shape.join() ? value : undefined;
}

/** CS231n's grad_check: eval_numerical_gradient_array with h = 1e-5 and the given cotangent; rel_error below a bound. */
function cs231n(bound: number): Policy {
  return {
    name: `CS231n, relative error below ${bound}`,
    accepts(part, args, backward) {
      const outputs = backward(args);
      const h = 1e-5;
      return differentiated(args, outputs).every((name) => {
        const x = args[name] as Tensor;
        const g = gradient(outputs, name, x.shape);
        if (!g) return false;
        const c = asTensor(args[part.cotangent!]);
        return x.data.every((_: number, i: number) => {
          const plus = forward(part, moved(args, name, i, h));
          const minus = forward(part, moved(args, name, i, -h));
          const n = (dot(plus, c) - dot(minus, c)) / (2 * h);
          return Math.abs(g.data[i] - n) / Math.max(1e-8, Math.abs(g.data[i]) + Math.abs(n)) <= bound;
        });
      });
    },
  };
}

/** torch.autograd.gradcheck in slow mode: the whole Jacobian by unit cotangents; eps 1e-6, atol 1e-5, rtol 1e-3. */
const gradcheck: Policy = {
  name: "torch.autograd.gradcheck",
  accepts(part, args, backward) {
    const [eps, atol, rtol] = [1e-6, 1e-5, 1e-3];
    const y = forward(part, args);
    const names = differentiated(args, backward(args));
    const numerical = new Map(
      names.map((name) => {
        const columns = Array.from((args[name] as Tensor).data, (_, i) => {
          const [plus, minus] = [eps, -eps].map((step) => forward(part, moved(args, name, i, step)).data);
          return plus.map((value: number, o: number) => (value - minus[o]) / (2 * eps));
        });
        return [name, columns] as const;
      }),
    );
    for (let o = 0; o < y.size; o++) {
      const unit = zeros(y.shape);
      (unit.data as Float64Array)[o] = 1;
      const c = y.shape.length === 0 && typeof args[part.cotangent!] === "number" ? 1 : unit;
      const outputs = backward({ ...args, [part.cotangent!]: c });
      for (const name of names) {
        const g = gradient(outputs, name, (args[name] as Tensor).shape);
        if (!g) return false;
        const columns = numerical.get(name)!;
        for (let i = 0; i < g.size; i++) {
          const n = columns[i][o];
          if (!(Math.abs(g.data[i] - n) <= atol + rtol * Math.abs(n))) return false;
        }
      }
    }
    return true;
  },
};

/** MiniTorch's grad_check: the sum of the output, one random element of each input, 1e-2 relative and absolute. */
const minitorch: Policy = {
  name: "MiniTorch's grad_check",
  accepts(part, args, backward, random) {
    const y = forward(part, args);
    const ones = typeof args[part.cotangent!] === "number" ? 1 : y.map(() => 1);
    const outputs = backward({ ...args, [part.cotangent!]: ones });
    const h = 1e-6;
    return differentiated(args, outputs).every((name) => {
      const x = args[name] as Tensor;
      const g = gradient(outputs, name, x.shape);
      if (!g) return false;
      const i = random.integer(0, x.size);
      const [plus, minus] = [h, -h].map((step) => total(forward(part, moved(args, name, i, step))));
      const n = (plus - minus) / (2 * h);
      return Math.abs(g.data[i] - n) <= 1e-2 + 1e-2 * Math.abs(n);
    });
  },
};

/** jax.test_util.check_grads in reverse mode: one random direction and one random cotangent; eps 1e-4, tolerances 1e-5. */
const jax: Policy = {
  name: "JAX's check_grads",
  accepts(part, args, backward, random) {
    const [eps, tolerance] = [1e-4, 1e-5];
    const names = differentiated(args, backward(args));
    const tangents = new Map(names.map((name) => [name, randn((args[name] as Tensor).shape, random)]));
    const at = (step: number): Tensor =>
      forward(part, { ...args, ...Object.fromEntries(names.map((name) => [name, (args[name] as Tensor).add(tangents.get(name)!.mul(step))])) });
    const [plus, minus] = [at(eps / 2), at(-eps / 2)];
    const c = randn(plus.shape, random);
    const outputs = backward({ ...args, [part.cotangent!]: typeof args[part.cotangent!] === "number" ? c.item() : c });
    let left = 0;
    for (const name of names) {
      const g = gradient(outputs, name, (args[name] as Tensor).shape);
      if (!g) return false;
      left += dot(tangents.get(name)!, g);
    }
    const right = (dot(plus, c) - dot(minus, c)) / eps;
    return Math.abs(left - right) <= tolerance + tolerance * Math.abs(right);
  },
};

export const policies: Policy[] = [cs231n(1e-7), cs231n(1e-2), gradcheck, minitorch, jax];
