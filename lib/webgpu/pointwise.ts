/** Operations number by number, with broadcasting: each is one kernel, or part of the kernel before it. */

import { sizeOf, type Shape } from "../tensor";
import { stridesOf } from "../tensor/shape";
import { gpu } from "./connect";
import { floatBits, grid } from "./gpu";
import { elementwise, elementwiseFlat, ELEMENTWISE_SIZE, MAX_AXES } from "./kernels/elementwise";
import { takenIn } from "./products";
import { mergedAxes } from "./strides";
import { GpuTensor } from "./tensor";

export interface Operand {
  readonly bound: GPUBufferBinding;
  readonly strides: readonly number[];
  readonly offset: number;
}

/** An operand stretched to a shape: stride 0 along what is repeated. */
function stretched(t: GpuTensor, shape: Shape): Operand {
  const own = stridesOf(t.shape);
  const lead = shape.length - t.rank;
  return { bound: t.binding, strides: shape.map((_, i) => (i < lead || t.shape[i - lead] === 1 ? 0 : own[i - lead])), offset: 0 };
}

/** An expression of x0, x1, x2 and the number s, element by element. */
export function pointwise(name: string, expression: string, inputs: readonly (GpuTensor | Operand)[], shape: Shape, scalar = 0): GpuTensor {
  const operands = inputs.map((t) => (t instanceof GpuTensor ? stretched(t, shape) : t));
  const out = GpuTensor.allocate(shape);
  apply(name, expression, operands, shape, scalar, out, stridesOf(shape), 0);
  return out;
}

export const tooUneven = (name: string, axes: number): Error =>
  new Error(`webgpu: ${name} over ${axes} uneven axes, at most ${MAX_AXES} are possible; use device "cpu"`);

/** The same into `out`, or into a part of it. */
export function apply(
  name: string, expression: string, operands: readonly Operand[], shape: Shape, scalar: number,
  out: GpuTensor, outStrides: readonly number[], outOffset: number,
): void {
  const n = sizeOf(shape);
  const axes = mergedAxes(shape, [...operands.map((o) => o.strides), outStrides]);
  if (axes.length > MAX_AXES) throw tooUneven(name, axes.length);
  const params = [n, operands[0]?.offset ?? 0, operands[1]?.offset ?? 0, operands[2]?.offset ?? 0, outOffset, floatBits(scalar), 0, 0];
  const buffers = [...operands.map((o) => o.bound), out.binding];
  // Everything in the output's order, or one number throughout.
  const steps = axes.length === 0 ? operands.map(() => 0) : axes[0].strides.slice(0, -1);
  const flat = axes.length <= 1 && outOffset === 0 && (axes.length === 0 || axes[0].strides.at(-1) === 1) &&
    steps.every((step, i) => step === 0 || (step === 1 && operands[i].offset % 4 === 0));
  if (flat && steps.every((step) => step === 1) && takenIn({ name, expression, operands, scalar, out })) return;
  if (flat) {
    gpu().run(elementwiseFlat(name, expression, steps.map((step) => step === 0)), { buffers, params, groups: grid(Math.ceil(n / 4 / ELEMENTWISE_SIZE)) });
    return;
  }
  for (const { size, strides } of axes) params.push(size, strides[0], strides.length > 2 ? strides[1] : 0, strides.length > 3 ? strides[2] : 0, strides.at(-1)!, 0, 0, 0);
  gpu().run(elementwise(name, operands.length, expression, axes.length), { buffers, params, groups: grid(Math.ceil(n / ELEMENTWISE_SIZE)) });
}
