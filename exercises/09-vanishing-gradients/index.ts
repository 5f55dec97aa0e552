/** Exercise 9: error signals through deep plain and residual networks, and their norms. */
import { full, randn, tensor, type Rng, type Tensor } from "gradbook";
import { defineExercise, part } from "../autograder/spec";

type Name = "sigmoid" | "relu" | "tanh";
const s = (z: number): number => 1 / (1 + Math.exp(-z));
const activations: Record<Name, { f(z: number): number; df(z: number): number }> = {
  sigmoid: { f: s, df: (z) => s(z) * (1 - s(z)) },
  relu: { f: (z) => Math.max(z, 0), df: (z) => (z > 0 ? 1 : 0) },
  tanh: { f: Math.tanh, df: (z) => 1 - Math.tanh(z) ** 2 },
};

type Args = { Ws: readonly Tensor[]; x: Tensor; da: Tensor; name: Name };

/** Pre-activations and outputs of every layer; `shift` is added to the pre-activation of layer `at`, for finite differences. */
function run({ Ws, x, name }: Args, residual: boolean, at = -1, shift?: Tensor): { zs: Tensor[]; as: Tensor[] } {
  const zs: Tensor[] = [];
  const as = [x];
  Ws.forEach((W, l) => {
    const product = W.matmul(as[l]);
    const z = l === at ? product.add(shift!) : product;
    zs.push(z);
    const out = z.map(activations[name].f);
    as.push(residual ? out.add(as[l]) : out);
  });
  return { zs, as };
}

/** What the grader compares: the length of each signal as a logarithm, and all unit vectors in a row. */
function shown(signals: readonly Tensor[]): { log10Norms: Tensor; directions: Tensor } {
  return {
    log10Norms: tensor(signals.map((signal) => Math.log10(signal.norm()))),
    directions: tensor(signals.flatMap((signal) => Array.from(signal.div(signal.norm()).data))),
  };
}

const wellScaled = (signals: readonly Tensor[]): boolean =>
  signals.every((signal) => signal.norm() > 1e-25 && signal.norm() < 1e12);

/** Central differences of <a_L, da> by each pre-activation, where the network is shallow enough for them. */
function differences(args: Args, residual: boolean): { [name: string]: Tensor } {
  if (args.Ws.length > 3) return {};
  const h = 1e-4;
  const signals = run(args, residual).zs.map((z, l) => {
    const at = (i: number, step: number): number => {
      const shift = z.mul(0);
      shift.data[i] = step;
      return run(args, residual, l, shift).as.at(-1)!.dot(args.da);
    };
    return tensor(Array.from(z.data, (_, i) => (8 * (at(i, h) - at(i, -h)) - (at(i, 2 * h) - at(i, -2 * h))) / (12 * h)));
  });
  return shown(signals);
}

/** In code the three activations are made beside the student's code: functions do not cross a process boundary. */
const callWith = (student: any, { Ws, x, da, name }: Args): unknown => {
  const s = (z: number): number => 1 / (1 + Math.exp(-z));
  const known = {
    sigmoid: { f: s, df: (z: number) => s(z) * (1 - s(z)) },
    relu: { f: (z: number) => Math.max(z, 0), df: (z: number) => (z > 0 ? 1 : 0) },
    tanh: { f: Math.tanh, df: (z: number) => 1 - Math.tanh(z) ** 2 },
  };
  const signals: number[][] = student([...Ws], x, da, known[name]).map((signal: any) => Array.from(signal.data ?? signal));
  const norms = signals.map((signal) => Math.hypot(...signal));
  return { log10Norms: norms.map(Math.log10), directions: signals.flatMap((signal, l) => signal.map((v) => v / norms[l])) };
};

type PlainMistake = "slope-missing" | "slope-at-a" | "top-slope" | "slope-not-carried" | "not-transposed" | "wrong-matrix" | "at-outputs" | "last-first";

function plain(args: Args, made: (mistake: PlainMistake) => boolean): Partial<ReturnType<typeof shown>> {
  const { Ws, name } = args;
  const { zs, as } = run(args, false);
  const { df } = activations[name];
  const signals: Tensor[] = [];
  let da = args.da;
  for (let l = Ws.length - 1; l >= 0; l--) {
    const open = made("slope-missing") || (made("top-slope") && l === Ws.length - 1);
    const delta = open ? da : da.mul((made("slope-at-a") ? as[l + 1] : zs[l]).map(df));
    signals.push(made("at-outputs") ? da : delta);
    const W = Ws[made("wrong-matrix") ? Math.max(l - 1, 0) : l];
    const step = made("not-transposed") ? W : W.T;
    // Where the widths differ the wrong product does not exist, and a student finds out at once.
    if (step.shape[1] !== delta.size || step.shape[0] !== as[l].size) return {};
    da = step.matmul(made("slope-not-carried") ? da : delta);
  }
  return shown(made("last-first") ? signals : signals.reverse());
}

