import { arange, concat, unbroadcast, zerosLike, type Shape, type Tensor } from "../tensor";
import { Carrier } from "../tensor/carrier";
import type { Arithmetic } from "../tensor/tensor";

/** How one operation sends the adjoint of its result back to its operands. */
type Pull = (g: Tensor) => readonly (readonly [Traced, Tensor])[];

/** The operations of one derivative, in the order they ran. */
export type Trace = [Traced, Pull][];

/**
 * A tensor that remembers how it was made: reverse mode for any function written in Tensor operations. It exists to
 * prove the layers' hand-written backwards against; the tape that shows its graph is `Tape`.
 * Adjoints are themselves tensors of the primal's kind, so reverse mode over Duals gives second derivatives.
 */
export class Traced extends Carrier {
  constructor(primal: Tensor, private readonly trace: Trace, level: number, pull?: Pull) {
    super(primal, level);
    if (pull) trace.push([this, pull]);
  }

  override lift(plain: Tensor): Tensor {
    return new Traced(plain, this.trace, this.level);
  }

  private made(primal: Tensor, pull: Pull): Traced {
    return new Traced(primal, this.trace, this.level, pull);
  }

  /** An operand: its value, and itself where it is on the trace. */
  private operand(other: Tensor | number): [value: Tensor | number, traced: Traced | undefined] {
    return other instanceof Traced && other.level === this.level ? [other.primal, other] : [other, undefined];
  }

  override arithmetic(op: Arithmetic, other: Tensor | number): Tensor {
    const peer = this.peer(other);
    if (peer) return peer.arithmetic(op, other);
    const a = this.primal;
    const [b, traced] = this.operand(other);
    const y = a.arithmetic(op, b);
    const first = (g: Tensor): Tensor => unbroadcast(op === "mul" ? g.mul(b) : op === "div" ? g.div(b) : g, a.shape);
    const second = (g: Tensor): Tensor =>
      unbroadcast(op === "add" ? g : op === "sub" ? g.neg() : op === "mul" ? g.mul(a) : g.mul(y).div(b).neg(), (b as Tensor).shape);
    return this.made(y, (g) => (traced ? [[this, first(g)], [traced, second(g)]] : [[this, first(g)]]));
  }

  override select(mask: Tensor, other: Tensor | number): Tensor {
    const peer = this.peer(other);
    if (peer) return peer.select(mask, other);
    const [b, traced] = this.operand(other);
    return this.made(this.primal.select(mask, b), (g) => {
      const own = [this, unbroadcast(g.select(mask, 0), this.shape)] as const;
      return traced ? [own, [traced, unbroadcast(g.select(mask.eq(0), 0), traced.shape)]] : [own];
    });
  }

  override map(f: (x: number) => number, derivative?: (x: Tensor) => Tensor): Tensor {
    if (!derivative) throw new Error("derivative: map(f) does not say what f' is; give it as map(f, derivative)");
    return this.made(this.primal.map(f, derivative), (g) => [[this, g.mul(derivative(this.primal))]]);
  }

  override matmul(other: Tensor): Tensor {
    const peer = this.peer(other);
    if (peer) return peer.matmul(other);
    if (this.rank === 1) return this.reshape(1, this.size).matmul(other).reshape(...leading(other));
    if (other.rank === 1) return this.matmul(other.reshape(other.size, 1)).reshape(this.shape.slice(0, -1));
    const a = this.primal;
    const [b, traced] = this.operand(other) as [Tensor, Traced | undefined];
    return this.made(a.matmul(b), (g) => {
      const own = [this, unbroadcast(g.matmul(b.T), a.shape)] as const;
      return traced ? [own, [traced, unbroadcast(a.T.matmul(g), b.shape)]] : [own];
    });
  }

  override reshape(...shape: readonly number[] | [Shape]): Tensor {
    return this.made(this.primal.reshape(...(shape as number[])), (g) => [[this, g.reshape(this.shape)]]);
  }

  override transpose(axes?: readonly number[]): Tensor {
    const order = (axes ?? this.shape.map((_, i) => this.rank - 1 - i)).map((a) => (a < 0 ? a + this.rank : a));
    const inverse = order.map((_, i) => order.indexOf(i));
    return this.made(this.primal.transpose(order), (g) => [[this, g.transpose(inverse)]]);
  }

  override broadcastTo(shape: Shape): Tensor {
    return this.made(this.primal.broadcastTo(shape), (g) => [[this, unbroadcast(g, this.shape)]]);
  }

  override slice(start: number, end?: number, axis?: number): Tensor {
    const y = this.primal.slice(start, end, axis);
    return this.made(y, (g) => {
      const read = arange(this.size).reshape(this.shape).slice(start, end, axis);
      return [[this, g.scatter(Int32Array.from(read.data), this.shape)]];
    });
  }

  override gather(indices: Int32Array, shape: Shape): Tensor {
    return this.made(this.primal.gather(indices, shape), (g) => [[this, g.scatter(indices, this.shape)]]);
  }

  override scatter(indices: Int32Array, shape: Shape): Tensor {
    return this.made(this.primal.scatter(indices, shape), (g) => [[this, g.gather(indices, this.shape)]]);
  }

  override sum(axis?: number | readonly number[], keepdims?: boolean): Tensor {
    const kept = this.primal.sum(axis, true);
    const y = keepdims ? kept : this.primal.sum(axis, false);
    return this.made(y, (g) => [[this, g.reshape(kept.shape).broadcastTo(this.shape)]]);
  }

  override concatAll(tensors: readonly Tensor[], axis: number): Tensor {
    const parts = tensors.map((t) => (t.order === this.level ? t : this.lift(t)) as Traced);
    return this.made(concat(parts.map((t) => t.primal), axis), (g) => {
      let start = 0;
      return parts.map((part) => {
        const length = part.shape[axis < 0 ? axis + part.rank : axis];
        start += length;
        return [part, g.slice(start - length, start, axis)] as const;
      });
    });
  }
}

function leading(matrix: Tensor): [Shape] {
  return [[...matrix.shape.slice(0, -2), ...(matrix.rank > 1 ? [matrix.shape[matrix.rank - 1]] : [])]];
}

/** The gradients of <y, dy> in the inputs, walking the trace backwards once; fan-out adds up. */
export function pullBack(trace: Trace, inputs: readonly Traced[], y: Tensor, dy: Tensor): Tensor[] {
  const adjoints = new Map<Traced, Tensor>();
  adjoints.set(y as Traced, dy);
  for (let i = trace.length - 1; i >= 0; i--) {
    const [node, pull] = trace[i];
    const g = adjoints.get(node);
    if (!g) continue;
    for (const [operand, part] of pull(g)) {
      const before = adjoints.get(operand);
      adjoints.set(operand, before ? before.add(part) : part);
    }
  }
  return inputs.map((input) => adjoints.get(input) ?? zerosLike(input.primal));
}
