/** Exercise 27: twelve backwards, each with one of the usual mistakes, to be found by gradient check and mended. */
import { oneHot, randn, zeros, type Tensor } from "gradbook";
import { defineExercise, part } from "../autograder/spec";
import { rowSum, rows, softmax, sumRows, weightGradient, weights } from "../reference";

const EPSILON = 1e-5;
/** Square first: there the shape gives nothing away. */
const shapeOf = (instance: number): [number, number] => [[4, 4], [3, 5], [5, 3], [2, 6]][instance % 4] as [number, number];

function norm(x: Tensor, gamma: Tensor) {
  const centred = x.sub(x.mean(-1, true));
  const sigma = centred.square().mean(-1, true).add(EPSILON).sqrt();
  const xhat = centred.div(sigma);
  return { sigma, xhat, y: xhat.mul(gamma) };
}

const shipped = "This is the mistake as shipped: ";

export default defineExercise({
  id: "find-the-bug",
  number: 27,
  title: "Find the bug: twelve broken backwards",
  source: "math-for-llms, section 10 and appendices D, I.2 and I.3; handbook, section 2",
  minutes: 30,
  goal: "You can find a silent mistake in a backward with a gradient check and recognise the usual ones by their signature.",
  withholds: [
    "linear", "relu", "tanh", "softmax", "logSoftmax", "softmaxCrossEntropy", "softmaxScore", "softmaxFisher", "layerNorm",
    "attention", "flashAttention", "multiHeadAttention", "embedding", "dropout", "clipGlobalNorm", "globalNorm", "tensorNorms",
  ],
  hints: [
    "The cell below the answer compares all twelve with finite differences. A ratio that is the same number everywhere is a missing factor; a gradient that is right in some rows only points to repeated or masked ones.",
    "1: which matrix does the gradient meet first on the way back? 2: how many times is W used? 3: compare the shape of dW with that of W. 4 and 5: at which value is the slope taken?",
    "6: what does the loss average over? 7: with y = softmax(x) the rows of dx must sum to 0. 8: dx must not change the variance either. 9: the forward divides by √d.",
    "10: use an id twice. 11: compare the ratio with 1 / (1 − p). 12: two gradients of norm 3 and 4 have norm 5 together.",
  ],
  parts: [
    part({
      name: "1 composition",
      points: 1,
      entry: "composedBackward",
      also: ["mended"],
      draw: (random, instance) => {
        const n = 3 + (instance % 2);
        return { dy: randn([4, n], random), x: randn([4, n], random), W1: randn([n, n], random), W2: randn([n, n], random) };
      },
      call: (student, { dy, W1, W2 }, { mended }) => {
        if (!mended?.includes(1)) throw new Error("not written yet");
        return { dx: student(dy, W1, W2) };
      },
      attempt: ({ dy, W1, W2 }, made) => {
        const [first, second] = made("transposed") ? [W2.T, W1.T] : [W2, W1];
        return { dx: made("order") ? dy.matmul(second).matmul(first) : dy.matmul(first).matmul(second) };
      },
      mistakes: [
        { id: "order", says: shipped + "the two maps are undone in the order in which they were applied.", hint: "The last one applied is the first one on the way back." },
        { id: "transposed", says: "You used the transposes of W1 and W2.", hint: "y = x Wᵀ, so dx = dy W." },
      ],
      cotangent: "dy",
      forward: ({ x, W1, W2 }) => x.matmul(W1.T).matmul(W2.T),
    }),
    part({
      name: "2 shared weight",
      points: 1,
      entry: "sharedBackward",
      also: ["mended"],
      draw: (random, instance) => {
        const n = 3 + (instance % 2);
        return { dy: randn([5, n], random), x: randn([5, n], random), W: randn([n, n], random) };
      },
      call: (student, { dy, x, W }, { mended }) => {
        if (!mended?.includes(2)) throw new Error("not written yet");
        const { dW, dx } = student(dy, x, W);
        return { dW, dx };
      },
      attempt: ({ dy, x, W }, made) => {
        const dh = dy.matmul(W);
        const uses = [weightGradient(dy, x.matmul(W.T)), weightGradient(dh, x)];
        return { dW: made("first-use") ? uses[1] : made("second-use") ? uses[0] : uses[0].add(uses[1]), dx: dh.matmul(W) };
      },
      mistakes: [
        { id: "first-use", says: shipped + "W is used twice, and the gradient of one use overwrites the other's.", hint: "Accumulate.", hides: ["second-use"] },
        { id: "second-use", says: "Only the gradient of W's second use is there.", hint: "W is used twice: the gradients add up." },
      ],
      cotangent: "dy",
      forward: ({ x, W }) => x.matmul(W.T).matmul(W.T),
    }),
    part({
      name: "3 linear",
      points: 1,
      entry: "linearBackward",
      also: ["mended"],
      draw: (random, instance) => {
        const [out, inputs] = shapeOf(instance);
        return { dy: randn([4, out], random), x: randn([4, inputs], random), W: randn([out, inputs], random), b: randn([out], random) };
      },
      call: (student, { dy, x, W }, { mended }) => {
        if (!mended?.includes(3)) throw new Error("not written yet");
        const { dW, db, dx } = student(dy, x, W);
        return { dW, db, dx };
      },
      attempt: ({ dy, x, W }, made) => {
        const dW = weightGradient(dy, x).div(made("mean") ? x.shape[0] : 1);
        return { dW: made("transposed") ? dW.T : dW, db: dy.sum(0), dx: dy.matmul(W) };
      },
      mistakes: [
        { id: "transposed", says: shipped + "dW is transposed.", hint: "A gradient has the shape of its parameter; where W is square only the numbers tell." },
        { id: "mean", says: "dW is divided by the number of rows.", hint: "A 1/B belongs into the loss, and is then already in dy." },
      ],
      cotangent: "dy",
      forward: ({ x, W, b }) => x.matmul(W.T).add(b),
    }),
    part({
      name: "4 ReLU",
      points: 1,
      entry: "reluBackward",
      also: ["mended"],
      draw: (random, instance) => ({ dy: randn(shapeOf(instance), random), x: randn(shapeOf(instance), random) }),
      call: (student, { dy, x }, { mended }) => {
        if (!mended?.includes(4)) throw new Error("not written yet");
        return { dx: student(dy, x) };
      },
      attempt: ({ dy, x }, made) => {
        if (made("gradient-sign")) return { dx: dy.maximum(0) };
        return { dx: made("no-mask") ? dy : made("times-x") ? dy.mul(x.maximum(0)) : dy.mul(x.gt(0)) };
      },
      mistakes: [
        { id: "gradient-sign", says: shipped + "the mask is taken from the gradient's sign, not from x.", hint: "Where did the forward let a number pass?", hides: ["*"] },
        { id: "no-mask", says: "There is no mask: dx equals dy.", hint: "Where x < 0 nothing passes.", hides: ["times-x"] },
        { id: "times-x", says: "You multiplied by relu(x), the value; its slope is 0 or 1.", hint: "What is the slope of max(0, x)?" },
      ],
      cotangent: "dy",
      forward: ({ x }) => x.maximum(0),
      kink: ({ x }) => Math.min(...Array.from(x.data, Math.abs)),
    }),
    part({
      name: "5 tanh",
      points: 1,
      entry: "tanhBackward",
      also: ["mended"],
      draw: (random, instance) => ({ dy: randn(shapeOf(instance), random), x: randn(shapeOf(instance), random) }),
      call: (student, { dy, x }, { mended }) => {
        if (!mended?.includes(5)) throw new Error("not written yet");
        return { dx: student(dy, x) };
      },
      attempt: ({ dy, x }, made) => {
        const y = made("pre-activation") ? x : x.tanh();
        return { dx: dy.mul(made("not-squared") ? y.neg().add(1) : y.square().neg().add(1)) };
      },
      mistakes: [
        { id: "pre-activation", says: shipped + "1 − x² with the input where the output belongs.", hint: "tanh' = 1 − tanh²." },
        { id: "not-squared", says: "The square is missing: 1 − tanh.", hint: "tanh' = 1 − tanh²." },
      ],
      cotangent: "dy",
      forward: ({ x }) => x.tanh(),
    }),
    part({
      name: "6 cross-entropy",
      points: 1,
      entry: "crossEntropyBackward",
      also: ["mended"],
      draw: (random, instance) => {
        const [N, K] = [[4, 6], [3, 5], [5, 3], [2, 6]][instance % 4];
        return { logits: randn([N, K], random).mul(2), targets: Array.from({ length: N }, (_, n) => (n === 0 ? K - 1 : random.integer(0, K))) };
      },
      call: (student, { logits, targets }, { mended }) => {
        if (!mended?.includes(6)) throw new Error("not written yet");
        return { dlogits: student(logits, targets) };
      },
      attempt: ({ logits, targets }, made) => {
        const [N, K] = logits.shape;
        const p = softmax(logits);
        return { dlogits: (made("no-one-hot") ? p : p.sub(oneHot([...targets], K))).div(made("classes") ? K : made("sum") ? 1 : N) };
      },
      mistakes: [
        { id: "classes", says: shipped + "the gradient is divided by the number of classes.", hint: "The loss is a mean over rows.", hides: ["sum"] },
        { id: "sum", says: "The 1/N of the mean is missing.", hint: "The loss is a mean over rows." },
        { id: "no-one-hot", says: "The one-hot of the target is missing.", hint: "softmax − one-hot." },
      ],
      forward: ({ logits, targets }) => {
        const m = logits.max(-1, true);
        const logp = logits.sub(m).sub(logits.sub(m).exp().sum(-1, true).log());
        return -logp.mul(oneHot([...targets], logits.shape[1])).sum().item() / logits.shape[0];
      },
    }),
    part({
      name: "7 softmax",
      points: 1,
      entry: "softmaxBackward",
      also: ["mended"],
      draw: (random, instance) => {
        const x = randn(shapeOf(instance), random);
        return { x, y: softmax(x), dy: randn(x.shape, random) };
      },
      call: (student, { dy, y }, { mended }) => {
        if (!mended?.includes(7)) throw new Error("not written yet");
        return { dx: student(dy, y) };
      },
      attempt: ({ dy, y }, made) => {
        const correction = made("unweighted") ? rowSum(dy) : made("mean") ? dy.mean(-1, true) : made("no-correction") ? 0 : rowSum(dy.mul(y));
        return { dx: y.mul(dy.sub(correction)) };
      },
      mistakes: [
        { id: "unweighted", says: shipped + "the correction sums dy without weighing it by y.", hint: "The rows of dx must sum to 0.", hides: ["mean", "no-correction"] },
        { id: "mean", says: "The correction is a mean of dy; it must be weighted by y.", hint: "The rows of dx must sum to 0.", hides: ["no-correction"] },
        { id: "no-correction", says: "The correction is gone altogether.", hint: "diag(y) − y yᵀ." },
      ],
      cotangent: "dy",
      forward: ({ x }) => softmax(x),
    }),
    part({
      name: "8 layer norm",
      points: 1,
      entry: "layerNormBackward",
      also: ["mended"],
      draw: (random, instance) => {
        const [B, d] = [[4, 4], [3, 5], [5, 4], [2, 6]][instance % 4];
        return { dy: randn([B, d], random), x: randn([B, d], random).mul(2).add(0.5), gamma: randn([d], random), beta: randn([d], random) };
      },
      call: (student, { dy, x, gamma }, { mended }) => {
        if (!mended?.includes(8)) throw new Error("not written yet");
        const { dgamma, dbeta, dx } = student(dy, x, gamma);
        return { dgamma, dbeta, dx };
      },
      attempt: ({ dy, x, gamma }, made) => {
        const { sigma, xhat } = norm(x, gamma);
        const g = made("no-gamma") ? dy : dy.mul(gamma);
        let dx = made("no-mean") ? g : g.sub(g.mean(-1, true));
        if (!made("no-xhat")) dx = dx.sub(xhat.mul(g.mul(xhat).mean(-1, true)));
        return { dgamma: sumRows(dy.mul(xhat)), dbeta: sumRows(dy), dx: dx.div(sigma) };
      },
      mistakes: [
        { id: "no-xhat", says: shipped + "the term that comes through the variance is missing.", hint: "σ depends on x as well as the mean does." },
        { id: "no-mean", says: "The term that comes through the mean is missing.", hint: "The mean depends on every x of the row." },
        { id: "no-gamma", says: "gamma is missing in dx.", hint: "dx̂ = dy ⊙ gamma." },
      ],
      cotangent: "dy",
      forward: ({ x, gamma, beta }) => norm(x, gamma).y.add(beta),
    }),
    part({
      name: "9 attention",
      points: 1,
      entry: "scoresBackward",
      also: ["mended"],
      draw: (random, instance) => {
        const [T, d, dv] = [[4, 4, 4], [5, 3, 2], [4, 2, 5], [6, 3, 4]][instance % 4];
        const [q, k, v] = [randn([T, d], random), randn([T, d], random), randn([T, dv], random)];
        return { q, k, v, p: weights(q, k, false), dO: randn([T, dv], random) };
      },
      call: (student, { dO, q, k, v, p }, { mended }) => {
        if (!mended?.includes(9)) throw new Error("not written yet");
        const { dv, dq, dk } = student(dO, q, k, v, p);
        return { dv, dq, dk };
      },
      attempt: ({ dO, q, k, v, p }, made) => {
        const dp = dO.matmul(v.T);
        const d = q.shape[1];
        const ds = p.mul(dp.sub(rowSum(dp.mul(p)))).div(made("no-scale") ? 1 : made("scale-d") ? d : Math.sqrt(d));
        return { dv: (made("dv-p") ? p : p.T).matmul(dO), dq: ds.matmul(k), dk: ds.T.matmul(q) };
      },
      mistakes: [
        { id: "no-scale", says: shipped + "the 1/√d of the scores is missing on the way back.", hint: "dq and dk are too large by the same factor.", hides: ["scale-d"] },
        { id: "scale-d", says: "You divided by d, not by √d.", hint: "The forward divides by √d." },
        { id: "dv-p", says: "dv uses p where pᵀ belongs.", hint: "v is the right factor of p v." },
      ],
      cotangent: "dO",
      forward: ({ q, k, v }) => weights(q, k, false).matmul(v),
    }),
    part({
      name: "10 lookup",
      points: 1,
      entry: "lookupBackward",
      also: ["mended"],
      draw: (random, instance) => {
        const [V, d] = [[6, 4], [7, 3], [5, 2], [9, 4]][instance % 4];
        const ids = random.shuffle([0, 2, 2, 2, V - 1, V - 1, random.integer(0, V)]);
        return { dh: randn([7, d], random), ids, V, E: randn([V, d], random) };
      },
      call: (student, { dh, ids, V }, { mended }) => {
        if (!mended?.includes(10)) throw new Error("not written yet");
        return { dE: student(dh, ids, V) };
      },
      attempt: ({ dh, ids, V }, made) => {
        const dE = zeros([V, dh.shape[1]]);
        ids.forEach((id, n) => {
          const counted = made("average") ? ids.filter((other) => other === id).length : 1;
          for (let j = 0; j < dh.shape[1]; j++) {
            const at = id * dh.shape[1] + j;
            dE.data[at] = (made("overwritten") ? 0 : dE.data[at]) + dh.data[n * dh.shape[1] + j] / counted;
          }
        });
        return { dE };
      },
      mistakes: [
        { id: "overwritten", says: shipped + "a repeated id keeps only its last gradient.", hint: "+= where you read =." },
        { id: "average", says: "A repeated id gets the mean of its gradients.", hint: "Every use brings its whole gradient." },
      ],
      cotangent: "dh",
      forward: ({ E, ids }) => rows(E, ids),
    }),
    part({
      name: "11 dropout",
      points: 1,
      entry: "dropoutBackward",
      also: ["mended"],
      draw: (random, instance) => {
        const shape = shapeOf(instance);
        const p = 0.2 + 0.4 * random.uniform();
        const mask = zeros(shape).map(() => Number(random.uniform() >= p));
        mask.data.set([0, 1]);
        return { dy: randn(shape, random), x: randn(shape, random), mask, p };
      },
      call: (student, { dy, mask, p }, { mended }) => {
        if (!mended?.includes(11)) throw new Error("not written yet");
        return { dx: student(dy, mask, p) };
      },
      attempt: ({ dy, mask, p }, made) => {
        const scaled = made("no-scale") ? dy : made("scale-p") ? dy.div(p) : made("multiplied") ? dy.mul(1 - p) : dy.div(1 - p);
        return { dx: made("no-mask") ? scaled : scaled.mul(mask) };
      },
      mistakes: [
        { id: "no-scale", says: shipped + "the 1 / (1 − p) is missing on the way back.", hint: "The forward multiplies what it keeps.", hides: ["scale-p", "multiplied"] },
        { id: "scale-p", says: "You divided by p; the forward divides by 1 − p.", hint: "p is the probability of being dropped.", hides: ["multiplied"] },
        { id: "multiplied", says: "You multiplied by 1 − p; the forward divides by it.", hint: "y = mask x / (1 − p)." },
        { id: "no-mask", says: "Dropped places get a gradient.", hint: "Where the mask is 0 nothing passed, and nothing comes back." },
      ],
      cotangent: "dy",
      forward: ({ x, mask, p }) => x.mul(mask).div(1 - p),
    }),
    part({
      name: "12 clipping",
      points: 1,
      entry: "clipGradients",
      also: ["mended"],
      draw: (random, instance) => {
        const gradients = [randn([3, 4], random), randn([4], random).mul(3), randn([2, 2], random).mul(0.2)];
        const total = Math.sqrt(gradients.reduce((sum, g) => sum + g.norm() ** 2, 0));
        // Every fourth time the norm is small enough already.
        return { gradients, maxNorm: instance % 4 === 3 ? 2 * total : (0.1 + 0.4 * random.uniform()) * total };
      },
      call: (student, { gradients, maxNorm }, { mended }) => {
        if (!mended?.includes(12)) throw new Error("not written yet");
        const [g0, g1, g2] = student(gradients, maxNorm);
        return { g0, g1, g2 };
      },
      attempt: ({ gradients, maxNorm }, made) => {
        const norms = gradients.map((g: Tensor) => g.norm());
        const global = made("sum-of-norms") ? norms.reduce((a, b) => a + b, 0) : Math.sqrt(norms.reduce((a, b) => a + b * b, 0));
        const clipped = gradients.map((g: Tensor, i) => {
          const ratio = maxNorm / (made("per-tensor") ? norms[i] : global);
          return g.mul(made("always") ? ratio : Math.min(1, ratio));
        });
        return { g0: clipped[0], g1: clipped[1], g2: clipped[2] };
      },
      mistakes: [
        { id: "per-tensor", says: shipped + "each gradient is clipped by its own norm, which turns the direction of the step.", hint: "One norm for all, one factor for all.", hides: ["sum-of-norms"] },
        { id: "sum-of-norms", says: "The global norm is not the sum of the norms.", hint: "Squares add up." },
        { id: "always", says: "Gradients that are small enough are blown up to maxNorm.", hint: "The factor is at most 1." },
      ],
    }),
  ],
  after: [
    {
      type: "markdown",
      source:
        "Eleven of them against finite differences: 0 is right. Run this again after each repair. The ratio is the gradient's norm over that of the finite differences. " +
        "(The twelfth is no gradient: the norm after clipping should be what was asked for.)",
    },
    {
      type: "code",
      source: [
        "const random = rng(27);",
        "const normal = (...shape: number[]) => randn(shape, random);",
        "const softmaxOf = (s: Tensor) => { const e = s.exp(); return e.div(e.sum(-1, true)); };",
        "const [dy, x, W, W2] = [normal(4, 3), normal(4, 3), normal(3, 3), normal(3, 3)];",
        "const [q, k, v, gamma] = [normal(4, 3), normal(4, 3), normal(4, 3), normal(3)];",
        "const [ids, targets, mask] = [[1, 0, 1, 4], [2, 0, 1, 2], tensor([[1, 0, 1], [0, 1, 1], [1, 1, 0], [1, 1, 1]])];",
        "const attend = (a: Tensor) => softmaxOf(a.matmul(k.T).div(Math.sqrt(3)));",
        "const layerNormOf = (a: Tensor) => {",
        "  const c = a.sub(a.mean(-1, true));",
        "  return c.div(c.square().mean(-1, true).add(1e-5).sqrt()).mul(gamma);",
        "};",
        "const crossEntropy = (a: Tensor) => softmaxOf(a).log().mul(oneHot(targets, 3)).sum().item() / -4;",
        "const paired = (forward: (a: Tensor) => Tensor) => (a: Tensor) => forward(a).mul(dy).sum().item();",
        "const found: [string, Tensor, (a: Tensor) => number, Tensor][] = [",
        '  ["1 composition", composedBackward(dy, W, W2), paired((a) => a.matmul(W.T).matmul(W2.T)), x],',
        '  ["2 shared weight", sharedBackward(dy, x, W).dW, paired((a) => x.matmul(a.T).matmul(a.T)), W],',
        '  ["3 linear", linearBackward(dy, x, W).dW, paired((a) => x.matmul(a.T)), W],',
        '  ["4 ReLU", reluBackward(dy, x), paired((a) => a.maximum(0)), x],',
        '  ["5 tanh", tanhBackward(dy, x), paired((a) => a.tanh()), x],',
        '  ["6 cross-entropy", crossEntropyBackward(x, targets), crossEntropy, x],',
        '  ["7 softmax", softmaxBackward(dy, softmaxOf(x)), paired(softmaxOf), x],',
        '  ["8 layer norm", layerNormBackward(dy, x, gamma).dx, paired(layerNormOf), x],',
        '  ["9 attention", scoresBackward(dy, q, k, v, attend(q)).dq, paired((a) => attend(a).matmul(v)), q],',
        '  ["10 lookup", lookupBackward(dy, ids, 5), paired((a) => oneHot(ids, 5).matmul(a)), normal(5, 3)],',
        '  ["11 dropout", dropoutBackward(dy, mask, 0.25), paired((a) => a.mul(mask).div(0.75)), x],',
        "];",
        "const norms = clipGradients([dy, W], 1).map((g) => g.norm());",
        'console.log("12 clipping: the norm after clipping to 1 is", Math.hypot(...norms));',
        "table(found.map(([name, gradient, forward, at]) => {",
        "  const difference = numericalGradient(forward, at);",
        "  const [error, norm] = [gradient.sub(difference).norm(), difference.norm()];",
        "  return { name, error: error / norm, ratio: gradient.norm() / norm };",
        "}));",
      ].join("\n"),
    },
  ],
});