type ResidualMistake =
  | "skip-missing" | "branch-missing" | "skip-adds-delta" | "slope-missing" | "slope-not-carried" | "slope-at-a" | "not-transposed" | "plain-forward";

function residual(args: Args, made: (mistake: ResidualMistake) => boolean): ReturnType<typeof shown> {
  const { Ws, name } = args;
  const { zs, as } = run(args, !made("plain-forward"));
  const { df } = activations[name];
  const signals: Tensor[] = [];
  let da = args.da;
  for (let l = Ws.length - 1; l >= 0; l--) {
    const delta = made("slope-missing") ? da : da.mul((made("slope-at-a") ? as[l + 1] : zs[l]).map(df));
    signals.unshift(delta);
    const branch = (made("not-transposed") ? Ws[l] : Ws[l].T).matmul(made("slope-not-carried") ? da : delta);
    const skip = made("skip-adds-delta") ? delta : da;
    da = made("skip-missing") ? branch : made("branch-missing") ? skip : skip.add(branch);
  }
  return shown(signals);
}

/** Square first, as everywhere; then the document's twenty layers of 0.3, and widths that differ. */
function drawPlain(random: Rng, instance: number): Args {
  for (;;) {
    const kind = instance % 4;
    const widths = [[4, 4, 4, 4], Array(21).fill(4), [3, 5, 2, 4], Array(9).fill(6)][kind];
    const name: Name = (["tanh", "sigmoid", "sigmoid", "relu"] as const)[kind];
    const Ws = widths.slice(1).map((n, l) =>
      kind === 1 && l % 2 === 0 ? full([n, widths[l]], 0.3) : randn([n, widths[l]], random).mul(Math.sqrt(1.5 / widths[l])));
    const args: Args = { Ws, x: randn([widths[0]], random), da: randn([widths.at(-1)!], random), name };
    const { zs } = run(args, false);
    const alive = name !== "relu" || zs.every((z) => z.max().item() > 0.01 && z.min().item() < -0.01 && z.abs().min().item() > 1e-3);
    if (alive && wellScaled(signalsOf(args, false))) return args;
  }
}

function drawResidual(random: Rng, instance: number): Args {
  for (;;) {
    const n = [4, 4, 3, 5][instance % 4];
    const depth = [3, 20, 2, 8][instance % 4];
    const name: Name = (["tanh", "sigmoid", "sigmoid", "tanh"] as const)[instance % 4];
    const Ws = Array.from({ length: depth }, () => randn([n, n], random).div(Math.sqrt(n)));
    const args: Args = { Ws, x: randn([n], random), da: randn([n], random), name };
    if (wellScaled(signalsOf(args, true))) return args;
  }
}

function signalsOf(args: Args, isResidual: boolean): Tensor[] {
  const { zs } = run(args, isResidual);
  let da = args.da;
  return args.Ws.map((_, i) => args.Ws.length - 1 - i).map((l) => {
    const delta = da.mul(zs[l].map(activations[args.name].df));
    const branch = args.Ws[l].T.matmul(delta);
    da = isResidual ? da.add(branch) : branch;
    return delta;
  });
}

