/**
 * The layers of a GPT step on WebAssembly kernels, behind the signatures of lib/layers, which holds the formulas.
 * All are float32 (linear float64 too); what is not here, or another dtype, runs in plain TypeScript.
 */

import type { Implementation } from "../layers/device";
import { Tensor } from "../tensor";
import { ACTIVATIONS, wasm } from "./module";
import { matrix, multiply } from "./products";
import { frame } from "./tensor";
import type { Call } from "./threads";

type Tensors = Record<string, Tensor | undefined>;

/** Whether every input with gradients is float32. */
const single = (inputs: Tensors): boolean => {
  for (const name in inputs) if (inputs[name]?.dtype === "float64") return false;
  return true;
};

const double = (inputs: Tensors): boolean => {
  for (const name in inputs) if (inputs[name] && inputs[name].dtype !== "float64") return false;
  return true;
};

const last = (t: Tensor): number => t.shape[t.shape.length - 1];
/** Rows of a tensor when all axes but the last are one. */
const rowsOf = (t: Tensor): number => (last(t) === 0 ? 0 : t.size / last(t));

/** Operations for one number, as threads count them: reading and writing it; an exponential and what goes with it. */
const TOUCH = 4;
const EXPONENTIAL = 25;

/** Shares m rows between the threads: `call` says what is done to rows from `i`, `n` of them. */
function eachRows(m: number, operations: number, call: (i: number, n: number) => Call): void {
  const { threads } = wasm();
  threads.run(threads.pieces(m, operations).map(([i, n]) => call(i, n)));
}

const linear: Implementation = {
  supports: (inputs: Tensors) => single(inputs) || double(inputs),

  forward({ x, W, b }: { x: Tensor; W: Tensor; b?: Tensor }) {
    return frame((f) => {
      const [out, inner] = W.shape;
      const y = f.write([...x.shape.slice(0, -1), out], x.dtype);
      multiply(x.dtype, "NT", rowsOf(y.tensor), out, inner, matrix(f.read(x), inner), matrix(f.read(W), inner), matrix(y.at, out), b && f.read(b));
      return { y: y.tensor };
    });
  },

  backward(dy, { x, W, b }: { x: Tensor; W: Tensor; b?: Tensor }) {
    const [out, inner] = W.shape;
    const m = rowsOf(x);
    return {
      dx: () => frame((f) => {
        const dx = f.write(x.shape, x.dtype);
        multiply(x.dtype, "NN", m, inner, out, matrix(f.read(dy), out), matrix(f.read(W), inner), matrix(dx.at, inner));
        return dx.tensor;
      }),
      dW: () => frame((f) => {
        const dW = f.write(W.shape, x.dtype);
        multiply(x.dtype, "TN", out, inner, m, matrix(f.read(dy), out), matrix(f.read(x), inner), matrix(dW.at, inner));
        return dW.tensor;
      }),
      db: b && (() => x.dtype === "float64" ? dy.reshape(-1, out).sum(0) : frame((f) => {
        const db = f.write([out]);
        wasm().kernels.sumRows(rowsOf(dy), out, f.read(dy), db.at);
        return db.tensor;
      })),
    };
  },
};

function activation(name: (typeof ACTIVATIONS)[number]): Implementation {
  const operations = name === "relu" || name === "leakyRelu" ? TOUCH : EXPONENTIAL;
  /** Elements are shared as rows of four, so that every vector is one thread's. */
  const each = (size: number, call: (offset: number, n: number) => Call): void =>
    eachRows(Math.ceil(size / 4), 4 * operations, (i, n) => call(16 * i, 4 * n));
  return {
    supports: single,
    forward: ({ x }: { x: Tensor }, { slope = 0 }) => frame((f) => {
      const [from, y] = [f.read(x), f.write(x.shape)];
      each(x.size, (o, n) => [name, n, from + o, y.at + o, slope]);
      return { y: y.tensor };
    }),
    backward: (dy, { x }: { x: Tensor }, _, { slope = 0 }) => frame((f) => {
      const [from, up, dx] = [f.read(x), f.read(dy), f.write(x.shape)];
      each(x.size, (o, n) => [`${name}Backward`, n, from + o, up + o, dx.at + o, slope]);
      return { dx: dx.tensor };
    }),
  };
}

