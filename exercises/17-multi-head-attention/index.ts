/** Exercise 17: heads, the paper's row-wise gradients with db_k = 0, and the whole multi-head layer. */
import { concat, randn, type Rng, type Tensor } from "gradbook";
import { defineExercise, part } from "../autograder/spec";
import { mergeHeads, rowSum, softmaxBackward, splitHeads, sumRows, weightGradient, weights } from "../reference";

function drawRowWise(random: Rng, instance: number) {
  const [T, C, d] = [[4, 4, 4], [5, 6, 3], [6, 3, 2], [4, 5, 2]][instance % 4];
  const a = randn([T, C], random);
  const [wq, wk, wv] = [0, 1, 2].map(() => randn([C, d], random).mul(0.7));
  const [bq, bk, bv] = [0, 1, 2].map(() => randn([d], random));
  const [q, k, v] = [a.matmul(wq).add(bq), a.matmul(wk).add(bk), a.matmul(wv).add(bv)];
  return { a, q, k, v, rho: weights(q, k, true), wq, wk, wv, bq, bk, bv, D: randn([T, d], random) };
}

interface Layer {
  x: Tensor;
  Wqkv: Tensor;
  bqkv: Tensor;
  Wo: Tensor;
  bo: Tensor;
  heads: number;
  causal: boolean;
}

function forward({ x, Wqkv, bqkv, Wo, bo, heads, causal }: Layer) {
  const C = x.shape[2];
  const qkv = x.matmul(Wqkv.T).add(bqkv);
  const [q, k, v] = [0, 1, 2].map((i) => splitHeads(qkv.slice(i * C, (i + 1) * C, 2), heads));
  const p = weights(q, k, causal);
  const o = mergeHeads(p.matmul(v));
  return { q, k, v, p, o, y: o.matmul(Wo.T).add(bo) };
}

function makeLayer(random: Rng, [B, T, C, heads]: number[], causal: boolean) {
  const layer = {
    x: randn([B, T, C], random), Wqkv: randn([3 * C, C], random).mul(0.6), bqkv: randn([3 * C], random),
    Wo: randn([C, C], random).mul(0.6), bo: randn([C], random), heads, causal,
  };
  const { q, k, v, p, o } = forward(layer);
  return { ...layer, q, k, v, p, o, dy: randn([B, T, C], random) };
}

const LAYERS = [[2, 4, 4, 2], [2, 3, 6, 3], [1, 5, 6, 2], [3, 4, 4, 2]];

