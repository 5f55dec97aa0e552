/** Exercise 26: a backward in float16 that survives: loss scaling, overflow, dynamic scale, master weights. */
import { castThrough, float16, randn, roundTo, tensor, type Rng, type Tensor } from "gradbook";
import { defineExercise, part } from "../autograder/spec";

const half = (t: Tensor): Tensor => castThrough(t, float16);

/** Inputs so small that without scaling the gradient falls among the last few float16 above 0. */
function drawSmall(random: Rng, instance: number) {
  const [N, inputs, outputs] = [[4, 4, 4], [6, 3, 2], [3, 5, 4], [8, 2, 3]][instance % 4];
  const small = (shape: number[]): Tensor => half(randn(shape, random).mul(2 ** -8));
  return { x: small([N, inputs]), w: randn([outputs, inputs], random), target: small([N, outputs]), S: 2 ** random.integer(10, 15) };
}

/** A scale far too large for the first steps, and updates far smaller than a float16 weight's next neighbour. */
function drawTask(random: Rng, instance: number) {
  const [N, inputs, outputs] = [[6, 3, 3], [8, 4, 2], [5, 2, 4], [7, 3, 2]][instance % 4];
  return {
    x: half(randn([N, inputs], random)), target: half(randn([N, outputs], random)), w: randn([outputs, inputs], random),
    lr: 1e-4, S: 2 ** random.integer(19, 22), steps: 25,
  };
}

type GradientMistake = "scaled-late" | "weights-not-rounded" | "outputs-not-rounded" | "dy-not-rounded" | "gradient-not-rounded" | "rounded-after" | "not-unscaled" | "no-mean";

function gradient(x: Tensor, w: Tensor, target: Tensor, S: number, made: (m: GradientMistake) => boolean) {
  const product = x.matmul((made("weights-not-rounded") ? w : half(w)).T);
  const y = made("outputs-not-rounded") ? product : half(product);
  const error = y.sub(target).div(made("no-mean") ? 1 : x.shape[0]);
  const roundedDy = (t: Tensor): Tensor => (made("dy-not-rounded") ? t : half(t));
  const rounded = (t: Tensor): Tensor => (made("gradient-not-rounded") ? t : half(t));
  const scaled = made("scaled-late")
    ? rounded(rounded(roundedDy(error).T.matmul(x)).mul(S))
    : rounded(roundedDy(error.mul(S)).T.matmul(x));
  const dw = made("not-unscaled") ? scaled : scaled.div(S);
  return { scaled, dw: made("rounded-after") ? half(dw) : dw };
}

const finite = (t: Tensor): boolean => Array.from(t.data).every(Number.isFinite);

