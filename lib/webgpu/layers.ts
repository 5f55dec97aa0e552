/**
 * Layers that have kernels of their own, behind the signatures of lib/layers, which holds the formulas. All other layers
 * run from their plain TypeScript definitions, on tensors whose operations are kernels.
 */

import type { Implementation } from "../layers/device";
import { sizeOf, Tensor } from "../tensor";
import { gpu } from "./connect";
import { floatBits, grid, type Dispatch } from "./gpu";
import { ACTIVATIONS, type Activation } from "./kernels/activations";
import { ATTENTION_ROWS, flashBackwardKey, flashBackwardQuery, flashForward, MAX_HEAD } from "./kernels/attention";
import { maxPool, maxPoolBackward, POOL_SIZE } from "./kernels/maxPool";
import * as rows from "./kernels/rows";
import { activated, floats, gatherRows, GpuTensor, pointwise, product, productAndSums, scatterRows } from "./tensor";

const last = (t: Tensor): number => t.shape[t.rank - 1];
const rowsOf = (t: Tensor): number => sizeOf(t.shape.slice(0, -1));
/** Whole numbers on the GPU as they are. */
const whole = (t: Tensor): GpuTensor => GpuTensor.from(t);
/** How rows as long as x's are walked on this GPU. */
const traitsOf = (x: Tensor): rows.RowTraits => rows.rowTraits(last(x), gpu().subgroups !== undefined);
const LOWEST = floatBits(-Infinity);

const linear: Implementation = {
  forward({ x, W, b }: { x: Tensor; W: Tensor; b?: Tensor }) {
    const [out, inner] = W.shape;
    const y = product(floats(x), floats(W), { m: rowsOf(x), n: out, k: inner, transB: true, bias: b && floats(b) });
    return { y: y.reshape([...x.shape.slice(0, -1), out]) };
  },

  backward(dy, { x, W, b }: { x: Tensor; W: Tensor; b?: Tensor }) {
    const [out, inner] = W.shape;
    const m = rowsOf(x);
    const up = floats(dy);
    const sizes = { m: out, n: inner, k: m, transA: true };
    // dW's kernel reads all of dy, whose sums are db. Without a column of W it has no work, so no sums either.
    let both: [GpuTensor, GpuTensor] | undefined;
    const together = (): [GpuTensor, GpuTensor] => (both ??= productAndSums(up, floats(x), sizes));
    return {
      dx: () => product(up, floats(W), { m, n: inner, k: out }).reshape(x.shape),
      dW: () => (b ? together()[0] : product(up, floats(x), sizes)),
      db: b && (() => (inner > 0 ? together()[1] : up.reshape(m, out).sum(0))),
    };
  },
};

const softmax: Implementation = {
  forward({ x }: { x: Tensor }) {
    const y = GpuTensor.allocate(x.shape);
    gpu().run(rows.softmax(traitsOf(x)), { buffers: [floats(x).buffer, y.buffer], params: [rowsOf(x), last(x), LOWEST], groups: grid(rowsOf(x)) });
    return { y, saved: { y } };
  },

  backward(dy, { x }: { x: Tensor }, { y }: { y: GpuTensor }) {
    const dx = GpuTensor.allocate(x.shape);
    gpu().run(rows.softmaxBackward(traitsOf(x)), { buffers: [y.buffer, floats(dy).buffer, dx.buffer], params: [rowsOf(x), last(x)], groups: grid(rowsOf(x)) });
    return { dx };
  },
};

type Loss = { logits: Tensor; targets: Tensor };
type LossOptions = { reduction: "mean" | "sum" | "none"; ignoreIndex: number; labelSmoothing: number };

