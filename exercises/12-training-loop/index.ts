/** Exercise 12: clipping by the global norm, accumulation over micro-batches, and the training loop around them. */
import { randn, tensor, type Rng, type Tensor } from "gradbook";
import { defineExercise, part } from "../autograder/spec";

type Batch = { X: Tensor; T: Tensor };

function gradientOf(W: Tensor, { X, T }: Batch): { loss: number; dW: Tensor } {
  const error = X.matmul(W.T).sub(T);
  return { loss: error.square().sum().item() / (2 * X.shape[0]), dW: error.T.matmul(X).div(X.shape[0]) };
}

type Epoch = {
  W: Tensor;
  b: Tensor;
  batches: readonly Batch[];
  /** One dropout mask for each batch, on its inputs, already scaled. */
  masks: readonly Tensor[];
  G: number;
  maxNorm: number;
  rate: number;
  /** The parameter that was left without requiresGrad: 0 is W, 1 is b. */
  frozen: number;
};

type LoopMistake = "no-zero" | "no-backward" | "no-step" | "eval-mode" | "frozen" | "no-scale" | "no-clip" | "step-each" | "last-loss";

/** The loop with its mistakes; Y = (X ⊙ mask) Wᵀ + b, the loss as in gradientOf. */
function epoch(args: Epoch, made: (mistake: LoopMistake) => boolean) {
  const { batches, masks, G, maxNorm, rate, frozen } = args;
  let values = [args.W, args.b];
  const zero = values.map((v) => v.mul(0));
  let grads = zero;
  const losses: number[] = [];
  const norms: number[] = [];
  let sum = 0;
  let [backwardCalls, steps] = [0, 0];
  batches.forEach(({ X, T }, i) => {
    const fresh = made("step-each") || i % G === 0;
    if (fresh && !made("no-zero")) grads = zero;
    const input = made("eval-mode") ? X : X.mul(masks[i]);
    const error = input.matmul(values[0].T).add(values[1]).sub(T);
    const B = X.shape[0];
    const value = error.square().sum().item() / (2 * B);
    sum = made("last-loss") ? value * G : sum + value;
    if (!made("no-backward")) {
      backwardCalls++;
      const scale = made("no-scale") ? 1 : 1 / G;
      const found = [error.T.matmul(input).div(B), error.sum(0).div(B)];
      grads = grads.map((grad, p) => (made("frozen") && p === frozen ? grad : grad.add(found[p].mul(scale))));
    }
    const last = (i + 1) % G === 0;
    if ((last || made("step-each")) && !made("no-step")) {
      const norm = Math.hypot(...grads.map((grad) => grad.norm()));
      norms.push(norm);
      if (!made("no-clip") && norm > maxNorm) grads = grads.map((grad) => grad.mul(maxNorm / norm));
      values = values.map((v, p) => v.sub(grads[p].mul(rate)));
      steps++;
    }
    if (last) {
      losses.push(sum / G);
      sum = 0;
    }
  });
  return { norms, result: { losses: tensor(losses), backwardCalls, steps, W: values[0], b: values[1] } };
}

function drawEpoch(random: Rng, instance: number): Epoch {
  for (;;) {
    const [n, m, B] = [[3, 3, 3], [4, 2, 3], [2, 3, 4], [5, 2, 2]][instance % 4];
    const G = [2, 3, 2, 4][instance % 4];
    const updates = 3 + (instance % 2);
    const count = G * updates;
    const args: Epoch = {
      W: randn([m, n], random),
      b: randn([m], random),
      batches: Array.from({ length: count }, () => ({ X: randn([B, n], random), T: randn([B, m], random).mul(2) })),
      masks: Array.from({ length: count }, () => randn([B, n], random).gt(-0.5).mul(1.4)),
      G,
      maxNorm: Infinity,
      rate: 0.05 + 0.1 * random.uniform(),
      frozen: instance % 2,
    };
    // Clipping is to be at work in some updates and not in all, and also for somebody who steps after every micro-batch.
    const single = (mistake: LoopMistake): boolean => mistake === "step-each";
    const free = epoch(args, () => false).norms;
    args.maxNorm = Math.sqrt(Math.min(...free) * Math.min(Math.max(...free), Math.max(...epoch(args, single).norms)));
    const long = (norm: number): boolean => norm > 1.1 * args.maxNorm;
    const { norms } = epoch(args, () => false);
    if (norms.some(long) && norms.some((norm) => norm < 0.9 * args.maxNorm) && epoch(args, single).norms.some(long)) return args;
  }
}

