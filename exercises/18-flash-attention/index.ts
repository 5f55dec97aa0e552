/** Exercise 18: attention in tiles, its online softmax, and a backward that recomputes P from the log-sum-exp. */
import { concat, randn, zeros, type Rng, type Tensor } from "gradbook";
import { defineExercise, part } from "../autograder/spec";
import { rowSum, weights } from "../reference";

const scoresOf = (q: Tensor, k: Tensor): Tensor => q.matmul(k.T).div(Math.sqrt(q.shape[1]));

/** log Σ exp over each row: [n, m] -> [n]. */
function logSumExp(s: Tensor): Tensor {
  const m = s.max(-1, true);
  return m.add(rowSum(s.sub(m).exp()).log()).reshape(-1);
}

/** Scores of standard deviation about 2, so that the running maximum moves from block to block; T is not always a multiple of the block. */
function draw(random: Rng, instance: number) {
  const [T, d, dv, block] = [[8, 4, 4, 4], [9, 3, 2, 4], [10, 2, 3, 3], [7, 4, 2, 3]][instance % 4];
  return { q: randn([T, d], random).mul(2), k: randn([T, d], random), v: randn([T, dv], random), block };
}

function drawBackward(random: Rng, instance: number) {
  const inputs = draw(random, instance);
  const s = scoresOf(inputs.q, inputs.k);
  const o = weights(inputs.q, inputs.k, false).matmul(inputs.v);
  return { ...inputs, o, lse: logSumExp(s), dO: randn(o.shape, random) };
}

const cuts = (T: number, block: number): [number, number][] =>
  Array.from({ length: Math.ceil(T / block) }, (_, b) => [b * block, Math.min((b + 1) * block, T)]);

type TileMistake = "no-lse" | "no-delta" | "delta-column" | "delta-sign" | "p-missing" | "no-scale" | "scale-d" | "dv-p" | "dk-plain";

function tile(qi: Tensor, kj: Tensor, vj: Tensor, dOi: Tensor, lsei: Tensor, deltai: Tensor, made: (m: TileMistake) => boolean) {
  const root = made("scale-d") ? qi.shape[1] : Math.sqrt(qi.shape[1]);
  const s = qi.matmul(kj.T).div(root);
  const p = made("no-lse") ? s.exp() : s.sub(lsei.reshape(-1, 1)).exp();
  const dp = dOi.matmul(vj.T);
  const delta = made("delta-column") ? rowSum(p.mul(dp)) : deltai.reshape(-1, 1);
  const inner = made("no-delta") ? dp : made("delta-sign") ? dp.add(delta) : dp.sub(delta);
  let ds = made("p-missing") ? inner : p.mul(inner);
  if (!made("no-scale")) ds = ds.div(root);
  return { dvj: (made("dv-p") ? p : p.T).matmul(dOi), dqi: ds.matmul(kj), dkj: (made("dk-plain") ? ds : ds.T).matmul(qi) };
}

