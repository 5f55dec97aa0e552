import { zeros, type Tensor } from "../tensor";
import { defineLayer } from "./layer";
import { flag, optionalTensor } from "./options";
import { softmaxBackward, softmaxRows } from "./softmax";

/**
 * Scaled dot-product attention.
 *
 *     S = q k^T / sqrt(d)            the scores; -infinity where a query may not look (causal: at later keys)
 *     P = softmax(S)                 over the keys, row by row
 *     y = P v
 *
 *     dv = P^T dy
 *     dP = dy v^T
 *     dS = P o (dP - rowsum(P o dP))
 *     dq = dS k / sqrt(d)
 *     dk = dS^T q / sqrt(d)
 *
 * The mask comes before softmax and as -infinity: zeros there would let the future leak.
 *
 * `mask` [..., T, S] is not 0 where a query may look, and broadcasts over the batch; a query that may look nowhere
 * gets zeros.
 *
 * Shapes: q [..., T, d], k [..., S, d], v [..., S, dv] -> y [..., T, dv].
 * Sources: Math for LLMs, section 5.5; arXiv 2512.23329 (D_rho, D_causal, D_raw).
 */
export const attention = defineLayer({
  name: "attention",
  inputs: { q: "[..., T, d]", k: "[..., S, d]", v: "[..., S, dv]" },
  output: "[..., T, dv]",
  options: { causal: flag(false), mask: optionalTensor() },
  check: ({ q, k }, { mask }) => checkMask(q, k, mask),

  forward({ q, k, v }, { causal, mask }) {
    const S = masked(q.mul(scaleOf(q)).matmul(k.T), causal, mask);
    const P = softmaxRows(S);
    return { y: P.matmul(v), saved: { P } };
  },

  backward(dy, { q, k, v }, { P }) {
    const dS = softmaxBackward(dy.matmul(v.T), P).mul(scaleOf(q));
    return {
      dq: () => dS.matmul(k),
      dk: () => dS.T.matmul(q),
      dv: () => P.T.matmul(dy),
    };
  },

  jvp({ q: dq, k: dk, v: dv }, { q, k, v }, { P }) {
    const dS = dq.matmul(k.T).add(q.matmul(dk.T)).mul(scaleOf(q));
    const dP = softmaxBackward(dS, P);
    return dP.matmul(v).add(P.matmul(dv));
  },
});

/** 1 / sqrt(d) */
export function scaleOf(q: Tensor): number {
  return 1 / Math.sqrt(q.shape[q.rank - 1]);
}

/** Scores with -infinity wherever a query may not look. `row` and `column` say where a tile of scores begins. */
export function masked(S: Tensor, causal: boolean, mask?: Tensor, row = 0, column = 0): Tensor {
  const [T, keys] = S.shape.slice(-2);
  let open = S;
  if (causal && column + keys - 1 > row) {
    const past = zeros([T, keys], S.dtype);
    for (let i = 0; i < T; i++) for (let j = 0; j < keys; j++) past.data[i * keys + j] = column + j <= row + i ? 1 : 0;
    open = open.select(past, -Infinity);
  }
  return mask ? open.select(mask, -Infinity) : open;
}

/** What is wrong with a mask, if anything is. */
export function checkMask(q: Tensor, k: Tensor, mask?: Tensor): string | undefined {
  if (!mask) return undefined;
  const shape = [...q.shape.slice(0, -1), k.shape[k.rank - 2]];
  const fits = mask.rank >= 2 && mask.rank <= shape.length &&
    mask.shape.every((size, i) => {
      const full = shape[shape.length - mask.rank + i];
      return size === full || (size === 1 && i < mask.rank - 2);
    });
  return fits ? undefined : `mask has shape [${mask.shape.join(", ")}], it should broadcast to the scores' [${shape.join(", ")}]`;
}
