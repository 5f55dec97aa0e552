import { Tensor } from "../tensor";
import { isRecording, withRecording } from "./recording";
import { Tape, Variable, type Primitive } from "./tape";

export interface FixedPointOptions {
  /** Stop when no element moves by more. */
  readonly tolerance?: number;
  readonly maxIterations?: number;
}

/**
 * z* = f(z*, parameters), found by iteration from z0, and differentiated without its iterations: the tape holds one
 * line however many there were.
 *
 * At the fixed point dz* = J_z dz* + J_p dp, so for an upstream gradient g (shape of z)
 *
 *     w = g + J_z^T w        solved by iteration: one VJP of f a step
 *     dp = J_p^T w
 *
 * with both Jacobians taken at z*. f must be a contraction there.
 * Source: Math for LLMs, section 8.2 (implicit function theorem; deep equilibrium models).
 *
 * @param f z and the parameters to the next z, recorded on the tape it is given variables of.
 * @param z0 where to start, shape of z.
 * @throws if either iteration does not settle within `maxIterations`.
 */
export function fixedPoint(
  f: (z: Variable, ...parameters: Variable[]) => Variable,
  z0: Tensor,
  parameters: readonly Variable[],
  { tolerance = 1e-13, maxIterations = 1000 }: FixedPointOptions = {},
): Variable {
  const settle = (what: string, start: Tensor, step: (t: Tensor) => Tensor): Tensor => {
    let t = start;
    for (let i = 0; i < maxIterations; i++) {
      const next = step(t);
      const moved = next.size ? next.sub(t).abs().max().item() : 0;
      t = next;
      if (moved <= tolerance) return t;
    }
    throw new Error(`fixedPoint: ${what} did not settle to ${tolerance} in ${maxIterations} iterations, expected a contraction`);
  };
  const primitive: Primitive = {
    forward: (inputs) => settle("z", z0, (z) => {
      const tape = new Tape();
      return f(tape.constant(z), ...inputs.map((p) => tape.constant(p))).data;
    }),
    backward(g, inputs, y) {
      if (isRecording()) throw new Error("fixedPoint: its backward is not recorded, so it has no second derivative on a tape");
      const tape = new Tape();
      const z = tape.variable(y.data, "z");
      const p = inputs.map((input) => tape.variable(input.data, input.label));
      // The backward runs unrecorded; f's graph at z* is needed to pull w through it.
      const next = withRecording(true, () => f(z, ...p));
      const w = settle("the adjoint", g.data, (t) => g.data.add(tape.gradients(next, [z], t)[0].data));
      return tape.gradients(next, p, w).map((d) => y.tape.constant(d.data));
    },
  };
  const tape = parameters[0]?.tape;
  if (!tape) throw new Error("fixedPoint: no parameters were given, expected at least one Variable");
  return tape.record("fixedPoint", primitive, parameters);
}
