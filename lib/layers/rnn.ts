import { zerosLike, type Tensor } from "../tensor";
import { defineLayer } from "./layer";
import { optionalCount } from "./options";
import { cutBefore, ofTanh, step, steps } from "./recurrent";
import { rows } from "./rows";

/**
 * The plain recurrent network, all its time steps.
 *
 *     h_t = tanh(Wx x_t + Wh h_{t-1} + b)              y_t = h_t
 *
 * Backpropagation through time, from the last step to the first:
 *
 *     dh_t = dy_t + dz_{t+1} Wh                         what came from above and what came from the future
 *     dz_t = dh_t (1 - h_t^2)
 *     dx_t = dz_t Wx                                    dh0 = dz_1 Wh
 *     dWx = sum_t dz_t^T x_t       dWh = sum_t dz_t^T h_{t-1}       db = sum_t dz_t
 *
 * With { truncate: k } the state that enters each chunk of k steps counts as a constant: no gradient crosses it.
 *
 * Shapes: x [B, T, I], h0 [B, H], Wx [H, I], Wh [H, H], b [H] -> y [B, T, H].
 * Source: Math for LLMs, section 8.1.
 */
export const rnn = defineLayer({
  name: "rnn",
  inputs: { x: "[B, T, I]", h0: "[B, H]", Wx: "[H, I]", Wh: "[H, H]", b: "[H]" },
  output: "[B, T, H]",
  options: { truncate: optionalCount(1) },

  forward({ x, h0, Wx, Wh, b }) {
    const [B, T] = x.shape;
    const fromInput = x.matmul(Wx.T).add(b);
    const states = [h0];
    for (let t = 0; t < T; t++) states.push(step(fromInput, t).add(states[t].matmul(Wh.T)).tanh());
    return { y: steps(states.slice(1), B, h0.shape[1], x.dtype), saved: { states } };
  },

  backward(dy, { x, h0, Wx, Wh, b }, { states }, { truncate }) {
    const [B, T] = x.shape;
    const H = h0.shape[1];
    const dzs = new Array<Tensor>(T);
    let future = zerosLike(h0);
    for (let t = T - 1; t >= 0; t--) {
      const h = states[t + 1];
      dzs[t] = step(dy, t).add(future).mul(ofTanh(h));
      future = cutBefore(t, truncate) ? zerosLike(h0) : dzs[t].matmul(Wh);
    }
    const dz = steps(dzs, B, H, x.dtype);
    const before = steps(states.slice(0, T), B, H, x.dtype);
    return {
      dx: () => dz.matmul(Wx),
      dh0: future,
      dWx: () => rows(dz).T.matmul(rows(x)),
      dWh: () => rows(dz).T.matmul(rows(before)),
      db: () => rows(dz).sum(0).reshape(b.shape),
    };
  },

  jvp({ x: dx, h0: dh0, Wx: dWx, Wh: dWh, b: db }, { x, h0, Wx, Wh }, { states }, { truncate }) {
    const [B, T] = x.shape;
    const fromInput = dx.matmul(Wx.T).add(x.matmul(dWx.T)).add(db);
    const dhs: Tensor[] = [];
    let dh = dh0;
    for (let t = 0; t < T; t++) {
      if (cutBefore(t, truncate)) dh = zerosLike(h0);
      const dz = step(fromInput, t).add(dh.matmul(Wh.T)).add(states[t].matmul(dWh.T));
      dh = dz.mul(ofTanh(states[t + 1]));
      dhs.push(dh);
    }
    return steps(dhs, B, h0.shape[1], x.dtype);
  },
});
