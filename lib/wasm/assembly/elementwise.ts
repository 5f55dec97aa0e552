/**
 * Activations, four elements at a time. Every buffer is padded to 16 bytes, so that no loop needs a tail.
 *
 *     y = f(x)          dx = dy f'(x)
 */

import { constant, erf4, exp4, f32s, fma, HALF, ONE, sigmoid4, tanh4 } from "./vector";

const RELU = 0;
const LEAKY_RELU = 1;
const SIGMOID = 2;
const TANH = 3;
const SILU = 4;
const GELU = 5;
const GELU_TANH = 6;

const SQRT_1_2 = memory.data<f32>([0.7071067811865476]);
const MINUS_HALF = memory.data<f32>([-0.5]);
/** 1 / sqrt(2 pi) */
const PHI_0 = memory.data<f32>([0.3989422804014327]);
/** 2 sqrt(2 / pi) */
const GELU_SCALE = memory.data<f32>([2 * 0.7978845608028654]);
const GELU_CUBE = memory.data<f32>([0.044715]);
const GELU_CUBE_SLOPE = memory.data<f32>([3 * 0.044715]);

/** Phi(x), the normal distribution. */
@inline function normal(x: v128): v128 {
  return fma<f32>(constant(HALF), erf4(f32x4.mul(x, constant(SQRT_1_2))), constant(HALF));
}

/** The approximate GELU's (1 + tanh u) / 2 with u = sqrt(2/pi) (x + 0.044715 x^3), which is sigmoid(2u). */
@inline function geluSigmoid(x: v128): v128 {
  const xx = f32x4.mul(x, x);
  return sigmoid4(f32x4.mul(f32x4.mul(constant(GELU_SCALE), x), fma<f32>(constant(GELU_CUBE), xx, constant(ONE))));
}

/** `op` is a constant at every call, so that only its branch is compiled into the loop. */
@inline function value(op: i32, x: v128, slope: f32): v128 {
  if (op == RELU) return f32x4.max(x, f32s(0));
  if (op == LEAKY_RELU) return v128.bitselect(x, f32x4.mul(x, f32s(slope)), f32x4.gt(x, f32s(0)));
  if (op == SIGMOID) return sigmoid4(x);
  if (op == TANH) return tanh4(x);
  if (op == SILU) return f32x4.mul(x, sigmoid4(x));
  if (op == GELU) return f32x4.mul(x, normal(x));
  return f32x4.mul(x, geluSigmoid(x));
}

@inline function slopeTimes(op: i32, x: v128, dy: v128, slope: f32): v128 {
  if (op == RELU) {
    // A NaN in x must show in dx, as it does on the cpu.
    const nan = f32x4.ne(x, x);
    return v128.bitselect(x, v128.and(dy, f32x4.gt(x, f32s(0))), nan);
  }
  if (op == LEAKY_RELU) return v128.bitselect(dy, f32x4.mul(dy, f32s(slope)), f32x4.gt(x, f32s(0)));
  if (op == SIGMOID) {
    const s = sigmoid4(x);
    return f32x4.mul(dy, f32x4.mul(s, f32x4.sub(constant(ONE), s)));
  }
  if (op == TANH) {
    const t = tanh4(x);
    return f32x4.mul(dy, f32x4.sub(constant(ONE), f32x4.mul(t, t)));
  }
  if (op == SILU) {
    // s (1 + x (1 - s))
    const s = sigmoid4(x);
    return f32x4.mul(dy, f32x4.mul(s, fma<f32>(x, f32x4.sub(constant(ONE), s), constant(ONE))));
  }
  if (op == GELU) {
    // Phi(x) + x phi(x)
    const density = f32x4.mul(constant(PHI_0), exp4(f32x4.mul(constant(MINUS_HALF), f32x4.mul(x, x))));
    return f32x4.mul(dy, fma<f32>(x, density, normal(x)));
  }
  // s + x s (1 - s) 2u',  u' = sqrt(2/pi) (1 + 3 * 0.044715 x^2)
  const s = geluSigmoid(x);
  const inner = f32x4.mul(constant(GELU_SCALE), fma<f32>(constant(GELU_CUBE_SLOPE), f32x4.mul(x, x), constant(ONE)));
  return f32x4.mul(dy, f32x4.mul(s, fma<f32>(f32x4.mul(x, inner), f32x4.sub(constant(ONE), s), constant(ONE))));
}