export default defineExercise({
  id: "mixed-precision",
  number: 26,
  title: "Mixed precision: loss scaling and master weights",
  source: "math-for-llms, section 7.4; handbook, section 6",
  minutes: 25,
  goal: "You can run a backward pass in 16 bits without losing small gradients, notice overflow, and keep weights that remember small steps.",
  withholds: ["masterWeights", "lossScaler"],
  hints: [
    "Part 1 is four lines, one for each half(...) of the formula. S enters with 1/N, before the gradient is rounded for the first time.",
    "`g.data` is an array of the tensor's numbers; Number.isFinite is false for NaN and for both infinities.",
    "updateScale: three cases. Overflow; the good step that fills the interval; any other good step.",
    "train: w itself is never rounded. Use parts 1 and 2 in a loop; a skipped step halves S and leaves w.",
  ],
  parts: [
    part({
      name: "scaled gradient",
      points: 3,
      entry: "scaledGradient",
      draw: drawSmall,
      call: (student, { x, w, target, S }) => {
        const half = (v: any) => (typeof v === "number" ? roundTo(v, float16) : castThrough(v, float16));
        const { scaled, dw } = student(half, x, w, target, S);
        return { scaled, dw };
      },
      attempt: ({ x, w, target, S }, made) => gradient(x, w, target, S, made),
      mistakes: [
        {
          id: "scaled-late",
          says: "You scaled after the gradients had been rounded: what vanished stays 0.",
          hint: "Scaling the loss scales dy. Put S in before the first half() of the backward.",
          hides: ["rounded-after"],
        },
        { id: "weights-not-rounded", says: "The forward used w itself, not its float16 copy.", hint: "ŵ = half(w)." },
        { id: "outputs-not-rounded", says: "y is not rounded to float16.", hint: "Every result of the forward is a float16." },
        { id: "dy-not-rounded", says: "dy is not rounded to float16.", hint: "dy = half(S / N · (y − target))." },
        { id: "gradient-not-rounded", says: "The scaled gradient is not rounded to float16.", hint: "dw_S = half(dyᵀ x).", hides: ["scaled-late"] },
        { id: "rounded-after", says: "dw is rounded to float16 after the division by S, and vanishes after all.", hint: "Unscaling happens in float32." },
        { id: "not-unscaled", says: "dw is still S times too large.", hint: "Divide by S after the backward.", hides: ["rounded-after"] },
        { id: "no-mean", says: "The 1/N of the loss is missing.", hint: "dy = half(S / N · (y − target))." },
      ],
      noDifferences: "A rounded forward is a staircase: its finite differences say nothing.",
    }),
    part({
      name: "overflow",
      points: 1,
      entry: "isFinite16",
      draw: (random, instance) => {
        const plain = (): Tensor => randn([2, 3], random).mul(1000);
        const spoiled = (value: number): Tensor => {
          const t = plain();
          t.data[random.integer(0, 6)] = value;
          return t;
        };
        const cases = [[plain(), plain()], [plain(), spoiled(NaN)], [spoiled(Infinity), plain()], [plain(), spoiled(-Infinity), plain()], [spoiled(-Infinity)], [spoiled(NaN)], [plain()]];
        return { cases: random.shuffle(cases).concat(Array.from({ length: instance }, () => [plain()])) };
      },
      call: (student, { cases }) => ({ finite: cases.map((gradients) => Number(student(gradients))) }),
      attempt: ({ cases }, made) => {
        const spoils = (v: number): boolean =>
          (Number.isNaN(v) && !made("nan-missed")) || (v === Infinity && !made("infinity-missed")) ||
          (v === -Infinity && !made("infinity-missed") && !made("negative-missed"));
        const answer = (list: readonly Tensor[]): number =>
          Number((made("first-only") ? list.slice(0, 1) : list).every((t) => !Array.from(t.data).some(spoils)));
        return { finite: tensor(cases.map((list) => (made("inverted") ? 1 - answer(list) : answer(list)))) };
      },
      mistakes: [
        { id: "nan-missed", says: "NaN is taken for finite.", hint: "Comparisons with NaN are false: test with Number.isFinite." },
        { id: "infinity-missed", says: "Infinities are taken for finite.", hint: "isNaN(Infinity) is false.", hides: ["negative-missed"] },
        { id: "negative-missed", says: "−Infinity is taken for finite.", hint: "Overflow has two signs." },
        { id: "first-only", says: "Only the first tensor is looked at.", hint: "One number anywhere spoils the step." },
        { id: "inverted", says: "You return 1 for overflow; asked is 1 for finite.", hint: "isFinite16: 1 means that all is well." },
      ],
      noDifferences: "A yes or no has no derivative.",
    }),
    part({
      name: "dynamic scale",
      points: 2,
      entry: "updateScale",
      draw: (random, instance) => {
        const interval = [3, 4, 2, 5][instance % 4];
        // Two good steps before an overflow, then more than enough for two growths, then anything.
        const flags = [1, ...(interval > 2 ? [1] : []), 0, ...Array<number>(2 * interval + 1).fill(1), 0, 0];
        while (flags.length < 30) flags.push(Number(random.uniform() < 0.8));
        return { flags, interval, S: 2 ** random.integer(8, 14) };
      },
      call: (student, { flags, interval, S }) => {
        let state = { S, good: 0 };
        const scales: number[] = [];
        const counts: number[] = [];
        for (const flag of flags) {
          state = student({ ...state }, flag, interval);
          scales.push(state.S);
          counts.push(state.good);
        }
        return { scales, counts };
      },
      attempt: ({ flags, interval, S }, made) => {
        let good = 0;
        const scales: number[] = [];
        const counts: number[] = [];
        for (const flag of flags) {
          if (flag === 0) {
            S = made("halve-missing") ? S : S / 2;
            if (!made("count-kept")) good = 0;
          } else {
            good++;
            if (made("one-late") ? good > interval : good >= interval) {
              if (!made("never-grows")) S *= 2;
              if (!made("count-not-reset")) good = 0;
            }
          }
          scales.push(S);
          counts.push(good);
        }
        return { scales: tensor(scales), counts: tensor(counts) };
      },
      mistakes: [
        { id: "halve-missing", says: "S stays as it is after an overflow.", hint: "Overflow says that S is too large." },
        { id: "count-kept", says: "After an overflow the count of good steps goes on.", hint: "good counts the good steps since the last change of S." },
        { id: "count-not-reset", says: "After S has grown the count goes on, so it grows at every good step.", hint: "good counts the good steps since the last change of S." },
        { id: "one-late", says: "S grows one step too late.", hint: "It grows in the step that makes good equal to growthInterval." },
        { id: "never-grows", says: "S never grows.", hint: "After growthInterval good steps it doubles." },
      ],
      noDifferences: "A schedule has no derivative.",
    }),
    part({
      name: "master weights",
      points: 4,
      entry: "train",
      draw: drawTask,
      call: (student, { x, target, w, lr, S, steps }) => {
        const half = (v: any) => (typeof v === "number" ? roundTo(v, float16) : castThrough(v, float16));
        const trained = student(half, x, target, w, lr, S, steps);
        return { skipped: trained.skipped, S: trained.S, w: trained.w };
      },
      attempt: ({ x, target, w, lr, S, steps }, made) => {
        let skipped = 0;
        for (let step = 0; step < steps; step++) {
          const { scaled, dw } = gradient(x, w, target, S, () => false);
          if (finite(scaled)) {
            const update = made("gradient-rounded") ? half(dw.mul(lr)) : dw.mul(lr);
            const next = made("ascends") ? w.add(update) : w.sub(update);
            w = made("weights-in-half") ? half(next) : next;
          } else {
            if (made("updates-anyway")) w = w.sub(dw.mul(lr));
            if (!made("scale-kept")) S /= 2;
            skipped++;
            if (made("skips-two")) step++;
          }
        }
        return { skipped, S, w };
      },
      mistakes: [
        { id: "weights-in-half", says: "The weights are rounded to float16 after each step, which takes the step away again.", hint: "Near 1 the next float16 is 0.001 away; lr · dw is smaller.", hides: ["gradient-rounded"] },
        { id: "gradient-rounded", says: "The update lr · dw is rounded to float16.", hint: "Everything that touches the master weights is float32." },
        { id: "scale-kept", says: "After an overflow S stays the same, so every following step overflows too.", hint: "Halve S when a step is skipped.", hides: ["weights-in-half", "gradient-rounded", "ascends"] },
        {
          id: "updates-anyway",
          says: "You changed w in a step that had overflowed: from then on it is infinite or NaN.",
          hint: "An overflow leaves w as it is.",
          hides: ["weights-in-half", "gradient-rounded", "ascends"],
        },
        { id: "skips-two", says: "After an overflow you skip one step more.", hint: "The next step tries again with the halved S." },
        { id: "ascends", says: "You added the gradient: the loss grows.", hint: "Descent subtracts." },
      ],
      noDifferences: "A rounded forward is a staircase: its finite differences say nothing.",
    }),
  ],
  after: [
    {
      type: "markdown",
      source:
        "How much of a gradient survives in float16, against the loss scale: too small a scale and it vanishes, too large and it overflows. " +
        "Dynamic scaling looks for the plateau between them, near its right end.",
    },
    {
      type: "code",
      source: [
        "const random = rng(26);",
        "const half16: Half = (x) =>",
        '  (typeof x === "number" ? roundTo(x, float16) : castThrough(x as Tensor, float16)) as typeof x;',
        "const x = half16(randn([16, 8], random).mul(2e-4));",
        "const [w, target] = [randn([8, 8], random), half16(randn([16, 8], random).mul(2e-4))];",
        "const exponents = Array.from({ length: 41 }, (_, i) => i);",
        "const alive = exponents.map((e) => {",
        "  const { scaled } = scaledGradient(half16, x, w, target, 2 ** e);",
        "  return (100 * Array.from(scaled.data).filter((g) => g !== 0 && Number.isFinite(g)).length) / scaled.size;",
        "});",
        'const title = "Gradients that are neither 0 nor infinite";',
        'lines(exponents, alive, { title, x: "log2 of the loss scale", y: "% of the gradients", markers: true });',
      ].join("\n"),
    },
  ],
});
