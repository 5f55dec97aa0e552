/** Exercise 6: the backward of every activation in the documents' table. */
import { randn, tensor, type Rng, type Tensor } from "gradbook";
import { defineExercise, part, type Mistake } from "../autograder/spec";

const sigmoid = (z: number): number => (z >= 0 ? 1 / (1 + Math.exp(-z)) : Math.exp(z) / (1 + Math.exp(z)));
const softplus = (z: number): number => Math.max(z, 0) + Math.log1p(Math.exp(-Math.abs(z)));
const erf = (z: number): number => tensor([z]).erf().data[0];
const Phi = (z: number): number => (1 + erf(z / Math.SQRT2)) / 2;
const phi = (z: number): number => Math.exp((-z * z) / 2) / Math.sqrt(2 * Math.PI);

/** The derivative of 0.5 z (1 + tanh(√(2/π) (z + 0.044715 z³))). */
function geluTanhSlope(z: number): number {
  const c = Math.sqrt(2 / Math.PI);
  const t = Math.tanh(c * (z + 0.044715 * z ** 3));
  return 0.5 * (1 + t) + 0.5 * z * (1 - t * t) * c * (1 + 3 * 0.044715 * z * z);
}

/** A wrong slope at z; `da` is the arriving gradient, k the leaky ReLU's slope. */
interface WrongSlope {
  id: string;
  slope(z: number, da: number, k: number): number;
  says: string;
  hint: string;
}

interface Activation {
  name: string;
  entry: string;
  points: number;
  value(z: number, k: number): number;
  slope(z: number, k: number): number;
  wrong: WrongSlope[];
  /** Where the value has a kink at 0. */
  kink?: boolean;
  /** One instance holds ±750. */
  extremes?: boolean;
}

type Args = { da: Tensor; z: Tensor; slope: number };

const shapes = [[3, 3], [2, 5], [7], [4, 3]];

function draw(random: Rng, instance: number, extremes = false): Args {
  for (;;) {
    const shape = shapes[instance % shapes.length];
    const z = randn(shape, random).mul(2);
    const da = randn(shape, random);
    if (extremes && instance % 4 === 3) z.data.set([750, -750]);
    // Both signs of z under both signs of da.
    if (new Set(Array.from(z.data, (x, i) => `${x > 0}${da.data[i] > 0}`)).size === 4) return { da, z, slope: 0.05 + 0.3 * random.uniform() };
  }
}

const ignoresDa = {
  id: "ignores-da",
  says: "Your result does not depend on da: it is the slope alone.",
  hint: "The gradient that arrives from above multiplies the local derivative.",
};

/** The part of one activation. The wrong slopes exclude each other: of two, the first of the list counts. */
function activation({ name, entry, points, value, slope, wrong, kink, extremes }: Activation) {
  const mistakes: Mistake[] = wrong.map(({ id, says, hint }, i) => ({ id, says, hint, hides: wrong.slice(i + 1).map((later) => later.id) }));
  return part<Args, { dz: Tensor }, string>({
    name,
    points,
    entry,
    draw: (random, instance) => draw(random, instance, extremes),
    call: (student, { da, z, slope }) => ({ dz: student(da, z, slope) }),
    attempt: ({ da, z, slope: k }, made) => {
      const chosen = wrong.find(({ id }) => made(id));
      const c = da.data;
      const at = (x: number, i: number): number =>
        (made("ignores-da") ? 1 : c[i]) * (chosen ? chosen.slope(x, c[i], k) : slope(x, k));
      return { dz: tensor(Float64Array.from(z.data, at), z.shape) };
    },
    mistakes: [...mistakes, ignoresDa],
    cotangent: "da",
    forward: ({ z, slope: k }) => z.map((x) => value(x, k)),
    ...(kink && { kink: ({ z }: Args) => z.abs().min().item() }),
  });
}

