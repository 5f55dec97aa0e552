import { unbroadcast } from "../tensor";
import { defineLayer } from "./layer";
import { optionalNumber } from "./options";
import { rows } from "./rows";

/**
 * A frozen linear map with a trained correction of low rank.
 *
 *     y = x W^T + b + s (x A^T) B^T      s = alpha / r
 *
 *     g = s dy B                         the gradient in x A^T
 *     dA = g^T x                         summed over rows
 *     dB = s dy^T (x A^T)
 *     dx = dy W + g A                    the frozen path's term stands: W gets no gradient, but x does, through W
 *
 * W and b are frozen, so no dW and no db, unless { frozen: [] } asks for them. alpha is r where it is not given (s = 1).
 *
 * Shapes: x [..., in], W [out, in], b? [out], A [r, in], B [out, r] -> y [..., out].
 * Sources: Math for LLMs, section 9.2; Hu et al., "LoRA" (2022); arXiv 2512.23329, whose text leaves out dy W.
 */
export const lora = defineLayer({
  name: "lora",
  inputs: { x: "[..., in]", W: "[out, in]", b: "[out]?", A: "[r, in]", B: "[out, r]" },
  output: "[..., out]",
  options: { alpha: optionalNumber() },
  frozen: ["W", "b"],

  forward({ x, W, b, A, B }, { alpha }) {
    const s = scale(alpha, A.shape[0]);
    const xA = x.matmul(A.T);
    const y = x.matmul(W.T).add(xA.matmul(B.T).mul(s));
    return { y: b ? y.add(b) : y, saved: { xA, s } };
  },

  backward(dy, { x, W, b, A, B }, { xA, s }) {
    const g = dy.matmul(B).mul(s);
    return {
      dx: () => dy.matmul(W).add(g.matmul(A)),
      dA: () => rows(g).T.matmul(rows(x)),
      dB: () => rows(dy).T.matmul(rows(xA)).mul(s),
      dW: () => rows(dy).T.matmul(rows(x)),
      db: b && (() => unbroadcast(dy, b.shape)),
    };
  },

  jvp({ x: dx, W: dW, b: db, A: dA, B: dB }, { x, W, A, B }, { xA, s }) {
    const dxA = dx.matmul(A.T).add(x.matmul(dA.T));
    const correction = dxA.matmul(B.T).add(xA.matmul(dB.T)).mul(s);
    const dy = dx.matmul(W.T).add(x.matmul(dW.T)).add(correction);
    return db ? dy.add(db) : dy;
  },
});

const scale = (alpha: number | undefined, rank: number): number => (alpha === undefined || rank === 0 ? 1 : alpha / rank);
