/** Exercise 8: layer normalisation over rows, forward and backward. */
import { randn, zeros, type Rng, type Tensor } from "gradbook";
import { defineExercise, part } from "../autograder/spec";

/** [N, d]. */
const sizes = [[4, 4], [3, 5], [5, 3], [2, 6]];

type Args = { dY: Tensor; X: Tensor; gamma: Tensor; beta: Tensor; eps: number };

function draw(random: Rng, instance: number, [N, d] = sizes[instance % sizes.length]): Args {
  // Rows of different mean and spread, none of them nearly constant: there rounding is all that is left.
  let X: Tensor;
  do X = randn([N, d], random).mul(randn([N, 1], random).abs().add(0.5)).add(randn([N, 1], random).mul(2));
  while (normalise(X, 0).s.min().item() < 0.2);
  return {
    dY: randn([N, d], random),
    X,
    gamma: randn([d], random).add(1),
    beta: randn([d], random),
    // Large enough to be seen, and once as small as in practice.
    eps: [0.1, 0.01, 1e-5, 0.5][instance % 4],
  };
}

interface Choices {
  batch?: boolean;
  sampleVariance?: boolean;
  epsOutside?: boolean;
  noEps?: boolean;
  noMean?: boolean;
  noRoot?: boolean;
}

function normalise(X: Tensor, eps: number, choices: Choices = {}): { xhat: Tensor; s: Tensor } {
  const axis = choices.batch ? 0 : 1;
  const count = X.shape[axis];
  const centred = choices.noMean ? X : X.sub(X.mean(axis, true));
  const deviation = choices.noMean ? X.sub(X.mean(axis, true)) : centred;
  const variance = deviation.square().sum(axis, true).div(choices.sampleVariance ? count - 1 : count);
  const s = choices.noRoot ? variance.add(choices.noEps ? 0 : eps)
    : choices.noEps ? variance.sqrt()
    : choices.epsOutside ? variance.sqrt().add(eps)
    : variance.add(eps).sqrt();
  return { xhat: centred.div(s), s };
}