export default defineExercise({
  id: "flash-attention",
  number: 18,
  title: "Flash attention: the backward from the log-sum-exp",
  source: "math-for-llms, section 7.3",
  minutes: 30,
  goal: "You can compute attention and its gradients in tiles with O(T) memory, and explain why one number a row is enough to do so.",
  withholds: ["flashAttention", "flashAttention.forward", "attention", "multiHeadAttention"],
  hints: [
    "Outer loop over query blocks, inner loop over key blocks. m, ℓ and a belong to the query block and start anew with it.",
    "When the maximum grows from m to m', all that was summed before is too large by e^(m − m'): multiply ℓ and a with it before you add.",
    "backwardTile is exercise 16's backward with P recomputed, and with δ handed in where the row sum of P ⊙ dP stood.",
    "flashBackward: δ = (dO ⊙ O) summed over its last axis, taken over whole rows before any tile. Then += into dq[i], dk[j] and dv[j] for each pair (i, j).",
  ],
  parts: [
    part({
      name: "online softmax",
      points: 3,
      entry: "flashForward",
      draw,
      call: (student, { q, k, v, block }) => {
        const { lse, o } = student(q, k, v, block);
        return { lse, o };
      },
      attempt: ({ q, k, v, block }, made) => {
        const [T, d] = q.shape;
        const blocks = cuts(T, block);
        let m = zeros([T, 1]).add(-Infinity);
        let l = zeros([T, 1]);
        let a = zeros([T, v.shape[1]]);
        for (const [start, end] of made("last-block") ? blocks.filter(([s, e]) => e - s === block) : blocks) {
          const s = q.matmul(k.slice(start, end).T).div(made("no-scale") ? 1 : Math.sqrt(d));
          const larger = m.maximum(s.max(-1, true));
          const shrink = m.sub(larger).exp();
          const e = s.sub(larger).exp();
          l = (made("sum-not-rescaled") ? l : l.mul(shrink)).add(rowSum(e));
          const own = made("block-normalised") ? e.div(rowSum(e)) : e;
          a = (made("output-not-rescaled") ? a : a.mul(shrink)).add(own.matmul(v.slice(start, end)));
          m = larger;
        }
        return {
          lse: (made("lse-without-maximum") ? l.log() : m.add(l.log())).reshape(-1),
          o: made("not-normalised") ? a : a.div(l),
        };
      },
      mistakes: [
        { id: "no-scale", says: "The scores are not divided by √d.", hint: "S_ij = Q_i K_jᵀ / √d." },
        {
          id: "sum-not-rescaled",
          says: "ℓ is not rescaled when the maximum grows.",
          hint: "Each exponential in ℓ was taken relative to the old maximum.",
        },
        {
          id: "output-not-rescaled",
          says: "The output so far is not rescaled when the maximum grows.",
          hint: "a holds e^(S − m) V with the old m. What turns it into e^(S − m') V?",
        },
        {
          id: "block-normalised",
          says: "You normalised each block's weights by themselves.",
          hint: "a is unnormalised: the one denominator, ℓ, is known only after the last block.",
        },
        { id: "not-normalised", says: "The output is never divided by ℓ.", hint: "Softmax's denominator is known only after the last block." },
        {
          id: "lse-without-maximum",
          says: "lse lacks the maximum: you returned log ℓ.",
          hint: "ℓ = Σ e^(S − m), so log Σ e^S = ?",
        },
        {
          id: "last-block",
          says: "The last, shorter block of keys is left out.",
          hint: "T need not be a multiple of the block: let the last slice end at T.",
        },
      ],
    }),
    part({
      name: "one tile",
      points: 3,
      entry: "backwardTile",
      draw: (random, instance) => {
        const { q, k, v, o, lse, dO } = drawBackward(random, instance);
        const [bq, bk] = [[3, 3], [4, 2], [2, 4], [3, 2]][instance % 4];
        return {
          qi: q.slice(1, 1 + bq), kj: k.slice(2, 2 + bk), vj: v.slice(2, 2 + bk), dOi: dO.slice(1, 1 + bq),
          lsei: lse.slice(1, 1 + bq), deltai: dO.mul(o).sum(-1).slice(1, 1 + bq),
        };
      },
      call: (student, { qi, kj, vj, dOi, lsei, deltai }) => {
        const { dvj, dqi, dkj } = student(qi, kj, vj, dOi, lsei, deltai);
        return { dvj, dqi, dkj };
      },
      attempt: ({ qi, kj, vj, dOi, lsei, deltai }, made) => {
        const [bq, bk] = [qi.shape[0], kj.shape[0]];
        // Where the tile is not square a missing transpose cannot even be multiplied: the student is told so by matmul.
        const square = bq === bk;
        const share = tile(qi, kj, vj, dOi, lsei, deltai, (m) => made(m) && (square || (m !== "dv-p" && m !== "dk-plain")));
        const out: Record<string, Tensor> = { ...share };
        if (!square && made("dv-p")) delete out.dvj;
        if (!square && made("dk-plain")) delete out.dkj;
        return out;
      },
      mistakes: [
        {
          id: "no-lse",
          says: "P is exp(S) without the log-sum-exp: its rows are not normalised.",
          hint: "exp(S − lse) = exp(S) / Σ exp(S).",
        },
        {
          id: "no-delta",
          says: "δ is not subtracted: softmax's correction is missing.",
          hint: "dS = P ⊙ (dP − δ), δ as a column.",
          hides: ["delta-column", "delta-sign"],
        },
        { id: "delta-sign", says: "δ is added; it must be subtracted.", hint: "dS = P ⊙ (dP − δ)." },
        { id: "p-missing", says: "The factor P in front of the bracket is missing.", hint: "dS = P ⊙ (dP − δ)." },
        {
          id: "delta-column",
          says: "You computed the correction from this tile alone; δ belongs to the whole row.",
          hint: "A tile sees some of the keys, the row sum of P ⊙ dP runs over all of them. That is why δ is handed in.",
        },
        { id: "no-scale", says: "dQ and dK lack the 1/√d.", hint: "S = Q Kᵀ / √d: the division is part of the way back." },
        { id: "scale-d", says: "You divided by d, not by √d.", hint: "S = Q Kᵀ / √d." },
        { id: "dv-p", says: "dV uses P where Pᵀ belongs.", hint: "dV_j has a row for each key of the tile." },
        { id: "dk-plain", says: "dK uses dS where dSᵀ belongs.", hint: "dK_j has a row for each key of the tile." },
      ],
      noDifferences: "A tile's share is no gradient of its own: lse and δ belong to whole rows. Their sum is checked in the next part.",
    }),
    part({
      name: "all tiles",
      points: 4,
      entry: "flashBackward",
      draw: drawBackward,
      call: (student, { q, k, v, o, lse, dO, block }, { largestProduct }) => {
        const { value, largest } = largestProduct(() => student(dO, q, k, v, o, lse, block));
        return { dv: value.dv, dq: value.dq, dk: value.dk, largest };
      },
      attempt: ({ q, k, v, o, lse, dO, block }, made) => {
        const T = q.shape[0];
        const whole = made("whole-p");
        const blocks = whole ? [[0, T]] : cuts(T, block);
        const delta = made("delta-o") ? dO.mul(v).sum(-1) : dO.mul(o).sum(-1);
        const [dq, dk, dv] = [q, k, v].map((t) => blocks.map(([start, end]) => zeros([end - start, t.shape[1]])));
        blocks.forEach(([k0, k1], j) =>
          blocks.forEach(([q0, q1], i) => {
            const share = tile(q.slice(q0, q1), k.slice(k0, k1), v.slice(k0, k1), dO.slice(q0, q1), lse.slice(q0, q1), delta.slice(q0, q1), () => false);
            dq[i] = made("dq-overwritten") ? share.dqi : dq[i].add(share.dqi);
            dk[j] = made("dk-overwritten") ? share.dkj : dk[j].add(share.dkj);
            dv[j] = made("dk-overwritten") ? share.dvj : dv[j].add(share.dvj);
          }),
        );
        return {
          dv: concat(dv), dq: concat(dq), dk: concat(dk),
          largest: whole ? T * T : T * Math.max(q.shape[1], v.shape[1]),
        };
      },
      mistakes: [
        {
          id: "dq-overwritten",
          says: "dq holds the last key block's share only: it is overwritten, not added up.",
          hint: "Each query block meets every key block; its gradient collects from all of them.",
        },
        {
          id: "dk-overwritten",
          says: "dk and dv hold the last query block's share only: they are overwritten, not added up.",
          hint: "Each key block meets every query block; its gradient collects from all of them.",
        },
        { id: "delta-o", says: "δ is made with V; it is the row sum of dO ⊙ O.", hint: "Row i of O is what query i put out. V's rows belong to keys." },
        {
          id: "whole-p",
          says: "The gradients are right, but you formed a T × T matrix.",
          hint: "That matrix is what flash attention avoids. Slice q and k before you multiply.",
          hides: ["dq-overwritten", "dk-overwritten"],
        },
      ],
      atMost: ["largest"],
      cotangent: "dO",
      forward: ({ q, k, v }) => weights(q, k, false).matmul(v),
    }),
  ],
  after: [
    {
      type: "markdown",
      source:
        "The same gradients as in exercise 16, and what had to be kept for them: P as a whole grows with the square of the sequence, o and lse do not.",
    },
    {
      type: "code",
      source: [
        "const lengths = [256, 512, 1024, 2048, 4096, 8192, 16384, 32768];",
        "lines(lengths, {",
        '  "P, one head": lengths.map((T) => (2 * T * T) / 1e6),',
        '  "o and lse, d = 64": lengths.map((T) => (2 * T * 64 + 4 * T) / 1e6),',
        "}, {",
        '  title: "Kept for the backward of one head", x: "tokens T", y: "MB in 16 bits",',
        "  logX: true, logY: true, markers: true,",
        "});",
      ].join("\n"),
    },
  ],
});
