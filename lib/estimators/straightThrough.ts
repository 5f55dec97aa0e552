/**
 * Straight-through estimators: operations whose derivative is 0 almost everywhere, with a backward that is declared
 * to be something else. None of these passes a gradient check, and none should.
 * Source: Math for LLMs, sections 2.5 and 8.3; Bengio et al. 2013.
 */
import { Tensor, zeros } from "../tensor";

/**
 * Rounding to a grid.
 *
 *     y = step * round(x / step)
 *     dx = dy                       (as if y = x)
 *
 * Shapes: x [...] -> y [...].
 */
export const roundStraightThrough = {
  forward({ x }: { x: Tensor }, { step = 1 }: { step?: number } = {}): { y: Tensor; cache: { x: Tensor } } {
    if (!(step > 0)) throw new Error(`roundStraightThrough: step is ${step}, expected a number above 0`);
    return { y: x.div(step).round().mul(step), cache: { x } };
  },
  backward(dy: Tensor, { x }: { x: Tensor }): { dx: Tensor } {
    return { dx: sameShapeAs("roundStraightThrough", dy, x) };
  },
};

/**
 * Binarisation (Courbariaux et al. 2016).
 *
 *     y = 1 where x >= 0, else -1
 *     dx = dy where |x| <= 1, else 0   (the derivative of clip(x, -1, 1): far out, x has no say any more)
 *
 * Shapes: x [...] -> y [...].
 */
export const signStraightThrough = {
  forward({ x }: { x: Tensor }): { y: Tensor; cache: { x: Tensor } } {
    return { y: x.map((v) => (v >= 0 ? 1 : v < 0 ? -1 : NaN)), cache: { x } };
  },
  backward(dy: Tensor, { x }: { x: Tensor }): { dx: Tensor } {
    return { dx: sameShapeAs("signStraightThrough", dy, x).mul(x.abs().le(1)) };
  },
};

export interface QuantizeCache {
  readonly x: Tensor;
  readonly E: Tensor;
  readonly y: Tensor;
  readonly ids: Int32Array;
  readonly commitment: number;
}

/**
 * Vector quantisation (van den Oord et al. 2017): each row becomes its nearest codeword.
 *
 *     ids = argmin_k |x - E[k]|^2;   y = E[ids]
 *     loss = mean (sg(x) - y)^2 + commitment * mean (x - sg(y))^2      (sg: stop the gradient)
 *
 *     dx = dy + commitment * 2 (x - y) / x.size      straight through, and the pull towards the codeword
 *     dE[k] = sum over rows with ids = k of 2 (y - x) / x.size
 *
 * `backward` is of (downstream loss + `loss`), given dy of the downstream loss.
 * Shapes: x [..., d], E [K, d] -> y [..., d], ids [rows].
 */
export const vectorQuantize = {
  forward({ x, E }: { x: Tensor; E: Tensor }, { commitment = 0.25 }: { commitment?: number } = {}):
    { y: Tensor; ids: Int32Array; loss: number; cache: QuantizeCache } {
    const [K, d] = E.shape;
    if (E.rank !== 2 || x.shape[x.rank - 1] !== d) {
      throw new Error(`vectorQuantize: E has shape [${E.shape.join(", ")}], x's last dimension is ${x.shape[x.rank - 1]}`);
    }
    const rows = x.size / d;
    const ids = new Int32Array(rows);
    for (let r = 0; r < rows; r++) {
      let best = Infinity;
      for (let k = 0; k < K; k++) {
        let distance = 0;
        for (let j = 0; j < d; j++) distance += (x.data[r * d + j] - E.data[k * d + j]) ** 2;
        if (distance < best) {
          best = distance;
          ids[r] = k;
        }
      }
    }
    const positions = Int32Array.from({ length: x.size }, (_, i) => ids[Math.floor(i / d)] * d + (i % d));
    const y = E.gather(positions, x.shape);
    return { y, ids, loss: (1 + commitment) * x.sub(y).square().mean().item(), cache: { x, E, y, ids, commitment } };
  },
  backward(dy: Tensor, { x, E, y, ids, commitment }: QuantizeCache): { dx: Tensor; dE: Tensor } {
    sameShapeAs("vectorQuantize", dy, x);
    const d = E.shape[1];
    const pull = x.sub(y).mul(2 / x.size);
    const dE = zeros(E.shape);
    for (let i = 0; i < x.size; i++) dE.data[ids[Math.floor(i / d)] * d + (i % d)] -= pull.data[i];
    return { dx: dy.add(pull.mul(commitment)), dE };
  },
};

function sameShapeAs(who: string, dy: Tensor, x: Tensor): Tensor {
  if (String(dy.shape) !== String(x.shape)) {
    throw new Error(`${who}: dy has shape [${dy.shape.join(", ")}], y has shape [${x.shape.join(", ")}]`);
  }
  return dy;
}
