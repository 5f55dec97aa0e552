/** Exercise 22: the straight-through estimator, clipped, and quantisation-aware training against rounding at the end. */
import { randn, tensor, type Rng, type Tensor } from "gradbook";
import { defineExercise, part } from "../autograder/spec";

const quantize = (w: Tensor, step: number, n: number): Tensor => w.div(step).round().clip(-n, n).mul(step);
const inside = (w: Tensor, step: number, n: number): Tensor => w.div(step).abs().le(n);

/** About a third of the weights lie beyond n steps; the step is never 1. */
function drawWeights(random: Rng, instance: number) {
  const shape = [[4, 4], [3, 5], [7], [2, 3, 4]][instance % 4];
  const step = 1.2 + 0.4 * random.uniform();
  const n = [2, 1, 3, 2][instance % 4];
  return { w: randn(shape, random).mul(step * n), step, n, dwhat: randn(shape, random) };
}

function drawTask(random: Rng, instance: number) {
  const [N, inputs, outputs] = [[12, 3, 3], [16, 4, 2], [10, 2, 5], [14, 5, 3]][instance % 4];
  const x = randn([N, inputs], random);
  const step = 0.35;
  const n = 2;
  // Targets from weights of which some cannot be reached: they lie beyond n steps.
  return { x, target: x.matmul(randn([inputs, outputs], random)), w: randn([outputs, inputs], random).mul(0.6), step, n, lr: 0.1, steps: 50 };
}

/** A quarter off every half, where the rounding jumps. */
const drawScalar = (random: Rng): number => random.integer(-3, 4) + (random.uniform() - 0.5) * 0.8;

