import { concat, zerosLike, type Shape, type Tensor } from "../tensor";
import { Carrier } from "../tensor/carrier";
import type { Arithmetic } from "../tensor/tensor";

/**
 * A tensor with a tangent: x + eps dx with eps^2 = 0. Every Tensor operation carries the tangent along by its own
 * derivative, so running any function on Duals gives its exact Jacobian-vector product in the same pass.
 *
 * Source: Math for LLMs, appendix B.1 (forward mode).
 */
export class Dual extends Carrier {
  constructor(primal: Tensor, readonly tangent: Tensor, level = 1) {
    super(primal, level);
  }

  override lift(plain: Tensor): Tensor {
    return this.made(plain, zerosLike(plain));
  }

  private made(primal: Tensor, tangent: Tensor): Dual {
    return new Dual(primal, tangent, this.level);
  }

  /** An operand's value, and its tangent where it has one of this derivative. */
  private operand(other: Tensor | number): [value: Tensor | number, tangent: Tensor | undefined] {
    return other instanceof Dual && other.level === this.level ? [other.primal, other.tangent] : [other, undefined];
  }

  override arithmetic(op: Arithmetic, other: Tensor | number): Tensor {
    const peer = this.peer(other);
    if (peer) return peer.arithmetic(op, other);
    const { primal: a, tangent: da } = this;
    const [b, db] = this.operand(other);
    const y = a.arithmetic(op, b);
    switch (op) {
      case "add":
        return this.made(y, db ? da.add(db) : da.broadcastTo(y.shape));
      case "sub":
        return this.made(y, db ? da.sub(db) : da.broadcastTo(y.shape));
      case "mul":
        return this.made(y, db ? da.mul(b).add(a.mul(db)) : da.mul(b));
      case "div":
        return this.made(y, db ? da.sub(y.mul(db)).div(b) : da.div(b));
    }
  }

  override select(mask: Tensor, other: Tensor | number): Tensor {
    const peer = this.peer(other);
    if (peer) return peer.select(mask, other);
    const [b, db] = this.operand(other);
    return this.made(this.primal.select(mask, b), this.tangent.select(mask, db ?? 0));
  }

  override map(f: (x: number) => number, derivative?: (x: Tensor) => Tensor): Tensor {
    if (!derivative) throw new Error("derivative: map(f) does not say what f' is; give it as map(f, derivative)");
    return this.made(this.primal.map(f, derivative), this.tangent.mul(derivative(this.primal)));
  }

  override matmul(other: Tensor): Tensor {
    const peer = this.peer(other);
    if (peer) return peer.matmul(other);
    const [b, db] = this.operand(other) as [Tensor, Tensor | undefined];
    const first = this.tangent.matmul(b);
    return this.made(this.primal.matmul(b), db ? first.add(this.primal.matmul(db)) : first);
  }

  // Linear operations do to the tangent what they do to the primal.

  private both(f: (t: Tensor) => Tensor): Dual {
    return this.made(f(this.primal), f(this.tangent));
  }

  override reshape(...shape: readonly number[] | [Shape]): Tensor {
    return this.both((t) => t.reshape(...(shape as number[])));
  }

  override transpose(axes?: readonly number[]): Tensor {
    return this.both((t) => t.transpose(axes));
  }

  override broadcastTo(shape: Shape): Tensor {
    return this.both((t) => t.broadcastTo(shape));
  }

  override slice(start: number, end?: number, axis?: number): Tensor {
    return this.both((t) => t.slice(start, end, axis));
  }

  override gather(indices: Int32Array, shape: Shape): Tensor {
    return this.both((t) => t.gather(indices, shape));
  }

  override scatter(indices: Int32Array, shape: Shape): Tensor {
    return this.both((t) => t.scatter(indices, shape));
  }

  override sum(axis?: number | readonly number[], keepdims?: boolean): Tensor {
    return this.both((t) => t.sum(axis, keepdims));
  }

  override concatAll(tensors: readonly Tensor[], axis: number): Tensor {
    const parts = tensors.map((t) => (t.order === this.level ? t : this.lift(t)) as Dual);
    return this.made(concat(parts.map((t) => t.primal), axis), concat(parts.map((t) => t.tangent), axis));
  }
}

/** The tangent that a result carries; zeros for a result that did not depend on what moved. */
export function tangentOf(t: Tensor, level = 1): Tensor {
  return t instanceof Dual && t.level === level ? t.tangent : zerosLike(t);
}

/** The value without that tangent. */
export function primalOf(t: Tensor, level = 1): Tensor {
  return t instanceof Dual && t.level === level ? t.primal : t;
}
