/**
 * Activations, four elements at a time. Every buffer is padded to 16 bytes, so that no loop needs a tail.
 *
 *     y = f(x)          dx = dy f'(x)
 */

import { erf4, exp4, f32s, fma, sigmoid4, tanh4 } from "./vector";

const RELU = 0;
const LEAKY_RELU = 1;
const SIGMOID = 2;
const TANH = 3;
const SILU = 4;
const GELU = 5;
const GELU_TANH = 6;

const SQRT_1_2: f32 = 0.7071067811865476;
/** 1 / sqrt(2 pi) */
const PHI_0: f32 = 0.3989422804014327;
/** sqrt(2 / pi) */
const GELU_SCALE: f32 = 0.7978845608028654;
const GELU_CUBE: f32 = 0.044715;

@inline function half(): v128 {
  return f32s(0.5);
}

/** tanh's argument in the approximate GELU: sqrt(2/pi) (x + 0.044715 x^3). */
@inline function geluInner(x: v128): v128 {
  const xx = f32x4.mul(x, x);
  return f32x4.mul(f32x4.mul(f32s(GELU_SCALE), x), fma<f32>(f32s(GELU_CUBE), xx, f32s(1)));
}

/** `op` is a constant at every call, so that only its branch is compiled into the loop. */
@inline function value(op: i32, x: v128, slope: f32): v128 {
  if (op == RELU) return f32x4.max(x, f32s(0));
  if (op == LEAKY_RELU) return v128.bitselect(x, f32x4.mul(x, f32s(slope)), f32x4.gt(x, f32s(0)));
  if (op == SIGMOID) return sigmoid4(x);
  if (op == TANH) return tanh4(x);
  if (op == SILU) return f32x4.mul(x, sigmoid4(x));
  if (op == GELU) return f32x4.mul(x, fma<f32>(half(), erf4(f32x4.mul(x, f32s(SQRT_1_2))), half()));
  return f32x4.mul(x, fma<f32>(half(), tanh4(geluInner(x)), half()));
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
    return f32x4.mul(dy, f32x4.mul(s, f32x4.sub(f32s(1), s)));
  }
  if (op == TANH) {
    const t = tanh4(x);
    return f32x4.mul(dy, f32x4.sub(f32s(1), f32x4.mul(t, t)));
  }
  if (op == SILU) {
    // s (1 + x (1 - s))
    const s = sigmoid4(x);
    return f32x4.mul(dy, f32x4.mul(s, fma<f32>(x, f32x4.sub(f32s(1), s), f32s(1))));
  }
  if (op == GELU) {
    // Phi(x) + x phi(x)
    const cdf = fma<f32>(half(), erf4(f32x4.mul(x, f32s(SQRT_1_2))), half());
    const pdf = f32x4.mul(f32s(PHI_0), exp4(f32x4.mul(f32s(-0.5), f32x4.mul(x, x))));
    return f32x4.mul(dy, fma<f32>(x, pdf, cdf));
  }
  // 0.5 (1 + t) + 0.5 x (1 - t^2) sqrt(2/pi) (1 + 3 * 0.044715 x^2)
  const t = tanh4(geluInner(x));
  const inner = f32x4.mul(f32s(GELU_SCALE), fma<f32>(f32s(3 * GELU_CUBE), f32x4.mul(x, x), f32s(1)));
  const left = fma<f32>(half(), t, half());
  return f32x4.mul(dy, fma<f32>(f32x4.mul(half(), x), f32x4.mul(f32x4.sub(f32s(1), f32x4.mul(t, t)), inner), left));
}

@inline function forward(op: i32, n: i32, x: usize, y: usize, slope: f32): void {
  for (let i = 0; i < n; i += 4) {
    v128.store(y, value(op, v128.load(x), slope));
    x += 16;
    y += 16;
  }
}

@inline function backward(op: i32, n: i32, x: usize, dy: usize, dx: usize, slope: f32): void {
  for (let i = 0; i < n; i += 4) {
    v128.store(dx, slopeTimes(op, v128.load(x), v128.load(dy), slope));
    x += 16;
    dy += 16;
    dx += 16;
  }
}

/** y = f(x) for the activation number `op`, in the order of the constants above. */
export function activation(op: i32, n: i32, x: usize, y: usize, slope: f32): void {
  if (op == RELU) forward(RELU, n, x, y, slope);
  else if (op == LEAKY_RELU) forward(LEAKY_RELU, n, x, y, slope);
  else if (op == SIGMOID) forward(SIGMOID, n, x, y, slope);
  else if (op == TANH) forward(TANH, n, x, y, slope);
  else if (op == SILU) forward(SILU, n, x, y, slope);
  else if (op == GELU) forward(GELU, n, x, y, slope);
  else forward(GELU_TANH, n, x, y, slope);
}

/** dx = dy f'(x) */
export function activationBackward(op: i32, n: i32, x: usize, dy: usize, dx: usize, slope: f32): void {
  if (op == RELU) backward(RELU, n, x, dy, dx, slope);
  else if (op == LEAKY_RELU) backward(LEAKY_RELU, n, x, dy, dx, slope);
  else if (op == SIGMOID) backward(SIGMOID, n, x, dy, dx, slope);
  else if (op == TANH) backward(TANH, n, x, dy, dx, slope);
  else if (op == SILU) backward(SILU, n, x, dy, dx, slope);
  else if (op == GELU) backward(GELU, n, x, dy, dx, slope);
  else backward(GELU_TANH, n, x, dy, dx, slope);
}

/** y[m, n] += b[n], row by row: a bias. */
export function addRows(m: i32, n: i32, y: usize, b: usize): void {
  for (let i = 0; i < m; i++) {
    let j = 0;
    for (; j + 4 <= n; j += 4) {
      v128.store(y, f32x4.add(v128.load(y), v128.load(b + (<usize>j << 2))));
      y += 16;
    }
    for (; j < n; j++) {
      store<f32>(y, load<f32>(y) + load<f32>(b + (<usize>j << 2)));
      y += 4;
    }
  }
}

/** db[n] = the sum of dy[m, n] over its rows. */
export function sumRows(m: i32, n: i32, dy: usize, db: usize): void {
  memory.fill(db, 0, <usize>n << 2);
  for (let i = 0; i < m; i++) {
    let j = 0;
    for (; j + 4 <= n; j += 4) {
      const to = db + (<usize>j << 2);
      v128.store(to, f32x4.add(v128.load(to), v128.load(dy)));
      dy += 16;
    }
    for (; j < n; j++) {
      const to = db + (<usize>j << 2);
      store<f32>(to, load<f32>(to) + load<f32>(dy));
      dy += 4;
    }
  }
}