export default defineExercise({
  id: "straight-through",
  number: 22,
  title: "Straight through a rounding: quantisation-aware training",
  source: 'math-for-llms, sections 2.5 and 8.3, common mistake 9 and exercise 8 (d) and (e); handbook, "Custom backward functions and gradient override"',
  minutes: 20,
  goal: "You can write a straight-through backward that bypasses the rounding and nothing else, and train a quantised layer with it.",
  withholds: ["roundStraightThrough", "roundStraightThrough.forward", "signStraightThrough", "vectorQuantize"],
  hints: [
    "quantize is four calls in a chain: div, round, clip, mul.",
    "A comparison gives a mask: `w.div(step).abs().le(n)` is 1 where |w / step| ≤ n, else 0. Multiply dwhat with it.",
    "steUpdate: the loss is computed with ŵ, so dL/dŵ = 2 (ŵ − target); straight through, that is dw.",
    "Training: the loss and its gradient see only ŵ. The change is made to w, not to ŵ.",
  ],
  parts: [
    part({
      name: "forward",
      points: 1,
      entry: "quantize",
      draw: (random, instance) => {
        const { w, step, n } = drawWeights(random, instance);
        return { w, step, n };
      },
      call: (student, { w, step, n }) => ({ what: student(w, step, n) }),
      attempt: ({ w, step, n }, made) => {
        const scaled = made("no-division") ? w : w.div(step);
        const units = made("clip-w") && !made("no-division") ? w.clip(-n, n).div(step) : scaled;
        const whole = made("floor") ? units.floor() : units.round();
        const clipped = made("no-clip") || (made("clip-w") && !made("no-division")) ? whole : made("clip-unsigned") ? whole.clip(0, n) : whole.clip(-n, n);
        return { what: made("no-step") ? clipped : clipped.mul(step) };
      },
      mistakes: [
        { id: "no-clip", says: "Values beyond n steps are not clipped.", hint: "Few bits means few levels: −n to n.", hides: ["clip-unsigned"] },
        { id: "clip-w", says: "You clipped w itself to ±n.", hint: "n counts steps: first divide and round, then clip.", hides: ["no-clip", "clip-unsigned"] },
        { id: "clip-unsigned", says: "Negative weights are clipped to 0.", hint: "The range is −n to n." },
        { id: "floor", says: "You rounded down; asked is the nearest whole number.", hint: "round, not floor." },
        { id: "no-step", says: "The result is in steps; it must be multiplied by the step again.", hint: "ŵ is close to w." },
        { id: "no-division", says: "You rounded w itself, not w / step.", hint: "The levels are multiples of the step.", hides: ["clip-w"] },
      ],
      noDifferences: "A staircase has slope 0 nearly everywhere: that is the point of the exercise.",
    }),
    part({
      name: "straight through",
      points: 3,
      entry: "quantizeBackward",
      draw: drawWeights,
      call: (student, { dwhat, w, step, n }) => ({ dw: student(dwhat, w, step, n) }),
      attempt: ({ dwhat, w, step, n }, made) => {
        if (made("true-derivative")) return { dw: dwhat.mul(0) };
        const units = w.div(made("mask-no-step") ? 1 : step);
        const seen = made("mask-rounded") ? units.round() : units;
        let mask = (made("mask-positive") ? seen : seen.abs()).le(n);
        if (made("mask-inverted")) mask = mask.neg().add(1);
        if (made("no-clip")) mask = mask.mul(0).add(1);
        const scale = made("times-step") ? step : made("divided-by-step") ? 1 / step : 1;
        return { dw: dwhat.mul(mask).mul(scale) };
      },
      mistakes: [
        { id: "true-derivative", says: "Your gradient is 0 everywhere: the true derivative of a staircase, with which nothing learns.", hint: "Straight through: pretend that round(u) = u.", hides: ["*"] },
        {
          id: "no-clip",
          says: "You bypassed the clip too: weights beyond n steps get a gradient that cannot change their ŵ.",
          hint: "Only the rounding is bypassed. What is the derivative of clip outside of its range?",
          hides: ["mask-no-step", "mask-rounded", "mask-positive", "mask-inverted"],
        },
        {
          id: "mask-rounded",
          says: "Your mask looks at the rounded value.",
          hint: "In the backward the rounding is skipped, so the clip sees w / step itself: a weight half a step beyond n counts as clipped.",
        },
        { id: "mask-no-step", says: "The mask compares w with n; the clip sees w / step.", hint: "|w / step| ≤ n." },
        { id: "mask-positive", says: "Large negative weights still get a gradient.", hint: "The clip has two ends." },
        { id: "mask-inverted", says: "The mask is inverted: only the clipped weights get a gradient.", hint: "Inside the range the gradient passes." },
        { id: "times-step", says: "There is a factor of step too many.", hint: "ŵ = step · round(w / step): the two cancel.", hides: ["divided-by-step"] },
        { id: "divided-by-step", says: "You divided by the step once too often.", hint: "ŵ = step · round(w / step): the two cancel." },
      ],
      cotangent: "dwhat",
      noDifferences: "Finite differences of a staircase are 0: a straight-through gradient is a choice, not a derivative.",
    }),
    part({
      name: "one step",
      points: 2,
      entry: "steUpdate",
      draw: (random) => {
        const w = drawScalar(random);
        return { w, target: Math.round(w) + (random.uniform() < 0.5 ? 1 : -1) * (1 + random.uniform()), lr: 0.05 + 0.2 * random.uniform() };
      },
      call: (student, { w, target, lr }) => {
        const { loss, dw, next } = student(w, target, lr);
        return { loss, dw, next };
      },
      attempt: ({ w, target, lr }, made) => {
        const what = Math.round(w);
        const error = (made("unrounded-loss") ? w : what) - target;
        const dw = made("true-derivative") ? 0 : (made("factor-2") ? 1 : 2) * ((made("unrounded-gradient") ? w : what) - target);
        const from = made("moves-rounded") ? what : w;
        return { loss: error ** 2, dw, next: made("ascends") ? from + lr * dw : from - lr * dw };
      },
      mistakes: [
        { id: "unrounded-loss", says: "The loss is computed with w; the forward uses ŵ.", hint: "L = (ŵ − target)²." },
        { id: "unrounded-gradient", says: "The gradient is taken at w; the error that reached the loss is that of ŵ.", hint: "dL/dŵ = 2 (ŵ − target), and it goes straight through." },
        { id: "true-derivative", says: "dw is 0, the true derivative: w will never move.", hint: "Straight through: dw = dŵ.", hides: ["unrounded-gradient", "factor-2", "ascends"] },
        { id: "factor-2", says: "The 2 of the derivative of the square is missing.", hint: "What is the derivative of a square?" },
        { id: "moves-rounded", says: "You moved ŵ; the step must be made from the unrounded w.", hint: "Small steps from a rounded value are rounded away again." },
        { id: "ascends", says: "You added the gradient: the loss grows.", hint: "Descent subtracts." },
      ],
      noDifferences: "Finite differences of a staircase are 0.",
    }),
    part({
      name: "50 steps",
      points: 4,
      entry: "trainQuantized",
      draw: drawTask,
      call: (student, { x, target, w, step, n, lr, steps }) => {
        const trained = student(x, target, w, step, n, lr, steps);
        return { losses: trained.losses, w: trained.w };
      },
      attempt: ({ x, target, w, step, n, lr, steps }, made) => {
        const N = x.shape[0];
        const losses: number[] = [];
        for (let s = 0; s < steps; s++) {
          const what = quantize(w, step, n);
          const error = x.matmul(what.T).sub(target);
          losses.push(error.square().sum().item() / (made("loss-no-half") ? N : 2 * N));
          const dwhat = (made("unrounded-gradient") ? x.matmul(w.T).sub(target) : error).T.matmul(x).div(made("sum-not-mean") ? 1 : N);
          const dw = made("no-clip") ? dwhat : dwhat.mul(inside(w, step, n));
          w = (made("moves-rounded") ? what : w).sub(dw.mul((made("ascends") ? -lr : lr) * (made("factor-2") ? 2 : 1)));
        }
        return { losses: tensor(losses), w: made("returns-rounded") ? quantize(w, step, n) : w };
      },
      mistakes: [
        { id: "unrounded-gradient", says: "The gradient is taken with the unrounded w, so the training does not see the rounding.", hint: "Errors come from ŵ; w only keeps the sum of small steps." },
        { id: "moves-rounded", says: "You put the step onto ŵ, and the next rounding takes it away.", hint: "Change the unrounded w." },
        { id: "no-clip", says: "The clip is bypassed in the backward.", hint: "Use your quantizeBackward." },
        { id: "sum-not-mean", says: "The gradient lacks the 1/N of the loss.", hint: "L = 1/(2N) Σ …: what is dL/dy?" },
        { id: "factor-2", says: "The gradient is twice too large.", hint: "The loss has a ½: what is left of the 2?" },
        { id: "ascends", says: "You added the gradient: the loss grows.", hint: "Descent subtracts." },
        { id: "loss-no-half", says: "Your losses lack the ½.", hint: "L = 1/(2N) Σ (y − target)²." },
        { id: "returns-rounded", says: "You returned ŵ.", hint: "Asked is the unrounded w, which remembers the small steps." },
      ],
      tolerance: { relative: 1e-8, absolute: 1e-11 },
      noDifferences: "A straight-through gradient is a choice, not a derivative.",
    }),
  ],
  after: [
    {
      type: "markdown",
      source:
        "Exercise 8 (e): a layer trained in full precision and rounded afterwards, and 50 more steps from there with the rounding inside. The inputs go together, " +
        "so that rounding one weight up can be made up for by rounding another down: only training that sees the rounding finds such pairs.",
    },
    {
      type: "code",
      source: [
        "const random = rng(22);",
        "const [step, n] = [0.75, 3];",
        "const x = randn([64, 6], random).mul(0.25).add(randn([64, 1], random));",
        "const target = x.matmul(randn([6, 4], random).mul(0.7));",
        "let w = randn([4, 6], random).mul(0.5);",
        "for (let s = 0; s < 300; s++) w = w.sub(x.matmul(w.T).sub(target).T.matmul(x).mul(0.1 / 64));",
        "const rounded = x.matmul(quantize(w, step, n).T).sub(target).square().sum().item() / 128;",
        "lossCurve({",
        '  "rounded after training": Array.from({ length: 50 }, () => rounded),',
        '  "trained with the rounding inside": trainQuantized(x, target, w, step, n, 0.02, 50).losses,',
        "});",
      ].join("\n"),
    },
  ],
});
