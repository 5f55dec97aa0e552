import { sizeOf } from "../tensor";
import { stridesOf } from "../tensor/shape";
import { gpu } from "./connect";
import { floatBits, grid } from "./gpu";
import { reduction, REDUCE_SIZE, type Reduction } from "./kernels/reduce";
import { mergedAxes, type Axis } from "./strides";
import { GpuTensor } from "./tensor";

/** Invocations that are worth having: fewer leave parts of a large GPU idle. */
const MANY = 1 << 16;

/** The sum or extreme along axes, or of everything. */
export function reduce(kind: Reduction, x: GpuTensor, axis: number | readonly number[] | undefined, keepdims: boolean): GpuTensor {
  const named = axis === undefined ? x.shape.map((_, i) => i) : typeof axis === "number" ? [axis] : axis;
  const over = named.map((a) => (a < 0 ? a + x.rank : a));
  const odd = over.findIndex((a) => !Number.isInteger(a) || a < 0 || a >= x.rank);
  if (odd >= 0) throw new Error(`${kind}: the axis is ${named[odd]}, the tensor has ${x.rank} axes`);
  const strides = stridesOf(x.shape);
  const side = (reduced: boolean): { shape: number[]; axes: Axis[] } => {
    const own = x.shape.map((_, i) => i).filter((i) => over.includes(i) === reduced);
    const shape = own.map((i) => x.shape[i]);
    return { shape, axes: mergedAxes(shape, [own.map((i) => strides[i])]) };
  };
  const [kept, reduced] = [side(false), side(true)];
  const outputs = sizeOf(kept.shape);
  const count = sizeOf(reduced.shape);
  // Neighbouring outputs next to each other in x, and enough of them: one invocation each reads side by side.
  const together = !(kept.axes[0]?.strides[0] === 1 && outputs >= REDUCE_SIZE);
  const invocations = together ? outputs * REDUCE_SIZE : outputs;
  const least = together ? 16 * REDUCE_SIZE : 64;
  const parts = outputs === 0 || count < 4 * least ? 1 : Math.min(Math.floor(count / least), Math.ceil(MANY / invocations));
  const part = Math.max(1, Math.ceil(count / parts));
  const shape = keepdims ? x.shape.map((d, i) => (over.includes(i) ? 1 : d)) : kept.shape;
  const rows = Math.max(1, Math.ceil(count / part));
  const out = GpuTensor.allocate(rows === 1 ? shape : [rows, ...shape]);
  const from = kind === "sum" ? 0 : kind === "max" ? -Infinity : Infinity;
  gpu().run(reduction(kind, kept.axes.length, reduced.axes.length, together), {
    buffers: [x.binding, out.binding],
    params: [outputs, count, part, floatBits(from), ...[...kept.axes, ...reduced.axes].flatMap(({ size, strides: [stride] }) => [size, stride, 0, 0])],
    groups: grid(together ? outputs * rows : Math.ceil((outputs * rows) / REDUCE_SIZE)),
  });
  return rows === 1 ? out : reduce(kind, out, 0, false);
}
