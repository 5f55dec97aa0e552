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

type LoopMistake =
  | "eval-mode" | "frozen" | "no-zero" | "zero-each" | "no-backward" | "no-scale" | "no-clip" | "clip-always" | "no-step" | "step-each" | "last-loss" | "loss-sum";

/**
 * The loop with its mistakes; Y = (X ⊙ mask) Wᵀ + b, the loss as in gradientOf. What comes first in the result says yes or no
 * to one property of the loop each, so that even five bugs at once are named one by one.
 */
function epoch(args: Epoch, made: (mistake: LoopMistake) => boolean) {
  const { batches, masks, G, maxNorm, rate, frozen } = args;
  let values = [args.W, args.b];
  const zero = values.map((v) => v.mul(0));
  let grads = zero;
  const losses: number[] = [];
  const norms: number[] = [];
  let sum = 0;
  let [backwardCalls, fromZero, steps] = [0, 0, 0];
  batches.forEach(({ X, T }, i) => {
    const fresh = made("step-each") || made("zero-each") || i % G === 0;
    if (fresh && !made("no-zero")) grads = zero;
    const input = made("eval-mode") ? X : X.mul(masks[i]);
    const error = input.matmul(values[0].T).add(values[1]).sub(T);
    const B = X.shape[0];
    const value = error.square().sum().item() / (2 * B);
    sum = made("last-loss") ? value : sum + value;
    if (!made("no-backward")) {
      backwardCalls++;
      if (grads.every((grad) => grad.norm() === 0)) fromZero++;
      const scale = made("no-scale") ? 1 : 1 / G;
      const found = [error.T.matmul(input).div(B), error.sum(0).div(B)];
      grads = grads.map((grad, p) => (made("frozen") && p === frozen ? grad : grad.add(found[p].mul(scale))));
    }
    const last = (i + 1) % G === 0;
    if ((last || made("step-each")) && !made("no-step")) {
      const norm = Math.hypot(...grads.map((grad) => grad.norm()));
      norms.push(norm);
      const shorten = made("clip-always") ? norm > 0 : norm > maxNorm;
      if (!made("no-clip") && shorten) grads = grads.map((grad) => grad.mul(maxNorm / norm));
      values = values.map((v, p) => v.sub(grads[p].mul(rate)));
      steps++;
    }
    if (last) {
      losses.push(made("last-loss") || made("loss-sum") ? sum : sum / G);
      sum = 0;
    }
  });
  const properties = {
    trainingMode: made("eval-mode") ? 0 : 1,
    allTrainable: made("frozen") ? 0 : 1,
    updatesFromZero: fromZero >= batches.length / G ? 1 : 0,
    clippedAtStep: made("no-clip") && norms.some((norm) => norm > maxNorm) ? 0 : 1,
  };
  return { norms, result: { ...properties, backwardCalls, steps, losses: tensor(losses), W: values[0], b: values[1] } };
}

function drawEpoch(random: Rng, instance: number): Epoch {
  for (;;) {
    const [n, m, B] = [[3, 3, 3], [4, 2, 3], [2, 3, 4], [5, 2, 2]][instance % 4];
    const G = [2, 3, 2, 4][instance % 4];
    const updates = 3 + (instance % 2);
    const count = G * updates;
    // Large and small updates in turn, some of them small enough for the norm even without the 1/G.
    const size = (i: number): number => ((Math.floor(i / G) + instance) % 2 === 0 ? 1 : 0.1);
    const args: Epoch = {
      W: randn([m, n], random),
      b: randn([m], random).mul(0.1),
      batches: Array.from({ length: count }, (_, i) => ({
        X: randn([B, n], random).mul(size(i)),
        T: randn([B, m], random).mul(2 * size(i)),
      })),
      masks: Array.from({ length: count }, () => randn([B, n], random).gt(-0.5).mul(1.4)),
      G,
      maxNorm: Infinity,
      rate: 0.05 + 0.1 * random.uniform(),
      frozen: instance % 2,
    };
    // Clipping is to be at work in some updates and not in all, for somebody who steps after every micro-batch or forgets the 1/G too.
    const normsWith = (mistake?: LoopMistake): number[] => epoch(args, (one) => one === mistake).norms;
    const free = normsWith();
    args.maxNorm = Math.sqrt(Math.min(...free) * Math.min(Math.max(...free), Math.max(...normsWith("step-each"))));
    const mixed = (norms: number[]): boolean =>
      norms.some((norm) => norm > 1.1 * args.maxNorm) && norms.some((norm) => norm < 0.9 * args.maxNorm);
    if (mixed(normsWith()) && mixed(normsWith("step-each")) && mixed(normsWith("no-scale"))) return args;
  }
}

