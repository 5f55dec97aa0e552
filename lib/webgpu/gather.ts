import type { Shape } from "../tensor";
import { gpu } from "./connect";
import { grid } from "./gpu";
import { gather, GATHER_SIZE, scatter } from "./kernels/gather";
import { GpuTensor, integers } from "./tensor";

/** Rows of `width` numbers of x, by number; -1 is a row of zeros. */
export function gatherRows(x: GpuTensor, rows: Int32Array, width: number, shape: Shape): GpuTensor {
  const out = GpuTensor.allocate(shape);
  gpu().run(gather, { buffers: [x.binding, integers(rows).binding, out.binding], params: [out.size, width], groups: grid(Math.ceil(out.size / GATHER_SIZE)) });
  return out;
}

/** The adjoint: row i of x is added to row rows[i] of the result. */
export function scatterRows(x: GpuTensor, rows: Int32Array, width: number, shape: Shape): GpuTensor {
  const out = GpuTensor.allocate(shape);
  const count = width === 0 ? 0 : out.size / width;
  const first = new Int32Array(count + 1);
  for (const row of rows) if (row >= 0) first[row + 1]++;
  for (let row = 0; row < count; row++) first[row + 1] += first[row];
  const next = first.slice();
  const source = new Int32Array(Math.max(1, first[count]));
  rows.forEach((row, i) => {
    if (row >= 0) source[next[row]++] = i;
  });
  gpu().run(scatter, {
    buffers: [x.binding, integers(first).binding, integers(source).binding, out.binding],
    params: [out.size, width],
    groups: grid(Math.ceil(out.size / GATHER_SIZE)),
  });
  return out;
}
