import { formatShape, type Shape } from "./shape";
import { allocate, Tensor, type Data } from "./tensor";

/**
 * A matrix of which only some rows are not zero: an embedding's gradient. It is a Tensor like any other, whose dense
 * `data` is made the first time somebody reads it; who knows better reads `rows` and `values`.
 */
export class SparseRows extends Tensor {
  private dense?: Data;

  /** rows: the numbers of the rows that are stored, rising, each once; values: [rows, d]; shape: [V, d]. */
  constructor(readonly rows: Int32Array, readonly values: Tensor, shape: Shape) {
    super(null, shape, values.dtype);
    if (shape.length !== 2 || values.rank !== 2 || values.shape[0] !== rows.length || values.shape[1] !== shape[1]) {
      throw new Error(`SparseRows: ${rows.length} rows with values ${formatShape(values.shape)} do not fit ${formatShape(shape)}`);
    }
  }

  override get data(): Data {
    if (!this.dense) {
      const d = this.shape[1];
      this.dense = allocate(this.dtype, this.size);
      this.rows.forEach((row, i) => this.dense!.set(this.values.data.subarray(i * d, (i + 1) * d), row * d));
    }
    return this.dense;
  }

  /** The numbers that are stored. */
  get stored(): number {
    return this.values.size;
  }

  /** The sum with another of the same shape, holding the rows of both. */
  plus(other: SparseRows): SparseRows {
    const rows = Int32Array.from(new Set([...this.rows, ...other.rows])).sort();
    const d = this.shape[1];
    const place = new Map(Array.from(rows, (row, i) => [row, i]));
    const spread = (part: SparseRows): Tensor => {
      const at = Int32Array.from({ length: part.stored }, (_, i) => place.get(part.rows[Math.floor(i / d)])! * d + (i % d));
      return part.values.scatter(at, [rows.length, d]);
    };
    return new SparseRows(rows, spread(this).add(spread(other)), this.shape);
  }
}