// Two vectors a turn, both worked out before either is stored: the polynomials' coefficients are loaded once for both, and
// an engine that joins vectors can (see tile.ts).

@inline function forward(op: i32, n: i32, x: usize, y: usize, slope: f32): void {
  let i = 0;
  for (; i + 8 <= n; i += 8) {
    const y0 = value(op, v128.load(x), slope);
    const y1 = value(op, v128.load(x, 16), slope);
    v128.store(y, y0);
    v128.store(y, y1, 16);
    x += 32;
    y += 32;
  }
  for (; i < n; i += 4) {
    v128.store(y, value(op, v128.load(x), slope));
    x += 16;
    y += 16;
  }
}

@inline function backward(op: i32, n: i32, x: usize, dy: usize, dx: usize, slope: f32): void {
  let i = 0;
  for (; i + 8 <= n; i += 8) {
    const dx0 = slopeTimes(op, v128.load(x), v128.load(dy), slope);
    const dx1 = slopeTimes(op, v128.load(x, 16), v128.load(dy, 16), slope);
    v128.store(dx, dx0);
    v128.store(dx, dx1, 16);
    x += 32;
    dy += 32;
    dx += 32;
  }
  for (; i < n; i += 4) {
    v128.store(dx, slopeTimes(op, v128.load(x), v128.load(dy), slope));
    x += 16;
    dy += 16;
    dx += 16;
  }
}

// A function each: in one with a choice, the compiler would work out every activation and then choose.

export function relu(n: i32, x: usize, y: usize, slope: f32): void {
  forward(RELU, n, x, y, slope);
}

export function reluBackward(n: i32, x: usize, dy: usize, dx: usize, slope: f32): void {
  backward(RELU, n, x, dy, dx, slope);
}

export function leakyRelu(n: i32, x: usize, y: usize, slope: f32): void {
  forward(LEAKY_RELU, n, x, y, slope);
}

export function leakyReluBackward(n: i32, x: usize, dy: usize, dx: usize, slope: f32): void {
  backward(LEAKY_RELU, n, x, dy, dx, slope);
}

export function sigmoid(n: i32, x: usize, y: usize, slope: f32): void {
  forward(SIGMOID, n, x, y, slope);
}

export function sigmoidBackward(n: i32, x: usize, dy: usize, dx: usize, slope: f32): void {
  backward(SIGMOID, n, x, dy, dx, slope);
}

export function tanh(n: i32, x: usize, y: usize, slope: f32): void {
  forward(TANH, n, x, y, slope);
}

export function tanhBackward(n: i32, x: usize, dy: usize, dx: usize, slope: f32): void {
  backward(TANH, n, x, dy, dx, slope);
}

export function silu(n: i32, x: usize, y: usize, slope: f32): void {
  forward(SILU, n, x, y, slope);
}

export function siluBackward(n: i32, x: usize, dy: usize, dx: usize, slope: f32): void {
  backward(SILU, n, x, dy, dx, slope);
}

export function gelu(n: i32, x: usize, y: usize, slope: f32): void {
  forward(GELU, n, x, y, slope);
}

export function geluBackward(n: i32, x: usize, dy: usize, dx: usize, slope: f32): void {
  backward(GELU, n, x, dy, dx, slope);
}

export function geluTanh(n: i32, x: usize, y: usize, slope: f32): void {
  forward(GELU_TANH, n, x, y, slope);
}

export function geluTanhBackward(n: i32, x: usize, dy: usize, dx: usize, slope: f32): void {
  backward(GELU_TANH, n, x, dy, dx, slope);
}

