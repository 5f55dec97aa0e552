/** Exercise 23: backpropagation through time, whole and truncated, why it vanishes, and the LSTM's additive path. */
import { concat, randn, stack, tensor, zeros, type Rng, type Tensor } from "gradbook";
import { defineExercise, part } from "../autograder/spec";

type Rnn = { x: Tensor; h0: Tensor; Wx: Tensor; Wh: Tensor; b: Tensor };

function rnnForward({ x, h0, Wx, Wh, b }: Rnn): Tensor {
  const states: Tensor[] = [];
  for (let t = 0; t < x.shape[1]; t++) states.push(x.at(t, 1).matmul(Wx.T).add((states[t - 1] ?? h0).matmul(Wh.T)).add(b).tanh());
  return stack(states, 1);
}

function makeRnn(random: Rng, [B, T, I, H]: number[]) {
  const rnn = {
    x: randn([B, T, I], random), h0: randn([B, H], random).mul(0.5),
    Wx: randn([H, I], random).mul(0.7), Wh: randn([H, H], random).mul(0.7), b: randn([H], random).mul(0.3),
  };
  return { ...rnn, h: rnnForward(rnn), dh: randn([B, T, H], random) };
}
const SHAPES = [[3, 5, 3, 3], [2, 6, 4, 3], [3, 7, 2, 4], [2, 5, 5, 2]];

/** 1 - y², the slope of tanh from its value. */
const tanhSlope = (y: Tensor): Tensor => y.square().neg().add(1);
const sigmoidSlope = (y: Tensor): Tensor => y.mul(y.neg().add(1));

type RnnMistake = "no-future" | "future-past-slope" | "no-slope" | "not-squared" | "state-after" | "h0-ignored" | "dx-reversed" | "wh-transposed" | "overwritten" | "last-loss" | "wrong-chunk" | "not-cut" | "one-late";

function backward(args: Rnn & { h: Tensor; dh: Tensor }, k: number, made: (m: RnnMistake) => boolean) {
  const { x, h0, h, Wx, Wh, dh } = args;
  const T = x.shape[1];
  const dx: Tensor[] = [];
  let sums = [zeros(Wx.shape), zeros(Wh.shape), zeros([Wh.shape[0]])];
  let future = zeros(h0.shape);
  for (let t = T - 1; t >= 0; t--) {
    const above = made("last-loss") && t < T - 1 ? zeros(h0.shape) : dh.at(t, 1);
    const y = h.at(t, 1);
    const slope = made("not-squared") ? y.neg().add(1) : tanhSlope(y);
    const late = made("future-past-slope");
    const g = late ? above : above.add(future);
    const through = made("no-slope") ? g : g.mul(slope);
    const dz = late ? through.add(future) : through;
    const before = made("state-after") ? y : t > 0 ? h.at(t - 1, 1) : made("h0-ignored") ? zeros(h0.shape) : h0;
    const now = [dz.T.matmul(x.at(t, 1)), dz.T.matmul(before), dz.sum(0)];
    sums = made("overwritten") ? now : sums.map((s, i) => s.add(now[i]));
    dx.unshift(dz.matmul(Wx));
    const back = dz.matmul(made("wh-transposed") ? Wh.T : Wh);
    const border = made("one-late") ? t > 0 && (t + 1) % k === 0 : made("wrong-chunk") ? t > 0 && (T - t) % k === 0 : t > 0 && t % k === 0;
    future = made("no-future") || (border && !made("not-cut")) ? zeros(h0.shape) : back;
  }
  if (made("dx-reversed")) dx.reverse();
  return { dx: stack(dx, 1), dh0: future, dWx: sums[0], dWh: sums[1], db: sums[2] };
}

type Lstm = { a: Tensor; cPrev: Tensor; dh: Tensor; dc: Tensor };

function lstmGates({ a, cPrev }: Pick<Lstm, "a" | "cPrev">) {
  const H = a.shape[1] / 4;
  const [ai, af, ag, ao] = [0, 1, 2, 3].map((n) => a.slice(n * H, (n + 1) * H, 1));
  const [i, f, g, o] = [ai.sigmoid(), af.sigmoid(), ag.tanh(), ao.sigmoid()];
  return { i, f, g, o, c: f.mul(cPrev).add(i.mul(g)) };
}