const softmax: Implementation = {
  supports: single,
  forward: ({ x }: { x: Tensor }) => frame((f) => {
    const [k, from, y] = [last(x), f.read(x), f.write(x.shape)];
    eachRows(rowsOf(x), EXPONENTIAL * k, (i, n) => ["softmax", n, k, from + 4 * i * k, y.at + 4 * i * k]);
    return { y: y.tensor, saved: { y: y.tensor } };
  }),
  backward: (dy, { x }: { x: Tensor }, { y }: { y: Tensor }) => frame((f) => {
    const [k, from, up, dx] = [last(x), f.read(y), f.read(dy), f.write(x.shape)];
    eachRows(rowsOf(x), TOUCH * k, (i, n) => ["softmaxBackward", n, k, from + 4 * i * k, up + 4 * i * k, dx.at + 4 * i * k]);
    return { dx: dx.tensor };
  }),
};

type Loss = { logits: Tensor; targets: Tensor };
type LossOptions = { reduction: "mean" | "sum" | "none"; ignoreIndex?: number; labelSmoothing: number };
/** No class has this number; it stands for "nothing is ignored". */
const NOTHING = -2147483648;

const softmaxCrossEntropy: Implementation = {
  supports: (inputs: Tensors, options: LossOptions) => single(inputs) && options.labelSmoothing === 0,

  forward({ logits, targets }: Loss, { reduction, ignoreIndex = NOTHING }: LossOptions) {
    const { loss, top, share } = frame((f) => {
      const [k, x, ids] = [last(logits), f.read(logits), f.read(targets)];
      const [loss, top, share] = [0, 1, 2].map(() => f.write(targets.shape));
      eachRows(rowsOf(logits), EXPONENTIAL * k, (i, n) =>
        ["crossEntropy", n, k, x + 4 * i * k, ids + 4 * i, ignoreIndex, loss.at + 4 * i, top.at + 4 * i, share.at + 4 * i]);
      return { loss: loss.tensor, top: top.tensor, share: share.tensor };
    });
    // Read after the frame: a result that found no block in the memory is filled only when the frame ends.
    const counted = (targets.data as Int32Array).reduce((n, target) => (target === ignoreIndex ? n : n + 1), 0);
    const saved = { top, share, counted };
    if (reduction === "none") return { y: loss, saved };
    return { y: reduction === "sum" ? loss.sum() : loss.sum().div(counted), saved };
  },

  backward(dy, { logits, targets }: Loss, { top, share, counted }: { top: Tensor; share: Tensor; counted: number },
    { reduction, ignoreIndex = NOTHING }: LossOptions) {
    return frame((f) => {
      const each = reduction === "mean" ? dy.div(counted) : dy;
      const [k, x, ids] = [last(logits), f.read(logits), f.read(targets)];
      const [greatest, shares, scale] = [f.read(top), f.read(share), f.read(reduction === "none" ? each : each.broadcastTo(targets.shape))];
      const dx = f.write(logits.shape);
      eachRows(rowsOf(logits), EXPONENTIAL * k, (i, n) =>
        ["crossEntropyBackward", n, k, x + 4 * i * k, ids + 4 * i, ignoreIndex, greatest + 4 * i, shares + 4 * i, scale + 4 * i, dx.at + 4 * i * k]);
      return { dlogits: dx.tensor };
    });
  },
};

const embedding: Implementation = {
  supports: (inputs: Tensors, { sparse }: { sparse: boolean }) => single(inputs) && !sparse,

  forward: ({ E, ids }: { E: Tensor; ids: Tensor }) => frame((f) => {
    const d = last(E);
    const y = f.write([...ids.shape, d]);
    wasm().kernels.embedding(ids.size, d, f.read(E), f.read(ids), y.at);
    return { y: y.tensor };
  }),

  backward: (dy, { E, ids }: { E: Tensor; ids: Tensor }) => ({
    dE: () => frame((f) => {
      const dE = f.write(E.shape);
      wasm().kernels.embeddingBackward(ids.size, E.shape[0], last(E), f.read(dy), f.read(ids), dE.at);
      return dE.tensor;
    }),
  }),
};

