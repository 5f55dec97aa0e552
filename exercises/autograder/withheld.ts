/** Names of the library that an answer must not use: what the exercise asks for, and what differentiates by itself. */
import type { ExerciseSpec } from "./spec";

const differentiators = [
  "Tape", "Value", "vjp", "jvp", "hvp", "gradient", "gradients", "hessian", "jacobian", "countedJacobian", "numericalGradient", "richardson",
  "central", "gradcheck", "complexStep", "Complex", "Dual", "DualNumber", "dualDerivative",
];

export function withheldNames({ withholds = [], allows = [] }: Pick<ExerciseSpec, "withholds" | "allows">): string[] {
  return [...differentiators, ...withholds].filter((name) => !allows.includes(name));
}
