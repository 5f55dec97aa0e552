/** Exercise 7: stable cross-entropy over logits, its fused gradient, and the backward of softmax alone. */
import { oneHot, randn, type Rng, type Tensor } from "gradbook";
import { defineExercise, part } from "../autograder/spec";
import { softmaxBackward } from "../reference";

/** [B, K]. */
const sizes = [[3, 3], [4, 5], [2, 6], [5, 4]];

type Args = { logits: Tensor; targets: number[] };

/** Targets of at least two classes, never only the likeliest ones; from instance 3 on, rows that lie near +1000 or -1000. */
function draw(random: Rng, instance: number, [B, K] = sizes[instance % sizes.length]): Args {
  for (;;) {
    let logits = randn([B, K], random).mul(1.5);
    if (instance % 4 === 3) logits = logits.add(randn([B, 1], random).sign().mul(1000));
    const targets = Array.from({ length: B }, () => random.integer(0, K));
    const likeliest = logits.argmax(1).data;
    if (new Set(targets).size > 1 && targets.some((t, i) => t !== likeliest[i])) return { logits, targets };
  }
}

function softmax(logits: Tensor, axis: number, shift = true): Tensor {
  const exponentials = (shift ? logits.sub(logits.max(axis, true)) : logits).exp();
  return exponentials.div(exponentials.sum(axis, true));
}

function crossEntropy({ logits, targets }: Args): number {
  const shifted = logits.sub(logits.max(1, true));
  const atTarget = shifted.mul(oneHot(targets, logits.shape[1])).sum(1);
  return shifted.exp().sum(1).log().sub(atTarget).mean().item();
}

const overflow = {
  id: "overflow",
  says: "For large logits your exponentials overflow: the greatest logit was not subtracted first.",
  hint: "Subtract each row's greatest logit before you take an exponential.",
};

