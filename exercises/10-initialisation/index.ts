/** Exercise 10: the schemes' standard deviations, weights drawn from them, and second moments through the layers. */
import { rng, tensor, type Rng } from "gradbook";
import { defineExercise, part } from "../autograder/spec";

type Scheme = "lecun" | "xavier" | "he";
const schemes: readonly Scheme[] = ["lecun", "xavier", "he"];

const standardDeviation = (scheme: Scheme, fanIn: number, fanOut: number): number =>
  Math.sqrt(scheme === "lecun" ? 1 / fanIn : scheme === "xavier" ? 2 / (fanIn + fanOut) : 2 / fanIn);

/** Two different widths. */
function drawFans(random: Rng): { fanIn: number; fanOut: number } {
  const fanIn = random.integer(3, 40);
  return { fanIn, fanOut: fanIn + random.integer(1, 40) };
}

type Moments = { widths: readonly number[]; stds: readonly number[]; start: number; activation: string };

/** Different widths, so that fan-in and fan-out cannot be mistaken for each other; both activations take turns. */
function drawMoments(random: Rng, instance: number): Moments {
  const depth = 3 + (instance % 3);
  const widths = random.shuffle(Array.from({ length: 12 }, (_, i) => 3 + 2 * i)).slice(0, depth + 1);
  const stds = Array.from({ length: depth }, (_, l) => (0.6 + 0.8 * random.uniform()) * Math.sqrt(1.5 / widths[l]));
  return { widths, stds, start: 0.5 + random.uniform(), activation: instance % 2 === 0 ? "relu" : "linear" };
}

type MomentMistake = "no-half" | "half-always" | "wrong-fan" | "std-not-squared" | "not-carried" | "variance-of-relu" | "half-rooted";

/** Factor of each layer in turn, multiplied up from `start`. */
function moments({ widths, stds, start, activation }: Moments, backward: boolean, made: (mistake: MomentMistake) => boolean): number[] {
  const kept = activation === "linear" ? (made("half-always") && !made("no-half") ? 1 / 2 : 1) : made("no-half") ? 1 : made("variance-of-relu") ? 1 / 2 - 1 / (2 * Math.PI) : made("half-rooted") ? Math.SQRT1_2 : 1 / 2;
  const factors = stds.map((std, i) => {
    const fan = widths[backward !== made("wrong-fan") ? i + 1 : i];
    return kept * fan * (made("std-not-squared") ? std : std ** 2);
  });
  if (backward) factors.reverse();
  const found = [start];
  for (const factor of factors) found.push(factor * (made("not-carried") ? start : found.at(-1)!));
  return found;
}

