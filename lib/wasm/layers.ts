/**
 * The layers of a GPT step on WebAssembly kernels, behind the signatures of lib/layers, which holds the formulas.
 * All are float32 (linear float64 too); what is not here, or another dtype, runs in plain TypeScript.
 */

import type { Implementation } from "../layers/device";
import { Tensor } from "../tensor";
import type { Frame } from "./memory";
import { wasm } from "./module";
import { affine, matrix, multiply } from "./products";

type Tensors = Record<string, Tensor | undefined>;

const frame = <T>(body: (f: Frame) => T): T => wasm().memory.frame(body);

/** Whether every input with gradients is float32. */
const single = (inputs: Tensors): boolean =>
  Object.values(inputs).every((t) => t === undefined || t.dtype === "float32" || t.dtype === "int32");

const last = (t: Tensor): number => t.shape[t.shape.length - 1];
/** Rows of a tensor when all axes but the last are one. */
const rowsOf = (t: Tensor): number => (last(t) === 0 ? 0 : t.size / last(t));

const linear: Implementation = {
  supports: (inputs: Tensors) => single(inputs) || Object.values(inputs).every((t) => t === undefined || t.dtype === "float64"),

  forward({ x, W, b }: { x: Tensor; W: Tensor; b?: Tensor }) {
    const y = frame((f) => {
      const [out, inner] = W.shape;
      const m = rowsOf(x);
      const y = f.write([...x.shape.slice(0, -1), out], x.dtype);
      multiply(wasm(), f, x.dtype, "NT", m, out, inner, matrix(f.read(x), inner), matrix(f.read(W), inner), matrix(y.at, out));
      if (b && x.dtype === "float32") wasm().kernels.addRows(m, out, y.at, f.read(b));
      return y.tensor;
    });
    return { y: b && x.dtype === "float64" ? y.add(b) : y };
  },

  backward(dy, { x, W, b }: { x: Tensor; W: Tensor; b?: Tensor }) {
    const [out, inner] = W.shape;
    const m = rowsOf(x);
    return {
      dx: () => frame((f) => {
        const dx = f.write(x.shape, x.dtype);
        multiply(wasm(), f, x.dtype, "NN", m, inner, out, matrix(f.read(dy), out), matrix(f.read(W), inner), matrix(dx.at, inner));
        return dx.tensor;
      }),
      dW: () => frame((f) => {
        const dW = f.write(W.shape, x.dtype);
        multiply(wasm(), f, x.dtype, "TN", out, inner, m, matrix(f.read(dy), out), matrix(f.read(x), inner), matrix(dW.at, inner));
        return dW.tensor;
      }),
      db: b && (() => x.dtype === "float64" ? dy.reshape(m, out).sum(0) : frame((f) => {
        const db = f.write([out]);
        wasm().kernels.sumRows(m, out, f.read(dy), db.at);
        return db.tensor;
      })),
    };
  },
};

/** Numbers as in assembly/elementwise.ts. */
const activations = { relu: 0, leakyRelu: 1, sigmoid: 2, tanh: 3, silu: 4, gelu: 5, geluTanh: 6 };

function activation(op: number): Implementation {
  return {
    supports: single,
    forward: ({ x }: { x: Tensor }, { slope = 0 }) => frame((f) => {
      const y = f.write(x.shape);
      wasm().kernels.activation(op, x.size, f.read(x), y.at, slope);
      return { y: y.tensor };
    }),
    backward: (dy, { x }: { x: Tensor }, _, { slope = 0 }) => ({
      dx: frame((f) => {
        const dx = f.write(x.shape);
        wasm().kernels.activationBackward(op, x.size, f.read(x), f.read(dy), dx.at, slope);
        return dx.tensor;
      }),
    }),
  };
}

const softmax: Implementation = {
  supports: single,
  forward: ({ x }: { x: Tensor }) => frame((f) => {
    const y = f.write(x.shape);
    wasm().kernels.softmax(rowsOf(x), last(x), f.read(x), y.at);
    return { y: y.tensor, saved: { y: y.tensor } };
  }),
  backward: (dy, { x }: { x: Tensor }, { y }: { y: Tensor }) => ({
    dx: frame((f) => {
      const dx = f.write(x.shape);
      wasm().kernels.softmaxBackward(rowsOf(x), last(x), f.read(y), f.read(dy), dx.at);
      return dx.tensor;
    }),
  }),
};

type Loss = { logits: Tensor; targets: Tensor };
type LossOptions = { reduction: "mean" | "sum" | "none"; ignoreIndex?: number; labelSmoothing: number };
/** No class has this number; it stands for "nothing is ignored". */
const NOTHING = -2147483648;

