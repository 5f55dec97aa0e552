/** Kernels that work row by row: softmax, cross-entropy, layer norm. A row's tail that fills no vector is done one by one. */

import { exp4, f32s, fma, max4, sum4 } from "./vector";

function exp1(x: f32): f32 {
  return f32x4.extract_lane(exp4(f32s(x)), 0);
}

@inline function at(p: usize, j: i32): usize {
  return p + (<usize>j << 2);
}

// Sums and maxima run in four vectors at once: one alone would wait for itself at every step. What is stored goes by pairs
// of vectors, worked out before either is stored: so an engine that joins vectors can (see tile.ts), and no other is slower.

/** The greatest of n numbers. A NaN may be lost: whatever sums over the row finds it again. */
function rowMax(n: i32, x: usize): f32 {
  let m0 = f32s(-Infinity), m1 = m0, m2 = m0, m3 = m0;
  let j = 0;
  for (; j + 16 <= n; j += 16) {
    const from = at(x, j);
    m0 = f32x4.pmax(m0, v128.load(from));
    m1 = f32x4.pmax(m1, v128.load(from, 16));
    m2 = f32x4.pmax(m2, v128.load(from, 32));
    m3 = f32x4.pmax(m3, v128.load(from, 48));
  }
  for (; j + 4 <= n; j += 4) m0 = f32x4.pmax(m0, v128.load(at(x, j)));
  let top = max4(f32x4.pmax(f32x4.pmax(m0, m1), f32x4.pmax(m2, m3)));
  for (; j < n; j++) top = max<f32>(top, load<f32>(at(x, j)));
  return top;
}

/** The sum of n numbers. */
function rowSum(n: i32, x: usize): f32 {
  let s0 = f32s(0), s1 = s0, s2 = s0, s3 = s0;
  let j = 0;
  for (; j + 16 <= n; j += 16) {
    const from = at(x, j);
    s0 = f32x4.add(s0, v128.load(from));
    s1 = f32x4.add(s1, v128.load(from, 16));
    s2 = f32x4.add(s2, v128.load(from, 32));
    s3 = f32x4.add(s3, v128.load(from, 48));
  }
  for (; j + 4 <= n; j += 4) s0 = f32x4.add(s0, v128.load(at(x, j)));
  let sum = sum4(f32x4.add(f32x4.add(s0, s1), f32x4.add(s2, s3)));
  for (; j < n; j++) sum += load<f32>(at(x, j));
  return sum;
}

@inline function square(x: v128): v128 {
  return f32x4.mul(x, x);
}

/** The sum of (x - mean)^2 over n numbers. */
function squaresAround(mean: f32, n: i32, x: usize): f32 {
  const mu = f32s(mean);
  let s0 = f32s(0), s1 = s0, s2 = s0, s3 = s0;
  let j = 0;
  for (; j + 16 <= n; j += 16) {
    const from = at(x, j);
    s0 = f32x4.add(s0, square(f32x4.sub(v128.load(from), mu)));
    s1 = f32x4.add(s1, square(f32x4.sub(v128.load(from, 16), mu)));
    s2 = f32x4.add(s2, square(f32x4.sub(v128.load(from, 32), mu)));
    s3 = f32x4.add(s3, square(f32x4.sub(v128.load(from, 48), mu)));
  }
  for (; j + 4 <= n; j += 4) s0 = f32x4.add(s0, square(f32x4.sub(v128.load(at(x, j)), mu)));
  let sum = sum4(f32x4.add(f32x4.add(s0, s1), f32x4.add(s2, s3)));
  for (; j < n; j++) {
    const c = load<f32>(at(x, j)) - mean;
    sum += c * c;
  }
  return sum;
}

/** y = e^(x - shift) over a row; returns the sum of y. */
function expRow(n: i32, x: usize, y: usize, shift: f32): f32 {
  const s = f32s(shift);
  let s0 = f32s(0), s1 = s0;
  let j = 0;
  for (; j + 8 <= n; j += 8) {
    const e0 = exp4(f32x4.sub(v128.load(at(x, j)), s));
    const e1 = exp4(f32x4.sub(v128.load(at(x, j), 16), s));
    v128.store(at(y, j), e0);
    v128.store(at(y, j), e1, 16);
    s0 = f32x4.add(s0, e0);
    s1 = f32x4.add(s1, e1);
  }
  let sum = sum4(f32x4.add(s0, s1));
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
  for (; j + 8 <= n; j += 8) {
    const y0 = f32x4.mul(f32s(a), v128.load(at(y, j)));
    const y1 = f32x4.mul(f32s(a), v128.load(at(y, j), 16));
    v128.store(at(y, j), y0);
    v128.store(at(y, j), y1, 16);
  }
  for (; j < n; j++) store<f32>(at(y, j), a * load<f32>(at(y, j)));
}

