/** Derivatives of functions of one number by two exact tricks: dual numbers and the complex step. */

/**
 * A dual number, value + eps derivative with eps^2 = 0: arithmetic with it is the chain rule.
 *
 * Source: Math for LLMs, appendix B.1 (forward mode).
 */
export class DualNumber {
  constructor(readonly value: number, readonly derivative = 0) {}

  private static of(x: DualNumber | number): DualNumber {
    return typeof x === "number" ? new DualNumber(x) : x;
  }

  add(other: DualNumber | number): DualNumber {
    const b = DualNumber.of(other);
    return new DualNumber(this.value + b.value, this.derivative + b.derivative);
  }

  sub(other: DualNumber | number): DualNumber {
    const b = DualNumber.of(other);
    return new DualNumber(this.value - b.value, this.derivative - b.derivative);
  }

  mul(other: DualNumber | number): DualNumber {
    const b = DualNumber.of(other);
    return new DualNumber(this.value * b.value, this.derivative * b.value + this.value * b.derivative);
  }

  div(other: DualNumber | number): DualNumber {
    const b = DualNumber.of(other);
    const y = this.value / b.value;
    return new DualNumber(y, (this.derivative - y * b.derivative) / b.value);
  }

  neg(): DualNumber {
    return new DualNumber(-this.value, -this.derivative);
  }

  /** To a constant power. */
  pow(n: number): DualNumber {
    return this.chain(this.value ** n, n === 0 ? 0 : n * this.value ** (n - 1));
  }

  exp(): DualNumber {
    const y = Math.exp(this.value);
    return this.chain(y, y);
  }

  log(): DualNumber {
    return this.chain(Math.log(this.value), 1 / this.value);
  }

  sqrt(): DualNumber {
    const y = Math.sqrt(this.value);
    return this.chain(y, 0.5 / y);
  }

  sin(): DualNumber {
    return this.chain(Math.sin(this.value), Math.cos(this.value));
  }

  cos(): DualNumber {
    return this.chain(Math.cos(this.value), -Math.sin(this.value));
  }

  tanh(): DualNumber {
    const y = Math.tanh(this.value);
    return this.chain(y, 1 - y * y);
  }

  sigmoid(): DualNumber {
    const y = 1 / (1 + Math.exp(-this.value));
    return this.chain(y, y * (1 - y));
  }

  relu(): DualNumber {
    return this.chain(Math.max(this.value, 0), this.value > 0 ? 1 : 0);
  }

  /** f(this), given f and f' at this value: the chain rule. */
  private chain(y: number, slope: number): DualNumber {
    return new DualNumber(y, slope * this.derivative);
  }

  toString(): string {
    return `${this.value} + ${this.derivative} eps`;
  }
}

/** f'(x), exact to rounding, in one evaluation with a dual number. */
export function dualDerivative(f: (x: DualNumber) => DualNumber, x: number): number {
  return f(new DualNumber(x, 1)).derivative;
}

/** A complex number, with what analytic functions need. */
export class Complex {
  constructor(readonly re: number, readonly im = 0) {}

  private static of(x: Complex | number): Complex {
    return typeof x === "number" ? new Complex(x) : x;
  }

  add(other: Complex | number): Complex {
    const b = Complex.of(other);
    return new Complex(this.re + b.re, this.im + b.im);
  }

  sub(other: Complex | number): Complex {
    const b = Complex.of(other);
    return new Complex(this.re - b.re, this.im - b.im);
  }

  mul(other: Complex | number): Complex {
    const b = Complex.of(other);
    return new Complex(this.re * b.re - this.im * b.im, this.re * b.im + this.im * b.re);
  }

  div(other: Complex | number): Complex {
    const b = Complex.of(other);
    // Smith's scaling: no overflow where the quotient itself has none.
    if (Math.abs(b.re) >= Math.abs(b.im)) {
      const r = b.im / b.re;
      const d = b.re + b.im * r;
      return new Complex((this.re + this.im * r) / d, (this.im - this.re * r) / d);
    }
    const r = b.re / b.im;
    const d = b.re * r + b.im;
    return new Complex((this.re * r + this.im) / d, (this.im * r - this.re) / d);
  }

  neg(): Complex {
    return new Complex(-this.re, -this.im);
  }

  exp(): Complex {
    const r = Math.exp(this.re);
    return new Complex(r * Math.cos(this.im), r * Math.sin(this.im));
  }

  log(): Complex {
    return new Complex(Math.log(Math.hypot(this.re, this.im)), Math.atan2(this.im, this.re));
  }

  /** To a constant power. */
  pow(n: number): Complex {
    if (Number.isInteger(n) && n >= 0 && n <= 64) {
      let y = new Complex(1);
      for (let i = 0; i < n; i++) y = y.mul(this);
      return y;
    }
    return this.log().mul(n).exp();
  }

  sqrt(): Complex {
    return this.pow(0.5);
  }

  sin(): Complex {
    return new Complex(Math.sin(this.re) * Math.cosh(this.im), Math.cos(this.re) * Math.sinh(this.im));
  }

  cos(): Complex {
    return new Complex(Math.cos(this.re) * Math.cosh(this.im), -Math.sin(this.re) * Math.sinh(this.im));
  }

  tanh(): Complex {
    // tanh(a + ib) = (sinh 2a + i sin 2b) / (cosh 2a + cos 2b); for large a it is 1 to rounding.
    if (Math.abs(this.re) > 20) return new Complex(Math.sign(this.re), 4 * Math.exp(-2 * Math.abs(this.re)) * Math.sin(2 * this.im) / 2);
    const d = Math.cosh(2 * this.re) + Math.cos(2 * this.im);
    return new Complex(Math.sinh(2 * this.re) / d, Math.sin(2 * this.im) / d);
  }

  sigmoid(): Complex {
    return this.mul(0.5).tanh().mul(0.5).add(0.5);
  }

  toString(): string {
    return `${this.re} ${this.im < 0 ? "-" : "+"} ${Math.abs(this.im)}i`;
  }
}

/**
 * f'(x) by the complex step, Im f(x + ih) / h. Nothing is subtracted, so h may be as small as one likes (1e-20) and the
 * result is exact to rounding. f must be analytic: no relu, no abs, no comparison.
 *
 * Source: Squire and Trapp, "Using complex variables to estimate derivatives of real functions", SIAM Review 40 (1998).
 */
export function complexStep(f: (z: Complex) => Complex, x: number, h = 1e-20): number {
  return f(new Complex(x, h)).im / h;
}
