/** Exercise 3: gradient descent on a line, then residuals through layers and through single operations. */
import { tensor, type Rng, type Tensor } from "gradbook";
import { defineExercise, part } from "../autograder/spec";

/** A number between 0.4 and 1.6 with a random sign: neither 0 nor 1 hides anything. */
const number = (random: Rng): number => (0.4 + 1.2 * random.uniform()) * (random.uniform() < 0.5 ? -1 : 1);

/** Draws numbers again until the model's error is well away from 0. */
function apart<A>(draw: () => A, error: (args: A) => number): A {
  for (;;) {
    const args = draw();
    if (Math.abs(error(args)) > 0.3) return args;
  }
}

type Kind = "multiply" | "add" | "tanh" | "sin";
const activations = {
  tanh: { f: Math.tanh, df: (v: number): number => 1 - Math.tanh(v) ** 2 },
  sin: { f: Math.sin, df: Math.cos },
};

/** What enters each operation, and the last output behind it. */
function values(kinds: readonly Kind[], parameters: ArrayLike<number>, x: number): number[] {
  const entering = [x];
  kinds.forEach((kind, i) => {
    const v = entering[i];
    entering.push(kind === "multiply" ? parameters[i] * v : kind === "add" ? v + parameters[i] : activations[kind].f(v));
  });
  return entering;
}

const models: readonly (readonly Kind[])[] = [
  ["multiply", "add", "tanh"],
  ["multiply", "tanh", "add"],
  ["multiply", "add", "tanh", "multiply", "add"],
  ["sin", "multiply", "sin", "add", "multiply", "tanh", "add"],
];