export default defineExercise({
  id: "training-loop",
  number: 12,
  title: "Clipping, accumulation, and a loop with five bugs",
  source: "math-for-llms, sections 6.5 and 9.3, appendix I.2, common mistakes 8 and 10; the handbook, sections 5 and 6",
  minutes: 25,
  goal: "You can clip by the global norm, accumulate micro-batches with the right weights, and write a training loop without its usual bugs.",
  hints: [
    "clipByGlobalNorm: one norm for everything, the root of the sum of all squares. Scale by maxNorm / norm only where norm > maxNorm.",
    "accumulatedGradient: count all samples first. Each micro-batch's mean counts by its share of them, in the loss and in the gradient.",
    "trainEpoch, before the loop: model.train(), and requiresGrad = true for every parameter.",
    "trainEpoch, one update: zeroGrad once; G times loss and backward(1 / G); then clip; then step.",
    "An update's loss is the mean of G values: add up loss.value and divide by G.",
  ],
  withholds: ["accumulate", "clipGlobalNorm", "clipPerLayer"],
  parts: [
    part({
      name: "clipping",
      points: 3,
      entry: "clipByGlobalNorm",
      draw: (random, instance) => {
        const gradients = [[3, 3], [4], [2, 5]].slice(0, 2 + (instance % 2)).map((shape, i) => randn(shape, random).mul(3 - i));
        const norm = Math.hypot(...gradients.map((g) => g.norm()));
        // Above and below the threshold in turn.
        return { gradients, maxNorm: norm * (instance % 2 === 0 ? 0.2 + 0.2 * random.uniform() : 1.2 + random.uniform()) };
      },
      call: (student, { gradients, maxNorm }) => {
        const { norm, gradients: clipped } = student([...gradients], maxNorm);
        return { norm, ...Object.fromEntries(clipped.map((g: unknown, i: number) => [`g${i + 1}`, g])) };
      },
      attempt: ({ gradients, maxNorm }, made) => {
        const squares = gradients.map((g) => g.norm() ** 2);
        const total = squares.reduce((a, b) => a + b);
        const norm = made("sum-of-norms") ? squares.reduce((a, b) => a + Math.sqrt(b), 0) : made("no-root") ? total : Math.sqrt(total);
        const clip = (g: Tensor): Tensor => {
          if (made("values")) return g.clip(-maxNorm, maxNorm);
          const own = made("each-tensor") ? g.norm() : norm;
          return own > maxNorm || made("always") ? g.mul(maxNorm / own) : g;
        };
        const clipped = gradients.map(clip);
        const after = Math.hypot(...clipped.map((g) => g.norm()));
        return {
          norm: made("norm-after") ? after : norm,
          ...(Object.fromEntries(clipped.map((g, i) => [`g${i + 1}`, g])) as { [g: string]: Tensor }),
        };
      },
      mistakes: [
        {
          id: "values",
          says: "You clipped each number by itself.",
          hint: "That changes the direction. The whole vector is to be shortened.",
          hides: ["each-tensor", "always"],
        },
        {
          id: "each-tensor",
          says: "You clipped each gradient by its own norm.",
          hint: "Layers then lose their proportions. There is one norm, of all gradients together.",
        },
        { id: "always", says: "You scaled gradients that are short enough.", hint: "min(1, τ / norm): a short gradient stays as it is." },
        { id: "sum-of-norms", says: "You added the norms.", hint: "Squares add up, norms do not.", hides: ["no-root"] },
        { id: "no-root", says: "The square root is missing in the norm.", hint: "The norm of (3, 4) is 5.", hides: ["always"] },
        { id: "norm-after", says: "You returned the norm after clipping.", hint: "The norm before clipping is what is worth logging." },
      ],
      linear: [],
      noDifferences: "Clipping changes gradients; it is none itself.",
    }),
    part({
      name: "accumulation",
      points: 3,
      entry: "accumulatedGradient",
      draw: (random, instance) => {
        const sizes = [[3, 3, 3], [2, 4, 1], [4, 4], [1, 5, 2, 2]][instance % 4];
        const [n, m] = [[3, 3], [2, 4], [4, 2], [3, 2]][instance % 4];
        return { W: randn([m, n], random), microBatches: sizes.map((B) => ({ X: randn([B, n], random), T: randn([B, m], random) })) };
      },
      call: (student, { W, microBatches }) => student(W, [...microBatches]),
      attempt: ({ W, microBatches }, made) => {
        const B = microBatches.reduce((sum, { X }) => sum + X.shape[0], 0);
        const G = microBatches.length;
        let loss = 0;
        let dW = W.mul(0);
        for (const batch of microBatches) {
          const found = gradientOf(W, batch);
          const share = made("alike") ? 1 / G : made("divided-by-samples") ? 1 / B : batch.X.shape[0] / B;
          loss += found.loss * (made("sum") || made("loss-sum") ? 1 : share);
          const own = found.dW.mul(made("sum") ? 1 : share);
          dW = made("overwritten") ? own : dW.add(own);
        }
        return { loss, dW };
      },
      mistakes: [
        {
          id: "sum",
          says: "You added the micro-batches up: the 1/G is missing.",
          hint: "The mean over a batch is not the sum of means over its parts.",
          hides: ["alike", "divided-by-samples", "loss-sum"],
        },
        {
          id: "alike",
          says: "You divided by G although the micro-batches differ in size.",
          hint: "A micro-batch of five samples counts five times as much as one of a single sample.",
          hides: ["divided-by-samples"],
        },
        {
          id: "divided-by-samples",
          says: "You divided each micro-batch's mean by the number of all samples.",
          hint: "A micro-batch's mean stands for all of its samples: how many?",
        },
        { id: "overwritten", says: "Only the last micro-batch is in your gradient.", hint: "Accumulation is +=." },
        { id: "loss-sum", says: "Your loss is the sum of the micro-batches' losses.", hint: "The loss is a mean over samples too." },
      ],
      forward: ({ W, microBatches }) => {
        const B = microBatches.reduce((sum, { X }) => sum + X.shape[0], 0);
        return microBatches.reduce((sum, batch) => sum + (gradientOf(W, batch).loss * batch.X.shape[0]) / B, 0);
      },
    }),
    part({
      name: "the loop",
      points: 4,
      entry: "trainEpoch",
      draw: drawEpoch,
      call: (student, { W, b, batches, masks, G, maxNorm, rate, frozen }) => {
        const parameters = [W, b].map((value, p) => ({ value, grad: value.mul(0), requiresGrad: p !== frozen }));
        let training = false;
        let [backwardCalls, steps] = [0, 0];
        const model = {
          parameters,
          train: () => { training = true; },
          eval: () => { training = false; },
          loss: (batch: { X: any; T: any }) => {
            const input = training ? batch.X.mul(masks[batches.indexOf(batch)]) : batch.X;
            const [w, bias] = parameters.map(({ value }) => value);
            const error = input.matmul(w.T).add(bias).sub(batch.T);
            const B = input.shape[0];
            const backward = (scale = 1): void => {
              backwardCalls++;
              const found = [error.T.matmul(input).div(B), error.sum(0).div(B)];
              parameters.forEach((parameter, p) => {
                if (parameter.requiresGrad) parameter.grad = parameter.grad.add(found[p].mul(scale));
              });
            };
            return { value: error.square().sum().item() / (2 * B), backward };
          },
        };
        const optimizer = {
          zeroGrad: () => parameters.forEach((parameter) => { parameter.grad = parameter.value.mul(0); }),
          step: () => {
            steps++;
            parameters.forEach((parameter) => { parameter.value = parameter.value.sub(parameter.grad.mul(rate)); });
          },
        };
        const losses = student(model, optimizer, [...batches], G, maxNorm);
        return { losses, backwardCalls, steps, W: parameters[0].value, b: parameters[1].value };
      },
      attempt: (args: Epoch, made) => epoch(args, made).result,
      mistakes: [
        {
          id: "no-backward",
          says: "backward is never called.",
          hint: "Who fills grad?",
          hides: ["no-zero", "no-scale", "no-clip", "frozen"],
        },
        {
          id: "no-step",
          says: "step is never called.",
          hint: "Who moves the parameters?",
          hides: ["no-zero", "no-scale", "no-clip", "frozen", "step-each"],
        },
        { id: "no-zero", says: "Your gradients add up from update to update.", hint: "backward adds to grad: who sets it back?" },
        { id: "eval-mode", says: "You trained in evaluation mode, with dropout off.", hint: "Tell the model that it is being trained." },
        { id: "frozen", says: "One parameter never moves.", hint: "A parameter without requiresGrad gets no gradient." },
        { id: "no-scale", says: "The 1/G of the accumulation is missing.", hint: "backward takes a factor." },
        {
          id: "no-clip",
          says: "The gradients that reached the step were not clipped.",
          hint: "Between the last backward and the step, assign the clipped gradients to the parameters.",
        },
        {
          id: "step-each",
          says: "You made an update after every micro-batch.",
          hint: "G micro-batches, then one clipping and one step.",
        },
        { id: "last-loss", says: "You stored the loss of the last micro-batch only.", hint: "An update's loss is the mean over its G micro-batches." },
      ],
      linear: [],
      noDifferences: "The result is a state after several updates.",
    }),
  ],
  after: [
    {
      type: "markdown",
      source:
        "What clipping is for: a linear model learns, and every twentieth batch is corrupt, its targets a hundred times too large. Clipped, such a batch moves the weights no " +
        "further than an ordinary step; unclipped, each one throws them far away. The gradient norm before clipping shows the spikes in both runs.",
    },
    {
      type: "code",
      source: [
        "function run(maxNorm: number) {",
        "  const random = rng(12);",
        "  const target = randn([2, 4], random);",
        "  let W = zeros(2, 4);",
        "  const [distances, norms]: number[][] = [[], []];",
        "  for (let step = 0; step < 120; step++) {",
        "    const X = randn([16, 4], random);",
        "    const T = X.matmul(target.T).mul(step % 20 === 19 ? 100 : 1);",
        "    const { norm, gradients } = clipByGlobalNorm([gradientOf(W, X, T).dW], maxNorm);",
        "    W = W.sub(gradients[0].mul(0.1));",
        "    norms.push(norm);",
        "    distances.push(W.sub(target).norm());",
        "  }",
        "  return { distances, norms };",
        "}",
        "const [clipped, unclipped] = [run(1), run(Infinity)];",
        "beside([",
        '  lines(undefined, { clipped: clipped.norms, unclipped: unclipped.norms }, { title: "Gradient norm before clipping", x: "step", y: "‖g‖", logY: true }),',
        '  lines(undefined, { clipped: clipped.distances, unclipped: unclipped.distances }, { title: "Distance to the solution", x: "step", y: "‖W - target‖", logY: true }),',
        "]);",
      ].join("\n"),
    },
  ],
});