const softmaxCrossEntropy: Implementation = {
  supports: (_, options: LossOptions) => options.labelSmoothing === 0,

  forward({ logits, targets }: Loss, { reduction, ignoreIndex }: LossOptions) {
    const [loss, lse] = [GpuTensor.allocate(targets.shape), GpuTensor.allocate(targets.shape)];
    gpu().run(rows.crossEntropy(traitsOf(logits)), {
      buffers: [floats(logits).buffer, whole(targets).buffer, loss.buffer, lse.buffer],
      params: [targets.size, last(logits), ignoreIndex >>> 0, LOWEST],
      groups: grid(targets.size),
    });
    const counted = (targets.data as Int32Array).reduce((n, t) => n + (t === ignoreIndex ? 0 : 1), 0);
    const y = reduction === "none" ? loss : reduction === "sum" ? loss.sum() : loss.sum().div(counted);
    return { y, saved: { lse, counted } };
  },

  backward(dy, { logits, targets }: Loss, { lse, counted }: { lse: GpuTensor; counted: number }, { reduction, ignoreIndex }: LossOptions) {
    const each = reduction === "mean" ? floats(dy).div(counted) : floats(dy);
    const scale = each.broadcastTo(targets.shape) as GpuTensor;
    const dlogits = GpuTensor.allocate(logits.shape);
    gpu().run(rows.crossEntropyBackward(traitsOf(logits)), {
      buffers: [floats(logits).buffer, whole(targets).buffer, lse.buffer, scale.buffer, dlogits.buffer],
      params: [targets.size, last(logits), ignoreIndex >>> 0],
      groups: grid(targets.size),
    });
    return { dlogits };
  },
};

type Norm = { x: Tensor; gamma: Tensor; beta: Tensor };
type Statistics = { mean: GpuTensor; rstd: GpuTensor };

const layerNorm: Implementation = {
  forward({ x, gamma, beta }: Norm, { eps }: { eps: number }) {
    const m = rowsOf(x);
    const [y, mean, rstd] = [x.shape, [m], [m]].map((shape) => GpuTensor.allocate(shape));
    gpu().run(rows.layerNorm(traitsOf(x)), {
      buffers: [floats(x), floats(gamma), floats(beta), y, mean, rstd].map((t) => t.buffer),
      params: [m, last(x), floatBits(eps)],
      groups: grid(m),
    });
    return { y, saved: { mean, rstd } };
  },

  backward(dy, { x, gamma }: Norm, { mean, rstd }: Statistics) {
    const [m, d] = [rowsOf(x), last(x)];
    const up = floats(dy);
    const dx = GpuTensor.allocate(x.shape);
    gpu().run(rows.layerNormBackward(traitsOf(x)), {
      buffers: [floats(x), floats(gamma), mean, rstd, up, dx].map((t) => t.buffer),
      params: [m, d],
      groups: grid(m),
    });
    const chunks = Math.ceil(m / rows.CHUNK);
    const [dgamma, dbeta] = [GpuTensor.allocate([chunks, d]), GpuTensor.allocate([chunks, d])];
    gpu().run(rows.layerNormParameters, {
      buffers: [floats(x), mean, rstd, up, dgamma, dbeta].map((t) => t.buffer),
      params: [m, d, chunks],
      groups: grid(Math.ceil(d / rows.COLUMNS) * chunks),
    });
    return { dx, dgamma: dgamma.sum(0), dbeta: dbeta.sum(0) };
  },
};

type LookUp = { E: Tensor; ids: Tensor };

const embedding: Implementation = {
  supports: (_, { sparse }: { sparse: boolean }) => !sparse,

  forward({ E, ids }: LookUp) {
    return { y: gatherRows(floats(E), ids.data as Int32Array, last(E), [...ids.shape, last(E)]) };
  },

  backward(dy, { E, ids }: LookUp) {
    return { dE: () => scatterRows(floats(dy), ids.data as Int32Array, last(E), E.shape) };
  },
};

type Heads = { q: Tensor; k: Tensor; v: Tensor };
type Saved = { y: GpuTensor; kept: GpuTensor };

/** `attention` and `flashAttention` are one kernel: no score is ever written down. */
const attention: Implementation = {
  supports: ({ q, v }: Heads, { mask }: { mask?: Tensor }) => !mask && last(q) > 0 && Math.max(last(q), last(v)) <= MAX_HEAD,

  forward({ q, k, v }: Heads, { causal }: { causal: boolean }) {
    const y = GpuTensor.allocate([...q.shape.slice(0, -1), last(v)]);
    const kept = GpuTensor.allocate([...q.shape.slice(0, -1), 2]);
    gpu().run(flashForward(last(q), last(v)), {
      buffers: [floats(q), floats(k), floats(v), y, kept].map((t) => t.buffer), ...overRows(q, k, causal, "queries"),
    });
    return { y, saved: { y, kept } };
  },

  backward(dy, { q, k, v }: Heads, { y, kept }: Saved, { causal }: { causal: boolean }) {
    const read = [floats(q), floats(k), floats(v), floats(dy)];
    const inner = GpuTensor.allocate(q.shape.slice(0, -1));
    const [dq, dk, dv] = [q, k, v].map((t) => GpuTensor.allocate(t.shape));
    gpu().run(flashBackwardQuery(last(q), last(v)), {
      buffers: [...read, y, kept, dq, inner].map((t) => t.buffer), ...overRows(q, k, causal, "queries"),
    });
    gpu().run(flashBackwardKey(last(q), last(v)), {
      buffers: [...read, kept, inner, dk, dv].map((t) => t.buffer), ...overRows(q, k, causal, "keys"),
    });
    return { dq, dk, dv };
  },
};

