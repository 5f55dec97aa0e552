import { concat, stack, zeros, type Tensor } from "gradbook";

/** What the forward keeps: x [B, T, I], h0 [B, H], h [B, T, H], Wx [H, I], Wh [H, H]. */
export interface RnnCache {
  x: Tensor;
  h0: Tensor;
  h: Tensor;
  Wx: Tensor;
  Wh: Tensor;
}

/** dh [B, T, H] -> dx [B, T, I], dh0 [B, H], dWx [H, I], dWh [H, H], db [H]. */
export function bptt(dh: Tensor, cache: RnnCache): Record<"dx" | "dh0" | "dWx" | "dWh" | "db", Tensor> {
  return truncatedBptt(dh, cache, cache.x.shape[1]);
}

/** As bptt; no gradient crosses from a chunk of k steps into the one before it. */
export function truncatedBptt(dh: Tensor, cache: RnnCache, k: number): Record<"dx" | "dh0" | "dWx" | "dWh" | "db", Tensor> {
  const { x, h0, h, Wx, Wh } = cache;
  const T = x.shape[1];
  const dx: Tensor[] = [];
  let dWx = zeros(Wx.shape);
  let dWh = zeros(Wh.shape);
  let db = zeros(Wh.shape[0]);
  let future = zeros(h0.shape);
  for (let t = T - 1; t >= 0; t--) {
    const dz = dh.at(t, 1).add(future).mul(h.at(t, 1).square().neg().add(1));
    const before = t > 0 ? h.at(t - 1, 1) : h0;
    dWx = dWx.add(dz.T.matmul(x.at(t, 1)));
    dWh = dWh.add(dz.T.matmul(before));
    db = db.add(dz.sum(0));
    dx.unshift(dz.matmul(Wx));
    const cut = t > 0 && t % k === 0;
    future = cut ? zeros(h0.shape) : dz.matmul(Wh);
  }
  return { dx: stack(dx, 1), dh0: future, dWx, dWh, db };
}

/** dhT [H], h [T, H], Wh [H, H] -> the T norms of the gradients with respect to h_1, ..., h_T. */
export function gradientNorms(dhT: Tensor, h: Tensor, Wh: Tensor): number[] {
  let g = dhT.reshape(1, -1);
  const norms = [g.norm()];
  for (let t = h.shape[0] - 1; t > 0; t--) {
    g = g.mul(h.row(t).square().neg().add(1)).matmul(Wh);
    norms.unshift(g.norm());
  }
  return norms;
}

/** One step of an LSTM: dh, dc and all of cache [B, H] -> da [B, 4H] (i, f, g, o), dcPrev [B, H]. */
export function lstmStepBackward(
  dh: Tensor, dc: Tensor, cache: Record<"i" | "f" | "g" | "o" | "c" | "cPrev", Tensor>,
): { da: Tensor; dcPrev: Tensor } {
  const { i, f, g, o, c, cPrev } = cache;
  const tanhC = c.tanh();
  const slope = (gate: Tensor): Tensor => gate.mul(gate.neg().add(1));
  const total = dc.add(dh.mul(o).mul(tanhC.square().neg().add(1)));
  const da = concat(
    [
      total.mul(g).mul(slope(i)),
      total.mul(cPrev).mul(slope(f)),
      total.mul(i).mul(g.square().neg().add(1)),
      dh.mul(tanhC).mul(slope(o)),
    ],
    1,
  );
  return { da, dcPrev: total.mul(f) };
}
