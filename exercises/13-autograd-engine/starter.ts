/** A number that remembers how it was made. */
export class Scalar {
  grad = 0;

  constructor(readonly data: number) {}

  add(other: Scalar | number): Scalar {
    throw new Error("not written yet");
  }

  mul(other: Scalar | number): Scalar {
    throw new Error("not written yet");
  }

  /** this to the power of a plain number. */
  pow(n: number): Scalar {
    throw new Error("not written yet");
  }

  exp(): Scalar {
    throw new Error("not written yet");
  }

  tanh(): Scalar {
    throw new Error("not written yet");
  }

  relu(): Scalar {
    throw new Error("not written yet");
  }

  /** Sets grad, the derivative of this value, on everything it depends on. */
  backward(): void {
    throw new Error("not written yet");
  }
}
