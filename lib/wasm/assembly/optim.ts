/** Parameter updates, in place. Every buffer is padded to 16 bytes. */

import { f32s, fma } from "./vector";

/**
 * AdamW; with decay 0 it is Adam.
 *
 *     p = p - lr decay p
 *     m = b1 m + (1 - b1) g,   v = b2 v + (1 - b2) g^2
 *     p = p - lr (m / c1) / (sqrt(v / c2) + eps)          c1 = 1 - b1^t, c2 = 1 - b2^t
 */
export function adamw(
  n: i32, p: usize, g: usize, m: usize, v: usize, lr: f32, b1: f32, b2: f32, eps: f32, decay: f32, c1: f32, c2: f32,
): void {
  const keep = f32s(1 - lr * decay);
  const step = f32s(lr / c1);
  const root = f32s(1 / sqrt<f32>(c2));
  for (let i = 0; i < n; i += 4) {
    const grad = v128.load(g);
    const m1 = fma<f32>(f32s(1 - b1), grad, f32x4.mul(f32s(b1), v128.load(m)));
    const v1 = fma<f32>(f32x4.mul(f32s(1 - b2), grad), grad, f32x4.mul(f32s(b2), v128.load(v)));
    const below = f32x4.add(f32x4.mul(f32x4.sqrt(v1), root), f32s(eps));
    v128.store(p, f32x4.sub(f32x4.mul(keep, v128.load(p)), f32x4.mul(step, f32x4.div(m1, below))));
    v128.store(m, m1);
    v128.store(v, v1);
    p += 16;
    g += 16;
    m += 16;
    v += 16;
  }
}

/** SGD with momentum, as PyTorch has it: buf = mu buf + g, p = p - lr buf. */
export function sgd(n: i32, p: usize, g: usize, buf: usize, lr: f32, mu: f32): void {
  for (let i = 0; i < n; i += 4) {
    const b = fma<f32>(f32s(mu), v128.load(buf), v128.load(g));
    v128.store(buf, b);
    v128.store(p, f32x4.sub(v128.load(p), f32x4.mul(f32s(lr), b)));
    p += 16;
    g += 16;
    buf += 16;
  }
}