type Norm = { x: Tensor; gamma: Tensor; beta: Tensor };
type Statistics = { mean: Tensor; rstd: Tensor };

const layerNorm: Implementation = {
  supports: single,

  forward({ x, gamma, beta }: Norm, { eps }: { eps: number }) {
    return frame((f) => {
      const [m, d] = [rowsOf(x), last(x)];
      const [from, scale, shift] = [f.read(x), f.read(gamma), f.read(beta)];
      const [y, mean, rstd] = [f.write(x.shape), f.write([m]), f.write([m])];
      eachRows(m, TOUCH * d, (i, n) =>
        ["layerNorm", n, d, eps, from + 4 * i * d, scale, shift, y.at + 4 * i * d, mean.at + 4 * i, rstd.at + 4 * i]);
      return { y: y.tensor, saved: { mean: mean.tensor, rstd: rstd.tensor } };
    });
  },

  backward(dy, { x, gamma }: Norm, { mean, rstd }: Statistics) {
    return frame((f) => {
      const { kernels, threads } = wasm();
      const [m, d] = [rowsOf(x), last(x)];
      const [from, scale, mu, r, up] = [x, gamma, mean, rstd, dy].map((t) => f.read(t));
      const [dx, dgamma, dbeta] = [f.write(x.shape), f.write(gamma.shape), f.write(gamma.shape)];
      // Each piece sums its own rows' dgamma and dbeta; the sums of the pieces are then added up.
      const pieces = threads.pieces(m, 2 * TOUCH * d);
      const alone = pieces.length === 1;
      const [sums, shifts] = alone ? [dgamma.at, dbeta.at] : [f.work(4 * pieces.length * d), f.work(4 * pieces.length * d)];
      threads.run(pieces.map(([i, n], piece) => ["layerNormBackward", n, d, from + 4 * i * d, scale, mu + 4 * i, r + 4 * i,
        up + 4 * i * d, dx.at + 4 * i * d, sums + 4 * piece * d, shifts + 4 * piece * d]));
      if (!alone) {
        kernels.sumRows(pieces.length, d, sums, dgamma.at);
        kernels.sumRows(pieces.length, d, shifts, dbeta.at);
      }
      return { dx: dx.tensor, dgamma: dgamma.tensor, dbeta: dbeta.tensor };
    });
  },
};

type Heads = { q: Tensor; k: Tensor; v: Tensor };

