/** Kernels that work row by row: softmax, cross-entropy, layer norm. A row's tail that fills no vector is done one by one. */

import { exp4, f32s, fma, max4, sum4 } from "./vector";

@inline function exp1(x: f32): f32 {
  return f32x4.extract_lane(exp4(f32s(x)), 0);
}

@inline function at(p: usize, j: i32): usize {
  return p + (<usize>j << 2);
}

/** The greatest of n numbers; NaN if one is NaN. */
function rowMax(n: i32, x: usize): f32 {
  let j = 0;
  let top: f32 = -Infinity;
  if (n >= 4) {
    let v = v128.load(x);
    for (j = 4; j + 4 <= n; j += 4) v = f32x4.max(v, v128.load(at(x, j)));
    top = max4(v);
  }
  for (; j < n; j++) top = max<f32>(top, load<f32>(at(x, j)));
  return top;
}

/** y = e^(x - shift) over a row; returns the sum of y. */
function expRow(n: i32, x: usize, y: usize, shift: f32): f32 {
  const s = f32s(shift);
  let total = f32s(0);
  let j = 0;
  for (; j + 4 <= n; j += 4) {
    const e = exp4(f32x4.sub(v128.load(at(x, j)), s));
    v128.store(at(y, j), e);
    total = f32x4.add(total, e);
  }
  let sum = sum4(total);
  for (; j < n; j++) {
    const e = exp1(load<f32>(at(x, j)) - shift);
    store<f32>(at(y, j), e);
    sum += e;
  }
  return sum;
}

/** y = a y over a row. */
@inline function scaleRow(n: i32, y: usize, a: f32): void {
  let j = 0;
  for (; j + 4 <= n; j += 4) v128.store(at(y, j), f32x4.mul(f32s(a), v128.load(at(y, j))));
  for (; j < n; j++) store<f32>(at(y, j), a * load<f32>(at(y, j)));
}

/** The sum of a b over a row. */
@inline function dotRow(n: i32, a: usize, b: usize): f32 {
  let total = f32s(0);
  let j = 0;
  for (; j + 4 <= n; j += 4) total = fma<f32>(v128.load(at(a, j)), v128.load(at(b, j)), total);
  let sum = sum4(total);
  for (; j < n; j++) sum += load<f32>(at(a, j)) * load<f32>(at(b, j));
  return sum;
}

/** y = softmax(x) of one row, its greatest taken out first; zeros for a row that is -infinity throughout. */
export function softmaxRow(n: i32, x: usize, y: usize): void {
  const top = rowMax(n, x);
  if (top == -Infinity) {
    memory.fill(y, 0, <usize>n << 2);
    return;
  }
  const sum = expRow(n, x, y, top);
  scaleRow(n, y, 1 / sum);
}

/** dx = scale y (dy - sum(y dy)) of one row. */
export function softmaxRowBackward(n: i32, y: usize, dy: usize, dx: usize, scale: f32): void {
  const inner = dotRow(n, y, dy);
  let j = 0;
  for (; j + 4 <= n; j += 4) {
    const d = f32x4.sub(v128.load(at(dy, j)), f32s(inner));
    v128.store(at(dx, j), f32x4.mul(f32x4.mul(f32s(scale), v128.load(at(y, j))), d));
  }
  for (; j < n; j++) store<f32>(at(dx, j), scale * load<f32>(at(y, j)) * (load<f32>(at(dy, j)) - inner));
}

/** y = softmax(x) over rows: x [m, n] -> y [m, n]. */
export function softmax(m: i32, n: i32, x: usize, y: usize): void {
  for (let i = 0; i < m; i++) softmaxRow(n, at(x, i * n), at(y, i * n));
}

export function softmaxBackward(m: i32, n: i32, y: usize, dy: usize, dx: usize): void {
  for (let i = 0; i < m; i++) softmaxRowBackward(n, at(y, i * n), at(dy, i * n), at(dx, i * n), 1);
}

/**
 * Cross-entropy over logits [m, n] with class numbers targets [m]: loss [m] and p = softmax [m, n].
 * A row whose target is `ignored` has loss 0.
 */
export function crossEntropy(m: i32, n: i32, logits: usize, targets: usize, ignored: i32, loss: usize, p: usize): void {
  for (let i = 0; i < m; i++) {
    const x = at(logits, i * n);
    const y = at(p, i * n);
    const top = rowMax(n, x);
    const sum = expRow(n, x, y, top);
    scaleRow(n, y, 1 / sum);
    const target = load<i32>(at(targets, i));
    // log sum e^x - x_target, with the greatest taken out of both
    store<f32>(at(loss, i), target == ignored ? 0 : <f32>(Math.log(<f64>sum) + <f64>top - <f64>load<f32>(at(x, target))));
  }
}

