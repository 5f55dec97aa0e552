import { zerosLike, type Tensor } from "../tensor";
import { defineLayer } from "./layer";
import { optionalCount } from "./options";
import { cutBefore, gate, ofSigmoid, ofTanh, step, steps } from "./recurrent";
import { rows } from "./rows";

/**
 * Long short-term memory: a cell that is added to, not multiplied through.
 *
 *     z_t = Wx x_t + Wh h_{t-1} + b                    [B, 4H], its columns in the order i f g o
 *     i, f, o = sigmoid(z_i), sigmoid(z_f), sigmoid(z_o)       g = tanh(z_g)
 *     c_t = f c_{t-1} + i g
 *     h_t = o tanh(c_t)                                y_t = h_t
 *
 * Backward, from the last step to the first:
 *
 *     dh_t = dy_t + dz_{t+1} Wh
 *     dc_t = dc_{t+1} f_{t+1} + dh_t o (1 - tanh(c_t)^2)
 *     dz_i = dc g i (1 - i)       dz_f = dc c_{t-1} f (1 - f)
 *     dz_g = dc i (1 - g^2)       dz_o = dh tanh(c) o (1 - o)
 *     dx_t = dz_t Wx
 *     dWx = sum_t dz_t^T x_t      dWh = sum_t dz_t^T h_{t-1}      db = sum_t dz_t
 *
 * b is the sum of PyTorch's two biases. With { truncate: k } no gradient crosses into an earlier chunk of k steps.
 *
 * Shapes: x [B, T, I], h0 [B, H], c0 [B, H], Wx [4H, I], Wh [4H, H], b [4H] -> y [B, T, H].
 * Sources: Hochreiter and Schmidhuber, "Long short-term memory" (1997); Math for LLMs, section 8.1.
 */
export const lstm = defineLayer({
  name: "lstm",
  inputs: { x: "[B, T, I]", h0: "[B, H]", c0: "[B, H]", Wx: "[4H, I]", Wh: "[4H, H]", b: "[4H]" },
  output: "[B, T, H]",
  options: { truncate: optionalCount(1) },

  forward({ x, h0, c0, Wx, Wh, b }) {
    const [B, T] = x.shape;
    const H = h0.shape[1];
    const fromInput = x.matmul(Wx.T).add(b);
    const states: State[] = [];
    let [h, c] = [h0, c0];
    for (let t = 0; t < T; t++) {
      const z = step(fromInput, t).add(h.matmul(Wh.T));
      const [i, f, o] = [0, 1, 3].map((n) => gate(z, n, H).sigmoid());
      const g = gate(z, 2, H).tanh();
      const next = f.mul(c).add(i.mul(g));
      const tanhC = next.tanh();
      states.push({ before: h, cBefore: c, i, f, g, o, tanhC });
      [h, c] = [o.mul(tanhC), next];
    }
    const y = steps(states.map(({ o, tanhC }) => o.mul(tanhC)), B, H, x.dtype);
    return { y, saved: { states } };
  },

  backward(dy, { x, h0, c0, Wx, Wh, b }, { states }, { truncate }) {
    const [B, T] = x.shape;
    const H = h0.shape[1];
    const dzs = new Array<Tensor>(T);
    let [dhNext, dcNext] = [zerosLike(h0), zerosLike(c0)];
    for (let t = T - 1; t >= 0; t--) {
      const { cBefore, i, f, g, o, tanhC } = states[t];
      const dh = step(dy, t).add(dhNext);
      const dc = dcNext.add(dh.mul(o).mul(ofTanh(tanhC)));
      dzs[t] = dc.mul(g).mul(ofSigmoid(i)).concat(
        [dc.mul(cBefore).mul(ofSigmoid(f)), dc.mul(i).mul(ofTanh(g)), dh.mul(tanhC).mul(ofSigmoid(o))], 1);
      const cut = cutBefore(t, truncate);
      dhNext = cut ? zerosLike(h0) : dzs[t].matmul(Wh);
      dcNext = cut ? zerosLike(c0) : dc.mul(f);
    }
    const dz = steps(dzs, B, 4 * H, x.dtype);
    const before = steps(states.map((state) => state.before), B, H, x.dtype);
    return {
      dx: () => dz.matmul(Wx),
      dh0: dhNext,
      dc0: dcNext,
      dWx: () => rows(dz).T.matmul(rows(x)),
      dWh: () => rows(dz).T.matmul(rows(before)),
      db: () => rows(dz).sum(0).reshape(b.shape),
    };
  },

  jvp({ x: dx, h0: dh0, c0: dc0, Wx: dWx, Wh: dWh, b: db }, { x, h0, c0, Wx, Wh }, { states }, { truncate }) {
    const [B, T] = x.shape;
    const H = h0.shape[1];
    const fromInput = dx.matmul(Wx.T).add(x.matmul(dWx.T)).add(db);
    const dhs: Tensor[] = [];
    let [dh, dc] = [dh0, dc0];
    for (let t = 0; t < T; t++) {
      if (cutBefore(t, truncate)) [dh, dc] = [zerosLike(h0), zerosLike(c0)];
      const { before, cBefore, i, f, g, o, tanhC } = states[t];
      const dz = step(fromInput, t).add(dh.matmul(Wh.T)).add(before.matmul(dWh.T));
      const [di, df, dout] = [[i, 0], [f, 1], [o, 3]].map(([y, n]) => ofSigmoid(y as Tensor).mul(gate(dz, n as number, H)));
      const dg = ofTanh(g).mul(gate(dz, 2, H));
      dc = df.mul(cBefore).add(f.mul(dc)).add(di.mul(g)).add(i.mul(dg));
      dh = dout.mul(tanhC).add(o.mul(ofTanh(tanhC)).mul(dc));
      dhs.push(dh);
    }
    return steps(dhs, B, H, x.dtype);
  },
});

/** One time step: the state that entered it, its gates, and tanh of the cell that left it. */
interface State {
  readonly before: Tensor;
  readonly cBefore: Tensor;
  readonly i: Tensor;
  readonly f: Tensor;
  readonly g: Tensor;
  readonly o: Tensor;
  readonly tanhC: Tensor;
}
