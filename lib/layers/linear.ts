import { unbroadcast } from "../tensor";
import { defineLayer } from "./layer";
import { rows } from "./rows";

/**
 * An affine map of the last axis.
 *
 *     y = x W^T + b
 *
 *     dx = dy W              what came through a weight goes back through it
 *     dW = dy^T x            summed over all rows, that is, over the batch
 *     db = sum of dy over all rows
 *
 * Shapes: x [..., in], W [out, in], b? [out] -> y [..., out].
 * Sources: Math for LLMs, section 5.1; arXiv 2512.23329: dw = a^t D, D_prev = D w^t (its w is our W^T).
 */
export const linear = defineLayer({
  name: "linear",
  inputs: { x: "[..., in]", W: "[out, in]", b: "[out]?" },
  output: "[..., out]",

  forward({ x, W, b }) {
    const xW = x.matmul(W.T);
    return { y: b ? xW.add(b) : xW, saved: undefined };
  },

  backward(dy, { x, W, b }) {
    return {
      dx: () => dy.matmul(W),
      dW: () => rows(dy).T.matmul(rows(x)),
      db: b && (() => unbroadcast(dy, b.shape)),
    };
  },

  jvp({ x: dx, W: dW, b: db }, { x, W }) {
    const dy = dx.matmul(W.T).add(x.matmul(dW.T));
    return db ? dy.add(db) : dy;
  },
});
