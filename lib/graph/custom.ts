import { Tensor } from "../tensor";
import { isRecording } from "./recording";
import { Variable, type Operand, type Primitive, type Tape } from "./tape";

interface CustomParts {
  readonly name: string;
  readonly forward: (...inputs: Tensor[]) => Tensor;
  /** From g = dL/dy (y's shape) one gradient for each input, each of its input's shape. */
  readonly backward: (g: Tensor, inputs: Tensor[], y: Tensor) => readonly Tensor[];
}

/** A backward is either proved on `check`, or says what estimator it is. There is no third way. */
export type CustomFunction = CustomParts & (
  | {
    /** Inputs away from kinks, on which the backward is compared with finite differences. */
    readonly check: readonly Tensor[];
    readonly estimator?: undefined;
  }
  | {
    /** The backward is on purpose not the derivative: what it is instead, as "straight-through". */
    readonly estimator: string;
    readonly check?: undefined;
  });

/**
 * A function of your own on the tape, with a backward of your own (torch.autograd.Function's part).
 *
 * The rule: a wrong backward makes no noise and only trains worse, so it must pass a gradient check on the inputs in
 * `check`, here and now, or be declared an `estimator` (handbook, custom backward functions).
 * @throws if the backward disagrees with finite differences: which input, which position, both numbers.
 */
export function customFunction(definition: CustomFunction): (...inputs: Operand[]) => Variable {
  const { name, forward, backward, check, estimator } = definition;
  if (check) verify(definition, check);
  else if (!estimator) {
    throw new Error(`${name}: neither check inputs nor an estimator's name, expected one: a backward is proved or declared`);
  }
  const primitive: Primitive = {
    forward: (inputs) => forward(...inputs),
    backward(g, inputs, y) {
      if (isRecording()) throw new Error(`${name}: its backward is not recorded, so it has no second derivative on a tape`);
      return backward(g.data, inputs.map((input) => input.data), y.data).map((d) => y.tape.constant(d));
    },
  };
  return (...inputs) => {
    const tape = inputs.find((input) => input instanceof Variable)?.tape as Tape | undefined;
    if (!tape) throw new Error(`${name}: no input is a Variable, expected at least one`);
    return tape.record(name, primitive, inputs);
  };
}

function verify({ name, forward, backward }: CustomParts, check: readonly Tensor[]): void {
  const inputs = check.map((t) => t.astype("float64"));
  const y = forward(...inputs);
  // A fixed upstream gradient with no two entries alike, so that a permuted backward cannot pass.
  const g = y.map(() => 0).clone();
  for (let i = 0; i < g.size; i++) g.data[i] = Math.cos(1.7 * i + 0.4) + 1.5;
  const gradients = backward(g, inputs, y);
  if (gradients.length !== inputs.length) {
    throw new Error(`${name}: backward gave ${gradients.length} gradients, expected one for each of the ${inputs.length} inputs`);
  }
  inputs.forEach((input, n) => {
    const d = gradients[n];
    if (String(d.shape) !== String(input.shape)) {
      throw new Error(`${name}: the gradient of input ${n + 1} has shape [${d.shape.join(", ")}], the input's is [${input.shape.join(", ")}]`);
    }
    for (let i = 0; i < input.size; i++) {
      const at = (h: number): number => {
        const moved = input.clone();
        moved.data[i] += h;
        return forward(...inputs.map((t, m) => (m === n ? moved : t))).dot(g);
      };
      const h = 1e-4 * Math.max(1, Math.abs(input.data[i]));
      // Richardson: the h^2 error of central differences cancels between h and h / 2.
      const coarse = (at(h) - at(-h)) / (2 * h), fine = (at(h / 2) - at(-h / 2)) / h;
      const expected = (4 * fine - coarse) / 3;
      const scale = Math.max(1, Math.abs(expected), Math.abs(d.data[i]));
      if (!(Math.abs(expected - d.data[i]) <= 1e-6 * scale)) {
        throw new Error(`${name}: the backward says ${d.data[i].toPrecision(6)} for element ${i} of input ${n + 1}, finite ` +
          `differences say ${expected.toPrecision(6)}; if that is meant, declare it with estimator: "..."`);
      }
    }
  });
}
