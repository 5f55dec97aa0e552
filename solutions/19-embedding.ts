import { tensor, zeros, type Tensor } from "gradbook";

/** dh [N, d], N ids below V -> dE [V, d]. */
export function embeddingBackward(dh: Tensor, ids: number[], V: number): Tensor {
  const d = dh.shape[1];
  const dE = zeros(V, d);
  ids.forEach((id, n) => {
    for (let j = 0; j < d; j++) dE.data[id * d + j] += dh.data[n * d + j];
  });
  return dE;
}

/** dh [N, d], N ids -> the ids that occur, ascending, and their gradients [rows.length, d]. */
export function sparseBackward(dh: Tensor, ids: number[]): { rows: number[]; values: Tensor } {
  const rows = [...new Set(ids)].sort((a, b) => a - b);
  const place = new Map(rows.map((id, at) => [id, at]));
  return { rows, values: embeddingBackward(dh, ids.map((id) => place.get(id)!), rows.length) };
}

/** h = E[ids] + P: dh [B, T, d], ids [B][T] -> dE [V, d], dP [T, d]. */
export function tokenAndPosition(dh: Tensor, ids: number[][], V: number): { dE: Tensor; dP: Tensor } {
  const d = dh.shape[2];
  return { dE: embeddingBackward(dh.reshape(-1, d), ids.flat(), V), dP: dh.sum(0) };
}

/** h = E[ids] and logits = h Eᵀ: dlogits [N, V], h [N, d], E [V, d] -> dE [V, d], both uses together. */
export function tiedBackward(dlogits: Tensor, h: Tensor, ids: number[], E: Tensor): Tensor {
  const asOutput = dlogits.T.matmul(h);
  const asInput = embeddingBackward(dlogits.matmul(E), ids, E.shape[0]);
  return asOutput.add(asInput);
}
