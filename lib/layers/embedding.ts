import { SparseRows, type Tensor } from "../tensor";
import { defineLayer } from "./layer";
import { flag } from "./options";

/**
 * Rows of a table, looked up by number.
 *
 *     y_t = E[ids_t]
 *     dE[i] = sum of dy_t over all t with ids_t = i       a row read twice collects both gradients
 *
 * This is one-hot(ids)^T dy without the zeros. With { sparse: true } dE is a SparseRows that holds only the rows that
 * were read; its `data` is the dense table, made when somebody asks.
 *
 * Shapes: E [V, d], ids [...] whole numbers below V -> y [..., d].
 * Sources: Math for LLMs, section 5.6; arXiv 2512.23329 (one-hot(a0)^t D).
 */
export const embedding = defineLayer({
  name: "embedding",
  inputs: { E: "[V, d]", ids: "int [...]" },
  output: "[..., d]",
  options: { sparse: flag(false) },

  check({ E, ids }) {
    const [V] = E.shape;
    const odd = ids.data.find((id: number) => id < 0 || id >= V);
    return odd === undefined ? undefined : `ids holds ${odd}, it should hold whole numbers from 0 to ${V - 1}`;
  },

  forward({ E, ids }) {
    return { y: lookUp(E, ids), saved: undefined };
  },

  backward(dy, { E, ids }, _, { sparse }) {
    const d = E.shape[1];
    if (!sparse) return { dE: dy.scatter(positions(ids.data, d), E.shape) };
    const rows = Int32Array.from(new Set(ids.data)).sort();
    const place = new Map(Array.from(rows, (row, i) => [row, i]));
    const compact = Int32Array.from(ids.data, (id) => place.get(id)!);
    return { dE: new SparseRows(rows, dy.scatter(positions(compact, d), [rows.length, d]), E.shape) };
  },

  jvp({ E: dE }, { ids }) {
    return lookUp(dE, ids);
  },
});

function lookUp(E: Tensor, ids: Tensor): Tensor {
  const d = E.shape[1];
  return E.gather(positions(ids.data, d), [...ids.shape, d]);
}

/** Where each number of the rows named by ids stands in the table's data. */
function positions(ids: ArrayLike<number>, d: number): Int32Array {
  const at = new Int32Array(ids.length * d);
  for (let t = 0, o = 0; t < ids.length; t++) for (let j = 0; j < d; j++) at[o++] = ids[t] * d + j;
  return at;
}
