/** Exercise 20: LoRA's gradients, what they save, and 200 steps of it against full fine-tuning. */
import { randn, tensor, zeros, type Rng, type Tensor } from "gradbook";
import { defineExercise, part } from "../autograder/spec";

type Layer = { x: Tensor; W: Tensor; A: Tensor; B: Tensor; alpha: number };

const forward = ({ x, W, A, B, alpha }: Layer): Tensor =>
  x.matmul(W.T).add(x.matmul(A.T).matmul(B.T).mul(alpha / A.shape[0]));

/** The document's m = 8, n = 6, r = 2 among them; alpha differs from r. */
function drawLayer(random: Rng, [N, m, n, r, alpha]: number[]) {
  return {
    x: randn([N, n], random), W: randn([m, n], random), A: randn([r, n], random), B: randn([m, r], random), alpha, dy: randn([N, m], random),
  };
}

type BackwardMistake = "no-scale" | "scale-alpha" | "scale-n" | "scale-twice" | "frozen-path" | "low-rank-path" | "b-for-u" | "mean";

function backward({ x, W, A, B, alpha }: Layer, dy: Tensor, made: (m: BackwardMistake) => boolean) {
  const s = made("no-scale") ? 1 : made("scale-alpha") ? alpha : alpha / A.shape[made("scale-n") ? 1 : 0];
  const du = dy.matmul(B).mul(s);
  const low = du.matmul(A);
  const frozen = dy.matmul(W);
  const N = made("mean") ? x.shape[0] : 1;
  return {
    dB: dy.T.matmul(x.matmul(A.T)).mul(made("b-for-u") ? 1 : made("scale-twice") ? s * s : s).div(N),
    dA: du.T.matmul(x).div(N),
    dx: made("frozen-path") ? low : made("low-rank-path") ? frozen : frozen.add(low),
  };
}

/** A task that lies r directions away from W: exactly what LoRA can learn. One instance takes all 200 steps. */
function drawTask(random: Rng, instance: number) {
  const [N, m, n, r, alpha] = [[12, 6, 6, 2, 4], [16, 8, 6, 2, 3], [10, 4, 5, 1, 2], [14, 5, 7, 3, 2]][instance % 4];
  const x = randn([N, n], random);
  const W = randn([m, n], random).mul(0.5);
  const moved = W.add(randn([m, r], random).matmul(randn([r, n], random)).mul(0.4));
  return { x, target: x.matmul(moved.T), W, A: randn([r, n], random).mul(0.4), B: zeros([m, r]), alpha, lr: 0.05, steps: instance === 1 ? 200 : 20 };
}

