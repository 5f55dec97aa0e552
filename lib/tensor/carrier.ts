import { displayTensor } from "./display";
import { formatShape } from "./shape";
import { Tensor, type Comparison, type Data } from "./tensor";

/**
 * A tensor that carries more than its numbers through every operation: a tangent (forward mode) or a place on a trace
 * (reverse mode). `primal` holds the numbers. Whatever is piecewise constant (comparisons, positions of a maximum) is
 * taken from the primal alone.
 */
export abstract class Carrier extends Tensor {
  /**
   * level: how deeply the derivative that this belongs to is nested in others (1 for an outermost one). It keeps the
   * tangents of one derivative from mixing with another's.
   */
  constructor(readonly primal: Tensor, readonly level: number) {
    super(null, primal.shape, primal.dtype);
  }

  /** A derivative would be lost here without a word, so this is an error. */
  override get data(): Data {
    throw new Error(
      "derivative: the function reads a tensor's numbers (data, item, get, toArray, norm, dot), where no derivative " +
      "can follow; write it in Tensor operations, or ask for differences");
  }

  override get order(): number {
    return this.level;
  }

  override compare(op: Comparison, other: Tensor | number): Tensor {
    return numbersOf(this).compare(op, other instanceof Tensor ? numbersOf(other) : other);
  }

  override extremeAt(which: "max" | "min", axes: number[], size: number): Int32Array {
    return numbersOf(this).extremeAt(which, axes, size);
  }

  override clone(): Tensor {
    return this.mul(1);
  }

  override astype(dtype: Tensor["dtype"]): Tensor {
    if (dtype === this.dtype) return this;
    throw new Error(`derivative: a tensor of shape ${formatShape(this.shape)} changes to ${dtype} on the way; use one dtype throughout`);
  }

  override toString(): string {
    return this.primal.toString();
  }

  [Symbol.for("Jupyter.display")](): { [type: string]: string } {
    return displayTensor(this.primal);
  }
}

/** The plain tensor below every carrier. */
export function numbersOf(t: Tensor): Tensor {
  return t instanceof Carrier ? numbersOf(t.primal) : t;
}

let depth = 0;

/** Runs body with the level of a new derivative, nested in those that are being taken. */
export function atNewLevel<T>(body: (level: number) => T): T {
  depth++;
  try {
    return body(depth);
  } finally {
    depth--;
  }
}
