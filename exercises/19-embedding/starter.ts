import { tensor, zeros, type Tensor } from "gradbook";

/** dh [N, d], N ids below V -> dE [V, d]. */
export function embeddingBackward(dh: Tensor, ids: number[], V: number): Tensor {
  throw new Error("not written yet");
}

/** dh [N, d], N ids -> the ids that occur, ascending, and their gradients [rows.length, d]. */
export function sparseBackward(dh: Tensor, ids: number[]): { rows: number[]; values: Tensor } {
  throw new Error("not written yet");
}

/** h = E[ids] + P: dh [B, T, d], ids [B][T] -> dE [V, d], dP [T, d]. */
export function tokenAndPosition(dh: Tensor, ids: number[][], V: number): { dE: Tensor; dP: Tensor } {
  throw new Error("not written yet");
}

/** h = E[ids] and logits = h Eᵀ: dlogits [N, V], h [N, d], E [V, d] -> dE [V, d], both uses together. */
export function tiedBackward(dlogits: Tensor, h: Tensor, ids: number[], E: Tensor): Tensor {
  throw new Error("not written yet");
}