export default defineExercise({
  id: "vanishing-gradients",
  number: 9,
  title: "Vanishing gradients, and four cases on one axis",
  source: "math-for-llms, sections 2.4, 6.1 and 6.2, appendix F and exercise 4; handbook, section 3",
  minutes: 30,
  goal: "You can compute the gradient at every layer of a deep network, and show why sigmoids lose it and residual connections keep it.",
  withholds: ["sigmoid", "linear", "mlp", "Mlp", "deepNet", "gradientsAlongLine", "jacobianProduct"],
  hints: [
    "scalarChain: one loop that keeps y and slope. The new y is s(w y); the slope gets the factor w · y(1 - y) with the new y.",
    "errorSignals: a loop forward that stores every z, then a loop backward from the last layer that keeps `da`, the gradient at the present layer's output.",
    "One step backward: delta = da ⊙ df(z_l), put it at the front of the list, then da = W_lᵀ delta.",
    "residualSignals: forward a = a + f(z); backward the only change is da = da + W_lᵀ delta. What travels along the skip is da, not delta.",
  ],
  parts: [
    part({
      name: "one unit a layer",
      points: 2,
      entry: "scalarChain",
      draw: (random, instance) => ({
        x: random.normal(),
        w: instance === 0 ? 0.3 : 0.3 + 2 * random.uniform(),
        depth: [20, 3, 10, 30][instance % 4],
      }),
      call: (student, { x, w, depth }) => {
        const { y, slope } = student(x, w, depth);
        return { y, log10Slope: Math.log10(slope) };
      },
      attempt: ({ x, w, depth }, made) => {
        let y = x;
        let logSlope = 0;
        for (let l = 0; l < (made("layer-short") ? depth - 1 : depth); l++) {
          const z = w * y;
          y = s(z);
          const slope = made("value") ? y : made("slope-at-a") ? s(y) * (1 - s(y)) : y * (1 - y);
          logSlope += Math.log10((made("w-missing") ? 1 : w) * slope);
        }
        return { y, log10Slope: logSlope };
      },
      mistakes: [
        { id: "w-missing", says: "The weights are missing in the slope.", hint: "z = w a: how much does z move when a moves?" },
        {
          id: "value",
          says: "You multiplied by the sigmoid's value, not by its slope.",
          hint: "The sigmoid's slope is s (1 - s).",
          hides: ["slope-at-a"],
        },
        {
          id: "slope-at-a",
          says: "You took the sigmoid's slope at its output.",
          hint: "s'(z) = s(z)(1 - s(z)): with the output a at hand, that is a (1 - a), no second sigmoid.",
        },
        { id: "layer-short", says: "You have one layer too few.", hint: "Count the sigmoids." },
      ],
      linear: [],
      differences: ({ x, w, depth }) => {
        if (depth > 3) return {} as { [name: string]: number };
        const y = (at: number): number => Array.from({ length: depth }).reduce<number>((a) => s(w * a), at);
        const h = 1e-3;
        return { log10Slope: Math.log10((8 * (y(x + h) - y(x - h)) - (y(x + 2 * h) - y(x - 2 * h))) / (12 * h)) };
      },
    }),
    part({
      name: "error signals",
      points: 4,
      entry: "errorSignals",
      draw: drawPlain,
      call: callWith,
      attempt: plain,
      mistakes: [
        {
          id: "slope-missing",
          says: "The activation's slope is missing.",
          hint: "δ is the gradient at z, before the activation. What lies between a and z?",
          hides: ["slope-at-a", "top-slope", "slope-not-carried", "at-outputs"],
        },
        {
          id: "slope-not-carried",
          says: "You sent the gradient at the output a back through W, not the error signal.",
          hint: "On its way to a_{l-1} the gradient passes the activation first, then W. What comes out of the first step enters the second.",
        },
        {
          id: "at-outputs",
          says: "You returned the gradients at the outputs a, not at the pre-activations z.",
          hint: "One factor lies between ∂L/∂a and δ.",
        },
        { id: "slope-at-a", says: "You took σ' at the layer's output a.", hint: "The activation was given z." },
        {
          id: "top-slope",
          says: "In the last layer the activation's slope is missing.",
          hint: "da belongs to the output of the last activation.",
        },
        { id: "not-transposed", says: "You went back through W, not through its transpose.", hint: "W leads from input to output; you go the other way." },
        {
          id: "wrong-matrix",
          says: "You went back through the matrix of the layer before.",
          hint: "δ_l returns to a_{l-1} by the matrix that made z_l, which is W_l.",
        },
        { id: "last-first", says: "Your list starts with the last layer.", hint: "signals[0] belongs to the layer next to the input." },
      ],
      equivalent: ["slope-not-carried + at-outputs = slope-missing"],
      linear: [],
      differences: (args: Args) => differences(args, false),
      noDifferences: "Twenty layers down a gradient is too small for finite differences; the shallow instances have them.",
    }),
    part({
      name: "residual network",
      points: 3,
      entry: "residualSignals",
      draw: drawResidual,
      call: callWith,
      attempt: residual,
      mistakes: [
        {
          id: "skip-missing",
          says: "The gradient over the skip connection is missing.",
          hint: "a_{l-1} is used twice: gradients add up where a value is used twice.",
          hides: ["skip-adds-delta", "branch-missing"],
        },
        {
          id: "branch-missing",
          says: "The gradient through the layer is missing: only the skip is left.",
          hint: "a_{l-1} is used twice: gradients add up where a value is used twice.",
          hides: ["not-transposed", "slope-not-carried"],
        },
        {
          id: "skip-adds-delta",
          says: "Over the skip you sent δ, the gradient behind the activation.",
          hint: "The skip runs from a_{l-1} to a_l and passes no activation.",
        },
        {
          id: "slope-missing",
          says: "The activation's slope is missing.",
          hint: "δ is the gradient at z, before the activation. What lies between the branch's output and z?",
          hides: ["slope-at-a", "skip-adds-delta", "plain-forward", "slope-not-carried"],
        },
        {
          id: "slope-not-carried",
          says: "Through the layer you sent the gradient at its output, not δ.",
          hint: "On its way through the layer the gradient passes the activation first, then W.",
        },
        { id: "slope-at-a", says: "You took σ' at the layer's output a.", hint: "The activation was given z." },
        { id: "not-transposed", says: "You went back through W, not through its transpose.", hint: "W leads from input to output; you go the other way." },
        {
          id: "plain-forward",
          says: "In your forward pass the skip is missing.",
          hint: "The z of a residual network differ from those of a plain one.",
        },
      ],
      linear: [],
      differences: (args: Args) => differences(args, true),
      noDifferences: "Only the shallow instances have finite differences.",
    }),
    part({
      name: "norms",
      points: 1,
      entry: "normsOf",
      draw: (random, instance) => ({ signals: Array.from({ length: 3 + instance }, (_, l) => randn([2 + l], random).mul(10 ** -l)) }),
      call: (student, { signals }) => ({ norms: student([...signals]) }),
      attempt: ({ signals }, made) => ({
        norms: tensor(signals.map((signal) => {
          const sum = made("absolute") ? signal.abs().sum().item() : signal.square().sum().item();
          const value = made("mean") ? sum / signal.size : sum;
          return made("no-root") || made("absolute") ? value : Math.sqrt(value);
        })),
      }),
      mistakes: [
        { id: "absolute", says: "You summed absolute values.", hint: "The Euclidean norm squares.", hides: ["no-root"] },
        { id: "no-root", says: "The square root is missing.", hint: "The norm of (3, 4) is 5." },
        { id: "mean", says: "You averaged over the elements.", hint: "A norm is a sum under a root; its length counts." },
      ],
      linear: [],
    }),
  ],
  after: [
    {
      type: "markdown",
      source:
        "Exercise 4 of the document in one picture: 20 layers of width 4. Sigmoid with all weights 0.3 loses a factor of four a layer. Xavier initialisation cannot help it: the " +
        "sigmoid's slope is at most 0.25, so with matrices that keep lengths the gradient still shrinks by four. ReLU with the same 0.3 passes slopes of 1, and the matrix " +
        "(row sums of 1.2) makes it grow. The residual network keeps the gradient whatever the branch does. Try other widths: with 0.3 everywhere, the row sum is " +
        "0.3 times the width.",
    },
    {
      type: "code",
      source: [
        "const [width, depth] = [4, 20];",
        "const random = rng(9);",
        "const sigmoidUnit: Activation = { f: (z) => 1 / (1 + Math.exp(-z)), df: (z) => 1 / (2 + Math.exp(z) + Math.exp(-z)) };",
        "const reluUnit: Activation = { f: (z) => Math.max(0, z), df: (z) => (z > 0 ? 1 : 0) };",
        "const constant = Array.from({ length: depth }, () => full([width, width], 0.3));",
        "const xavier = constant.map(() => randn([width, width], random).mul(Math.sqrt(2 / (width + width))));",
        "const [x, da] = [uniform([width], random, 0.5, 1.5), ones(width)];",
        "const cases = {",
        '  "sigmoid, weights 0.3": normsOf(errorSignals(constant, x, da, sigmoidUnit)),',
        '  "ReLU, weights 0.3": normsOf(errorSignals(constant, x, da, reluUnit)),',
        '  "sigmoid, Xavier": normsOf(errorSignals(xavier, x, da, sigmoidUnit)),',
        '  "sigmoid, Xavier, residual": normsOf(residualSignals(xavier, x, da, sigmoidUnit)),',
        "};",
        "gradientNorms(cases);",
      ].join("\n"),
    },
    { type: "markdown", source: "The same norms in numbers, at the layers the document asks for." },
    {
      type: "code",
      source: [
        "table([1, 5, 10, 20].map((layer) => {",
        "  const norms = Object.entries(cases).map(([name, all]) => [name, all[layer - 1]]);",
        "  return { layer, ...Object.fromEntries(norms) };",
        "}));",
      ].join("\n"),
    },
  ],
});
