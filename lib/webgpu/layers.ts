/**
 * Layers that have kernels of their own, behind the signatures of lib/layers, which holds the formulas. All other layers
 * run from their plain TypeScript definitions, on tensors whose operations are kernels.
 */

import type { Implementation } from "../layers/device";
import { sizeOf, Tensor } from "../tensor";
import { attention } from "./attention";
import { gpu } from "./connect";
import { gatherRows, scatterRows } from "./gather";
import { floatBits, grid, type Dispatch } from "./gpu";
import { ACTIVATIONS, type Activation } from "./kernels/activations";
import { crossEntropy, crossEntropyBackward } from "./kernels/crossEntropy";
import * as norm from "./kernels/layerNorm";
import { rowTraits, type RowTraits } from "./kernels/rows";
import * as rows from "./kernels/softmax";
import { pointwise } from "./pointwise";
import { offerStep, product, productAndSums } from "./products";
import { ALIGNED, floats, GpuTensor } from "./tensor";
import { conv2d, maxPool2d } from "./windows";

const last = (t: Tensor): number => t.shape[t.rank - 1];
const rowsOf = (t: Tensor): number => sizeOf(t.shape.slice(0, -1));
/** Whole numbers on the GPU as they are. */
const whole = (t: Tensor): GpuTensor => GpuTensor.from(t);
/** How rows as long as x's are walked on this GPU. */
const traitsOf = (x: Tensor): RowTraits => rowTraits(last(x), gpu().subgroups !== undefined, gpu().limits.invocations);
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
    gpu().run(rows.softmax(traitsOf(x)), { buffers: [floats(x).binding, y.binding], params: [rowsOf(x), last(x), LOWEST], groups: grid(rowsOf(x)) });
    return { y, saved: { y } };
  },

  backward(dy, { x }: { x: Tensor }, { y }: { y: GpuTensor }) {
    const dx = GpuTensor.allocate(x.shape);
    gpu().run(rows.softmaxBackward(traitsOf(x)), { buffers: [y.binding, floats(dy).binding, dx.binding], params: [rowsOf(x), last(x)], groups: grid(rowsOf(x)) });
    return { dx };
  },
};

type Loss = { logits: Tensor; targets: Tensor };
type LossOptions = { reduction: "mean" | "sum" | "none"; ignoreIndex: number; labelSmoothing: number };

const softmaxCrossEntropy: Implementation = {
  supports: (_, options: LossOptions) => options.labelSmoothing === 0,

  forward({ logits, targets }: Loss, { reduction, ignoreIndex }: LossOptions) {
    const counted = (targets.data as Int32Array).reduce((n, t) => n + (t === ignoreIndex ? 0 : 1), 0);
    // 0 / 0, the mean of nothing, is NaN.
    const factor = reduction !== "mean" ? 1 : counted > 0 ? 1 / counted : NaN;
    const [loss, lse] = [GpuTensor.allocate(targets.shape), GpuTensor.allocate(targets.shape)];
    gpu().run(crossEntropy(traitsOf(logits)), {
      buffers: [floats(logits).binding, whole(targets).binding, loss.binding, lse.binding],
      params: [targets.size, last(logits), ignoreIndex >>> 0, LOWEST, floatBits(factor)],
      groups: grid(targets.size),
    });
    return { y: reduction === "none" ? loss : loss.sum(), saved: { lse, factor } };
  },

  backward(dy, { logits, targets }: Loss, { lse, factor }: { lse: GpuTensor; factor: number }, { ignoreIndex }: LossOptions) {
    const dlogits = GpuTensor.allocate(logits.shape);
    gpu().run(crossEntropyBackward(traitsOf(logits)), {
      buffers: [floats(logits).binding, whole(targets).binding, lse.binding, floats(dy).binding, dlogits.binding],
      params: [targets.size, last(logits), ignoreIndex >>> 0, +(dy.rank > 0), floatBits(factor)],
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
    gpu().run(norm.layerNorm(traitsOf(x)), {
      buffers: [floats(x), floats(gamma), floats(beta), y, mean, rstd].map((t) => t.binding),
      params: [m, last(x), floatBits(eps)],
      groups: grid(m),
    });
    return { y, saved: { mean, rstd } };
  },

  backward(dy, { x, gamma }: Norm, { mean, rstd }: Statistics) {
    const [m, d] = [rowsOf(x), last(x)];
    const up = floats(dy);
    let both: GpuTensor[] | undefined;
    return {
      dx() {
        const dx = GpuTensor.allocate(x.shape);
        const read = [floats(x), floats(gamma), mean, rstd, up].map((t) => t.binding);
        const dispatch: Dispatch = { buffers: [...read, dx.binding], params: [m, d], groups: grid(m) };
        gpu().run(norm.layerNormBackward(traitsOf(x), false), dispatch);
        // Where a skip connection meets the branch again, its gradient is added on the way.
        offerStep(dx, dispatch, ({ name, out }, _, other) => {
          if (name !== "add" || !other) return false;
          gpu().replaceLast(norm.layerNormBackward(traitsOf(x), true), { ...dispatch, buffers: [...read, other, dx.binding, out.binding] });
          return true;
        });
        return dx;
      },
      dgamma: () => (both ??= parameterGradients(x, mean, rstd, up, m, d))[0],
      dbeta: () => (both ??= parameterGradients(x, mean, rstd, up, m, d))[1],
    };
  },
};

/** dgamma and dbeta, next to each other in one buffer so that one kernel sums the chunks of both. */
function parameterGradients(x: Tensor, mean: GpuTensor, rstd: GpuTensor, up: GpuTensor, m: number, d: number): GpuTensor[] {
  const chunks = Math.ceil(m / norm.CHUNK);
  const at = Math.ceil(d / ALIGNED) * ALIGNED;
  const sums = GpuTensor.allocate([chunks, 2 * at]);
  gpu().run(norm.layerNormParameters, {
    buffers: [floats(x), mean, rstd, up, sums].map((t) => t.binding),
    params: [m, d, chunks, at, 2 * at],
    groups: grid(Math.ceil(d / norm.COLUMNS) * chunks),
  });
  return GpuTensor.parts(chunks === 1 ? sums : (sums.sum(0) as GpuTensor), [{ start: 0, shape: [d] }, { start: at, shape: [d] }]);
}

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

/** One pass over memory each way. */
function activation(name: Activation): Implementation {
  const { value, backward } = ACTIVATIONS[name];
  return {
    forward: ({ x }: { x: Tensor }, { slope = 0 }: { slope?: number }) => ({ y: pointwise(name, value, [floats(x)], x.shape, slope) }),
    backward: (dy, { x }: { x: Tensor }, _, { slope = 0 }: { slope?: number }) =>
      ({ dx: pointwise(`${name} backward`, backward, [floats(x), floats(dy)], x.shape, slope) }),
  };
}

export const layers: Record<string, Implementation> = {
  ...Object.fromEntries((Object.keys(ACTIVATIONS) as Activation[]).map((name) => [name, activation(name)])),
  linear, softmax, softmaxCrossEntropy, layerNorm, embedding, attention, flashAttention: attention, conv2d, maxPool2d,
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
