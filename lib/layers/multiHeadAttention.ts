import type { Tensor } from "../tensor";
import { attention } from "./attention";
import { defineLayer } from "./layer";
import { linear } from "./linear";
import { flag, requiredCount } from "./options";

/**
 * Attention in several heads, between two linear maps.
 *
 *     [q k v] = x Wqkv^T + bqkv          each of q, k, v then cut into heads of C / heads columns
 *     a = attention(q, k, v)             head by head
 *     y = merge(a) Wo^T + bo
 *
 * The backward is the layers' own backwards in reverse order; cutting and merging only move numbers. The part of dbqkv
 * that belongs to k is 0: a constant added to every key adds the same to all scores of a query, which softmax ignores.
 *
 * Shapes: x [B, T, C], Wqkv [3C, C] (rows of q, then k, then v), bqkv? [3C], Wo [C, C], bo? [C] -> y [B, T, C].
 * Sources: Math for LLMs, section 5.5; arXiv 2512.23329, multi-head causal attention.
 */
export const multiHeadAttention = defineLayer({
  name: "multiHeadAttention",
  inputs: { x: "[B, T, C]", Wqkv: "[3C, C]", bqkv: "[3C]?", Wo: "[C, C]", bo: "[C]?" },
  output: "[B, T, C]",
  options: { heads: requiredCount(1), causal: flag(false) },

  check({ x }, { heads }) {
    const C = x.shape[2];
    return C % heads === 0 ? undefined : `the option heads is ${heads}, it should divide x's last dimension ${C}`;
  },

  forward({ x, Wqkv, bqkv, Wo, bo }, { heads, causal }) {
    const project = linear.forward({ x, W: Wqkv, b: bqkv });
    const [q, k, v] = split(project.y, 3).map((part) => toHeads(part, heads));
    const attend = attention.forward({ q, k, v }, { causal });
    const merge = linear.forward({ x: fromHeads(attend.y), W: Wo, b: bo });
    return { y: merge.y, saved: { project: project.cache, attend: attend.cache, merge: merge.cache } };
  },

  backward(dy, _, { project, attend, merge }, { heads }) {
    const { dx: da, dW: dWo, db: dbo } = linear.backward(dy, merge);
    const { dq, dk, dv } = attention.backward(toHeads(da, heads), attend);
    const dqkv = fromHeads(dq).concat([fromHeads(dk), fromHeads(dv)], -1);
    const { dx, dW: dWqkv, db: dbqkv } = linear.backward(dqkv, project);
    return { dx, dWqkv, dbqkv, dWo, dbo };
  },

  jvp({ x: dx, Wqkv: dWqkv, bqkv: dbqkv, Wo: dWo, bo: dbo }, { x, Wqkv, bqkv, Wo, bo }, _, { heads, causal }) {
    const qkv = linear.jvp({ x, W: Wqkv, b: bqkv }, { x: dx, W: dWqkv, b: dbqkv });
    const [q, k, v] = split(qkv.y, 3).map((part) => toHeads(part, heads));
    const [dq, dk, dv] = split(qkv.dy, 3).map((part) => toHeads(part, heads));
    const a = attention.jvp({ q, k, v }, { q: dq, k: dk, v: dv }, { causal });
    return linear.jvp({ x: fromHeads(a.y), W: Wo, b: bo }, { x: fromHeads(a.dy), W: dWo, b: dbo }).dy;
  },
});

/** The last axis cut into equal parts. */
function split(t: Tensor, parts: number): Tensor[] {
  const width = t.shape[t.rank - 1] / parts;
  return Array.from({ length: parts }, (_, i) => t.slice(i * width, (i + 1) * width, -1));
}

/** [B, T, C] -> [B, heads, T, C / heads] */
function toHeads(t: Tensor, heads: number): Tensor {
  const [B, T, C] = t.shape;
  return t.reshape(B, T, heads, C / heads).transpose([0, 2, 1, 3]);
}

/** [B, heads, T, d] -> [B, T, heads d] */
function fromHeads(t: Tensor): Tensor {
  const [B, heads, T, d] = t.shape;
  return t.transpose([0, 2, 1, 3]).reshape(B, T, heads * d);
}
