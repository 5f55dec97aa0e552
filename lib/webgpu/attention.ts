/** Attention on the GPU: what its kernels are told of where heads lie. */

import type { Implementation } from "../layers/device";
import { sizeOf, type Tensor } from "../tensor";
import { gpu } from "./connect";
import { floatBits, grid, type Dispatch } from "./gpu";
import { flashTraits, MAX_HEAD, type FlashTraits } from "./kernels/flash";
import { flashBackwardKey } from "./kernels/flashBackwardKey";
import { flashBackwardQuery } from "./kernels/flashBackwardQuery";
import { flashForward } from "./kernels/flashForward";
import { mergedAxes } from "./strides";
import { floats, GpuTensor } from "./tensor";

type Heads = { q: Tensor; k: Tensor; v: Tensor };
type Saved = { y: GpuTensor; kept: GpuTensor };

const LOWEST = floatBits(-Infinity);
const width = (t: Tensor): number => t.shape[t.rank - 1];
const length = (t: Tensor): number => t.shape[t.rank - 2];

/** `attention` and `flashAttention` are one kernel: no score is ever written down. */
export const attention: Implementation = {
  supports: ({ q, v }: Heads, { mask }: { mask?: Tensor }) => !mask && width(q) > 0 && Math.max(width(q), width(v)) <= MAX_HEAD,

  forward({ q, k, v }: Heads, { causal }: { causal: boolean }) {
    const read = [q, k, v].map(readable);
    const y = beside(read[0], [...q.shape.slice(0, -1), width(v)]);
    const kept = GpuTensor.allocate([...q.shape.slice(0, -1), 2]);
    const { traits, dispatch } = overRows([...read, y], q, k, v, causal, "queries", width(q) + width(v));
    gpu().run(flashForward(traits), { ...dispatch, buffers: [...read.map((t) => t.whole), y.whole, kept.binding] });
    return { y, saved: { y, kept } };
  },

  backward(dy, { q, k, v }: Heads, { y, kept }: Saved, { causal }: { causal: boolean }) {
    const read = [q, k, v, dy].map(readable);
    const inner = GpuTensor.allocate(q.shape.slice(0, -1));
    // Parts of one product, as q, k and v of a layer may be, have gradients that are parts of one tensor.
    const parts = GpuTensor.sideBySide(read.slice(0, 3));
    const [dq, dk, dv] = parts ?? read.slice(0, 3).map((t) => beside(t, t.shape));
    const first = overRows([...read, y, dq], q, k, v, causal, "queries", 2 * width(q) + width(v));
    gpu().run(flashBackwardQuery(first.traits), {
      ...first.dispatch, buffers: [...[...read, y].map((t) => t.whole), kept.binding, dq.whole, inner.binding],
    });
    const second = overRows([...read, dk, dv], q, k, v, causal, "keys", 2 * width(q) + 2 * width(v));
    gpu().run(flashBackwardKey(second.traits, parts !== undefined), {
      ...second.dispatch, buffers: [...read.map((t) => t.whole), kept.binding, inner.binding, dk.whole, ...(parts ? [] : [dv.whole])],
    });
    return { dq, dk, dv };
  },
};

/** [start, steps of the outer batch, of the inner batch, of the rows], if that says where a tensor's numbers are. */
function placeOf(t: GpuTensor): number[] | undefined {
  const { start, strides } = t.place;
  const outer = mergedAxes(t.shape.slice(0, -3), [strides.slice(0, -3)]);
  if (outer.length > 1 || (width(t) > 1 && strides.at(-1) !== 1)) return undefined;
  return [start, outer[0]?.strides[0] ?? 0, strides.at(-3) ?? 0, strides.at(-2)!];
}

/** A tensor on the GPU whose place can be said: as it lies where possible. */
function readable(t: Tensor): GpuTensor {
  const there = floats(t);
  return placeOf(there) ? there : there.pack();
}

/** Room for a result, its rows in the order of another tensor's. */
function beside(t: GpuTensor, shape: readonly number[]): GpuTensor {
  const made = GpuTensor.inOrderOf(t, shape);
  return placeOf(made) ? made : GpuTensor.allocate(shape);
}

/** What the kernels are told: one workgroup for every so many rows of the side that is owned. */
function overRows(
  tensors: readonly GpuTensor[], q: Tensor, k: Tensor, v: Tensor, causal: boolean, owned: "queries" | "keys", kept: number,
): { traits: FlashTraits; dispatch: Pick<Dispatch, "params" | "groups"> } {
  const places = tensors.map((t) => placeOf(t)!);
  const [d, e] = [width(q), width(v)];
  const wide = [d, e, ...places.flat()].every((n) => n % 4 === 0);
  const traits = flashTraits(d, e, wide, kept, gpu().limits);
  const batch = q.shape.slice(0, -2);
  const tiles = Math.ceil((owned === "queries" ? length(q) : length(k)) / traits.rows);
  const workgroups = tiles * sizeOf(batch);
  const params = [length(q), length(k), +causal, floatBits(1 / Math.sqrt(d)), LOWEST, tiles, workgroups, batch.at(-1) ?? 1, ...places.flat()];
  return { traits, dispatch: { params, groups: grid(workgroups) } };
}