export default defineExercise({
  id: "line-by-gradient-descent",
  number: 3,
  title: "A line by gradient descent: residual and local derivative",
  source: 'llm-from-scratch, from "Backprop on a simple, scalar model" to "Adding an activation function"',
  minutes: 25,
  goal: "You can carry a residual backwards through any sequence of scalar operations, and train a line with the gradients.",
  withholds: ["linear", "mse"],
  hints: [
    "lineBackward: call the error e = ax + b - y. The residual is the derivative of e² by e. The local derivatives are those of ax + b, by a and by b.",
    "fitLine: two loops, epochs outside, pairs inside. Take da and db from one call before you change a or b.",
    "twoLayersBackward: layer 2 is a line whose input is h, so da2 uses h. What it hands back is its residual times its slope, a2.",
    "operationsBackward: one loop forward that stores what enters each operation; one loop backward that starts with 2 (output - y).",
    "Backward through multiply: the gradient is residual · input, then residual becomes residual · parameter. Through add: the gradient is the residual, which stays as it is. Through an activation: only residual becomes residual · df(input).",
  ],
  parts: [
    part({
      name: "one line",
      points: 2,
      entry: "lineBackward",
      draw: (random) =>
        apart(() => ({ a: number(random), b: number(random), x: number(random), y: number(random) }), ({ a, b, x, y }) => a * x + b - y),
      call: (student, { a, b, x, y }) => student(a, b, x, y),
      attempt: ({ a, b, x, y }, made) => {
        const error = a * x + b - y;
        const residual = (made("no-2") || made("half") ? 1 : 2) * (made("sign") ? -1 : 1) * (made("loss-for-error") ? error ** 2 : error);
        return {
          loss: made("half") ? error ** 2 / 2 : made("loss-not-squared") ? error : error ** 2,
          da: residual * (made("da-local") ? 1 : made("a-for-x") ? a : x),
          db: residual * (made("db-local") ? x : 1),
        };
      },
      mistakes: [
        { id: "half", says: "You used ½ e² as the loss.", hint: "Here the loss is e² itself, without a ½.", hides: ["no-2", "loss-not-squared"] },
        { id: "no-2", says: "The 2 of the derivative of the square is missing.", hint: "What is the slope of e² in e?" },
        { id: "loss-not-squared", says: "Your loss is the error itself.", hint: "L = (ŷ - y)²." },
        { id: "sign", says: "Both gradients have the wrong sign.", hint: "If the prediction is too large, does the loss grow or fall with b?" },
        {
          id: "loss-for-error",
          says: "You put the loss where the error belongs.",
          hint: "The derivative of e² is 2e, not 2e².",
        },
        {
          id: "da-local",
          says: "In da the local derivative is missing: da came out equal to the residual.",
          hint: "How much does ax + b move when a moves by a little?",
          hides: ["a-for-x"],
        },
        { id: "a-for-x", says: "In da you used a as the local derivative.", hint: "Differentiate ax + b by a; that is not the derivative by x." },
        { id: "db-local", says: "You multiplied db by x.", hint: "How much does ax + b move when b moves by a little?" },
      ],
      forward: ({ a, b, x, y }) => (a * x + b - y) ** 2,
    }),
    part({
      name: "gradient descent",
      points: 2,
      entry: "fitLine",
      draw: (random, instance) => {
        const slope = number(random);
        const offset = number(random);
        const xs = Array.from({ length: 4 + instance }, () => number(random));
        return {
          a: number(random),
          b: number(random),
          xs,
          ys: xs.map((x) => slope * x + offset + 0.3 * random.normal()),
          rate: 0.02 + 0.05 * random.uniform(),
          epochs: 2 + (instance % 3),
        };
      },
      call: (student, { a, b, xs, ys, rate, epochs }) => student(a, b, xs, ys, rate, epochs),
      attempt: ({ a, b, xs, ys, rate, epochs }, made) => {
        const step = (made("ascent") ? -rate : rate) * (made("no-2") ? 1 : 2);
        for (let epoch = 0; epoch < (made("one-epoch") ? 1 : epochs); epoch++) {
          const start = { a, b };
          if (made("mean-step")) {
            const errors = xs.map((x, i) => a * x + b - ys[i]);
            a -= (step / xs.length) * xs.reduce((sum, x, i) => sum + errors[i] * x, 0);
            b -= (step / xs.length) * errors.reduce((sum, error) => sum + error, 0);
            continue;
          }
          xs.forEach((x, i) => {
            const at = made("batch") ? start : { a, b };
            const error = at.a * x + at.b - ys[i];
            a -= step * error * x;
            b -= step * (made("a-first") ? (made("batch") ? at.a - step * error * x : a) * x + at.b - ys[i] : error);
          });
        }
        return { a, b };
      },
      mistakes: [
        { id: "ascent", says: "You added the gradients: the loss grows.", hint: "The gradient points uphill." },
        { id: "no-2", says: "Your steps are half as long as they should be.", hint: "Take the gradients from lineBackward, 2 included." },
        {
          id: "a-first",
          says: "You computed b's gradient with the new a.",
          hint: "Both gradients belong to the same point: compute both, then move both.",
        },
        { id: "one-epoch", says: "You walked through the pairs once only.", hint: "What does `epochs` say?" },
        {
          id: "mean-step",
          says: "You made one step an epoch, with the mean of all gradients.",
          hint: "Here each pair is followed by an update, and the next pair sees the new a and b.",
          hides: ["a-first", "batch"],
        },
        {
          id: "batch",
          says: "You computed all gradients of an epoch at its first a and b.",
          hint: "Here each pair is followed by an update, and the next pair sees the new a and b.",
        },
      ],
      noDifferences: "The result is a state after many steps; the gradients were checked in the first part.",
    }),
    part({
      name: "two layers",
      points: 3,
      entry: "twoLayersBackward",
      draw: (random) =>
        apart(
          () => ({ a1: number(random), b1: number(random), a2: number(random), b2: number(random), x: number(random), y: number(random) }),
          ({ a1, b1, a2, b2, x, y }) => Math.min(Math.abs(a2 * (a1 * x + b1) + b2 - y), Math.abs(a1 * x + b1)),
        ),
      call: (student, { a1, b1, a2, b2, x, y }) => student(a1, b1, a2, b2, x, y),
      attempt: ({ a1, b1, a2, b2, x, y }, made) => {
        const h = a1 * x + b1;
        const error = a2 * h + b2 - y;
        const fromLoss = (made("no-2") ? 1 : 2) * (made("sign") ? -1 : 1) * error;
        const residual = fromLoss * (made("slope-missing") ? 1 : made("wrong-slope") ? a1 : a2);
        return {
          loss: error ** 2,
          da2: fromLoss * (made("x-for-h") ? x : h),
          db2: fromLoss,
          residual,
          da1: residual * (made("h-for-x") ? h : x),
          db1: made("db1-from-loss") ? fromLoss : residual,
        };
      },
      mistakes: [
        { id: "no-2", says: "The 2 of the derivative of the square is missing.", hint: "What is the slope of e² in e?" },
        { id: "sign", says: "All gradients have the wrong sign.", hint: "The error is prediction minus target." },
        { id: "x-for-h", says: "In da2 you used x where h belongs.", hint: "What was layer 2's input?" },
        {
          id: "slope-missing",
          says: "You handed the residual to layer 1 unchanged: layer 2's slope is missing.",
          hint: "How much does the prediction move when h moves by a little?",
          hides: ["wrong-slope", "db1-from-loss"],
        },
        { id: "wrong-slope", says: "You multiplied the residual by a1.", hint: "The residual passes through layer 2, so layer 2's slope counts." },
        { id: "h-for-x", says: "In da1 you used h where x belongs.", hint: "What was layer 1's input?" },
        { id: "db1-from-loss", says: "db1 uses layer 2's residual.", hint: "b1 belongs to layer 1: which residual arrives there?" },
      ],
      forward: ({ a1, b1, a2, b2, x, y }) => (a2 * (a1 * x + b1) + b2 - y) ** 2,
    }),
    part({
      name: "any operations",
      points: 3,
      entry: "operationsBackward",
      draw: (random, instance): { kinds: readonly Kind[]; parameters: Tensor; x: number; y: number } =>
        apart(
          () => {
            const kinds = models[instance % models.length];
            const parameters = tensor(kinds.map((kind) => (kind === "multiply" || kind === "add" ? number(random) : 0)));
            return { kinds, parameters, x: number(random), y: number(random) };
          },
          // Saturated activations would leave gradients too small to tell mistakes apart.
          ({ kinds, parameters, x, y }) => {
            const v = values(kinds, parameters.data, x);
            return Math.max(...v.map(Math.abs)) > 1.8 ? 0 : Math.min(...v.map(Math.abs), Math.abs(v.at(-1)! - y));
          },
        ),
      call: (student, { kinds, parameters, x, y }) => {
        const activations = {
          tanh: { kind: "activation", f: Math.tanh, df: (v: number) => 1 - Math.tanh(v) ** 2 },
          sin: { kind: "activation", f: Math.sin, df: Math.cos },
        };
        const operations = kinds.map((kind: Kind, i: number) =>
          kind === "multiply" || kind === "add" ? { kind, parameter: parameters.data[i] } : activations[kind]);
        const { gradients, residual } = student(operations, x, y);
        return { dparameters: gradients, dx: residual };
      },
      attempt: ({ kinds, parameters, x, y }, made) => {
        const entering = values(kinds, parameters.data, x);
        let residual = made("loss-slope") ? 1 : (made("sign") ? -1 : 1) * (made("no-2") ? 1 : 2) * (entering.at(-1)! - y);
        const gradients = kinds.map(() => 0);
        for (let i = kinds.length - 1; i >= 0; i--) {
          const kind = kinds[i];
          const incoming = residual;
          const at = made("input-of-next") ? entering[i + 1] : entering[i];
          if (kind === "multiply") residual *= made("input-for-weight") ? at : parameters.data[i];
          else if (kind !== "add" && !made("activation-skipped")) residual *= activations[kind].df(made("df-at-output") ? entering[i + 1] : at);
          const used = made("residual-too-late") ? residual : incoming;
          if (kind === "multiply") gradients[i] = used * (made("weight-for-input") ? parameters.data[i] : at);
          else if (kind === "add") gradients[i] = used * (made("add-times-input") ? at : 1);
          else if (made("activation-gradient")) gradients[i] = residual;
        }
        return { dparameters: tensor(gradients), dx: residual };
      },
      mistakes: [
        {
          id: "loss-slope",
          says: "Your first residual is 1: the derivative of the loss is missing.",
          hint: "The loss is the last operation: which residual does it hand back?",
          hides: ["sign", "no-2"],
        },
        { id: "sign", says: "Everything has the wrong sign.", hint: "The error is the last output minus y." },
        { id: "no-2", says: "The 2 of the derivative of the square is missing.", hint: "What is the slope of e² in e?" },
        {
          id: "input-of-next",
          says: "You used each operation's output where its input belongs.",
          hint: "Store what enters each operation, before you apply it.",
          hides: ["df-at-output"],
        },
        {
          id: "input-for-weight",
          says: "Backwards through a multiplication you multiplied the residual by the input.",
          hint: "Differentiate w v by v.",
        },
        {
          id: "activation-skipped",
          says: "The residual passed your activations unchanged.",
          hint: "An activation has no parameter, yet it bends the signal: its local derivative belongs to the residual.",
          hides: ["df-at-output"],
        },
        {
          id: "df-at-output",
          says: "You took an activation's derivative at its output.",
          hint: "df wants the number that entered the activation.",
        },
        {
          id: "activation-gradient",
          says: "You gave an activation a gradient.",
          hint: "A gradient belongs to a parameter, and an activation has none: its entry is 0.",
        },
        {
          id: "residual-too-late",
          says: "You updated the residual before you used it for the gradient.",
          hint: "The gradient of a parameter needs the residual that came in, not the one that goes out.",
        },
        { id: "weight-for-input", says: "A multiplication's gradient uses its weight.", hint: "Differentiate w v by w." },
        { id: "add-times-input", says: "You multiplied an addition's gradient by its input.", hint: "Differentiate v + w by w." },
      ],
      equivalent: [
        "input-of-next + activation-skipped = activation-skipped + residual-too-late",
        "df-at-output + residual-too-late = input-of-next",
        "df-at-output + weight-for-input = input-of-next + weight-for-input",
      ],
      forward: ({ kinds, parameters, x, y }) => (values(kinds, parameters.data, x).at(-1)! - y) ** 2,
    }),
  ],
  after: [
    {
      type: "markdown",
      source:
        "A line learns. The data lie on $y = 2x - 1$ with a little noise; after each walk through the pairs the mean loss is kept. With a rate " +
        "that is too large the steps overshoot: try `rate = 0.9`.",
    },
    {
      type: "code",
      source: [
        "const random = rng(3);",
        "const xs = Array.from({ length: 20 }, () => random.uniform() * 2 - 1);",
        "const ys = xs.map((x) => 2 * x - 1 + 0.05 * random.normal());",
        "const rate = 0.05;",
        "let line = { a: 0, b: 0 };",
        "const losses: number[] = [];",
        "for (let epoch = 0; epoch < 30; epoch++) {",
        "  losses.push(xs.reduce((sum, x, i) => sum + lineBackward(line.a, line.b, x, ys[i]).loss, 0) / xs.length);",
        "  line = fitLine(line.a, line.b, xs, ys, rate, 1);",
        "}",
        "console.log(`a = ${line.a.toFixed(3)} (2), b = ${line.b.toFixed(3)} (-1)`);",
        'lossCurve(losses, { title: "A line learns", x: "epoch", y: "mean squared error", logY: true });',
      ].join("\n"),
    },
  ],
});