export default defineExercise({
  id: "bptt",
  number: 23,
  title: "Backpropagation through time, and the LSTM's additive path",
  source: 'math-for-llms, section 8.1 and common mistake 12; reference, "Gradient Flow Problems"',
  minutes: 30,
  goal: "You can unroll a recurrent network backwards, truncate it on purpose, and say why an LSTM's gradient survives where a plain one vanishes.",
  withholds: ["rnn", "lstm", "gru", "RecurrentModel", "gradientReach"],
  hints: [
    "One loop from t = T − 1 to 0. Carry `future` [B, H], zero at first: what step t + 1 sends to h_t.",
    "In the loop: g = dh_t + future, dz = g ⊙ (1 − h_t²), add to the three sums, keep dz Wx for dx, future = dz Wh. After the loop future is dh0.",
    "truncated: with t counted from 0, set future to zero after step t = k, 2k, ... (not at t = 0). Everything else stays.",
    "gradientNorms: g starts as dhT and its norm goes to the end of the list. Each step: multiply with 1 − h_t², then matmul Wh, put the norm in front.",
    "LSTM: c gets a gradient from the next step (dc) and from h: total = dc + dh ⊙ o ⊙ (1 − tanh² c). Then every gate's gradient is total (or dh, for o) times what it was multiplied with, times its own slope.",
  ],
  parts: [
    part({
      name: "whole",
      points: 3,
      entry: "bptt",
      draw: (random, instance) => makeRnn(random, SHAPES[instance % 4]),
      call: (student, { dh, x, h0, h, Wx, Wh }) => {
        const { dWx, dWh, db, dx, dh0 } = student(dh, { x, h0, h, Wx, Wh });
        return { dWx, dWh, db, dx, dh0 };
      },
      attempt: (args, made) => {
        const { dWx, dWh, db, dx, dh0 } = backward(args, args.x.shape[1], (m) => made(m as "no-future"));
        return { dWx, dWh, db, dx, dh0 };
      },
      mistakes: [
        {
          id: "no-future",
          says: "Nothing comes back from the future: each step only gets the gradient of its own loss.",
          hint: "h_t is used twice: by the loss of step t and by step t + 1.",
          hides: ["wh-transposed", "future-past-slope"],
        },
        {
          id: "future-past-slope",
          says: "What comes from the future is added behind the slope of tanh.",
          hint: "Both gradients reach h_t: g is their sum, and the whole of g goes through tanh.",
        },
        { id: "last-loss", says: "Only the last step's dh is used; every step has one.", hint: "g_t = dh_t + what comes from t + 1." },
        { id: "no-slope", says: "The slope of tanh is missing.", hint: "dz = g ⊙ (1 − h²).", hides: ["not-squared", "future-past-slope"] },
        { id: "not-squared", says: "The square is missing in the slope of tanh.", hint: "dz = g ⊙ (1 − h²)." },
        { id: "h0-ignored", says: "At the first step dWh is made with zeros.", hint: "Step 1 read h0." },
        { id: "dx-reversed", says: "dx is in the order of the backward.", hint: "The loop runs from the last step to the first: put each dx_t in front." },
        { id: "state-after", says: "dWh is made with h_t; step t read h_{t−1}.", hint: "At the first step that is h0.", hides: ["h0-ignored"] },
        { id: "wh-transposed", says: "You went back in time with Whᵀ.", hint: "z = h Whᵀ, so dh = dz Wh. Wh is square: the shape cannot tell you." },
        { id: "overwritten", says: "The weights' gradients are those of the first step only: overwritten, not added up.", hint: "All steps share the weights." },
      ],
      cotangent: "dh",
      forward: (args) => rnnForward(args),
      large: (random) => makeRnn(random, [4, 12, 20, 24]),
    }),
    part({
      name: "truncated",
      points: 2,
      entry: "truncatedBptt",
      draw: (random, instance) => ({ ...makeRnn(random, [[3, 6, 3, 3], [2, 7, 4, 3], [3, 8, 2, 4], [2, 5, 5, 2]][instance % 4]), k: [2, 3, 3, 2][instance % 4] }),
      call: (student, { dh, x, h0, h, Wx, Wh, k }) => {
        const { dWx, dWh, db, dx, dh0 } = student(dh, { x, h0, h, Wx, Wh }, k);
        return { dWx, dWh, db, dx, dh0 };
      },
      attempt: ({ k, ...args }, made) => backward(args, k, (m) => made(m as "not-cut")),
      mistakes: [
        { id: "not-cut", says: "Nothing is truncated: this is the gradient through all steps.", hint: "Set what comes from the future to zero at the borders of the chunks.", hides: ["one-late", "wrong-chunk"] },
        { id: "one-late", says: "The cut is one step off.", hint: "Counted from 0, the first steps of the chunks are 0, k, 2k, ...: what they would send back is dropped.", hides: ["wrong-chunk"] },
        { id: "wrong-chunk", says: "You counted the chunks from the end.", hint: "The first k steps are the first chunk; the last one may be shorter." },
        { id: "state-after", says: "dWh is made with h_t; step t read h_{t−1}.", hint: "The states themselves are not cut: step k + 1 read h_k." },
      ],
      cotangent: "dh",
      noDifferences: "A truncated gradient is not the derivative of the loss: that is what truncation gives up.",
    }),
    part({
      name: "why it vanishes",
      points: 2,
      entry: "gradientNorms",
      draw: (random, instance) => {
        const [T, H] = [[6, 3], [8, 4], [5, 2], [10, 3]][instance % 4];
        return { dhT: randn([H], random), h: randn([T, H], random).tanh(), Wh: randn([H, H], random) };
      },
      call: (student, { dhT, h, Wh }) => ({ norms: student(dhT, h, Wh) }),
      attempt: ({ dhT, h, Wh }, made) => {
        let g = dhT.reshape(1, -1);
        const size = (t: Tensor): number => (made("squared") ? t.norm() ** 2 : t.norm());
        const norms = [size(g)];
        for (let t = h.shape[0] - 1; t > 0; t--) {
          if (!made("no-slope")) g = g.mul(tanhSlope(h.row(made("wrong-state") ? t - 1 : t)));
          g = g.matmul(made("wh-transposed") ? Wh.T : Wh);
          norms.unshift(size(g));
        }
        return { norms: tensor(made("reversed") ? norms.reverse() : norms) };
      },
      mistakes: [
        { id: "no-slope", says: "The slope of tanh is missing: you multiplied by Wh alone.", hint: "h_t = tanh(z_t): the way from h_t to h_{t−1} leads through z_t.", hides: ["wrong-state"] },
        { id: "wrong-state", says: "The step from h_t to h_{t−1} uses the slope at h_t, not at h_{t−1}.", hint: "tanh was applied to z_t, and h_t is its value." },
        { id: "wh-transposed", says: "You multiplied by Whᵀ.", hint: "As a row, dh_{t−1} = dz_t Wh." },
        { id: "reversed", says: "The norms are in the order of the backward; asked is the order of time.", hint: "The first one belongs to h_1." },
        { id: "squared", says: "These are squared norms.", hint: "A norm is the square root of a sum of squares." },
      ],
    }),
    part({
      name: "LSTM step",
      points: 3,
      entry: "lstmStepBackward",
      draw: (random, instance) => {
        const [B, H] = [[3, 3], [2, 4], [4, 2], [1, 5]][instance % 4];
        const a = randn([B, 4 * H], random);
        const cPrev = randn([B, H], random);
        return { a, cPrev, ...lstmGates({ a, cPrev }), dh: randn([B, H], random), dc: randn([B, H], random) };
      },
      call: (student, { dh, dc, i, f, g, o, c, cPrev }) => {
        const { dcPrev, da } = student(dh, dc, { i, f, g, o, c, cPrev });
        return { dcPrev, da };
      },
      attempt: ({ dh, dc, i, f, g, o, c, cPrev }, made) => {
        const t = c.tanh();
        const fromH = made("no-tanh-slope") ? dh.mul(o) : dh.mul(o).mul(tanhSlope(t));
        const total = made("only-dc") ? dc : made("only-dh") ? fromH : dc.add(fromH);
        const slope = made("no-gate-slope") ? () => 1 : sigmoidSlope;
        const blocks = [
          total.mul(g).mul(slope(i)), total.mul(cPrev).mul(slope(f)),
          total.mul(i).mul(made("g-sigmoid") ? sigmoidSlope(g) : tanhSlope(g)), dh.mul(made("c-for-tanh") ? c : t).mul(slope(o)),
        ];
        return {
          dcPrev: total.mul(made("wrong-gate") ? i : f),
          da: concat(made("order") ? [blocks[0], blocks[1], blocks[3], blocks[2]] : blocks, 1),
        };
      },
      mistakes: [
        { id: "only-dc", says: "The path from h to c is missing.", hint: "h = o ⊙ tanh(c): c gets a gradient from there too.", hides: ["only-dh", "no-tanh-slope"] },
        { id: "only-dh", says: "The gradient dc from the next step is missing: that is the LSTM's additive path.", hint: "c is used by h and by the next c. Both gradients add up." },
        { id: "no-tanh-slope", says: "From h to c the slope of tanh is missing.", hint: "h = o ⊙ tanh(c): multiply with 1 − tanh²(c)." },
        { id: "c-for-tanh", says: "The output gate's gradient is made with c; it was multiplied with tanh(c).", hint: "h = o ⊙ tanh(c)." },
        { id: "no-gate-slope", says: "The gates' slopes σ (1 − σ) are missing.", hint: "da is the gradient before the sigmoid." },
        { id: "g-sigmoid", says: "g is a tanh; you used the slope of a sigmoid.", hint: "1 − g²." },
        { id: "wrong-gate", says: "dcPrev goes through the forget gate f, not through i.", hint: "c = f ⊙ cPrev + i ⊙ g." },
        { id: "order", says: "The blocks of da are not in the order i, f, g, o.", hint: "The last block belongs to the output gate." },
      ],
      forward: ({ a, cPrev, dh, dc }) => {
        const { o, c } = lstmGates({ a, cPrev });
        return o.mul(c.tanh()).mul(dh).add(c.mul(dc)).sum().item();
      },
    }),
  ],
  after: [
    {
      type: "markdown",
      source:
        "Sixty steps back: a plain network with weights of spectral norm about 1 loses its gradient to the slopes of tanh; along the LSTM's state the gradient is " +
        "only multiplied by forget gates.",
    },
    {
      type: "code",
      source: [
        "const random = rng(23);",
        "const [T, H] = [60, 16];",
        "const Wh = randn([H, H], random).mul(1 / Math.sqrt(H));",
        "const states: Tensor[] = [];",
        "for (let t = 0; t < T; t++) states.push(randn([1, H], random).add(t ? states[t - 1].matmul(Wh.T) : 0).tanh());",
        "// A state with forget gates near 0.97 and no loss on the way: dc comes from the end alone.",
        "const flat = (value: number) => full([1, H], value);",
        "const f = randn([1, H], random).mul(0.005).add(0.97);",
        "const gates = { i: flat(0.1), f, g: flat(0.2), o: flat(0.5), c: flat(0.5), cPrev: flat(0.5) };",
        "let dc = randn([1, H], random);",
        "const kept = [dc.norm()];",
        "for (let t = T - 1; t > 0; t--) {",
        "  dc = lstmStepBackward(zeros(1, H), dc, gates).dcPrev;",
        "  kept.unshift(dc.norm());",
        "}",
        "lines(Array.from({ length: T }, (_, t) => t + 1), {",
        '  "plain RNN": gradientNorms(randn([H], random), concat(states), Wh),',
        '  "LSTM, forget gates near 0.97": kept,',
        '}, { title: "Gradient at the state, from a loss at step 60", logY: true, x: "time step t", y: "norm" });',
      ].join("\n"),
    },
  ],
});