export default defineExercise({
  id: "layer-norm",
  number: 8,
  title: "Layer normalisation",
  source: "math-for-llms, sections 5.4 and 6.6; arXiv 2512.23329, layer normalisation",
  minutes: 25,
  goal: "You can write layer normalisation's backward over a batch of tokens, and say which path each of its three terms comes from.",
  hints: [
    "Forward: centred = X - mean over each row; s = sqrt(mean of centred² + eps); xhat = centred / s. Axis 1 and keepdims: X.mean(1, true).",
    "dgamma and dbeta: gamma multiplies xhat in every row, so dgamma is the sum over rows of dY ⊙ xhat, and dbeta the sum over rows of dY.",
    "dX begins with g = dY ⊙ gamma, the gradient at xhat. It belongs in both sums too.",
    "The two row numbers are g.mean(1, true) and g.mul(xhat).mean(1, true); the second is multiplied by xhat again.",
    "dX = (g - mean(g) - xhat ⊙ mean(g ⊙ xhat)) / s.",
  ],
  withholds: ["layerNorm", "layerNorm.forward", "rmsNorm", "batchNorm", "batchNorm.forward"],
  parts: [
    part({
      name: "forward",
      points: 3,
      entry: "layerNormForward",
      draw: (random, instance) => {
        const { X, gamma, beta, eps } = draw(random, instance);
        return { X, gamma, beta, eps };
      },
      call: (student, { X, gamma, beta, eps }) => {
        const { y, xhat, s } = student(X, gamma, beta, eps);
        return { s, xhat, y };
      },
      attempt: ({ X, gamma, beta, eps }, made) => {
        const { xhat, s } = normalise(X, eps, {
          batch: made("over-batch"),
          sampleVariance: made("sample-variance"),
          epsOutside: made("eps-outside"),
          noMean: made("mean-kept"),
          noRoot: made("no-root"),
        });
        return { s, xhat, y: xhat.mul(gamma).add(made("no-beta") ? 0 : beta) };
      },
      mistakes: [
        {
          id: "over-batch",
          says: "You normalised each column over the rows: that is batch normalisation.",
          hint: "A token is a row. Which axis does its mean run over?",
        },
        { id: "sample-variance", says: "You divided the variance by d - 1.", hint: "The formula divides by d." },
        { id: "no-root", says: "You divided by the variance: the square root is missing.", hint: "s is a standard deviation.", hides: ["eps-outside"] },
        { id: "eps-outside", says: "You added eps outside the root.", hint: "eps stands next to σ², under the root." },
        { id: "mean-kept", says: "You did not subtract the mean from x.", hint: "Each row of xhat sums to 0." },
        { id: "no-beta", says: "beta is missing.", hint: "y = γ ⊙ x̂ + β." },
      ],
      linear: [],
      noDifferences: "This part has no gradients.",
    }),
    part({
      name: "backward",
      points: 7,
      entry: "layerNormBackward",
      draw: (random, instance) => draw(random, instance),
      call: (student, { dY, X, gamma, eps }) => student(dY, X, gamma, eps),
      attempt: ({ dY, X, gamma, eps }: Args, made) => {
        const { xhat, s } = normalise(X, eps, {
          sampleVariance: made("sample-variance"),
          epsOutside: made("eps-outside"),
          noEps: made("no-eps"),
        });
        const late = made("gamma-late") && !made("gamma-missing");
        const g = made("gamma-missing") || late ? dY : dY.mul(gamma);
        const zero = zeros([X.shape[0], 1]);
        const average = (t: Tensor): Tensor => (made("over-rows") ? t.mean(0, true) : made("sums") ? t.sum(1, true) : t.mean(1, true));
        const throughMean = made("mean-term") ? zero : average(g);
        const throughVariance = made("variance-term") ? zero : xhat.mul(average(g.mul(xhat)));
        const inner = g.sub(throughMean).sub(throughVariance).mul(late ? gamma : 1);
        const dParameters = made("gamma-in-parameters") ? dY.mul(gamma) : dY;
        const own = dParameters.mul(made("raw-x") ? X : xhat);
        return {
          dgamma: made("dgamma-first-row") ? own.row(0) : own.sum(0),
          dbeta: dParameters.sum(made("dbeta-over-features") ? 1 : 0),
          dX: made("scale-missing") ? inner : inner.div(made("variance-for-s") ? s.square() : s),
        };
      },
      mistakes: [
        { id: "gamma-missing", says: "In dX gamma is missing.", hint: "dY is the gradient at y. What is it at x̂, one step further back?", hides: ["gamma-late"] },
        {
          id: "gamma-late",
          says: "In dX you multiplied by gamma at the end.",
          hint: "gamma stands between y and x̂: it belongs in both row sums too.",
        },
        {
          id: "mean-term",
          says: "In dX the path through the mean is missing.",
          hint: "Wiggling one x moves the row's mean, and with it every x̂ of the row.",
        },
        {
          id: "variance-term",
          says: "In dX the path through the variance is missing.",
          hint: "Wiggling one x changes the row's spread, and with it every x̂ of the row.",
        },
        {
          id: "over-rows",
          says: "Your two averages in dX run over the rows of the batch.",
          hint: "A row knows nothing of the others: each has its own two numbers.",
          hides: ["sums", "gamma-late"],
        },
        { id: "sums", says: "In dX you took sums where the averages over d belong.", hint: "Both sums are divided by d." },
        {
          id: "scale-missing",
          says: "In dX the division by s is missing.",
          hint: "x̂ = (x - μ)/s: how much does x̂ move when x moves?",
          hides: ["variance-for-s"],
        },
        { id: "variance-for-s", says: "In dX you divided by s².", hint: "x̂ = (x - μ)/s: how much does x̂ move when x moves?" },
        { id: "raw-x", says: "In dgamma you used x where x̂ belongs.", hint: "What did gamma multiply in the forward pass?" },
        {
          id: "gamma-in-parameters",
          says: "dgamma and dbeta are made from dY ⊙ γ.",
          hint: "y = γ ⊙ x̂ + β: what multiplies γ, and what multiplies β?",
        },
        {
          id: "dgamma-first-row",
          says: "Your dgamma holds the first row only.",
          hint: "All rows share gamma: its gradient is a sum over rows.",
        },
        { id: "dbeta-over-features", says: "You summed dbeta over the features.", hint: "beta has one number for each feature: which axis has to go?" },
        { id: "sample-variance", says: "You divided the variance by d - 1.", hint: "The formula divides by d." },
        { id: "no-eps", says: "eps is missing.", hint: "The forward pass divides by √(σ² + ε), and so does the backward pass.", hides: ["eps-outside"] },
        { id: "eps-outside", says: "You added eps outside the root.", hint: "eps stands next to σ², under the root." },
      ],
      cotangent: "dY",
      forward: ({ X, gamma, beta, eps }) => normalise(X, eps).xhat.mul(gamma).add(beta),
      large: (random) => draw(random, 0, [16, 100]),
    }),
  ],
  after: [
    {
      type: "markdown",
      source:
        "The Jacobian of $\\hat x$ with respect to one row $x$, made of your backward: row $i$ is the pullback of the $i$-th unit vector. Every row and every column sums to 0, " +
        "and the matrix times $\\hat x$ is 0 up to $\\epsilon$: two directions are projected out.",
    },
    {
      type: "code",
      source: [
        "const row = tensor([[1, 2, 4, 3, 0, -1]]);",
        "const pullback = (i: number) => layerNormBackward(oneHot([i], 6), row, ones(6), 1e-5).dX;",
        "const J = concat([0, 1, 2, 3, 4, 5].map(pullback));",
        "const { xhat } = layerNormForward(row, ones(6), zeros(6), 1e-5);",
        'console.log("row sums", J.sum(1).norm().toExponential(1), " J x̂", J.matmul(xhat.T).norm().toExponential(1));',
        'heatmap(J, { title: "Jacobian of layer normalisation", x: "input", y: "output" });',
      ].join("\n"),
    },
  ],
});