/** What the attention kernels are told: one workgroup for every so many rows of the side that is owned. */
function overRows(q: Tensor, k: Tensor, causal: boolean, owned: "queries" | "keys"): Pick<Dispatch, "params" | "groups"> {
  const [T, d] = q.shape.slice(-2);
  const S = k.shape[k.rank - 2];
  const tiles = Math.ceil((owned === "queries" ? T : S) / ATTENTION_ROWS);
  const workgroups = tiles * sizeOf(q.shape.slice(0, -2));
  return { params: [T, S, +causal, floatBits(1 / Math.sqrt(d)), LOWEST, tiles, workgroups], groups: grid(workgroups) };
}

type Pair = number | readonly [number, number];
type PoolOptions = { kernel: Pair; stride?: Pair };
const both = (pair: Pair): readonly [number, number] => (typeof pair === "number" ? [pair, pair] : pair);

function windows(x: Tensor, { kernel, stride }: PoolOptions) {
  const [[kh, kw], [sh, sw]] = [both(kernel), both(stride ?? kernel)];
  const [H, W] = x.shape.slice(2);
  const [OH, OW] = [Math.floor((H - kh) / sh) + 1, Math.floor((W - kw) / sw) + 1];
  return { shape: [x.shape[0], x.shape[1], OH, OW], params: [H, W, OH, OW, kh, kw, sh, sw] };
}

const maxPool2d: Implementation = {
  forward({ x }: { x: Tensor }, options: PoolOptions) {
    const { shape, params } = windows(x, options);
    const [y, found] = [GpuTensor.allocate(shape), GpuTensor.allocate(shape, "int32")];
    gpu().run(maxPool, {
      buffers: [floats(x).buffer, y.buffer, found.buffer], params: [y.size, ...params], groups: grid(Math.ceil(y.size / POOL_SIZE)),
    });
    return { y, saved: { found } };
  },

  backward(dy, { x }: { x: Tensor }, { found }: { found: GpuTensor }, options: PoolOptions) {
    const dx = GpuTensor.allocate(x.shape);
    gpu().run(maxPoolBackward, {
      buffers: [floats(dy).buffer, found.buffer, dx.buffer], params: [x.size, ...windows(x, options).params], groups: grid(Math.ceil(x.size / POOL_SIZE)),
    });
    return { dx };
  },
};

/** One pass over memory each way. */
function activation(name: Activation): Implementation {
  const { backward } = ACTIVATIONS[name];
  return {
    forward: ({ x }: { x: Tensor }, { slope = 0 }: { slope?: number }) => ({ y: activated(floats(x), name, slope) }),
    backward: (dy, { x }: { x: Tensor }, _, { slope = 0 }: { slope?: number }) =>
      ({ dx: pointwise(`${name} backward`, backward, [floats(x), floats(dy)], x.shape, slope) }),
  };
}

export const layers: Record<string, Implementation> = {
  ...Object.fromEntries((Object.keys(ACTIVATIONS) as Activation[]).map((name) => [name, activation(name)])),
  linear, softmax, softmaxCrossEntropy, layerNorm, embedding, attention, flashAttention: attention, maxPool2d,
};

/** Runs a layer's plain TypeScript definition on tensors that live on the GPU. */
export function adapt(cpu: Implementation): Implementation {
  const lifted = (inputs: Record<string, Tensor | undefined>): Record<string, Tensor | undefined> =>
    Object.fromEntries(Object.entries(inputs).map(([name, t]) => [name, t && t.dtype !== "int32" ? floats(t) : t]));
  return {
    forward: (inputs, options) => cpu.forward(lifted(inputs), options),
    backward: (dy, inputs, saved, options) => cpu.backward(floats(dy), lifted(inputs), saved, options),
    jvp: (tangents, inputs, saved, options) => cpu.jvp!(lifted(tangents), lifted(inputs), saved, options),
  };
}