/** The sum of e^(x - shift) over a row. */
function expSum(n: i32, x: usize, shift: f32): f32 {
  const s = f32s(shift);
  let s0 = f32s(0), s1 = s0;
  let j = 0;
  for (; j + 8 <= n; j += 8) {
    s0 = f32x4.add(s0, exp4(f32x4.sub(v128.load(at(x, j)), s)));
    s1 = f32x4.add(s1, exp4(f32x4.sub(v128.load(at(x, j), 16), s)));
  }
  let sum = sum4(f32x4.add(s0, s1));
  for (; j < n; j++) sum += exp1(load<f32>(at(x, j)) - shift);
  return sum;
}

/** The sum of a b over a row. */
function dotRow(n: i32, a: usize, b: usize): f32 {
  let s0 = f32s(0), s1 = s0;
  let j = 0;
  for (; j + 8 <= n; j += 8) {
    s0 = fma<f32>(v128.load(at(a, j)), v128.load(at(b, j)), s0);
    s1 = fma<f32>(v128.load(at(a, j), 16), v128.load(at(b, j), 16), s1);
  }
  let sum = sum4(f32x4.add(s0, s1));
  for (; j < n; j++) sum += load<f32>(at(a, j)) * load<f32>(at(b, j));
  return sum;
}

/** y = softmax(x) of one row, its greatest taken out first; zeros for a row that is -infinity throughout. */
export function softmaxRow(n: i32, x: usize, y: usize): void {
  const top = rowMax(n, x);
  if (top == -Infinity && rowSum(n, x) == -Infinity) {
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
  for (; j + 8 <= n; j += 8) {
    const d0 = f32x4.sub(v128.load(at(dy, j)), f32s(inner));
    const d1 = f32x4.sub(v128.load(at(dy, j), 16), f32s(inner));
    const dx0 = f32x4.mul(f32x4.mul(f32s(scale), v128.load(at(y, j))), d0);
    const dx1 = f32x4.mul(f32x4.mul(f32s(scale), v128.load(at(y, j), 16)), d1);
    v128.store(at(dx, j), dx0);
    v128.store(at(dx, j), dx1, 16);
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
 * Cross-entropy over logits [m, n] with class numbers targets [m]: loss [m]. It keeps each row's greatest logit, top [m],
 * and 1 / sum of e^(logit - top), share [m], from which the backward has the probabilities again.
 * A row whose target is `ignored` has loss 0.
 */
export function crossEntropy(
  m: i32, n: i32, logits: usize, targets: usize, ignored: i32, loss: usize, top: usize, share: usize,
): void {
  for (let i = 0; i < m; i++) {
    const x = at(logits, i * n);
    const greatest = rowMax(n, x);
    const sum = expSum(n, x, greatest);
    store<f32>(at(top, i), greatest);
    store<f32>(at(share, i), 1 / sum);
    const target = load<i32>(at(targets, i));
    // log sum e^x - x_target, with the greatest taken out of both
    store<f32>(at(loss, i), target == ignored ? 0 : <f32>(Math.log(<f64>sum) + <f64>greatest - <f64>load<f32>(at(x, target))));
  }
}

/** dlogits = (p - onehot(target)) scale[row] with p = share e^(logits - top), and 0 where the row is ignored. */
export function crossEntropyBackward(
  m: i32, n: i32, logits: usize, targets: usize, ignored: i32, top: usize, share: usize, scale: usize, dx: usize,
): void {
  for (let i = 0; i < m; i++) {
    const to = at(dx, i * n);
    const target = load<i32>(at(targets, i));
    if (target == ignored) {
      memory.fill(to, 0, <usize>n << 2);
      continue;
    }
    const x = at(logits, i * n);
    const greatest = load<f32>(at(top, i));
    const s = load<f32>(at(scale, i));
    const factor = s * load<f32>(at(share, i));
    let j = 0;
    for (; j + 8 <= n; j += 8) {
      const e0 = exp4(f32x4.sub(v128.load(at(x, j)), f32s(greatest)));
      const e1 = exp4(f32x4.sub(v128.load(at(x, j), 16), f32s(greatest)));
      v128.store(at(to, j), f32x4.mul(f32s(factor), e0));
      v128.store(at(to, j), f32x4.mul(f32s(factor), e1), 16);
    }
    for (; j < n; j++) store<f32>(at(to, j), factor * exp1(load<f32>(at(x, j)) - greatest));
    const hit = at(to, target);
    store<f32>(hit, load<f32>(hit) - s);
  }
}

/** (x - mean) rstd of four numbers. */
@inline function hat4(x: usize, mean: f32, rstd: f32): v128 {
  return f32x4.mul(f32x4.sub(v128.load(x), f32s(mean)), f32s(rstd));
}

/** y = gamma xhat + beta, xhat = (x - mean) / sqrt(variance + eps): keeps mean [m] and rstd [m] for the backward. */
export function layerNorm(m: i32, d: i32, eps: f32, x: usize, gamma: usize, beta: usize, y: usize, mean: usize, rstd: usize): void {
  for (let i = 0; i < m; i++) {
    const from = at(x, i * d);
    const to = at(y, i * d);
    const mu = rowSum(d, from) / <f32>d;
    const r: f32 = 1 / sqrt<f32>(squaresAround(mu, d, from) / <f32>d + eps);
    let j = 0;
    for (; j + 8 <= d; j += 8) {
      const y0 = fma<f32>(hat4(at(from, j), mu, r), v128.load(at(gamma, j)), v128.load(at(beta, j)));
      const y1 = fma<f32>(hat4(at(from, j) + 16, mu, r), v128.load(at(gamma, j), 16), v128.load(at(beta, j), 16));
      v128.store(at(to, j), y0);
      v128.store(at(to, j), y1, 16);
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
    let s0 = f32s(0), s1 = s0, h0 = s0, h1 = s0;
    let j = 0;
    for (; j + 8 <= d; j += 8) {
      const hat0 = hat4(at(from, j), mu, r);
      const hat1 = hat4(at(from, j) + 16, mu, r);
      const u0 = v128.load(at(up, j));
      const u1 = v128.load(at(up, j), 16);
      const g0 = f32x4.mul(u0, v128.load(at(gamma, j)));
      const g1 = f32x4.mul(u1, v128.load(at(gamma, j), 16));
      s0 = f32x4.add(s0, g0);
      s1 = f32x4.add(s1, g1);
      h0 = fma<f32>(g0, hat0, h0);
      h1 = fma<f32>(g1, hat1, h1);
      const dgamma0 = fma<f32>(u0, hat0, v128.load(at(dgamma, j)));
      const dgamma1 = fma<f32>(u1, hat1, v128.load(at(dgamma, j), 16));
      const dbeta0 = f32x4.add(u0, v128.load(at(dbeta, j)));
      const dbeta1 = f32x4.add(u1, v128.load(at(dbeta, j), 16));
      v128.store(at(dgamma, j), dgamma0);
      v128.store(at(dgamma, j), dgamma1, 16);
      v128.store(at(dbeta, j), dbeta0);
      v128.store(at(dbeta, j), dbeta1, 16);
    }
    let s = sum4(f32x4.add(s0, s1));
    let sh = sum4(f32x4.add(h0, h1));
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
    for (j = 0; j + 8 <= d; j += 8) {
      const g0 = f32x4.mul(v128.load(at(up, j)), v128.load(at(gamma, j)));
      const g1 = f32x4.mul(v128.load(at(up, j), 16), v128.load(at(gamma, j), 16));
      const inner0 = f32x4.sub(f32x4.sub(g0, f32s(s)), f32x4.mul(hat4(at(from, j), mu, r), f32s(sh)));
      const inner1 = f32x4.sub(f32x4.sub(g1, f32s(s)), f32x4.mul(hat4(at(from, j) + 16, mu, r), f32s(sh)));
      v128.store(at(to, j), f32x4.mul(f32s(r), inner0));
      v128.store(at(to, j), f32x4.mul(f32s(r), inner1), 16);
    }
    for (; j < d; j++) {
      const hat = (load<f32>(at(from, j)) - mu) * r;
      const g = load<f32>(at(up, j)) * load<f32>(at(gamma, j));
      store<f32>(at(to, j), r * (g - s - hat * sh));
    }
  }
}
