/**
 * Optimisers' updates of one tensor of n weights, in place; lib/optim has the rules. Every buffer is padded to 16 bytes,
 * so that no loop needs a tail.
 */

import { f32s, fma } from "./vector";

/** w -= lr (g + decay w) */
export function sgd(n: i32, w: usize, g: usize, lr: f32, decay: f32): void {
  for (let i = 0; i < n; i += 4) {
    const weight = v128.load(w);
    const d = fma<f32>(f32s(decay), weight, v128.load(g));
    v128.store(w, f32x4.sub(weight, f32x4.mul(f32s(lr), d)));
    w += 16;
    g += 16;
  }
}

/** d = g + decay w;   v = momentum v + share d;   w -= lr v, or lr (d + momentum v) for Nesterov's. */
export function momentum(n: i32, w: usize, g: usize, v: usize, lr: f32, decay: f32, momentum: f32, share: f32, nesterov: bool): void {
  for (let i = 0; i < n; i += 4) {
    const weight = v128.load(w);
    const d = fma<f32>(f32s(decay), weight, v128.load(g));
    const speed = fma<f32>(f32s(momentum), v128.load(v), f32x4.mul(f32s(share), d));
    v128.store(v, speed);
    const step = nesterov ? fma<f32>(f32s(momentum), speed, d) : speed;
    v128.store(w, f32x4.sub(weight, f32x4.mul(f32s(lr), step)));
    w += 16;
    g += 16;
    v += 16;
  }
}

/**
 * d = g + l2 w;   m = b1 m + (1 - b1) d;   v = b2 v + (1 - b2) d^2;   w = kept w - rate m / (sqrt(v unbias) + eps)
 *
 * Adam's decay is `l2`, with kept = 1; AdamW's is kept = 1 - lr decay, with l2 = 0. rate = lr / (1 - b1^t), unbias = 1 / (1 - b2^t).
 */
export function adam(
  n: i32, w: usize, g: usize, m: usize, v: usize, b1: f32, rest1: f32, b2: f32, rest2: f32, rate: f32, unbias: f32, eps: f32, l2: f32, kept: f32,
): void {
  for (let i = 0; i < n; i += 4) {
    const weight = v128.load(w);
    const d = fma<f32>(f32s(l2), weight, v128.load(g));
    const first = fma<f32>(f32s(b1), v128.load(m), f32x4.mul(f32s(rest1), d));
    const second = fma<f32>(f32s(b2), v128.load(v), f32x4.mul(f32s(rest2), f32x4.mul(d, d)));
    v128.store(m, first);
    v128.store(v, second);
    const step = f32x4.div(f32x4.mul(f32s(rate), first), f32x4.add(f32x4.sqrt(f32x4.mul(second, f32s(unbias))), f32s(eps)));
    v128.store(w, f32x4.sub(f32x4.mul(f32s(kept), weight), step));
    w += 16;
    g += 16;
    m += 16;
    v += 16;
  }
}
