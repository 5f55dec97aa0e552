/** What the references of several exercises share. */
import { tensor, zeros, type Tensor } from "gradbook";

/** Softmax over the last axis, shifted by each row's maximum. */
export function softmax(s: Tensor): Tensor {
  const e = s.sub(s.max(-1, true)).exp();
  return e.div(e.sum(-1, true));
}

/** [T, T], 0 where key j <= query i and -Infinity above the diagonal; `from` = 0 masks the diagonal too. */
export function causalMask(T: number, from = 1): Tensor {
  return tensor(Array.from({ length: T }, (_, i) => Array.from({ length: T }, (_, j) => (j >= i + from ? -Infinity : 0))));
}

/** softmax(q kᵀ / √d), masked where causal: q, k [..., T, d] -> [..., T, T]. */
export function weights(q: Tensor, k: Tensor, causal: boolean): Tensor {
  const s = q.matmul(k.T).div(Math.sqrt(q.shape.at(-1)!));
  return softmax(causal ? s.add(causalMask(q.shape.at(-2)!)) : s);
}

/** softmax's backward on each row, from its value p: P ⊙ (dP - the row's sum of P ⊙ dP), both of one shape. */
export const softmaxBackward = (p: Tensor, dp: Tensor): Tensor => p.mul(dp.sub(rowSum(p.mul(dp))));

/** Sum over the last axis, kept: the row-wise correction of softmax's backward. */
export const rowSum = (x: Tensor): Tensor => x.sum(-1, true);

/** [B, T, C] -> [B, H, T, C / H]. */
export function splitHeads(x: Tensor, heads: number): Tensor {
  const [B, T, C] = x.shape;
  return x.reshape(B, T, heads, C / heads).transpose([0, 2, 1, 3]);
}

/** [B, H, T, dh] -> [B, T, H dh]. */
export function mergeHeads(x: Tensor): Tensor {
  const [B, H, T, dh] = x.shape;
  return x.transpose([0, 2, 1, 3]).reshape(B, T, H * dh);
}

/** [m], [n] -> [m, n]. */
export const outer = (column: Tensor, row: Tensor): Tensor => column.reshape(-1, 1).matmul(row.reshape(1, -1));

/** Sums over every axis but the last: [..., n] -> [n]. */
export function sumRows(x: Tensor): Tensor {
  return x.reshape(-1, x.shape.at(-1)!).sum(0);
}

/** dW of y = x Wᵀ + b over all leading axes: dy [..., out], x [..., in] -> [out, in]. */
export function weightGradient(dy: Tensor, x: Tensor): Tensor {
  return dy.reshape(-1, dy.shape.at(-1)!).T.matmul(x.reshape(-1, x.shape.at(-1)!));
}

/** Rows of a table: table [V, d], ids -> [..., d]. */
export function rows(table: Tensor, ids: readonly number[]): Tensor {
  const out = zeros([ids.length, table.shape[1]]);
  ids.forEach((id, n) => out.data.set(table.row(id).data, n * table.shape[1]));
  return out;
}