export default defineExercise({
  id: "training-loop",
  number: 12,
  title: "Clipping, accumulation, and a loop with five bugs",
  source: "math-for-llms, sections 6.5 and 9.3, appendix I.2 and common mistakes 8 and 10; handbook, sections 5 and 6 with its debug checklist",
  minutes: 25,
  goal: "You can clip by the global norm, accumulate micro-batches with the right weights, and write a training loop without its usual bugs.",
  hints: [
    "clipByGlobalNorm: one norm for everything, the root of the sum of all squares. Scale by maxNorm / norm only where norm > maxNorm.",
    "accumulatedGradient: count all samples first. Each micro-batch's mean counts by its share of them, in the loss and in the gradient.",
    "trainEpoch, before the loop: model.train(), and requiresGrad = true for every parameter.",
    "trainEpoch, one update: zeroGrad once; G times loss and backward(1 / G); then clip; then step.",
    "An update's loss is the mean of G values: add up loss.value and divide by G.",
  ],
  withholds: ["accumulate", "clipGlobalNorm", "clipPerLayer", "globalNorm", "tensorNorms"],
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
          const own = (made("each-tensor") ? g.norm() : norm) + (made("epsilon") ? 1e-6 : 0);
          if (own <= maxNorm && !made("always")) return g;
          return g.mul(made("inverse") ? own / maxNorm : maxNorm / own);
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
          hides: ["each-tensor", "always", "inverse", "epsilon"],
        },
        {
          id: "each-tensor",
          says: "You clipped each gradient by its own norm.",
          hint: "Layers then lose their proportions. There is one norm, of all gradients together.",
        },
        { id: "always", says: "You scaled gradients that are short enough.", hint: "min(1, τ / norm): a short gradient stays as it is." },
        { id: "inverse", says: "Your factor is upside down: long gradients become longer.", hint: "After clipping the norm is τ. Which quotient does that?" },
        {
          id: "epsilon",
          says: "You divided by the norm plus 1e-6, as PyTorch does.",
          hint: "That keeps a division by zero away; here the norm is greater than τ where you divide, so the formula can be exact.",
        },
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
        let [trainingMode, allTrainable, clippedAtStep] = [1, 1, 1];
        let [backwardCalls, fromZero, steps] = [0, 0, 0];
        const model = {
          parameters,
          train: () => { training = true; },
          eval: () => { training = false; },
          loss: (batch: { X: any; T: any }) => {
            if (!training) trainingMode = 0;
            if (!parameters.every(({ requiresGrad }) => requiresGrad)) allTrainable = 0;
            const input = training ? batch.X.mul(masks[batches.indexOf(batch)]) : batch.X;
            const [w, bias] = parameters.map(({ value }) => value);
            const error = input.matmul(w.T).add(bias).sub(batch.T);
            const B = input.shape[0];
            const backward = (scale = 1): void => {
              backwardCalls++;
              if (parameters.every(({ grad }) => grad.norm() === 0)) fromZero++;
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
            if (Math.hypot(...parameters.map(({ grad }) => grad.norm())) > maxNorm * (1 + 1e-9)) clippedAtStep = 0;
            parameters.forEach((parameter) => { parameter.value = parameter.value.sub(parameter.grad.mul(rate)); });
          },
        };
        const losses = student(model, optimizer, [...batches], G, maxNorm);
        const updatesFromZero = fromZero >= batches.length / G ? 1 : 0;
        const [afterW, afterB] = parameters.map(({ value }) => value);
        return { trainingMode, allTrainable, updatesFromZero, clippedAtStep, backwardCalls, steps, losses, W: afterW, b: afterB };
      },
      attempt: (args: Epoch, made) => epoch(args, made).result,
      mistakes: [
        {
          id: "no-zero",
          says: "Your gradients add up from update to update.",
          hint: "backward adds to grad: who sets it back?",
          hides: ["zero-each"],
        },
        {
          id: "no-backward",
          says: "backward is never called.",
          hint: "Who fills grad?",
          hides: ["no-zero", "zero-each", "no-scale", "no-clip", "clip-always"],
        },
        {
          id: "no-step",
          says: "step is never called.",
          hint: "Who moves the parameters?",
          hides: ["zero-each", "no-scale", "no-clip", "clip-always", "step-each"],
        },
        {
          id: "zero-each",
          says: "You set the gradients to zero before every micro-batch: only the last one counts.",
          hint: "Accumulation needs the gradients of all G micro-batches in grad. When is the time for zeroGrad?",
        },
        { id: "eval-mode", says: "You trained in evaluation mode, with dropout off.", hint: "Tell the model that it is being trained." },
        { id: "frozen", says: "One parameter never moves.", hint: "A parameter without requiresGrad gets no gradient." },
        { id: "no-scale", says: "The 1/G of the accumulation is missing.", hint: "backward takes a factor." },
        {
          id: "no-clip",
          says: "The gradients that reached the step were not clipped.",
          hint: "Between the last backward and the step, assign the clipped gradients to the parameters.",
          hides: ["clip-always"],
        },
        {
          id: "clip-always",
          says: "You scaled gradients that are short enough.",
          hint: "Your clipByGlobalNorm leaves a short gradient as it is.",
          hides: ["no-scale"],
        },
        {
          id: "step-each",
          says: "You made an update after every micro-batch.",
          hint: "G micro-batches, then one clipping and one step.",
          hides: ["zero-each"],
        },
        { id: "last-loss", says: "You stored the loss of the last micro-batch only.", hint: "An update's loss is the mean over its G micro-batches.", hides: ["loss-sum"] },
        { id: "loss-sum", says: "You stored the sum of the losses.", hint: "An update's loss is the mean over its G micro-batches." },
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
        "const [norms, distances] = [",
        "  { clipped: clipped.norms, unclipped: unclipped.norms },",
        "  { clipped: clipped.distances, unclipped: unclipped.distances },",
        "];",
        "beside([",
        '  lines(undefined, norms, { title: "Gradient norm before clipping", x: "step", y: "‖g‖", logY: true }),',
        '  lines(undefined, distances, { title: "Distance to the solution", x: "step", y: "‖W - target‖", logY: true }),',
        "]);",
      ].join("\n"),
    },
  ],
});
