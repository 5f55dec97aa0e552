import { zerosLike, type Tensor } from "../tensor";
import { defineLayer } from "./layer";
import { optionalCount } from "./options";
import { cutBefore, gate, ofSigmoid, ofTanh, step, steps } from "./recurrent";
import { rows } from "./rows";

/**
 * The gated recurrent unit, in PyTorch's form (the reset gate acts on Wh h + bh).
 *
 *     u_t = Wx x_t + bx       w_t = Wh h_{t-1} + bh            [B, 3H] each, columns in the order r z n
 *     r = sigmoid(u_r + w_r)      z = sigmoid(u_z + w_z)       n = tanh(u_n + r w_n)
 *     h_t = (1 - z) n + z h_{t-1}                              y_t = h_t
 *
 * Backward, from the last step to the first:
 *
 *     dh_t = dy_t + what step t + 1 sent back
 *     da_n = dh (1 - z) (1 - n^2)         da_r = da_n w_n r (1 - r)         da_z = dh (h_{t-1} - n) z (1 - z)
 *     du = [da_r, da_z, da_n]             dw = [da_r, da_z, da_n r]
 *     dx_t = du Wx                        back to h_{t-1}: dh z + dw Wh
 *     dWx = sum_t du^T x_t,  dbx = sum_t du        dWh = sum_t dw^T h_{t-1},  dbh = sum_t dw
 *
 * With { truncate: k } no gradient crosses into an earlier chunk of k steps.
 *
 * Shapes: x [B, T, I], h0 [B, H], Wx [3H, I], Wh [3H, H], bx [3H], bh [3H] -> y [B, T, H].
 * Source: Cho et al., "Learning phrase representations using RNN encoder-decoder" (2014).
 */
export const gru = defineLayer({
  name: "gru",
  inputs: { x: "[B, T, I]", h0: "[B, H]", Wx: "[3H, I]", Wh: "[3H, H]", bx: "[3H]", bh: "[3H]" },
  output: "[B, T, H]",
  options: { truncate: optionalCount(1) },

  forward({ x, h0, Wx, Wh, bx, bh }) {
    const [B, T] = x.shape;
    const H = h0.shape[1];
    const fromInput = x.matmul(Wx.T).add(bx);
    const states: State[] = [];
    const hs: Tensor[] = [];
    let h = h0;
    for (let t = 0; t < T; t++) {
      const u = step(fromInput, t);
      const w = h.matmul(Wh.T).add(bh);
      const r = gate(u, 0, H).add(gate(w, 0, H)).sigmoid();
      const z = gate(u, 1, H).add(gate(w, 1, H)).sigmoid();
      const wn = gate(w, 2, H);
      const n = gate(u, 2, H).add(r.mul(wn)).tanh();
      states.push({ before: h, r, z, n, wn });
      h = n.add(z.mul(h.sub(n)));
      hs.push(h);
    }
    return { y: steps(hs, B, H, x.dtype), saved: { states } };
  },

  backward(dy, { x, h0, Wx, Wh, bx, bh }, { states }, { truncate }) {
    const [B, T] = x.shape;
    const H = h0.shape[1];
    const dus = new Array<Tensor>(T);
    const dws = new Array<Tensor>(T);
    let future = zerosLike(h0);
    for (let t = T - 1; t >= 0; t--) {
      const { before, r, z, n, wn } = states[t];
      const dh = step(dy, t).add(future);
      const dan = dh.mul(z.neg().add(1)).mul(ofTanh(n));
      const dar = dan.mul(wn).mul(ofSigmoid(r));
      const daz = dh.mul(before.sub(n)).mul(ofSigmoid(z));
      dus[t] = dar.concat([daz, dan], 1);
      dws[t] = dar.concat([daz, dan.mul(r)], 1);
      future = cutBefore(t, truncate) ? zerosLike(h0) : dh.mul(z).add(dws[t].matmul(Wh));
    }
    const [du, dw] = [dus, dws].map((parts) => steps(parts, B, 3 * H, x.dtype));
    const before = steps(states.map((state) => state.before), B, H, x.dtype);
    return {
      dx: () => du.matmul(Wx),
      dh0: future,
      dWx: () => rows(du).T.matmul(rows(x)),
      dWh: () => rows(dw).T.matmul(rows(before)),
      dbx: () => rows(du).sum(0).reshape(bx.shape),
      dbh: () => rows(dw).sum(0).reshape(bh.shape),
    };
  },

  jvp({ x: dx, h0: dh0, Wx: dWx, Wh: dWh, bx: dbx, bh: dbh }, { x, h0, Wx, Wh }, { states }, { truncate }) {
    const [B, T] = x.shape;
    const H = h0.shape[1];
    const fromInput = dx.matmul(Wx.T).add(x.matmul(dWx.T)).add(dbx);
    const dhs: Tensor[] = [];
    let dh = dh0;
    for (let t = 0; t < T; t++) {
      if (cutBefore(t, truncate)) dh = zerosLike(h0);
      const { before, r, z, n, wn } = states[t];
      const du = step(fromInput, t);
      const dw = dh.matmul(Wh.T).add(before.matmul(dWh.T)).add(dbh);
      const dr = ofSigmoid(r).mul(gate(du, 0, H).add(gate(dw, 0, H)));
      const dz = ofSigmoid(z).mul(gate(du, 1, H).add(gate(dw, 1, H)));
      const dn = ofTanh(n).mul(gate(du, 2, H).add(dr.mul(wn)).add(r.mul(gate(dw, 2, H))));
      dh = dn.add(dz.mul(before.sub(n))).add(z.mul(dh.sub(dn)));
      dhs.push(dh);
    }
    return steps(dhs, B, H, x.dtype);
  },
});

/** One time step: the state that entered it, its gates, and Wh h + bh of the candidate. */
interface State {
  readonly before: Tensor;
  readonly r: Tensor;
  readonly z: Tensor;
  readonly n: Tensor;
  readonly wn: Tensor;
}
