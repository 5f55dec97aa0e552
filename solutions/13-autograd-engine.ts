/** A number that remembers how it was made. */
export class Scalar {
  grad = 0;

  /** `slopes[i]` is the derivative of this value by `parents[i]`. */
  constructor(
    readonly data: number,
    readonly parents: readonly Scalar[] = [],
    readonly slopes: readonly number[] = [],
  ) {}

  add(other: Scalar | number): Scalar {
    const b = typeof other === "number" ? new Scalar(other) : other;
    return new Scalar(this.data + b.data, [this, b], [1, 1]);
  }

  mul(other: Scalar | number): Scalar {
    const b = typeof other === "number" ? new Scalar(other) : other;
    return new Scalar(this.data * b.data, [this, b], [b.data, this.data]);
  }

  /** this to the power of a plain number. */
  pow(n: number): Scalar {
    return new Scalar(this.data ** n, [this], [n * this.data ** (n - 1)]);
  }

  exp(): Scalar {
    const y = Math.exp(this.data);
    return new Scalar(y, [this], [y]);
  }

  tanh(): Scalar {
    const y = Math.tanh(this.data);
    return new Scalar(y, [this], [1 - y * y]);
  }

  relu(): Scalar {
    return new Scalar(Math.max(0, this.data), [this], [this.data > 0 ? 1 : 0]);
  }

  /** Sets grad, the derivative of this value, on everything it depends on. */
  backward(): void {
    // Depth first: a value enters the list when all it was made from is in it already.
    const order: Scalar[] = [];
    const seen = new Set<Scalar>();
    const visit = (value: Scalar): void => {
      if (seen.has(value)) return;
      seen.add(value);
      for (const parent of value.parents) visit(parent);
      order.push(value);
    };
    visit(this);
    this.grad = 1;
    for (const value of order.reverse()) {
      value.parents.forEach((parent, i) => {
        parent.grad += value.grad * value.slopes[i];
      });
    }
  }
}