/** Operations of one head's forward; its backward has more, and is shared out where the forward is. */
const attending = (t: number, d: number, e: number): number => 2 * t * t * (d + e);

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
      wasm().threads.run(Array.from({ length: batches }, (_, b): Call => {
        const [s, u] = [4 * b * t * d, 4 * b * t * e];
        return ["attention", t, d, e, +causal, 1 / Math.sqrt(d), qa + s, d, ka + s, d, va + u, e, y.at + u, e, p.at + 4 * b * t * t];
      }), attending(t, d, e));
      return { y: y.tensor, saved: { p: p.tensor } };
    });
  },

  backward(dy, { q, k, v }: Heads, { p }: { p: Tensor }, { causal }: { causal: boolean }) {
    return frame((f) => {
      const { kernels, threads } = wasm();
      const [t, d] = q.shape.slice(-2);
      const e = last(v);
      const batches = p.shape[0];
      const [dq, dk, dv] = [f.write(q.shape), f.write(k.shape), f.write(v.shape)];
      const [qa, ka, va, pa, up] = [q, k, v, p, dy].map((t) => f.read(t));
      threads.run(Array.from({ length: batches }, (_, b): Call => {
        const [s, u] = [4 * b * t * d, 4 * b * t * e];
        return ["attentionBackward", t, d, e, +causal, 1 / Math.sqrt(d), qa + s, d, ka + s, d, va + u, e,
          pa + 4 * b * t * t, up + u, e, dq.at + s, d, dk.at + s, d, dv.at + u, e, f.work(kernels.attentionWork(t))];
      }), attending(t, d, e));
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
      const qkv = f.write([B, T, 3 * C]);
      const context = f.write([B, T, C]);
      const p = f.write([B, heads, T, T]);
      const y = f.write([B, T, C]);
      multiply("float32", "NT", B * T, 3 * C, C, matrix(f.read(x), C), matrix(f.read(Wqkv), C), matrix(qkv.at, 3 * C), bqkv && f.read(bqkv));
      wasm().threads.run(Array.from({ length: B * heads }, (_, i): Call => {
        const [b, h] = [Math.floor(i / heads), i % heads];
        const q = qkv.at + 4 * (b * T * 3 * C + h * d);
        return ["attention", T, d, d, +causal, 1 / Math.sqrt(d), q, 3 * C, q + 4 * C, 3 * C, q + 8 * C, 3 * C,
          context.at + 4 * (b * T * C + h * d), C, p.at + 4 * i * T * T];
      }), attending(T, d, d));
      multiply("float32", "NT", B * T, C, C, matrix(context.at, C), matrix(f.read(Wo), C), matrix(y.at, C), bo && f.read(bo));
      return { y: y.tensor, saved: { qkv: qkv.tensor, context: context.tensor, p: p.tensor } };
    });
  },

  backward(dy, { x, Wqkv, bqkv, Wo, bo }: SelfAttention,
    { qkv, context, p }: { qkv: Tensor; context: Tensor; p: Tensor }, { heads, causal }: HeadOptions) {
    return frame((f) => {
      const { kernels, threads } = wasm();
      const [B, T, C] = x.shape;
      const d = C / heads;
      const m = B * T;
      const up = f.read(dy);
      const dWo = f.write(Wo.shape);
      multiply("float32", "TN", C, C, m, matrix(up, C), matrix(f.read(context), C), matrix(dWo.at, C));
      const dbo = bo && f.write(bo.shape);
      if (dbo) kernels.sumRows(m, C, up, dbo.at);

      const dcontext = f.work(4 * m * C);
      multiply("float32", "NN", m, C, C, matrix(up, C), matrix(f.read(Wo), C), matrix(dcontext, C));
      const dqkv = f.work(4 * m * 3 * C);
      const [from, probabilities] = [f.read(qkv), f.read(p)];
      threads.run(Array.from({ length: B * heads }, (_, i): Call => {
        const [b, h] = [Math.floor(i / heads), i % heads];
        const at = 4 * (b * T * 3 * C + h * d);
        const [q, dq] = [from + at, dqkv + at];
        return ["attentionBackward", T, d, d, +causal, 1 / Math.sqrt(d), q, 3 * C, q + 4 * C, 3 * C, q + 8 * C, 3 * C,
          probabilities + 4 * i * T * T, dcontext + 4 * (b * T * C + h * d), C,
          dq, 3 * C, dq + 4 * C, 3 * C, dq + 8 * C, 3 * C, f.work(kernels.attentionWork(T))];
      }), attending(T, d, d));

      const dWqkv = f.write(Wqkv.shape);
      multiply("float32", "TN", 3 * C, C, m, matrix(dqkv, 3 * C), matrix(f.read(x), C), matrix(dWqkv.at, C));
      const dbqkv = bqkv && f.write(bqkv.shape);
      if (dbqkv) kernels.sumRows(m, 3 * C, dqkv, dbqkv.at);
      const dx = f.write(x.shape);
      multiply("float32", "NN", m, C, 3 * C, matrix(dqkv, 3 * C), matrix(f.read(Wqkv), C), matrix(dx.at, C));
      return { dx: dx.tensor, dWqkv: dWqkv.tensor, dbqkv: dbqkv?.tensor, dWo: dWo.tensor, dbo: dbo?.tensor };
    });
  },
};

export const layers: Record<string, Implementation> = {
  linear,
  softmax,
  softmaxCrossEntropy,
  embedding,
  layerNorm,
  attention,
  multiHeadAttention,
  ...Object.fromEntries(ACTIVATIONS.map((name) => [name, activation(name)])),
};