export default defineExercise({
  id: "multi-head-attention",
  number: 17,
  title: "Multi-head attention and the paper's row-wise form",
  source: "arXiv 2512.23329, multi-headed self-attention; math-for-llms, section 5.5",
  minutes: 30,
  goal: "You can read a published index-free gradient, turn it into code, and write the backward of a whole multi-head layer.",
  withholds: ["multiHeadAttention", "attention", "flashAttention", "transformerBlock", "paperBackward"],
  hints: [
    "splitHeads: first give the C axis two names, [B, T, H, dh], then bring H before T.",
    "The paper's ⊖ is `x.mul(y).sum(-1, true)`; kept with length 1, it spreads by itself when you subtract it.",
    "db_k: D_raw's rows sum to 0, so the sum over keys of D_rawᵀ q is 0. Compute it and see numbers like 1e-17.",
    "multiHeadBackward goes y ← o ← heads ← q, k, v ← x. dO of the heads is splitHeads(dy Wo).",
    "Merge dq, dk, dv back to [B, T, C] each and join them along the last axis to [B, T, 3C]. From there it is a plain linear layer.",
  ],
  parts: [
    part({
      name: "splitHeads",
      points: 1,
      entry: "splitHeads",
      draw: (random, instance) => {
        const [B, T, C, heads] = [[2, 3, 6, 3], [1, 4, 4, 2], [2, 5, 6, 2], [3, 2, 8, 4]][instance % 4];
        return { x: randn([B, T, C], random), heads };
      },
      call: (student, { x, heads }) => ({ split: student(x, heads) }),
      attempt: ({ x, heads }, made) => {
        const [B, T, C] = x.shape;
        const dh = C / heads;
        if (made("reshape-only")) return { split: x.reshape(B, heads, T, dh) };
        if (made("interleaved")) return { split: x.reshape(B, T, dh, heads).transpose([0, 3, 1, 2]) };
        if (made("tokens-first")) return { split: x.reshape(B, T, heads, dh) };
        return { split: splitHeads(x, heads) };
      },
      mistakes: [
        {
          id: "reshape-only",
          says: "You reshaped straight to [B, H, T, dh], which mixes tokens into heads.",
          hint: "reshape leaves the numbers where they are. Which axes can you split without moving anything?",
          hides: ["*"],
        },
        {
          id: "interleaved",
          says: "Your heads take every H-th channel; they should take neighbouring ones.",
          hint: "Split C into [H, dh], not into [dh, H].",
          hides: ["tokens-first"],
        },
        { id: "tokens-first", says: "The head axis still stands behind the tokens.", hint: "transpose(axes) lists, for each new axis, which old one it is." },
      ],
    }),
    part({
      name: "row-wise form",
      points: 3,
      entry: "rowWiseGradients",
      draw: drawRowWise,
      call: (student, { a, q, k, v, rho, wq, wk, wv, D }) => {
        const { dwv, dbv, dwq, dbq, dwk, dbk, da } = student(a, q, k, v, rho, wq, wk, wv, D);
        return { dwv, dbv, dwq, dbq, dwk, dbk, da };
      },
      attempt: ({ a, q, k, v, rho, wq, wk, wv, D }, made) => {
        const Drho = D.matmul(v.T);
        const inner = made("no-correction") ? Drho : Drho.sub(rowSum(made("unweighted") ? Drho : Drho.mul(rho)));
        const Dcausal = made("rho-missing") ? inner : inner.mul(rho);
        const Draw = made("no-scale") ? Dcausal : Dcausal.div(Math.sqrt(q.shape[made("scale-tokens") ? 0 : 1]));
        const dq = Draw.matmul(k);
        const dk = (made("dk-plain") ? Draw : Draw.T).matmul(q);
        const dv = (made("dv-plain") ? rho : rho.T).matmul(D);
        const paths = [dq.matmul(wq.T), dk.matmul(wk.T), dv.matmul(wv.T)];
        return {
          dwv: a.T.matmul(dv), dbv: made("mean-bias") ? D.mean(0) : D.sum(0),
          dwq: a.T.matmul(dq), dbq: made("mean-bias") ? dq.mean(0) : dq.sum(0), dwk: a.T.matmul(dk), dbk: made("mean-bias") ? dk.mean(0) : dk.sum(0),
          da: made("last-path") ? paths[2] : paths[0].add(paths[1]).add(paths[2]),
        };
      },
      mistakes: [
        {
          id: "no-correction",
          says: "D_causal lacks the row-wise correction: you used only (D vᵀ) ∘ ρ. Your db_k is not zero, which gives it away.",
          hint: "Inside the brackets a column is subtracted from D vᵀ before ρ multiplies.",
          hides: ["unweighted"],
        },
        { id: "unweighted", says: "Your column sums D vᵀ without ρ.", hint: "⊖ multiplies the two rows element by element before it sums." },
        { id: "rho-missing", says: "The factor ∘ ρ behind the brackets is missing.", hint: "ρ stands twice in D_causal: within the column and behind the brackets." },
        {
          id: "no-scale",
          says: "The 1/√d_ρ between D_causal and D_raw is missing.",
          hint: "d_ρ is the width of the head.",
          hides: ["scale-tokens"],
        },
        { id: "scale-tokens", says: "You divided by √T, the root of the number of tokens.", hint: "d_ρ is the width of the head." },
        {
          id: "dk-plain",
          says: "For the keys you used D_raw where its transpose belongs.",
          hint: "Row i of D_raw belongs to query i. Summing over the queries needs the transpose.",
        },
        { id: "dv-plain", says: "For the values you used ρ where its transpose belongs.", hint: "(ρ a)ᵀ D = aᵀ (ρᵀ D)." },
        { id: "mean-bias", says: "The bias gradients are means over the tokens; they must be sums.", hint: "Every token adds the same b, and each of those uses brings its gradient." },
        {
          id: "last-path",
          says: "a feeds q, k and v, and your da holds the path through v only.",
          hint: "Where a value is used three times, three gradients add up.",
        },
      ],
      cotangent: "D",
      // dbk is zero up to rounding, so twice D does not give twice its noise.
      linear: ["dwv", "dbv", "dwq", "dbq", "dwk", "da"],
      forward: ({ a, wq, wk, wv, bq, bk, bv }) => {
        const [q, k, v] = [a.matmul(wq).add(bq), a.matmul(wk).add(bk), a.matmul(wv).add(bv)];
        return weights(q, k, true).matmul(v);
      },
    }),
    part({
      name: "multi-head backward",
      points: 6,
      entry: "multiHeadBackward",
      draw: (random, instance) => makeLayer(random, LAYERS[instance % 4], instance % 2 === 1),
      call: (student, { x, Wqkv, Wo, heads, q, k, v, p, o, dy }) => {
        const { dWo, dbo, dWqkv, dbqkv, dx } = student(dy, { x, Wqkv, Wo, heads, q, k, v, p, o });
        return { dWo, dbo, dWqkv, dbqkv, dx };
      },
      attempt: ({ x, Wqkv, Wo, heads, q, k, v, p, o, dy }, made) => {
        const [B, T, C] = x.shape;
        const dMerged = dy.matmul(made("wo-transposed") ? Wo.T : Wo);
        const dO = made("reshape-only") ? dMerged.reshape(B, heads, T, C / heads) : splitHeads(dMerged, heads);
        const dp = dO.matmul(v.T);
        const dScores = made("no-correction") ? p.mul(dp) : softmaxBackward(p, dp);
        const ds = dScores.div(made("no-scale") ? 1 : Math.sqrt(made("scale-c") ? C : C / heads));
        const merge = made("merge-reshape") ? (t: Tensor) => t.reshape(B, T, C) : mergeHeads;
        const [dq, dk, dv] = [ds.matmul(k), ds.T.matmul(q), p.T.matmul(dO)].map(merge);
        const dqkv = concat(made("order") ? [dk, dq, dv] : [dq, dk, dv], 2);
        const seen = made("first-sequence") ? 1 : B;
        return {
          dWo: made("dwo-transposed") ? weightGradient(dy, o).T : weightGradient(dy, o),
          dbo: sumRows(dy),
          dWqkv: weightGradient(dqkv.slice(0, seen), x.slice(0, seen)),
          dbqkv: sumRows(dqkv.slice(0, seen)),
          dx: dqkv.matmul(Wqkv),
        };
      },
      mistakes: [
        { id: "wo-transposed", says: "You went back through Wo with its transpose.", hint: "Forward y = o Woᵀ, so dO = dy Wo. Wo is square: the shape cannot tell you." },
        {
          id: "reshape-only",
          says: "You reshaped the gradient straight into heads, which mixes tokens into heads.",
          hint: "The gradient takes the same road as the values: use splitHeads.",
        },
        { id: "merge-reshape", says: "You merged the heads' gradients by reshape alone.", hint: "Tokens and heads must change places first: use mergeHeads." },
        { id: "no-correction", says: "Softmax's backward is only P ⊙ dP: the correction is missing.", hint: "Exercise 16: dS = P ⊙ (dP − the row's sum of P ⊙ dP)." },
        { id: "no-scale", says: "The 1/√dh is missing on the way back.", hint: "The forward divides the scores by √dh.", hides: ["scale-c"] },
        { id: "dwo-transposed", says: "Your dWo is transposed.", hint: "y = o Woᵀ: rows of Wo belong to y, columns to o. Wo is square: the shape cannot tell you." },
        { id: "scale-c", says: "You divided by √C; each head is only dh = C / H wide.", hint: "Which d stood in the forward's softmax?" },
        { id: "order", says: "dq and dk have changed places in the joined gradient.", hint: "Wqkv's rows are in the order q, k, v." },
        { id: "first-sequence", says: "dWqkv and dbqkv hold the first sequence of the batch only.", hint: "A parameter that every sequence uses collects from all of them." },
      ],
      cotangent: "dy",
      forward: (args) => forward(args as unknown as Layer).y,
      large: (random) => makeLayer(random, [2, 16, 16, 4], true),
    }),
  ],
  after: [
    {
      type: "markdown",
      source: "The paper's observation, on your own code: whatever D is, $db_k$ vanishes up to rounding, and $db_q$ and $db_v$ do not.",
    },
    {
      type: "code",
      source: [
        "const random = rng(17);",
        "const [T, C, d] = [6, 5, 4];",
        "const a = randn([T, C], random);",
        "const [wq, wk, wv] = [0, 1, 2].map(() => randn([C, d], random));",
        "const [q, k, v] = [a.matmul(wq), a.matmul(wk), a.matmul(wv)];",
        "const scores = q.matmul(k.T).div(Math.sqrt(d)).exp();",
        "const rho = scores.div(scores.sum(-1, true));",
        "const { dbq, dbk, dbv } = rowWiseGradients(a, q, k, v, rho, wq, wk, wv, randn([T, d], random));",
        "bars([\"db_q\", \"db_k\", \"db_v\"], [dbq, dbk, dbv].map((g) => g.norm()), {",
        '  title: "db_k is zero", x: "gradient of the bias", y: "norm", text: true,',
        "});",
      ].join("\n"),
    },
  ],
});
