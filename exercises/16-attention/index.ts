/** Exercise 16: scaled dot-product attention, forward and backward, causal or not. */
import { randn, type Rng, type Tensor } from "gradbook";
import { defineExercise, part } from "../autograder/spec";
import { causalMask, rowSum, softmax, weights } from "../reference";

const SHAPES = [
  [2, 4, 4, 4],
  [2, 5, 3, 2],
  [1, 4, 3, 5],
  [3, 6, 2, 4],
];

/** B sequences of T tokens; every second instance is causal. Scores are spread enough that rows of P differ. */
function draw(random: Rng, instance: number) {
  const [B, T, d, dv] = SHAPES[instance % SHAPES.length];
  return { q: randn([B, T, d], random), k: randn([B, T, d], random), v: randn([B, T, dv], random), causal: instance % 2 === 1 };
}

function drawBackward(random: Rng, instance: number) {
  const { q, k, v, causal } = draw(random, instance);
  return { q, k, v, p: weights(q, k, causal), dO: randn(v.shape, random), causal };
}

export default defineExercise({
  id: "attention",
  number: 16,
  title: "Attention backward, with a causal mask",
  source: "math-for-llms, section 5.5 and exercise 6; arXiv 2512.23329, one attention head",
  minutes: 30,
  goal: "You can write the backward of attention from its three operations, and say why the causal mask needs no line in it.",
  withholds: ["attention", "attention.forward", "flashAttention", "flashAttention.forward", "multiHeadAttention", "multiHeadAttention.forward"],
  hints: [
    "Forward: three lines. The mask is a [T, T] tensor of 0 and -Infinity that you add to S; it broadcasts over the batch.",
    "Write the forward as O = P V, P = softmax(S), S = (Q Kᵀ) / √d, and go through it from right to left. Every gradient has the shape of its tensor.",
    "dV = Pᵀ dO and dP = dO Vᵀ.",
    "Softmax: (diag(p) − p pᵀ) dp = p ⊙ dp − p (p · dp). So r is the row-wise sum of P ⊙ dP.",
    "S = Q Kᵀ / √d: dQ = dS K / √d, and K entered transposed, so dK = dSᵀ Q / √d.",
  ],
  parts: [
    part({
      name: "forward",
      points: 3,
      entry: "attentionForward",
      draw,
      call: (student, { q, k, v, causal }) => {
        const { p, o } = student(q, k, v, causal);
        return { p, o };
      },
      attempt: ({ q, k, v, causal }, made) => {
        const d = q.shape[2];
        const T = q.shape[1];
        const scale = made("no-scale") ? 1 : made("scale-d") ? d : Math.sqrt(made("scale-tokens") ? T : d);
        let s = q.matmul(k.T).div(scale);
        const allowed = causalMask(T).map((x) => (x === 0 ? 1 : 0));
        if (causal && made("mask-zeros")) s = s.mul(allowed);
        else if (causal && !made("no-mask") && !made("mask-late")) {
          s = s.add(made("mask-lower") ? causalMask(T).T : causalMask(T, made("mask-diagonal") ? 0 : 1));
        }
        let p = made("softmax-columns") ? softmax(s.T).T : softmax(s);
        if (causal && made("mask-late") && !made("mask-zeros")) p = p.mul(allowed);
        return { p, o: p.matmul(v) };
      },
      mistakes: [
        { id: "no-scale", says: "The scores are not divided by √d.", hint: "Without it the scores grow with d and the softmax saturates.", hides: ["scale-d", "scale-tokens"] },
        {
          id: "scale-d",
          says: "You divided the scores by d, not by √d.",
          hint: "A sum of d products of unit variance has standard deviation √d.",
          hides: ["scale-tokens"],
        },
        { id: "scale-tokens", says: "You divided the scores by √T, the root of the number of tokens.", hint: "A score is a sum of d products: d is the last axis of q." },
        {
          id: "no-mask",
          says: "You did not mask: with causal = true a token still looks ahead.",
          hint: "Row i of P must be 0 right of the diagonal when causal is true.",
          hides: ["mask-lower", "mask-diagonal"],
        },
        {
          id: "mask-late",
          says: "You masked after the softmax: the rows of P do not sum to 1 any more.",
          hint: "What a query may not see should not stand in its denominator either.",
          hides: ["no-mask", "mask-lower", "mask-diagonal"],
        },
        {
          id: "mask-lower",
          says: "You masked the past, not the future.",
          hint: "Query i may see keys j ≤ i. Which side of the diagonal is j > i?",
          hides: ["mask-diagonal"],
        },
        {
          id: "mask-diagonal",
          says: "You masked the diagonal too, so the first token sees nothing and its row is NaN.",
          hint: "A token may look at itself: > or >=?",
        },
        {
          id: "mask-zeros",
          says: "You set masked scores to 0, so the future leaks in.",
          hint: "What does exp make of 0, and what should it make of a masked score? The paper's equations 13 and 15 have this slip too, its code does not.",
          hides: ["no-mask", "mask-late", "mask-lower", "mask-diagonal"],
        },
        {
          id: "softmax-columns",
          says: "Your softmax runs over the queries: columns sum to 1, not rows.",
          hint: "Each query spreads a weight of 1 over the keys, which are the last axis.",
        },
      ],
    }),
    part({
      name: "backward",
      points: 7,
      entry: "attentionBackward",
      draw: drawBackward,
      call: (student, { q, k, v, p, dO }) => {
        const { dv, dq, dk } = student(dO, q, k, v, p);
        return { dv, dq, dk };
      },
      attempt: ({ q, k, v, p, dO }, made) => {
        const d = q.shape[2];
        const dv = made("dv-p") ? p.matmul(dO) : p.T.matmul(dO);
        const dp = dO.matmul(v.T);
        let ds: Tensor;
        if (made("diagonal-only")) ds = p.mul(p.neg().add(1)).mul(dp);
        else if (made("no-correction")) ds = p.mul(dp);
        else if (made("unweighted")) ds = p.mul(dp.sub(dp.mean(-1, true)));
        else if (made("unweighted-sum")) ds = p.mul(dp.sub(rowSum(dp)));
        else if (made("p-missing")) ds = dp.sub(rowSum(p.mul(dp)));
        else ds = p.mul(made("correction-sign") ? dp.add(rowSum(p.mul(dp))) : dp.sub(rowSum(p.mul(dp))));
        if (!made("no-scale")) ds = ds.div(made("scale-d") ? d : Math.sqrt(made("scale-tokens") ? q.shape[1] : d));
        const dq = ds.matmul(k);
        const dk = (made("dk-plain") ? ds : ds.T).matmul(q);
        return made("swapped") ? { dv, dq: dk, dk: dq } : { dv, dq, dk };
      },
      mistakes: [
        { id: "dv-p", says: "dV uses P where Pᵀ belongs.", hint: "V is the right factor of P V. How does the left factor enter its gradient?" },
        {
          id: "no-correction",
          says: "Softmax's backward is only P ⊙ dP: the correction that each row's sum stays 1 is missing.",
          hint: "The Jacobian is diag(p) − p pᵀ. You have the first term.",
          hides: ["unweighted", "unweighted-sum", "p-missing", "correction-sign"],
        },
        {
          id: "diagonal-only",
          says: "You kept only the diagonal of softmax's Jacobian, p (1 − p).",
          hint: "Raising one score lowers the weights of all other keys in its row: the off-diagonal terms − p_i p_j.",
          hides: ["no-correction", "unweighted", "unweighted-sum", "p-missing", "correction-sign"],
        },
        {
          id: "unweighted",
          says: "The row's correction is a plain mean of dP; it must be weighted by P.",
          hint: "p pᵀ dp = p (p · dp): what multiplies each dp before they are summed?",
          hides: ["unweighted-sum", "p-missing", "correction-sign"],
        },
        {
          id: "unweighted-sum",
          says: "The row's correction is a plain sum of dP; it must be weighted by P.",
          hint: "p pᵀ dp = p (p · dp): what multiplies each dp before they are summed?",
          hides: ["p-missing", "correction-sign"],
        },
        {
          id: "p-missing",
          says: "The factor P in front of the bracket is missing.",
          hint: "diag(p) dp − p (p · dp): both terms have p in front.",
          hides: ["correction-sign"],
        },
        {
          id: "correction-sign",
          says: "The correction in softmax's backward has the wrong sign.",
          hint: "diag(p) − p pᵀ. Check: each row of dS must sum to 0.",
        },
        {
          id: "no-scale",
          says: "The backward lacks the 1/√d.",
          hint: "The forward divides by √d between Q Kᵀ and the softmax; each backward through that line does too.",
          hides: ["scale-d", "scale-tokens"],
        },
        { id: "scale-tokens", says: "The backward divides by √T, the forward by √d.", hint: "d is the last axis of q." },
        { id: "scale-d", says: "The backward divides by d, the forward by √d.", hint: "Or by √d twice: once for dS and again for dQ and dK?", hides: ["scale-tokens"] },
        {
          id: "dk-plain",
          says: "dK uses dS where dSᵀ belongs.",
          hint: "Row i of dS belongs to query i, column j to key j. Which axis must be summed to get dK?",
        },
        { id: "swapped", says: "dQ and dK have changed places.", hint: "dQ is made with K, dK with Q." },
      ],
      cotangent: "dO",
      forward: ({ q, k, v, causal }) => weights(q, k, causal).matmul(v),
      large: (random) => {
        const [q, k, v] = [0, 1, 2].map(() => randn([2, 24, 12], random));
        return { q, k, v, p: weights(q, k, true), dO: randn([2, 24, 12], random), causal: true };
      },
    }),
  ],
  after: [
    {
      type: "markdown",
      source:
        "Exercise 6 (d) of the document: with a causal mask the backward has no extra line. Where $P$ is 0, $dS = P \\odot (\\dots)$ is 0 as well, " +
        "though $dP$ is not. Look above the diagonals:",
    },
    {
      type: "code",
      source: [
        "const random = rng(6);",
        "const [q, k, v, dO] = [0, 1, 2, 3].map(() => randn([1, 4, 3], random));",
        "const { p } = attentionForward(q, k, v, true);",
        "const dp = dO.matmul(v.T);",
        "const ds = p.mul(dp.sub(p.mul(dp).sum(-1, true)));",
        'const axes = { x: "key j", y: "query i" };',
        "beside([",
        '  heatmap(p.at(0), { title: "P", ...axes }),',
        '  heatmap(dp.at(0), { title: "dP", ...axes }),',
        '  heatmap(ds.at(0), { title: "dS", ...axes }),',
        "]);",
      ].join("\n"),
    },
  ],
});