const softmaxCrossEntropy: Implementation = {
  supports: (inputs: Tensors, options: LossOptions) => single(inputs) && options.labelSmoothing === 0,

  forward({ logits, targets }: Loss, { reduction, ignoreIndex = NOTHING }: LossOptions) {
    const { loss, p } = frame((f) => {
      const [loss, p] = [f.write(targets.shape), f.write(logits.shape)];
      wasm().kernels.crossEntropy(rowsOf(logits), last(logits), f.read(logits), f.read(targets), ignoreIndex, loss.at, p.at);
      return { loss: loss.tensor, p: p.tensor };
    });
    // Read after the frame: a result that found no block in the memory is filled only when the frame ends.
    const counted = (targets.data as Int32Array).reduce((n, target) => (target === ignoreIndex ? n : n + 1), 0);
    const saved = { p, counted };
    if (reduction === "none") return { y: loss, saved };
    return { y: reduction === "sum" ? loss.sum() : loss.sum().div(counted), saved };
  },

  backward(dy, { logits, targets }: Loss, { p, counted }: { p: Tensor; counted: number }, { reduction, ignoreIndex = NOTHING }: LossOptions) {
    return {
      dlogits: frame((f) => {
        const m = rowsOf(logits);
        const each = reduction === "mean" ? dy.div(counted) : dy;
        const scale = reduction === "none" ? each : each.broadcastTo([m]);
        const dx = f.write(logits.shape);
        wasm().kernels.crossEntropyBackward(m, last(logits), f.read(p), f.read(targets), ignoreIndex, f.read(scale), dx.at);
        return dx.tensor;
      }),
    };
  },
};

type Norm = { x: Tensor; gamma: Tensor; beta: Tensor };
type Statistics = { mean: Tensor; rstd: Tensor };

const layerNorm: Implementation = {
  supports: single,

  forward({ x, gamma, beta }: Norm, { eps }: { eps: number }) {
    return frame((f) => {
      const m = rowsOf(x);
      const [y, mean, rstd] = [f.write(x.shape), f.write([m]), f.write([m])];
      wasm().kernels.layerNorm(m, last(x), eps, f.read(x), f.read(gamma), f.read(beta), y.at, mean.at, rstd.at);
      return { y: y.tensor, saved: { mean: mean.tensor, rstd: rstd.tensor } };
    });
  },

  backward(dy, { x, gamma }: Norm, { mean, rstd }: Statistics) {
    return frame((f) => {
      const [dx, dgamma, dbeta] = [f.write(x.shape), f.write(gamma.shape), f.write(gamma.shape)];
      wasm().kernels.layerNormBackward(
        rowsOf(x), last(x), f.read(x), f.read(gamma), f.read(mean), f.read(rstd), f.read(dy), dx.at, dgamma.at, dbeta.at);
      return { dx: dx.tensor, dgamma: dgamma.tensor, dbeta: dbeta.tensor };
    });
  },
};

type Heads = { q: Tensor; k: Tensor; v: Tensor };

const attention: Implementation = {
  // Blocks of rows assume as many keys as queries.
  supports: (inputs: Tensors, { mask }: { mask?: Tensor }) => single(inputs) && !mask && inputs.q!.shape.at(-2) === inputs.k!.shape.at(-2),

  forward({ q, k, v }: Heads, { causal }: { causal: boolean }) {
    return frame((f) => {
      const [t, d] = q.shape.slice(-2);
      const e = last(v);
      const batches = q.size === 0 ? 0 : q.size / (t * d);
      const y = f.write([...q.shape.slice(0, -1), e]);
      const p = f.write([batches, t, t]);
      const [qa, ka, va] = [f.read(q), f.read(k), f.read(v)];
      for (let b = 0; b < batches; b++) {
        wasm().kernels.attention(t, d, e, +causal, 1 / Math.sqrt(d), qa + 4 * b * t * d, d, ka + 4 * b * t * d, d,
          va + 4 * b * t * e, e, y.at + 4 * b * t * e, e, p.at + 4 * b * t * t, f.scratch);
      }
      return { y: y.tensor, saved: { p: p.tensor } };
    });
  },

  backward(dy, { q, k, v }: Heads, { p }: { p: Tensor }, { causal }: { causal: boolean }) {
    return frame((f) => {
      const { kernels } = wasm();
      const [t, d] = q.shape.slice(-2);
      const e = last(v);
      const batches = p.shape[0];
      const [dq, dk, dv] = [f.write(q.shape), f.write(k.shape), f.write(v.shape)];
      const [qa, ka, va, pa, up] = [q, k, v, p, dy].map((t) => f.read(t));
      const work = f.work(kernels.attentionWork(t));
      for (let b = 0; b < batches; b++) {
        const [s, u] = [4 * b * t * d, 4 * b * t * e];
        kernels.attentionBackward(t, d, e, +causal, 1 / Math.sqrt(d), qa + s, d, ka + s, d, va + u, e,
          pa + 4 * b * t * t, up + u, e, dq.at + s, d, dk.at + s, d, dv.at + u, e, work, f.scratch);
      }
      return { dq: dq.tensor, dk: dk.tensor, dv: dv.tensor };
    });
  },
};

