/** Matrix products, and what follows a kernel so closely that the kernel does it. */

import { gpu } from "./connect";
import { floatBits, grid, type Dispatch } from "./gpu";
import { matmul, type Tile } from "./kernels/matmul";
import type { Operand } from "./pointwise";
import { ALIGNED, GpuTensor } from "./tensor";

export interface Product {
  m: number;
  n: number;
  k: number;
  batch?: number;
  transA?: boolean;
  transB?: boolean;
  bias?: GpuTensor;
  /** Whether the bias has a number for each column of the result (the rule) or for each row. */
  biasOf?: "column" | "row";
  /** One a for the whole batch. */
  sharedA?: boolean;
  /** Chosen from the sizes when left out. */
  tile?: Tile;
}

/** A pointwise operation about to be recorded. */
export interface Step {
  readonly name: string;
  readonly expression: string;
  readonly operands: readonly Operand[];
  readonly scalar: number;
  readonly out: GpuTensor;
}

/** The kernel recorded last, if it can do what follows as well: its result is then in a register, and not read again. */
let offer: { result: GpuTensor; dispatch: Dispatch; take(step: Step, own: 0 | 1, other: GPUBufferBinding | undefined): boolean } | undefined;

/** Whether the kernel recorded last does a step too: one element by element, of its result and at most one other tensor. */
export function takenIn(step: Step): boolean {
  const { operands, out } = step;
  if (!offer || offer.dispatch !== gpu().last || out.size !== offer.result.size || operands.length > 2) return false;
  const { buffer } = offer.result.binding;
  const own = operands.findIndex(({ bound }) => bound.buffer === buffer);
  if (own < 0 || operands.some(({ offset }, i) => offset > 0 || (i !== own && operands[i].bound.buffer === buffer))) return false;
  return offer.take(step, own as 0 | 1, operands[1 - own]?.bound);
}

/** Offers that the dispatch recorded last, which made `result`, takes in what follows. */
export function offerStep(result: GpuTensor, dispatch: Dispatch, take: NonNullable<typeof offer>["take"]): void {
  offer = { result, dispatch, take };
}

/** The largest tile of which there are enough to keep a large GPU busy: large tiles read less. */
function tileFor(m: number, n: number, batch: number): Tile {
  const count = (tile: number): number => batch * Math.ceil(m / tile) * Math.ceil(n / tile);
  if (gpu().limits.invocations < 256) return 32;
  return count(128) >= 128 ? 128 : count(64) >= 64 ? 64 : 32;
}

/** op(a) op(b) + bias as [batch *] m x n numbers; the operands' shapes are the caller's business. */
export function product(a: GpuTensor, b: GpuTensor, sizes: Product): GpuTensor {
  const { c, parts, traits, dispatch } = multiply(a, b, sizes);
  if (parts > 1) return c.sum((sizes.batch ?? 1) === 1 ? 0 : 1) as GpuTensor;
  offerStep(c, dispatch, ({ name, expression, scalar, out }, own, other) => {
    gpu().replaceLast(matmul({ ...traits, then: { name, expression, own, other: other !== undefined } }), {
      ...dispatch,
      buffers: [...dispatch.buffers.slice(0, -1), ...(other ? [other] : []), c.binding, out.binding],
      params: dispatch.params.with(10, floatBits(scalar)),
    });
    return true;
  });
  return c;
}

/** op(a) op(b), and beside it the sum of each row of op(a), m numbers. */
export function productAndSums(a: GpuTensor, b: GpuTensor, sizes: Omit<Product, "batch" | "bias">): [GpuTensor, GpuTensor] {
  const { c, sums, parts } = multiply(a, b, sizes, true);
  const whole = parts > 1 ? (c.sum(0) as GpuTensor) : c;
  return GpuTensor.parts(whole, [{ start: 0, shape: [sizes.m, sizes.n] }, { start: sums, shape: [sizes.m] }]) as [GpuTensor, GpuTensor];
}

function multiply(a: GpuTensor, b: GpuTensor, { m, n, k, batch = 1, transA = false, transB = false, sharedA = false, bias, biasOf = "column", tile = tileFor(m, n, batch) }: Product, rowSums = false) {
  const [tilesM, tilesN] = [Math.ceil(m / tile), Math.ceil(n / tile)];
  // Few outputs of long sums (a narrow layer's dW over a large batch): k is cut into parts, which a second kernel adds up.
  const wanted = bias ? 1 : Math.max(1, Math.min(Math.floor(k / 256), Math.floor(64 / Math.max(1, batch * tilesM * tilesN))));
  const part = 8 * Math.max(1, Math.ceil(k / wanted / 8));
  const parts = Math.max(1, Math.ceil(k / part));
  const several = [...(batch === 1 ? [] : [batch]), ...(parts === 1 ? [] : [parts])];
  // The sums of rows lie behind c, where a tensor can start.
  const sums = Math.ceil((m * n) / ALIGNED) * ALIGNED;
  const length = rowSums ? sums + Math.ceil(m / ALIGNED) * ALIGNED : m * n;
  const c = GpuTensor.allocate(rowSums ? [parts, length].slice(parts === 1 ? 1 : 0) : [...several, m, n]);
  const traits = {
    tile, transA, transB, bias: bias && biasOf, rowSums,
    wideA: (transA ? m : k) % 4 === 0, wideB: (transB ? k : n) % 4 === 0, wideC: n % 4 === 0,
  };
  const workgroups = tilesM * tilesN * batch * parts;
  const dispatch: Dispatch = {
    buffers: [a, b, ...(bias ? [bias] : []), c].map((t) => t.binding),
    params: [m, n, k, part, sharedA ? 0 : m * k, k * n, length, parts, tilesM, tilesN, 0, workgroups, sums],
    groups: grid(workgroups),
  };
  gpu().run(matmul(traits), dispatch);
  return { c, sums, parts, traits, dispatch };
}