export default defineExercise({
  id: "softmax-cross-entropy",
  number: 7,
  title: "Softmax and cross-entropy, fused and stable",
  source: "math-for-llms, sections 4.3 and 5.3 and common mistake 6; arXiv 2512.23329, cross-entropy",
  minutes: 20,
  goal: "You can compute cross-entropy and its gradient over a batch of logits of any size, and say why the fused form is short and stable.",
  hints: [
    "Start with shifted = logits.sub(logits.max(1, true)): each row's greatest entry is 0 now, and neither loss nor gradient has changed.",
    "Loss of a row: log of the sum of exp(shifted), minus shifted at the target. Then the mean over rows.",
    "Gradient of a row: d/dz_j of log Σ exp(z_k) is p_j, and d/dz_j of -z_t is -1 where j = t. The mean adds 1/B.",
    "softmaxBackward: (diag(p) - p pᵀ) c = p ⊙ c - p (p · c). The number p · c is one for each row.",
    "In code: p.mul(dp.sub(p.mul(dp).sum(1, true))).",
  ],
  withholds: [
    "softmax", "logSoftmax", "softmaxCrossEntropy", "softmaxCrossEntropy.forward", "gumbelSoftmax",
    "softmaxScore", "softmaxFisher", "exactPolicyGradient",
  ],
  parts: [
    part({
      name: "the loss",
      points: 3,
      entry: "crossEntropy",
      draw: (random, instance) => draw(random, instance),
      call: (student, { logits, targets }) => ({ loss: student(logits, targets) }),
      attempt: ({ logits, targets }, made) => {
        const axis = made("columns") ? 0 : 1;
        const max = logits.max(axis, true);
        const shifted = made("overflow") ? logits : logits.sub(max);
        const index = made("likeliest") ? logits.argmax(1) : targets;
        const atTarget = (made("shift-lost") ? logits : shifted).mul(oneHot(index, logits.shape[1]));
        const logSumExp = shifted.exp().sum(axis, true).log();
        const rows = logSumExp.mul(oneHot(index, logits.shape[1])).sub(atTarget).sum(1);
        const loss = (made("sum") ? rows.sum() : rows.mean()).item() / (made("class-mean") ? logits.shape[1] : 1);
        return { loss: made("sign") ? -loss : loss };
      },
      mistakes: [
        { id: "sum", says: "You summed over the samples.", hint: "The loss of a batch is the mean." },
        {
          id: "class-mean",
          says: "You averaged over all B · K logits.",
          hint: "Each row has one loss, that of its target: the mean is over rows only.",
        },
        { id: "sign", says: "Your loss has the wrong sign.", hint: "A probability's logarithm is negative; the loss is not." },
        {
          id: "likeliest",
          says: "You took the probability of the likeliest class, not of the target.",
          hint: "A classifier that is surely wrong should have a large loss.",
        },
        { id: "columns", says: "You normalised over the samples, not over the classes.", hint: "Each row of probabilities sums to 1." },
        {
          id: "shift-lost",
          says: "You subtracted the greatest logit in one of the two terms only.",
          hint: "Where the sum is shifted, the target's logit must be shifted too, or m must be added again.",
        },
        { ...overflow, hides: ["shift-lost"] },
      ],
      linear: [],
      noDifferences: "This part has no gradients.",
    }),
    part({
      name: "the fused gradient",
      points: 4,
      entry: "crossEntropyBackward",
      draw: (random, instance) => draw(random, instance),
      call: (student, { logits, targets }) => ({ dlogits: student(logits, targets) }),
      attempt: ({ logits, targets }: Args, made) => {
        const [B, K] = logits.shape;
        const p = softmax(logits, made("columns") ? 0 : 1, !made("overflow"));
        const error = made("no-one-hot") ? p : made("target-only") ? p.sub(1).mul(oneHot(targets, K)) : p.sub(oneHot(targets, K));
        const through = made("extra-jacobian") ? softmaxBackward(p, error) : error;
        const divisor = (made("no-mean") ? 1 : B) * (made("class-mean") ? K : 1);
        return { dlogits: through.div(made("sign") ? -divisor : divisor) };
      },
      mistakes: [
        {
          id: "no-one-hot",
          says: "You forgot to subtract the 1 at the target: your gradient is p / B.",
          hint: "The loss has two terms in z, the log-sum-exp and the target's own logit.",
          hides: ["target-only"],
        },
        {
          id: "target-only",
          says: "Only the target's logit gets a gradient.",
          hint: "Every logit of a row stands in the log-sum-exp.",
        },
        { id: "no-mean", says: "The 1/B of the mean is missing.", hint: "The loss is a mean over samples." },
        { id: "class-mean", says: "You divided by the number of classes.", hint: "The mean is over samples only." },
        {
          id: "extra-jacobian",
          says: "You applied the softmax Jacobian once too often.",
          hint: "p - one-hot is already the gradient with respect to the logits.",
        },
        { id: "sign", says: "Your gradient has the wrong sign.", hint: "Raising the target's logit lowers the loss." },
        { id: "columns", says: "You normalised over the samples, not over the classes.", hint: "Each row of probabilities sums to 1." },
        overflow,
      ],
      forward: (args: Args) => crossEntropy(args),
      large: (random) => draw(random, 0, [16, 100]),
    }),
    part({
      name: "softmax alone",
      points: 3,
      entry: "softmaxBackward",
      draw: (random, instance) => {
        const [B, K] = sizes[instance % sizes.length];
        const z = randn([B, K], random).mul(1.5);
        return { dp: randn([B, K], random), z, p: softmax(z, 1) };
      },
      call: (student, { dp, p }) => ({ dz: student(dp, p) }),
      attempt: ({ dp, p }, made) => {
        if (made("diagonal-only")) return { dz: p.mul(p.neg().add(1)).mul(dp) };
        const axis = made("columns") ? 0 : 1;
        const correction = made("unweighted") ? dp.mean(axis, true) : made("unweighted-sum") ? dp.sum(axis, true) : p.mul(dp).sum(axis, true);
        const inner = made("correction-dropped") ? dp : made("correction-sign") ? dp.add(correction) : dp.sub(correction);
        return { dz: made("p-missing") ? inner : p.mul(inner) };
      },
      mistakes: [
        {
          id: "correction-dropped",
          says: "Your result is p ⊙ dp: the correction by the row's sum is missing.",
          hint: "Raising one logit lowers every other probability of the row, through the denominator.",
          hides: ["correction-sign", "unweighted", "unweighted-sum", "columns"],
        },
        {
          id: "diagonal-only",
          says: "You kept the Jacobian's diagonal only, p (1 - p) dp.",
          hint: "Off the diagonal the Jacobian holds -p_i p_j.",
          hides: ["*"],
        },
        {
          id: "correction-sign",
          says: "You added the row's sum where it is subtracted.",
          hint: "The gradient of a row sums to 0: a shift of all logits changes nothing.",
        },
        {
          id: "unweighted",
          says: "You subtracted the plain mean of dp: the weights p are missing in the sum.",
          hint: "p · c is an average of c in which likely classes count more.",
          hides: ["unweighted-sum"],
        },
        {
          id: "unweighted-sum",
          says: "You subtracted the plain sum of dp: the weights p are missing in it.",
          hint: "p · c is an average of c in which likely classes count more.",
        },
        { id: "columns", says: "You summed over the samples, not over the classes.", hint: "Each row has its own softmax." },
        { id: "p-missing", says: "The outer factor p is missing.", hint: "(diag(p) - p pᵀ) c has p in both terms." },
      ],
      cotangent: "dp",
      forward: ({ z }) => softmax(z, 1),
      large: (random) => {
        const z = randn([16, 100], random);
        return { dp: randn([16, 100], random), z, p: softmax(z, 1) };
      },
    }),
  ],
  after: [
    {
      type: "markdown",
      source:
        "The fused gradient is the unfused one with $\\partial L/\\partial p_t = -1/(B\\,p_t)$, as long as $p_t$ is not 0. With logits 800 apart the probability of the " +
        "target underflows: the unfused way divides by zero, the fused one does not care.",
    },
    {
      type: "code",
      source: [
        "function unfused(logits: Tensor, targets: number[]) {",
        "  const e = logits.sub(logits.max(1, true)).exp();",
        "  const p = e.div(e.sum(1, true));",
        "  return softmaxBackward(oneHot(targets, logits.shape[1]).div(p).neg().div(targets.length), p);",
        "}",
        "table([[2, 1, 0], [800, 1, 0]].flatMap((row) => [crossEntropyBackward, unfused].map((backward) => {",
        "  const [z1, z2, z3] = backward(tensor([row]), [1]).data;",
        '  const way = backward === unfused ? "unfused" : "fused";',
        '  return { logits: row.join(", "), way, "dL/dz1": z1, "dL/dz2": z2, "dL/dz3": z3 };',
        "})));",
      ].join("\n"),
    },
    {
      type: "markdown",
      source: "The softmax Jacobian $\\operatorname{diag}(p) - p\\,p^\\top$ of one row, made of your backward: column $j$ is the pullback of the $j$-th unit vector.",
    },
    {
      type: "code",
      source: [
        "const p = tensor([[0.05, 0.1, 0.6, 0.2, 0.05]]);",
        "const J = concat(Array.from({ length: 5 }, (_, j) => softmaxBackward(oneHot([j], 5), p)));",
        'heatmap(J, { title: "Jacobian of softmax at p = (0.05, 0.1, 0.6, 0.2, 0.05)", x: "logit", y: "probability" });',
      ].join("\n"),
    },
  ],
});