export default defineExercise({
  id: "initialisation",
  number: 10,
  title: "Initialisation from variance propagation",
  source: 'math-for-llms, section 6.3, appendix E.4 and common mistake 5; reference, "Weight Initialization"',
  minutes: 20,
  goal: "You can derive Xavier's and He's variances, draw weights with them, and predict how signals and gradients scale through any widths.",
  hints: [
    "The table holds variances. A standard deviation is the square root of one.",
    "uniformBound: the variance of the uniform distribution on [-a, a] is (2a)²/12 = a²/3. Solve for a.",
    "drawWeights: fanOut · fanIn numbers, each std · random.normal(), as tensor(numbers, [fanOut, fanIn]).",
    "forwardMoments: start the list with q0; each layer multiplies the last entry by its number of inputs, its std squared, and ½ for ReLU.",
    "backwardMoments: go from layer L to layer 1, multiply by the number of outputs widths[l], and put each result at the front of the list.",
  ],
  withholds: [
    "xavierNormal", "xavierUniform", "heNormal", "heUniform", "lecunNormal", "lecunUniform", "initializers", "propagateVariance",
    "mlp", "Mlp", "deepNet",
  ],
  parts: [
    part({
      name: "standard deviations",
      points: 2,
      entry: "weightStd",
      draw: drawFans,
      call: (student, { fanIn, fanOut }) => ({
        lecun: student("lecun", fanIn, fanOut),
        xavier: student("xavier", fanIn, fanOut),
        he: student("he", fanIn, fanOut),
      }),
      attempt: ({ fanIn, fanOut }, made) => {
        const [a, b] = made("fans-swapped") ? [fanOut, fanIn] : [fanIn, fanOut];
        const variances = [1 / a, (made("xavier-one") ? 1 : made("xavier-six") ? 6 : 2) / (made("xavier-fan-in") ? 2 * a : a + b), (made("he-one") ? 1 : 2) / a];
        const [lecun, xavier, he] = variances.map((v) => (made("variance") ? v : Math.sqrt(v)));
        return { lecun, xavier, he };
      },
      mistakes: [
        { id: "variance", says: "You returned the variance.", hint: "The table holds σ²; asked for is σ." },
        { id: "fans-swapped", says: "You took the number of outputs for the number of inputs.", hint: "A forward sum has one term for each input." },
        { id: "xavier-one", says: "In Xavier's variance the 2 is missing.", hint: "For equal widths Xavier's variance is 1/n.", hides: ["xavier-six"] },
        {
          id: "xavier-six",
          says: "In Xavier's variance you took the 6 of its uniform bound.",
          hint: "√6/√(n_in + n_out) is where the uniform distribution ends, not its standard deviation.",
        },
        { id: "xavier-fan-in", says: "Your Xavier does not depend on both widths.", hint: "It is the compromise between 1/n_in and 1/n_out." },
        { id: "he-one", says: "In He's variance the 2 is missing.", hint: "ReLU halves the second moment; the weights make up for it." },
      ],
      linear: [],
    }),
    part({
      name: "uniform bound",
      points: 1,
      entry: "uniformBound",
      draw: (random) => ({ std: 0.1 + random.uniform() }),
      call: (student, { std }) => ({ a: student(std) }),
      attempt: ({ std }, made) => ({
        a: std * (made("same") ? 1 : made("width") ? Math.sqrt(12) : made("squared") ? 3 : made("divided") ? 1 / Math.sqrt(3) : made("six") ? Math.sqrt(6) : Math.sqrt(3)),
      }),
      mistakes: [
        { id: "same", says: "You returned the standard deviation itself.", hint: "Numbers spread evenly up to a lie closer to 0 than a, most of them.", hides: ["*"] },
        { id: "width", says: "You returned the whole width 2a.", hint: "The interval goes from -a to a.", hides: ["squared", "divided", "six"] },
        { id: "squared", says: "You multiplied by 3: the root is missing.", hint: "a²/3 is the variance.", hides: ["divided", "six"] },
        { id: "divided", says: "You divided by √3.", hint: "a is the greatest number that can come; the standard deviation is smaller.", hides: ["six"] },
        {
          id: "six",
          says: "You used √6, which already contains the 2 of Xavier's variance.",
          hint: "Xavier's bound √6/√(n_in + n_out) is √3 times the root of 2/(n_in + n_out). Which part of that is σ?",
        },
      ],
      linear: [],
    }),
    part({
      name: "drawn weights",
      points: 2,
      entry: "drawWeights",
      draw: (random, instance) => ({
        scheme: schemes[instance % 3],
        fanIn: 3 + (instance % 3),
        fanOut: instance === 0 ? 3 : 5 + (instance % 2) * 2,
        seed: random.integer(0, 1e6),
      }),
      call: (student, { scheme, fanIn, fanOut, seed }) => ({ W: student(scheme, fanIn, fanOut, rng(seed)) }),
      attempt: ({ scheme, fanIn, fanOut, seed }, made) => {
        const random = rng(seed);
        const std = standardDeviation(scheme, fanIn, fanOut) ** (made("variance") ? 2 : 1);
        const one = (): number => (made("uniform") ? (2 * random.uniform() - 1) * Math.sqrt(3) : random.normal());
        const first = one();
        const data = Float64Array.from({ length: fanIn * fanOut }, (_, i) => std * (i === 0 || made("all-equal") ? first : one()));
        const W = made("column-order") ? tensor(data, [fanIn, fanOut]).T : tensor(data, [fanOut, fanIn]);
        return { W: made("transposed") ? W.T : W };
      },
      mistakes: [
        { id: "variance", says: "You scaled by the variance.", hint: "σ times a standard normal number has standard deviation σ." },
        {
          id: "transposed",
          says: "Your W is transposed: it has a row for each input.",
          hint: "W is [fanOut, fanIn]: it maps a column of inputs to a column of outputs.",
        },
        { id: "column-order", says: "You filled W column by column.", hint: "Row by row: the first fanIn numbers belong to the first output." },
        {
          id: "all-equal",
          says: "All your weights are the same number.",
          hint: "Equal units compute equal outputs and get equal gradients: they stay equal for ever. Draw once for each weight.",
          hides: ["column-order"],
        },
        { id: "uniform", says: "Your weights are not normal.", hint: "Take random.normal()." },
      ],
      linear: [],
    }),
    part({
      name: "forward moments",
      points: 3,
      entry: "forwardMoments",
      draw: drawMoments,
      call: (student, { widths, stds, start, activation }) => ({ q: student([...widths], [...stds], start, activation) }),
      attempt: (args: Moments, made) => ({ q: tensor(moments(args, false, made as (mistake: MomentMistake) => boolean)) }),
      mistakes: [
        {
          id: "no-half",
          says: "ReLU's ½ is missing.",
          hint: "What does ReLU do to the square of a symmetric variable, on average?",
          hides: ["half-always", "variance-of-relu"],
        },
        { id: "half-always", says: "You halved the linear layers too.", hint: "What cuts the distribution in half is ReLU." },
        {
          id: "variance-of-relu",
          says: "You used the variance of ReLU's output, (½ - 1/(2π)) Var z.",
          hint: "The next layer's variance needs E[a²], mean included.",
        },
        { id: "wrong-fan", says: "You multiplied by the number of outputs.", hint: "Each z is a sum over the layer's inputs." },
        { id: "std-not-squared", says: "You multiplied by σ, not by σ².", hint: "Second moments scale with the square of a factor." },
        { id: "not-carried", says: "Every layer starts from q0.", hint: "A layer's input is the output of the layer before." },
      ],
      linear: [],
    }),
    part({
      name: "backward moments",
      points: 2,
      entry: "backwardMoments",
      draw: drawMoments,
      call: (student, { widths, stds, start, activation }) => ({ g: student([...widths], [...stds], start, activation) }),
      attempt: (args: Moments, made) => {
        const found = moments(args, true, made as (mistake: MomentMistake) => boolean);
        return { g: tensor(made("last-first") ? found : found.reverse()) };
      },
      mistakes: [
        { id: "no-half", says: "ReLU's ½ is missing.", hint: "How often is ReLU's slope 1?", hides: ["half-always", "half-rooted"] },
        { id: "half-always", says: "You halved the linear layers too.", hint: "Without ReLU nothing is masked." },
        { id: "half-rooted", says: "You used √½ for ReLU.", hint: "The mask is 0 or 1, and so is its square: on average ½." },
        { id: "wrong-fan", says: "You multiplied by the number of inputs.", hint: "Going back, each input collects a gradient from every output it feeds." },
        { id: "std-not-squared", says: "You multiplied by σ, not by σ².", hint: "Second moments scale with the square of a factor." },
        { id: "last-first", says: "Your list starts with layer L.", hint: "g[0] belongs to the input, the last entry is the one you were given." },
      ],
      // g, like q, is an average over random weights: no derivative of anything.
      linear: [],
    }),
  ],
  after: [
    {
      type: "markdown",
      source:
        "Prediction against measurement: 20 ReLU layers, 300 inputs at once. He keeps the signal, Xavier loses half of it a layer, and " +
        "$\\sigma = 0.15$ for everything makes it grow at this width. A prediction is an average over all draws; one draw of 128 units wanders around it.",
    },
    {
      type: "code",
      source: [
        "const random = rng(10);",
        "const [width, depth] = [128, 20];",
        "const widths = Array.from({ length: depth + 1 }, () => width);",
        'const stdOf = { He: weightStd("he", width, width), Xavier: weightStd("xavier", width, width), "σ = 0.15": 0.15 };',
        "const curves: { [name: string]: number[] } = {};",
        "for (const [name, std] of Object.entries(stdOf)) {",
        "  let a = randn([300, width], random);",
        "  curves[`${name}, measured`] = [a.square().mean().item()];",
        "  for (let l = 0; l < depth; l++) {",
        "    a = a.matmul(randn([width, width], random).mul(std)).maximum(0);",
        "    curves[`${name}, measured`].push(a.square().mean().item());",
        "  }",
        "  curves[`${name}, predicted`] = forwardMoments(widths, widths.slice(1).map(() => std), 1, \"relu\");",
        "}",
        'const title = "Second moment through 20 ReLU layers";',
        'lines(undefined, curves, { title, x: "layer", y: "E[a²]", logY: true, markers: true });',
      ].join("\n"),
    },
    {
      type: "markdown",
      source:
        "Common mistake 5: start with equal weights and a layer stays one unit for ever. After 50 steps of gradient descent on a random regression task the rows of the hidden " +
        "layer's matrix are still equal. GPT-2 starts from $\\mathcal N(0, 0.02^2)$ and shrinks the matrices that write into its residual stream by $1/\\sqrt{2 L}$, because $2L$ of them add up: " +
        "the variance of a sum of $2L$ independent terms is $2L$ times one term's.",
    },
    {
      type: "code",
      source: [
        "const inputs = randn([64, 3], random);",
        "const wanted = randn([64, 1], random);",
        "let [A, B] = [full([4, 3], 0.1), full([1, 4], 0.1)];",
        "for (let step = 0; step < 50; step++) {",
        "  const h = inputs.matmul(A.T).tanh();",
        "  const dOut = h.matmul(B.T).sub(wanted).div(64);",
        "  const dZ = dOut.matmul(B).mul(h.square().neg().add(1));",
        "  [A, B] = [A.sub(dZ.T.matmul(inputs)), B.sub(dOut.T.matmul(h))];",
        "}",
        'heatmap(A, { title: "Hidden weights after 50 steps from equal weights", x: "input", y: "hidden unit" });',
      ].join("\n"),
    },
  ],
});