/** dlogits = (p - onehot(target)) scale[row]; scale [m] is 0 where the row is ignored. */
export function crossEntropyBackward(m: i32, n: i32, p: usize, targets: usize, ignored: i32, scale: usize, dx: usize): void {
  for (let i = 0; i < m; i++) {
    const to = at(dx, i * n);
    const target = load<i32>(at(targets, i));
    if (target == ignored) {
      memory.fill(to, 0, <usize>n << 2);
      continue;
    }
    const s = load<f32>(at(scale, i));
    const from = at(p, i * n);
    let j = 0;
    for (; j + 4 <= n; j += 4) v128.store(at(to, j), f32x4.mul(f32s(s), v128.load(at(from, j))));
    for (; j < n; j++) store<f32>(at(to, j), s * load<f32>(at(from, j)));
    const hit = at(to, target);
    store<f32>(hit, load<f32>(hit) - s);
  }
}

/** y = gamma xhat + beta, xhat = (x - mean) / sqrt(variance + eps): keeps mean [m] and rstd [m] for the backward. */
export function layerNorm(m: i32, d: i32, eps: f32, x: usize, gamma: usize, beta: usize, y: usize, mean: usize, rstd: usize): void {
  for (let i = 0; i < m; i++) {
    const from = at(x, i * d);
    const to = at(y, i * d);
    let total = f32s(0);
    let j = 0;
    for (; j + 4 <= d; j += 4) total = f32x4.add(total, v128.load(at(from, j)));
    let sum = sum4(total);
    for (; j < d; j++) sum += load<f32>(at(from, j));
    const mu = sum / <f32>d;
    let squares = f32s(0);
    for (j = 0; j + 4 <= d; j += 4) {
      const c = f32x4.sub(v128.load(at(from, j)), f32s(mu));
      squares = fma<f32>(c, c, squares);
    }
    let variance = sum4(squares);
    for (; j < d; j++) {
      const c = load<f32>(at(from, j)) - mu;
      variance += c * c;
    }
    const r: f32 = 1 / sqrt<f32>(variance / <f32>d + eps);
    for (j = 0; j + 4 <= d; j += 4) {
      const hat = f32x4.mul(f32x4.sub(v128.load(at(from, j)), f32s(mu)), f32s(r));
      v128.store(at(to, j), fma<f32>(hat, v128.load(at(gamma, j)), v128.load(at(beta, j))));
    }
    for (; j < d; j++) {
      store<f32>(at(to, j), (load<f32>(at(from, j)) - mu) * r * load<f32>(at(gamma, j)) + load<f32>(at(beta, j)));
    }
    store<f32>(at(mean, i), mu);
    store<f32>(at(rstd, i), r);
  }
}

/**
 * With g = dy gamma:  dx = rstd (g - mean(g) - xhat mean(g xhat)),  dgamma = sum of dy xhat,  dbeta = sum of dy over rows.
 */
export function layerNormBackward(
  m: i32, d: i32, x: usize, gamma: usize, mean: usize, rstd: usize, dy: usize, dx: usize, dgamma: usize, dbeta: usize,
): void {
  memory.fill(dgamma, 0, <usize>d << 2);
  memory.fill(dbeta, 0, <usize>d << 2);
  for (let i = 0; i < m; i++) {
    const from = at(x, i * d);
    const up = at(dy, i * d);
    const to = at(dx, i * d);
    const mu = load<f32>(at(mean, i));
    const r = load<f32>(at(rstd, i));
    let sum = f32s(0);
    let hatSum = f32s(0);
    let j = 0;
    for (; j + 4 <= d; j += 4) {
      const hat = f32x4.mul(f32x4.sub(v128.load(at(from, j)), f32s(mu)), f32s(r));
      const u = v128.load(at(up, j));
      const g = f32x4.mul(u, v128.load(at(gamma, j)));
      sum = f32x4.add(sum, g);
      hatSum = fma<f32>(g, hat, hatSum);
      v128.store(at(dgamma, j), fma<f32>(u, hat, v128.load(at(dgamma, j))));
      v128.store(at(dbeta, j), f32x4.add(u, v128.load(at(dbeta, j))));
    }
    let s = sum4(sum);
    let sh = sum4(hatSum);
    for (; j < d; j++) {
      const hat = (load<f32>(at(from, j)) - mu) * r;
      const u = load<f32>(at(up, j));
      const g = u * load<f32>(at(gamma, j));
      s += g;
      sh += g * hat;
      store<f32>(at(dgamma, j), load<f32>(at(dgamma, j)) + u * hat);
      store<f32>(at(dbeta, j), load<f32>(at(dbeta, j)) + u);
    }
    s /= <f32>d;
    sh /= <f32>d;
    for (j = 0; j + 4 <= d; j += 4) {
      const hat = f32x4.mul(f32x4.sub(v128.load(at(from, j)), f32s(mu)), f32s(r));
      const g = f32x4.mul(v128.load(at(up, j)), v128.load(at(gamma, j)));
      const inner = f32x4.sub(f32x4.sub(g, f32s(s)), f32x4.mul(hat, f32s(sh)));
      v128.store(at(to, j), f32x4.mul(f32s(r), inner));
    }
    for (; j < d; j++) {
      const hat = (load<f32>(at(from, j)) - mu) * r;
      const g = load<f32>(at(up, j)) * load<f32>(at(gamma, j));
      store<f32>(at(to, j), r * (g - s - hat * sh));
    }
  }
}