type SelfAttention = { x: Tensor; Wqkv: Tensor; bqkv: Tensor; Wo: Tensor; bo: Tensor };
type HeadOptions = { heads: number; causal: boolean };

/** Each head works on its slice of qkv [B, T, 3C] and of the context [B, T, C] where they lie. */
const multiHeadAttention: Implementation = {
  supports: single,

  forward({ x, Wqkv, bqkv, Wo, bo }: SelfAttention, { heads, causal }: HeadOptions) {
    return frame((f) => {
      const [B, T, C] = x.shape;
      const d = C / heads;
      const w = wasm();
      const qkv = f.write([B, T, 3 * C]);
      const context = f.write([B, T, C]);
      const p = f.write([B, heads, T, T]);
      const y = f.write([B, T, C]);
      affine(w, f, B * T, C, 3 * C, f.read(x), f.read(Wqkv), bqkv && f.read(bqkv), qkv.at);
      for (let b = 0; b < B; b++) {
        for (let h = 0; h < heads; h++) {
          const q = qkv.at + 4 * (b * T * 3 * C + h * d);
          w.kernels.attention(T, d, d, +causal, 1 / Math.sqrt(d), q, 3 * C, q + 4 * C, 3 * C, q + 8 * C, 3 * C,
            context.at + 4 * (b * T * C + h * d), C, p.at + 4 * (b * heads + h) * T * T, f.scratch);
        }
      }
      affine(w, f, B * T, C, C, context.at, f.read(Wo), bo && f.read(bo), y.at);
      return { y: y.tensor, saved: { qkv: qkv.tensor, context: context.tensor, p: p.tensor } };
    });
  },

  backward(dy, { x, Wqkv, bqkv, Wo, bo }: SelfAttention,
    { qkv, context, p }: { qkv: Tensor; context: Tensor; p: Tensor }, { heads, causal }: HeadOptions) {
    return frame((f) => {
      const [B, T, C] = x.shape;
      const d = C / heads;
      const w = wasm();
      const m = B * T;
      const up = f.read(dy);
      const dWo = f.write(Wo.shape);
      multiply(w, f, "float32", "TN", C, C, m, matrix(up, C), matrix(f.read(context), C), matrix(dWo.at, C));
      const dbo = bo && f.write(bo.shape);
      if (dbo) w.kernels.sumRows(m, C, up, dbo.at);

      const dcontext = f.work(4 * m * C);
      multiply(w, f, "float32", "NN", m, C, C, matrix(up, C), matrix(f.read(Wo), C), matrix(dcontext, C));
      const dqkv = f.work(4 * m * 3 * C);
      const work = f.work(w.kernels.attentionWork(T));
      const [from, probabilities] = [f.read(qkv), f.read(p)];
      for (let b = 0; b < B; b++) {
        for (let h = 0; h < heads; h++) {
          const at = 4 * (b * T * 3 * C + h * d);
          const [q, dq] = [from + at, dqkv + at];
          w.kernels.attentionBackward(T, d, d, +causal, 1 / Math.sqrt(d), q, 3 * C, q + 4 * C, 3 * C, q + 8 * C, 3 * C,
            probabilities + 4 * (b * heads + h) * T * T, dcontext + 4 * (b * T * C + h * d), C,
            dq, 3 * C, dq + 4 * C, 3 * C, dq + 8 * C, 3 * C, work, f.scratch);
        }
      }

      const dWqkv = f.write(Wqkv.shape);
      multiply(w, f, "float32", "TN", 3 * C, C, m, matrix(dqkv, 3 * C), matrix(f.read(x), C), matrix(dWqkv.at, C));
      const dbqkv = bqkv && f.write(bqkv.shape);
      if (dbqkv) w.kernels.sumRows(m, 3 * C, dqkv, dbqkv.at);
      const dx = f.write(x.shape);
      multiply(w, f, "float32", "NN", m, C, 3 * C, matrix(dqkv, 3 * C), matrix(f.read(Wqkv), C), matrix(dx.at, C));
      return { dx: dx.tensor, dWqkv: dWqkv.tensor, dbqkv: dbqkv?.tensor, dWo: dWo.tensor, dbo: dbo?.tensor };
    });
  },
};

export const layers: Record<string, Implementation> = {
  linear,
  softmax,
  softmaxCrossEntropy,
  layerNorm,
  attention,
  multiHeadAttention,
  ...Object.fromEntries(Object.entries(activations).map(([name, op]) => [name, activation(op)])),
};