export default defineExercise({
  id: "lora",
  number: 20,
  title: "LoRA: gradients, counts, and 200 steps against full fine-tuning",
  source: "math-for-llms, section 9.2 and exercise 7; arXiv 2512.23329, LoRA layers",
  minutes: 25,
  goal: "You can write the backward of a LoRA layer, say what it saves, and train with it.",
  withholds: ["lora", "loraParameters"],
  hints: [
    "Name the detour's middle: u = x Aᵀ. Then v = u Bᵀ, and y = x Wᵀ + s v. Go back through v first, then u.",
    "dv = s dy. dB = dvᵀ u, du = dv B, dA = duᵀ x.",
    "dx has two terms: dy W through the frozen layer, du A through the detour.",
    "Training: dy is the gradient of the loss with respect to y, (y − target) / N. Keep new A and B in variables of their own until both gradients are there.",
  ],
  parts: [
    part({
      name: "backward",
      points: 4,
      entry: "loraBackward",
      draw: (random, instance) => drawLayer(random, [[4, 5, 5, 2, 3], [3, 8, 6, 2, 6], [5, 4, 7, 3, 2], [2, 6, 4, 1, 5]][instance % 4]),
      call: (student, { dy, x, W, A, B, alpha }) => {
        const { dB, dA, dx } = student(dy, x, W, A, B, alpha);
        return { dB, dA, dx };
      },
      attempt: ({ dy, ...layer }, made) => backward(layer, dy, made),
      mistakes: [
        { id: "no-scale", says: "The factor α / r is missing.", hint: "It stands in the forward between the detour and the sum; every path through the detour meets it.", hides: ["scale-alpha", "scale-n", "scale-twice"] },
        { id: "scale-alpha", says: "You scaled by α; the factor is α / r.", hint: "r is the number of rows of A.", hides: ["scale-n"] },
        { id: "scale-n", says: "You scaled by α / n; the factor is α / r.", hint: "A is [r, n]: which of its axes is r?" },
        {
          id: "frozen-path",
          says: "dx lacks the path through the frozen W.",
          hint: "Frozen means that W does not change. x still reaches y through it: dy W.",
          hides: ["low-rank-path"],
        },
        { id: "low-rank-path", says: "dx lacks the path through A and B.", hint: "x reaches y a second time, through the detour: du A." },
        { id: "b-for-u", says: "dB lacks the factor α / r, which dA has.", hint: "Where between B and y does the factor stand?", hides: ["scale-twice"] },
        { id: "scale-twice", says: "dB has the factor α / r twice.", hint: "If u holds the factor already, it needs none on its way to dB." },
        { id: "mean", says: "dA and dB are divided by the number of rows.", hint: "A 1/N belongs into the loss, and is then already in dy." },
      ],
      equivalent: ["no-scale + b-for-u = no-scale"],
      cotangent: "dy",
      forward: (layer) => forward(layer),
      large: (random) => drawLayer(random, [32, 40, 30, 8, 16]),
    }),
    part({
      name: "counts",
      points: 1,
      entry: "loraCounts",
      draw: (random, instance) =>
        [{ m: 4096, n: 4096, r: 16 }, { m: 8, n: 6, r: 2 }, { m: random.integer(50, 90), n: random.integer(100, 200), r: 4 }, { m: 768, n: 50257, r: 16 }][instance % 4],
      call: (student, { m, n, r }) => {
        const { full, lora } = student(m, n, r);
        return { full, lora };
      },
      attempt: ({ m, n, r }, made) => ({
        full: made("full-and-lora") ? m * n + r * (m + n) : m * n,
        lora: made("product") ? r * m * n : made("square") ? r * (m + n) + r * r : r * (m + n),
      }),
      mistakes: [
        { id: "full-and-lora", says: "Full fine-tuning has no A and B: it counts W alone.", hint: "Two different ways of training the same layer." },
        { id: "product", says: "A and B have r (m + n) numbers, not r m n.", hint: "A is [r, n] and B is [m, r]. Add up what they hold.", hides: ["square"] },
        { id: "square", says: "You counted r² too many.", hint: "Nothing of shape [r, r] is trained." },
      ],
      noDifferences: "A count has no derivative.",
    }),
    part({
      name: "200 steps of LoRA",
      points: 3,
      entry: "trainLora",
      draw: drawTask,
      call: (student, { x, target, W, A, B, alpha, lr, steps }) => {
        const trained = student(x, target, W, A, B, alpha, lr, steps);
        return { losses: trained.losses, A: trained.A, B: trained.B };
      },
      attempt: ({ x, target, W, A, B, alpha, lr, steps }, made) => {
        const N = x.shape[0];
        const losses: number[] = [];
        const average = made("sum-not-mean") ? 1 : made("all-elements") ? N * target.shape[1] : N;
        for (let step = 0; step < steps; step++) {
          const error = forward({ x, W, A, B, alpha }).sub(target);
          const lossOf = (e: Tensor): number => e.square().sum().item() / (made("loss-no-half") ? N : 2 * N);
          if (!made("loss-after")) losses.push(lossOf(error));
          const dy = error.div(average).mul(made("factor-2") ? 2 : 1);
          const first = backward({ x, W, A, B, alpha }, dy, () => false);
          const rate = made("ascends") ? -lr : lr;
          B = B.sub(first.dB.mul(rate));
          const second = made("one-after-the-other") ? backward({ x, W, A, B, alpha }, dy, () => false) : first;
          A = A.sub(second.dA.mul(rate));
          if (made("w-moves")) W = W.sub(dy.T.matmul(x).mul(rate));
          if (made("loss-after")) losses.push(lossOf(forward({ x, W, A, B, alpha }).sub(target)));
        }
        return { losses: tensor(losses), A, B };
      },
      mistakes: [
        {
          id: "one-after-the-other",
          says: "dA was computed with a B that had already changed in this step.",
          hint: "Both gradients belong to the same point: compute them before you change anything.",
        },
        { id: "loss-after", says: "Your losses are taken after each change; asked are those before it.", hint: "The first loss is that of the A and B you were given." },
        { id: "ascends", says: "You added the gradients: the loss grows.", hint: "Descent subtracts." },
        { id: "w-moves", says: "W moves too.", hint: "Frozen means that W keeps its numbers." },
        { id: "loss-no-half", says: "Your losses lack the ½.", hint: "L = 1/(2N) Σ (y − target)²." },
        { id: "sum-not-mean", says: "The gradient lacks the 1/N of the loss.", hint: "L = 1/(2N) Σ …: what is dL/dy?", hides: ["all-elements"] },
        { id: "all-elements", says: "The gradient is averaged over all elements; the loss divides by the number of rows only.", hint: "N is x.shape[0]." },
        { id: "factor-2", says: "The gradient is twice too large: the ½ of the loss cancels the 2 of the square.", hint: "d/dy ½ (y − t)² = y − t." },
      ],
      tolerance: { relative: 1e-8, absolute: 1e-11 },
      instances: 3,
    }),
    part({
      name: "200 full steps",
      points: 2,
      entry: "trainFull",
      draw: (random, instance) => {
        const { x, target, W, lr, steps } = drawTask(random, instance);
        return { x, target, W, lr, steps };
      },
      call: (student, { x, target, W, lr, steps }) => {
        const trained = student(x, target, W, lr, steps);
        return { losses: trained.losses, W: trained.W };
      },
      attempt: ({ x, target, W, lr, steps }, made) => {
        const N = x.shape[0];
        const losses: number[] = [];
        const average = made("sum-not-mean") ? 1 : made("all-elements") ? N * target.shape[1] : N;
        for (let step = 0; step < steps; step++) {
          const error = x.matmul(W.T).sub(target);
          losses.push(error.square().sum().item() / (made("loss-half") ? N : 2 * N));
          W = W.sub(error.T.matmul(x).mul((lr * (made("factor-2") ? 2 : 1) * (made("ascends") ? -1 : 1)) / average));
        }
        return { losses: tensor(losses), W };
      },
      mistakes: [
        { id: "loss-half", says: "Your losses lack the ½.", hint: "L = 1/(2N) Σ (y − target)²." },
        { id: "ascends", says: "You added the gradient: the loss grows.", hint: "Descent subtracts." },
        { id: "sum-not-mean", says: "The gradient lacks the 1/N of the loss.", hint: "L = 1/(2N) Σ …: what is dL/dy?", hides: ["all-elements"] },
        { id: "all-elements", says: "The gradient is averaged over all elements; the loss divides by the number of rows only.", hint: "N is x.shape[0]." },
        { id: "factor-2", says: "The gradient is twice too large: the ½ of the loss cancels the 2 of the square.", hint: "d/dy ½ (y − t)² = y − t." },
      ],
      tolerance: { relative: 1e-8, absolute: 1e-11 },
      instances: 3,
    }),
  ],
  after: [
    {
      type: "markdown",
      source:
        "Both on one task whose target lies two directions away from W. With r = 2 LoRA reaches it with 28 of 48 numbers; with r = 1 it cannot. " +
        "At first LoRA hardly moves: B starts at 0, so A has no gradient in the first step.",
    },
    {
      type: "code",
      source: [
        "const random = rng(20);",
        "const [m, n] = [8, 6];",
        "const x = randn([32, n], random);",
        "const W = randn([m, n], random).mul(0.5);",
        "const target = x.matmul(W.add(randn([m, 2], random).matmul(randn([2, n], random)).mul(0.4)).T);",
        "const start = (r: number) => randn([r, n], random).mul(0.4);",
        "lossCurve({",
        '  "full, 48 numbers": trainFull(x, target, W, 0.1, 200).losses,',
        '  "LoRA r = 2, 28 numbers": trainLora(x, target, W, start(2), zeros(m, 2), 2, 0.1, 200).losses,',
        '  "LoRA r = 1, 14 numbers": trainLora(x, target, W, start(1), zeros(m, 1), 1, 0.1, 200).losses,',
        '}, { title: "200 steps on one task", logY: true });',
      ].join("\n"),
    },
    {
      type: "markdown",
      source:
        "What it saves: the document's two layers, and the paper's layer of the logits. The gradient of $W$ itself, $\\bar y^\\top x$, is never computed; " +
        "$\\bar y\\,W$ is, for $x$.",
    },
    {
      type: "code",
      source: [
        "table([[8, 6, 2], [4096, 4096, 16], [50257, 768, 16]].map(([m, n, r]) => {",
        "  const { full, lora } = loraCounts(m, n, r);",
        '  return { m, n, r, "full fine-tuning": full, LoRA: lora, "times fewer": full / lora };',
        "}));",
      ].join("\n"),
    },
  ],
});
