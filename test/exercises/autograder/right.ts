/**
 * Right answers that look nothing like ours: loops, other orders of summation, other formulas, other containers.
 * Each replaces the functions that it defines; the rest of the answer is the solution's.
 */
export interface RightAnswer {
  exercise: string;
  how: string;
  code: string;
}

export const rightAnswers: RightAnswer[] = [
  {
    exercise: "jacobian-composition",
    how: "plain arrays, not tensors",
    code: `function jacobianF(u) { const [a, b, c] = u.data; return [[b, a, 0], [0, 1, c + c]]; }`,
  },
  {
    exercise: "jacobian-composition",
    how: "an arrow function, filled by index",
    code: `const jacobianG = (x) => {
      const J = zeros(3, 2);
      J.data[0] = 2 * x.get(0); J.data[2] = x.get(1); J.data[3] = x.get(0); J.data[5] = Math.E ** x.get(1);
      return J;
    };`,
  },
  {
    exercise: "jacobian-composition",
    how: "the product of the two Jacobians in place of the formula",
    code: `function jacobianH(x) {
      const [p, q] = x.data; const u = [p * p, p * q, Math.exp(q)];
      const F = [[u[1], u[0], 0], [0, 1, 2 * u[2]]]; const G = [[2 * p, 0], [q, p], [0, u[2]]];
      return F.map((row) => [0, 1].map((j) => row.reduce((sum, f, k) => sum + f * G[k][j], 0)));
    }`,
  },
  {
    exercise: "jacobian-composition",
    how: "each component of the pullback written out",
    code: `function pullback(x, dy) {
      const [p, q] = x.data, [c, d] = dy.data;
      return Float64Array.of(3 * p * p * q * c + q * d, p ** 3 * c + (p + 2 * Math.exp(2 * q)) * d);
    }`,
  },
  {
    exercise: "jacobian-composition",
    how: "through the whole Jacobian, a row vector times a matrix",
    code: `function pullback(x, dy) {
      const [p, q] = x.data;
      return dy.reshape(1, 2).matmul(tensor([[3 * p * p * q, p ** 3], [q, p + 2 * Math.exp(q) ** 2]])).reshape(2);
    }`,
  },
  {
    exercise: "line-by-gradient-descent",
    how: "the square multiplied out",
    code: `function lineBackward(a, b, x, y) {
      return { loss: (a * x + b - y) * (a * x + b - y), da: 2 * a * x * x + 2 * b * x - 2 * x * y, db: 2 * (a * x) + 2 * b - 2 * y };
    }`,
  },
  {
    exercise: "line-by-gradient-descent",
    how: "the gradient inlined, the loop by for of",
    code: `function fitLine(a, b, xs, ys, rate, epochs) {
      while (epochs-- > 0) for (const [i, x] of xs.entries()) { const r = 2 * rate * (a * x + b - ys[i]); [a, b] = [a - r * x, b - r]; }
      return { a, b };
    }`,
  },
  {
    exercise: "line-by-gradient-descent",
    how: "every derivative from the inputs again",
    code: `function twoLayersBackward(a1, b1, a2, b2, x, y) {
      const e = () => a2 * (a1 * x + b1) + b2 - y;
      return { loss: e() * e(), db2: 2 * e(), da2: 2 * e() * (b1 + x * a1), da1: 2 * x * a2 * e(), db1: a2 * 2 * e(), residual: a2 * 2 * e() };
    }`,
  },
  {
    exercise: "line-by-gradient-descent",
    how: "by recursion",
    code: `function operationsBackward(operations, x, y) {
      const gradients = [];
      const go = (i, v) => {
        if (i === operations.length) return 2 * (v - y);
        const o = operations[i];
        if (o.kind === "multiply") { const r = go(i + 1, v * o.parameter); gradients[i] = r * v; return r * o.parameter; }
        if (o.kind === "add") return (gradients[i] = go(i + 1, v + o.parameter));
        gradients[i] = 0;
        return go(i + 1, o.f(v)) * o.df(v);
      };
      return { residual: go(0, x), gradients };
    }`,
  },
  {
    exercise: "batched-backward",
    how: "three loops over plain arrays, samples last to first",
    code: `function rowsBackward(dY, X, W) {
      const [B, out] = dY.shape, n = X.shape[1];
      const dX = zeros(B, n), dW = zeros(out, n), db = zeros(out);
      for (let s = B - 1; s >= 0; s--) for (let o = 0; o < out; o++) {
        const c = dY.data[s * out + o];
        db.data[o] += c;
        for (let i = n - 1; i >= 0; i--) { dX.data[s * n + i] += c * W.data[o * n + i]; dW.data[o * n + i] += c * X.data[s * n + i]; }
      }
      return { dX, dW, db };
    }`,
  },
  {
    exercise: "batched-backward",
    how: "the transposes of products",
    code: `function rowsBackward(dY, X, W) {
      return { dX: W.T.matmul(dY.T).T, dW: X.T.matmul(dY).T, db: dY.mean(0).mul(dY.shape[0]) };
    }`,
  },
  {
    exercise: "batched-backward",
    how: "one sample at a time, outer products added up",
    code: `function columnsBackward(dZ, A, W) {
      const [m, B] = dZ.shape; let dW = zeros(m, A.shape[0]);
      for (let s = 0; s < B; s++) dW = dW.add(dZ.column(s).reshape(m, 1).matmul(A.column(s).reshape(1, -1)));
      return { dA: dZ.T.matmul(W).T, dW, db: dZ.matmul(ones(B, 1)).reshape(m) };
    }`,
  },
  {
    exercise: "batched-backward",
    how: "1/B at the end and not at the start",
    code: `function batchBackward(X, W1, b1, W2, b2, targets) {
      const B = X.shape[0]; const Z = X.matmul(W1.T).add(b1); const A = Z.tanh(); const E = A.matmul(W2.T).add(b2).sub(targets);
      const D = E.matmul(W2).mul(A.square().mul(-1).add(1));
      return { loss: E.mul(E).mean().item() * E.shape[1] / 2, dW2: E.T.matmul(A).div(B), db2: E.sum(0).div(B), dW1: D.T.matmul(X).div(B), db1: D.sum(0).div(B) };
    }`,
  },
  { exercise: "activations", how: "a select", code: `function reluBackward(da, z) { return tensor(Array.from(da.data, (d, i) => (z.data[i] > 0 ? d : 0)), da.shape); }` },
  { exercise: "activations", how: "a mask that stays and one that leaks", code: `function leakyReluBackward(da, z, slope) { const on = z.gt(0); return da.mul(on.add(on.neg().add(1).mul(slope))); }` },
  { exercise: "activations", how: "e / (1 + e)² with e = exp(-|z|)", code: `function sigmoidBackward(da, z) { const e = z.abs().neg().exp(); return da.mul(e).div(e.add(1).square()); }` },
  { exercise: "activations", how: "1 / cosh²", code: `function tanhBackward(da, z) { return da.mul(z.map((x) => 1 / Math.cosh(x) ** 2)); }` },
  { exercise: "activations", how: "1 / (1 + exp -z)", code: `function softplusBackward(da, z) { return da.div(z.neg().exp().add(1)); }` },
  { exercise: "activations", how: "s + a (1 - s) with a = z s", code: `function siluBackward(da, z) { const s = z.sigmoid(), a = z.mul(s); return da.mul(s.add(a).sub(a.mul(s))); }` },
  { exercise: "activations", how: "terms in the other order", code: `function geluBackward(da, z) { const g = z.mul(z).mul(-0.5).exp().mul(z).mul(1 / Math.sqrt(2 * Math.PI)); return da.mul(g).add(da.mul(z.mul(Math.SQRT1_2).erf().mul(0.5).add(0.5))); }` },
  {
    exercise: "softmax-cross-entropy",
    how: "row by row with numbers",
    code: `function crossEntropy(logits, targets) {
      const [B, K] = logits.shape; let sum = 0;
      for (let b = B - 1; b >= 0; b--) {
        const row = Array.from(logits.data.slice(b * K, b * K + K)); const m = Math.max(...row);
        sum += m + Math.log(row.reduce((s, x) => s + Math.exp(x - m), 0)) - row[targets[b]];
      }
      return sum / B;
    }`,
  },
  {
    exercise: "softmax-cross-entropy",
    how: "minus one at the target, in place of a copy",
    code: `function crossEntropyBackward(logits, targets) {
      const [B, K] = logits.shape; const out = logits.clone();
      for (let b = 0; b < B; b++) {
        let m = -Infinity, s = 0;
        for (let k = 0; k < K; k++) m = Math.max(m, out.data[b * K + k]);
        for (let k = 0; k < K; k++) s += out.data[b * K + k] = Math.exp(out.data[b * K + k] - m);
        for (let k = 0; k < K; k++) out.data[b * K + k] = (out.data[b * K + k] / s - (targets[b] === k ? 1 : 0)) / B;
      }
      return out;
    }`,
  },
  {
    exercise: "softmax-cross-entropy",
    how: "the Jacobian of each row, diag(p) - p pᵀ, formed",
    code: `function softmaxBackward(dp, p) {
      const [B, K] = p.shape;
      return tensor(Array.from({ length: B }, (_, b) => Array.from({ length: K }, (_, i) => {
        let sum = 0;
        for (let j = 0; j < K; j++) sum += ((i === j ? p.get(b, i) : 0) - p.get(b, i) * p.get(b, j)) * dp.get(b, j);
        return sum;
      })));
    }`,
  },
  {
    exercise: "layer-norm",
    how: "the variance as E[x²] - E[x]²",
    code: `function layerNormForward(X, gamma, beta, eps) {
      const mu = X.mean(1, true); const s = X.square().mean(1, true).sub(mu.square()).add(eps).sqrt();
      const xhat = X.sub(mu).div(s); return { y: xhat.mul(gamma).add(beta), xhat, s };
    }`,
  },
  {
    exercise: "layer-norm",
    how: "the form with sums, 1 / (d s) in front",
    code: `function layerNormBackward(dY, X, gamma, eps) {
      const d = X.shape[1]; const c = X.sub(X.mean(1, true)); const v = c.square().sum(1, true).div(d).add(eps);
      const r = v.pow(-0.5); const h = c.mul(r); const g = dY.mul(gamma);
      return { dbeta: dY.sum(0), dgamma: h.mul(dY).sum(0), dX: g.mul(d).sub(g.sum(1, true)).sub(h.mul(g.mul(h).sum(1, true))).mul(r).div(d) };
    }`,
  },
  {
    exercise: "layer-norm",
    how: "through mean and variance one after the other, in loops",
    code: `function layerNormBackward(dY, X, gamma, eps) {
      const [N, d] = X.shape; const dX = zeros(N, d), dgamma = zeros(d), dbeta = zeros(d);
      for (let n = 0; n < N; n++) {
        const x = X.data.subarray(n * d, n * d + d), dy = dY.data.subarray(n * d, n * d + d);
        let mu = 0; for (const v of x) mu += v / d;
        let va = 0; for (const v of x) va += (v - mu) ** 2 / d;
        const s = Math.sqrt(va + eps); let dva = 0, dmu = 0;
        for (let j = 0; j < d; j++) {
          const h = (x[j] - mu) / s, dh = dy[j] * gamma.data[j];
          dgamma.data[j] += dy[j] * h; dbeta.data[j] += dy[j]; dva += dh * (x[j] - mu) * -0.5 / s ** 3; dmu -= dh / s;
        }
        for (let j = 0; j < d; j++) dX.data[n * d + j] = dy[j] * gamma.data[j] / s + dva * 2 * (x[j] - mu) / d + dmu / d;
      }
      return { dgamma, dbeta, dX };
    }`,
  },
  {
    exercise: "vanishing-gradients",
    how: "the product of slopes at the end",
    code: `function scalarChain(x, w, depth) {
      const ys = [x]; for (let l = 0; l < depth; l++) ys.push(1 / (1 + Math.exp(-w * ys[l])));
      return { y: ys[depth], slope: ys.slice(1).reduce((p, y) => p * w * (y - y * y), 1) };
    }`,
  },
  { exercise: "vanishing-gradients", how: "square root of a sum of squares", code: `function normsOf(signals) { return signals.map((t) => Math.sqrt(t.data.reduce((s, v) => s + v * v, 0))); }` },
  {
    exercise: "vanishing-gradients",
    how: "signals by reduceRight",
    code: `function errorSignals(Ws, x, da, activation) {
      const zs = []; Ws.reduce((a, W) => { const z = W.matmul(a); zs.push(z); return z.map((v) => activation.f(v)); }, x);
      return Ws.reduceRight((list, W, l) => {
        const above = list.length ? Ws[l + 1].T.matmul(list[0]) : da;
        return [above.mul(zs[l].map((v) => activation.df(v))), ...list];
      }, []);
    }`,
  },
  { exercise: "initialisation", how: "powers in place of roots", code: `function weightStd(scheme, fanIn, fanOut) { return (scheme === "lecun" ? 1 / fanIn : scheme === "he" ? 2 / fanIn : 2 / (fanOut + fanIn)) ** 0.5; }` },
  { exercise: "initialisation", how: "the root of 3 σ²", code: `const uniformBound = (std) => Math.sqrt(3 * std * std);` },
  {
    exercise: "attention",
    how: "softmax without subtracting the maximum, mask by a loop",
    code: `function attentionForward(q, k, v, causal) {
      const [B, T, d] = q.shape; const e = q.matmul(k.transpose([0, 2, 1])).mul(d ** -0.5).exp();
      if (causal) for (let b = 0; b < B; b++) for (let i = 0; i < T; i++) for (let j = i + 1; j < T; j++) e.data[(b * T + i) * T + j] = 0;
      const p = e.div(e.sum(-1, true)); return { p, o: p.matmul(v) };
    }`,
  },
  {
    exercise: "attention",
    how: "the correction as dO · O, as in flash attention",
    code: `function attentionBackward(dO, q, k, v, p) {
      const D = dO.mul(p.matmul(v)).sum(-1, true); const ds = dO.matmul(v.T).sub(D).mul(p); const s = 1 / Math.sqrt(q.shape[2]);
      return { dv: p.T.matmul(dO), dk: ds.T.matmul(q.mul(s)), dq: ds.matmul(k.mul(s)) };
    }`,
  },
  {
    exercise: "attention",
    how: "one query at a time, with the full softmax Jacobian",
    code: `function attentionBackward(dO, q, k, v, p) {
      const [B, T, d] = q.shape, e = v.shape[2]; const dq = zeros(B, T, d), dk = zeros(B, T, d), dv = zeros(B, T, e);
      for (let b = 0; b < B; b++) for (let i = 0; i < T; i++) {
        const dp = []; for (let j = 0; j < T; j++) { let s = 0; for (let c = 0; c < e; c++) s += dO.get(b, i, c) * v.get(b, j, c); dp.push(s); }
        for (let j = 0; j < T; j++) {
          let ds = 0; for (let l = 0; l < T; l++) ds += p.get(b, i, l) * ((l === j ? 1 : 0) - p.get(b, i, j)) * dp[l];
          ds /= Math.sqrt(d);
          for (let c = 0; c < d; c++) { dq.data[(b * T + i) * d + c] += ds * k.get(b, j, c); dk.data[(b * T + j) * d + c] += ds * q.get(b, i, c); }
          for (let c = 0; c < e; c++) dv.data[(b * T + j) * e + c] += p.get(b, i, j) * dO.get(b, i, c);
        }
      }
      return { dq, dk, dv };
    }`,
  },
  {
    exercise: "flash-attention",
    how: "the whole matrix at once",
    code: `function flashForward(q, k, v, block) {
      const s = q.matmul(k.T).div(Math.sqrt(q.shape[1])); const m = s.max(-1, true); const e = s.sub(m).exp(); const l = e.sum(-1, true);
      return { o: e.div(l).matmul(v), lse: m.add(l.log()).reshape(-1) };
    }`,
  },
  {
    exercise: "lora",
    how: "through the merged weight",
    code: `function loraBackward(dy, x, W, A, B, alpha) {
      const s = alpha / A.shape[0], G = dy.T.matmul(x);
      return { dB: G.matmul(A.T).mul(s), dA: B.T.matmul(G).mul(s), dx: dy.matmul(W.add(B.matmul(A).mul(s))) };
    }`,
  },
  { exercise: "lora", how: "counts added up", code: `function loraCounts(m, n, r) { let lora = 0; for (let i = 0; i < r; i++) lora += m + n; return { lora, full: n * m }; }` },
  { exercise: "reinforce", how: "the slope of the expectation, p' = p - p²", code: `function exactGradient(theta, l0, l1) { const p = 1 - 1 / (1 + Math.exp(theta)); return (p - p * p) * l1 - (p - p ** 2) * l0; }` },
  { exercise: "reinforce", how: "a mean of products by reduce", code: `function estimate(theta, z, losses, b) { const p = Math.exp(theta) / (1 + Math.exp(theta)); return z.reduce((s, v, i) => s + ((losses[i] - b) * (v - p)) / z.length, 0); }` },
  { exercise: "reinforce", how: "p l0 + (1 - p) l1", code: `function bestBaseline(theta, l0, l1) { const p = 1 / (1 + Math.exp(-theta)); return p * l0 + (1 - p) * l1; }` },
  { exercise: "reinforce", how: "N / (N - 1) times the centred estimate", code: `function leaveOneOut(theta, z, losses) { const p = 1 / (1 + Math.exp(-theta)), N = z.length; let m = 0; for (const l of losses) m += l / N; let s = 0; z.forEach((v, i) => (s += (losses[i] - m) * (v - p))); return s / (N - 1); }` },
  { exercise: "reinforce", how: "another order of drawing", code: `function sampledGradient(theta, N, random) { const p = 1 / (1 + Math.exp(-theta)); let ones = 0; for (let i = 0; i < N; i++) if (random.uniform() > 1 - p) ones++; return (ones * (1 - p)) / N; }` },
  { exercise: "straight-through", how: "number by number", code: `function quantize(w, step, n) { return w.map((x) => step * Math.min(n, Math.max(-n, Math.round(x / step)))); }` },
];