const ADD = 0;
const SUB = 1;
const MUL = 2;
const DIV = 3;

@inline function combined(op: i32, a: v128, b: v128): v128 {
  if (op == ADD) return f32x4.add(a, b);
  if (op == SUB) return f32x4.sub(a, b);
  if (op == MUL) return f32x4.mul(a, b);
  return f32x4.div(a, b);
}

/** y = a + b, a - b, a b or a / b: a [m, n], and b [n] the same for each row. For m above 1, n is a multiple of 4. */
@inline function arithmetic(op: i32, m: i32, n: i32, a: usize, b: usize, y: usize): void {
  for (let i = 0; i < m; i++) {
    let from = b;
    let j = 0;
    for (; j + 8 <= n; j += 8) {
      const y0 = combined(op, v128.load(a), v128.load(from));
      const y1 = combined(op, v128.load(a, 16), v128.load(from, 16));
      v128.store(y, y0);
      v128.store(y, y1, 16);
      a += 32;
      from += 32;
      y += 32;
    }
    for (; j < n; j += 4) {
      v128.store(y, combined(op, v128.load(a), v128.load(from)));
      a += 16;
      from += 16;
      y += 16;
    }
  }
}

export function add(m: i32, n: i32, a: usize, b: usize, y: usize): void {
  arithmetic(ADD, m, n, a, b, y);
}

export function sub(m: i32, n: i32, a: usize, b: usize, y: usize): void {
  arithmetic(SUB, m, n, a, b, y);
}

export function mul(m: i32, n: i32, a: usize, b: usize, y: usize): void {
  arithmetic(MUL, m, n, a, b, y);
}

export function div(m: i32, n: i32, a: usize, b: usize, y: usize): void {
  arithmetic(DIV, m, n, a, b, y);
}

/** to [d0, d1, d2, n] = from, read in rows of n whose starts lie s0, s1 and s2 elements apart: the axes in another order. */
export function copyRows(d0: i32, d1: i32, d2: i32, n: i32, s0: i32, s1: i32, s2: i32, from: usize, to: usize): void {
  for (let i = 0; i < d0; i++) {
    for (let j = 0; j < d1; j++) {
      for (let k = 0; k < d2; k++) {
        let row = from + (<usize>(i * s0 + j * s1 + k * s2) << 2);
        let l = 0;
        for (; l + 4 <= n; l += 4) {
          v128.store(to, v128.load(row));
          to += 16;
          row += 16;
        }
        for (; l < n; l++) {
          store<f32>(to, load<f32>(row));
          to += 4;
          row += 4;
        }
      }
    }
  }
}

/** db[n] = the sum of dy[m, n] over its rows, four at a time. */
export function sumRows(m: i32, n: i32, dy: usize, db: usize): void {
  memory.fill(db, 0, <usize>n << 2);
  const step = <usize>n << 2;
  let i = 0;
  for (; i + 4 <= m; i += 4) {
    let to = db;
    let j = 0;
    for (; j + 4 <= n; j += 4) {
      const two = f32x4.add(v128.load(dy), v128.load(dy + step));
      const four = f32x4.add(two, f32x4.add(v128.load(dy + 2 * step), v128.load(dy + 3 * step)));
      v128.store(to, f32x4.add(v128.load(to), four));
      to += 16;
      dy += 16;
    }
    for (; j < n; j++) {
      const four = load<f32>(dy) + load<f32>(dy + step) + (load<f32>(dy + 2 * step) + load<f32>(dy + 3 * step));
      store<f32>(to, load<f32>(to) + four);
      to += 4;
      dy += 4;
    }
    dy += 3 * step;
  }
  for (; i < m; i++) {
    for (let j = 0; j < n; j++) {
      const to = db + (<usize>j << 2);
      store<f32>(to, load<f32>(to) + load<f32>(dy));
      dy += 4;
    }
  }
}
