import { full, zeros, type Tensor } from "../tensor";
import { logSoftmaxRows } from "./logSoftmax";
import { defineLayer } from "./layer";
import { anyInteger, fraction, oneOf } from "./options";
import { spread, type Reduction } from "./reduction";

/**
 * Softmax and cross-entropy in one, over integer classes.
 *
 *     y_i = -sum_k q_ik log p_ik        p = softmax(logits), q = (1 - s) one-hot(target) + s / K, s = labelSmoothing
 *     y = mean of y_i over the targets that count, or their sum, or each
 *     dlogits = (p - q) dy / n          n = targets that count for the mean, 1 otherwise
 *
 * Targets equal to ignoreIndex (-100, as in PyTorch) count for nothing: no loss, no gradient. With none left the mean is
 * NaN, as 0 / 0 is.
 *
 * Shapes: logits [..., K], targets [...] whole numbers below K -> y [] (or [...] when reduction is "none").
 * Sources: Math for LLMs, section 5.3; arXiv 2512.23329: D = (softmax - one-hot) / number of tokens.
 */
export const softmaxCrossEntropy = defineLayer({
  name: "softmaxCrossEntropy",
  inputs: { logits: "[..., K]", targets: "int [...]" },
  output: "[]",
  options: {
    reduction: oneOf<Reduction>(["mean", "sum", "none"], "mean"),
    ignoreIndex: anyInteger(-100),
    labelSmoothing: fraction(0),
  },

  check({ logits, targets }, { ignoreIndex }) {
    const K = logits.shape[logits.rank - 1];
    const odd = targets.data.find((id: number) => id !== ignoreIndex && (id < 0 || id >= K));
    return odd === undefined ? undefined : `targets holds ${odd}, it should hold whole numbers from 0 to ${K - 1}`;
  },

  forward({ logits, targets }, { reduction, ignoreIndex, labelSmoothing: s }) {
    const K = logits.shape[logits.rank - 1];
    const logp = logSoftmaxRows(logits);
    // Where row i's own class stands in the data; -1 for rows that do not count.
    const at = Int32Array.from(targets.data, (id, i) => (id === ignoreIndex ? -1 : i * K + id));
    const counts = at.reduce((n, position) => n + (position < 0 ? 0 : 1), 0);
    const own = logp.gather(at, targets.shape).neg();
    const all = s === 0 ? own : own.mul(1 - s).add(kept(logp.mean(-1).neg(), at).mul(s));
    const y = reduction === "none" ? all : reduction === "sum" ? all.sum() : all.sum().div(counts);
    return { y, saved: { logp, at, counts } };
  },

  backward(dy, { logits, targets }, { logp, at, counts }, { reduction, labelSmoothing: s }) {
    const K = logits.shape[logits.rank - 1];
    const q = full(targets.shape, 1 - s, logits.dtype).scatter(at, logits.shape).add(s / K);
    const share = spread(dy, targets.shape, reduction, counts);
    return { dlogits: logp.exp().sub(q).mul(kept(share, at).reshape(...targets.shape, 1)) };
  },

  jvp({ logits: dlogits }, { logits, targets }, { logp, at, counts }, { reduction, labelSmoothing: s }) {
    const K = logits.shape[logits.rank - 1];
    const q = full(targets.shape, 1 - s, logits.dtype).scatter(at, logits.shape).add(s / K);
    const each = kept(logp.exp().sub(q).mul(dlogits).sum(-1), at);
    return reduction === "none" ? each : reduction === "sum" ? each.sum() : each.sum().div(counts);
  },
});

/** The rows that count, 0 for the others, whatever they hold. */
function kept(each: Tensor, at: Int32Array): Tensor {
  if (at.every((position) => position >= 0)) return each;
  const mask = zeros(each.shape, each.dtype);
  at.forEach((position, i) => void (mask.data[i] = position < 0 ? 0 : 1));
  return each.select(mask, 0);
}