export default defineExercise({
  id: "activations",
  number: 6,
  title: "Activations and their derivatives",
  source: 'math-for-llms, sections 5.2 and 6.2 and appendix E.3; reference, the table of "Gradient Flow Problems"',
  minutes: 20,
  goal: "You can write the backward of every common activation, and know which of them let a gradient die.",
  hints: [
    "Every answer has the form da.mul(slope), where slope is a tensor of z's shape.",
    "ReLU: z.gt(0) is 1 where z > 0 and 0 elsewhere, at 0 too. Leaky ReLU: the same with `slope` in place of 0.",
    "The sigmoid's slope is s (1 - s), tanh's is 1 - tanh², softplus's is the sigmoid: derive one of them on paper.",
    "SiLU is a product, z · s(z): its slope is 1 · s + z · s'. GELU is a product, z · Φ(z), and Φ' = φ.",
    "GELU in full: Phi = z.div(Math.SQRT2).erf().add(1).div(2); phi = exp(-z²/2) / √(2π); the slope is Phi + z · phi.",
  ],
  withholds: ["relu", "leakyRelu", "sigmoid", "tanh", "softplus", "silu", "gelu", "geluTanh"],
  parts: [
    activation({
      name: "ReLU",
      entry: "reluBackward",
      points: 1,
      value: (z) => Math.max(z, 0),
      slope: (z) => (z > 0 ? 1 : 0),
      kink: true,
      wrong: [
        {
          id: "mask-from-gradient",
          slope: (_z, da) => (da > 0 ? 1 : 0),
          says: "You masked by the sign of the gradient, max(da, 0).",
          hint: "Whether a unit is open was decided in the forward pass, by the sign of z.",
        },
        {
          id: "value",
          slope: (z) => Math.max(z, 0),
          says: "You multiplied by ReLU's value, not by its slope.",
          hint: "Where z is positive, ReLU is the line a = z. What is that line's slope?",
        },
        {
          id: "mask-inverted",
          slope: (z) => (z > 0 ? 0 : 1),
          says: "You let the gradient through where z is negative.",
          hint: "Where ReLU puts out a constant 0, nothing can flow back.",
        },
        {
          id: "no-mask",
          slope: () => 1,
          says: "You passed the gradient everywhere.",
          hint: "Where ReLU puts out a constant 0, nothing can flow back.",
        },
      ],
    }),
    part({
      name: "ReLU at 0",
      points: 1,
      entry: "reluBackward",
      draw: (random, instance) => {
        const { da, z } = draw(random, instance);
        z.data.set([0, -0, 0]);
        return { da, z };
      },
      call: (student, { da, z }) => ({ dz: student(da, z) }),
      attempt: ({ da, z }, made) => ({
        dz: da.mul(z.map((x) => (x === 0 ? (made("one") ? 1 : made("half") ? 0.5 : 0) : made("no-mask") || x > 0 ? 1 : 0))),
      }),
      mistakes: [
        { id: "one", says: "At z = 0 you let the gradient through.", hint: "The convention here is 0: > and not >=.", hides: ["half"] },
        { id: "half", says: "At z = 0 you let half of the gradient through.", hint: "That is a subgradient too, but the convention here is 0." },
        { id: "no-mask", says: "Where z < 0 you let the gradient through.", hint: "ReLU puts out a constant 0 there." },
      ],
      cotangent: "da",
      noDifferences: "At a kink the two one-sided slopes differ; the convention decides.",
    }),
    activation({
      name: "leaky ReLU",
      entry: "leakyReluBackward",
      points: 1,
      value: (z, k) => (z > 0 ? z : k * z),
      slope: (z, k) => (z > 0 ? 1 : k),
      kink: true,
      wrong: [
        {
          id: "slope-missing",
          slope: (z) => (z > 0 ? 1 : 0),
          says: "That is ReLU's backward: the slope for negative z is missing.",
          hint: "The point of the leak is that negative units still receive a gradient.",
        },
        {
          id: "slope-negative",
          slope: (z, _da, k) => (z > 0 ? 1 : -k),
          says: "For negative z you used minus the slope.",
          hint: "slope · z grows with z, on the negative side too.",
        },
        {
          id: "mask-from-gradient",
          slope: (_z, da, k) => (da > 0 ? 1 : k),
          says: "You chose the slope by the sign of the gradient.",
          hint: "Which of the two lines a unit is on was decided in the forward pass, by the sign of z.",
        },
        {
          id: "value",
          slope: (z, _da, k) => (z > 0 ? z : k * z),
          says: "You multiplied by the function's value, not by its slope.",
          hint: "What is the slope of the line k · z?",
        },
      ],
    }),
    activation({
      name: "sigmoid",
      entry: "sigmoidBackward",
      points: 1,
      value: sigmoid,
      slope: (z) => sigmoid(z) * sigmoid(-z),
      extremes: true,
      wrong: [
        {
          id: "z-for-s",
          slope: (z) => z * (1 - z),
          says: "You put z where s(z) belongs.",
          hint: "s (1 - s) is written in the sigmoid's output.",
        },
        { id: "value", slope: sigmoid, says: "You multiplied by s: the factor 1 - s is missing.", hint: "A saturated sigmoid, s near 1, has no slope." },
        {
          id: "complement",
          slope: (z) => sigmoid(-z),
          says: "You multiplied by 1 - s: the factor s is missing.",
          hint: "A saturated sigmoid, s near 0, has no slope either.",
        },
        {
          id: "tanh-rule",
          slope: (z) => 1 - sigmoid(z) ** 2,
          says: "You used tanh's rule, 1 - s².",
          hint: "At z = 0 the sigmoid's slope is 0.25, its greatest.",
        },
      ],
    }),
    activation({
      name: "tanh",
      entry: "tanhBackward",
      points: 1,
      value: Math.tanh,
      slope: (z) => 1 - Math.tanh(z) ** 2,
      extremes: true,
      wrong: [
        {
          id: "z-for-a",
          slope: (z) => 1 - z * z,
          says: "You computed 1 - z²: z stands where tanh(z) belongs.",
          hint: "A slope below 0 cannot be right for a function that only grows.",
        },
        {
          id: "not-squared",
          slope: (z) => 1 - Math.tanh(z),
          says: "The square is missing: you computed 1 - tanh(z).",
          hint: "tanh is odd, so its slope is even: it cannot depend on the sign of z.",
        },
        {
          id: "sigmoid-rule",
          slope: (z) => Math.tanh(z) * (1 - Math.tanh(z)),
          says: "You used the sigmoid's rule.",
          hint: "At z = 0 the slope of tanh is 1, its greatest.",
        },
        {
          id: "value",
          slope: Math.tanh,
          says: "You multiplied by the function's value, not by its slope.",
          hint: "At z = 0 tanh is 0, but its slope is not.",
        },
      ],
    }),
    activation({
      name: "softplus",
      entry: "softplusBackward",
      points: 1,
      value: softplus,
      slope: sigmoid,
      extremes: true,
      wrong: [
        {
          id: "value",
          slope: softplus,
          says: "You multiplied by the function's value, not by its slope.",
          hint: "For large z softplus is close to the line a = z. What is its slope there?",
        },
        {
          id: "inner-missing",
          slope: (z) => sigmoid(-z),
          says: "You computed 1 / (1 + exp(z)): the inner derivative is missing.",
          hint: "The logarithm gives 1/(1 + e^z); then comes the slope of 1 + e^z.",
        },
        {
          id: "sigmoid-slope",
          slope: (z) => sigmoid(z) * sigmoid(-z),
          says: "You differentiated once too often: that is the sigmoid's slope.",
          hint: "The sigmoid itself is the answer's only ingredient.",
        },
        {
          id: "relu-mask",
          slope: (z) => (z > 0 ? 1 : 0),
          says: "You used ReLU's mask.",
          hint: "Softplus is smooth: its slope goes from 0 to 1 gradually.",
        },
      ],
    }),
    activation({
      name: "SiLU",
      entry: "siluBackward",
      points: 2,
      value: (z) => z * sigmoid(z),
      slope: (z) => sigmoid(z) * (1 + z * sigmoid(-z)),
      extremes: true,
      wrong: [
        {
          id: "gate-only",
          slope: sigmoid,
          says: "You treated the gate s(z) as a constant: the second term of the product rule is missing.",
          hint: "z stands in both factors of z · s(z).",
        },
        {
          id: "gate-slope-only",
          slope: (z) => z * sigmoid(z) * sigmoid(-z),
          says: "The first term of the product rule is missing.",
          hint: "(u v)' = u' v + u v', and z' is 1.",
        },
        {
          id: "s-missing",
          slope: (z) => sigmoid(z) + z * sigmoid(-z),
          says: "In the second term a factor s is missing.",
          hint: "s' is s (1 - s), not 1 - s.",
        },
        {
          id: "z-missing",
          slope: (z) => sigmoid(z) + sigmoid(z) * sigmoid(-z),
          says: "In the second term the factor z is missing.",
          hint: "(u v)' = u' v + u v'.",
        },
        {
          id: "value",
          slope: (z) => z * sigmoid(z),
          says: "You multiplied by the function's value, not by its slope.",
          hint: "At z = 0 SiLU is 0, but its slope is not.",
        },
      ],
    }),
    activation({
      name: "GELU",
      entry: "geluBackward",
      points: 2,
      value: (z) => z * Phi(z),
      slope: (z) => Phi(z) + z * phi(z),
      wrong: [
        {
          id: "gate-only",
          slope: Phi,
          says: "You treated the gate Φ(z) as a constant: the term z φ(z) is missing.",
          hint: "z stands in both factors of z · Φ(z).",
        },
        {
          id: "density-only",
          slope: (z) => z * phi(z),
          says: "The first term of the product rule, Φ(z), is missing.",
          hint: "(u v)' = u' v + u v', and z' is 1.",
        },
        {
          id: "tanh-variant",
          slope: geluTanhSlope,
          says: "That is the derivative of GELU's approximation with tanh.",
          hint: "Here GELU is z Φ(z) with the error function. The two differ in the fourth digit.",
        },
        {
          id: "erf-unscaled",
          slope: (z) => (1 + erf(z)) / 2 + z * phi(z),
          says: "Inside the error function the division by √2 is missing.",
          hint: "Φ(z) = (1 + erf(z / √2)) / 2.",
        },
        {
          id: "Phi-not-halved",
          slope: (z) => 1 + erf(z / Math.SQRT2) + z * phi(z),
          says: "In Φ the factor ½ is missing.",
          hint: "Φ is a probability: it goes from 0 to 1.",
        },
        {
          id: "density-of-erf",
          slope: (z) => Phi(z) + z * (2 / Math.sqrt(Math.PI)) * Math.exp(-z * z),
          says: "You took the derivative of the error function for the density.",
          hint: "φ is the derivative of Φ, in which erf is taken at z/√2 and halved: two more factors.",
        },
        {
          id: "density-unscaled",
          slope: (z) => Phi(z) + z * Math.exp((-z * z) / 2),
          says: "In the density the factor 1/√(2π) is missing.",
          hint: "A density has area 1 below it; exp(-z²/2) has √(2π).",
        },
        {
          id: "z-missing",
          slope: (z) => Phi(z) + phi(z),
          says: "In the second term the factor z is missing.",
          hint: "(u v)' = u' v + u v'.",
        },
      ],
    }),
  ],
  after: [
    {
      type: "markdown",
      source:
        "Your seven slopes in one picture, with `da` = 1 everywhere. The sigmoid never passes more than a quarter of the gradient (section 6.2). ReLU passes all " +
        "or nothing, and a unit that is off for every sample stays off: it is dead. GELU and SiLU rise a little above 1 and fall a little below 0.",
    },
    {
      type: "code",
      source: [
        "const z = linspace(-5, 5, 201);",
        "const one = ones(201);",
        "lines(z, {",
        '  ReLU: reluBackward(one, z), "leaky ReLU": leakyReluBackward(one, z, 0.1), sigmoid: sigmoidBackward(one, z),',
        "  tanh: tanhBackward(one, z), softplus: softplusBackward(one, z), SiLU: siluBackward(one, z),",
        "  GELU: geluBackward(one, z),",
        '}, { title: "Slopes of the activations", x: "pre-activation z", y: "slope σ\'(z)" });',
      ].join("\n"),
    },
    {
      type: "markdown",
      source:
        "What twenty layers do to a gradient when every pre-activation is near 0 and the weights neither help nor harm: the greatest slope to the power of 20.",
    },
    {
      type: "code",
      source: [
        "const backwards = { sigmoid: sigmoidBackward, tanh: tanhBackward, GELU: geluBackward, ReLU: reluBackward };",
        "table(Object.entries(backwards).map(([activation, backward]) => {",
        "  const greatest = backward(one, z).max().item();",
        '  return { activation, "greatest slope": greatest, "to the power of 20": greatest ** 20 };',
        "}));",
      ].join("\n"),
    },
  ],
});
