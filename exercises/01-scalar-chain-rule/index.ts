/** Exercise 1: the scalar chain rule in both orders, the centred difference, and a chain of any length. */
import { uniform, type Rng, type Tensor } from "gradbook";
import { defineExercise, part } from "../autograder/spec";

interface Scalar {
  value(t: number): number;
  slope(t: number, made: (mistake: SlopeMistake) => boolean): number;
}

type SlopeMistake =
  | "order" | "outer-at-t" | "inner-missing" | "cosine-of-slope" | "square-factor" | "power-rule" | "exponential-lost" | "three" | "sine-sign";

const f: Scalar = {
  value: (t) => Math.sin(t ** 2),
  slope: (t, made) => (made("sine-sign") ? -1 : 1)
    * (made("cosine-of-slope") ? Math.cos(2 * t) : Math.cos(t ** 2) * (made("square-factor") ? 1 : 2 * t)),
};
const g: Scalar = {
  value: (t) => Math.exp(3 * t),
  slope: (t, made) => made("exponential-lost") && !made("power-rule") ? 3
    : (made("three") ? 1 : 3) * (made("power-rule") ? t * Math.exp(3 * t - 1) : Math.exp(3 * t)),
};

/** The slope of outer(inner(t)) at each t. */
function slopes(t: Tensor, fAfterG: boolean, made: (mistake: SlopeMistake) => boolean): { dt: Tensor } {
  const [outer, inner] = fAfterG !== made("order") ? [f, g] : [g, f];
  const at = (x: number): number =>
    outer.slope(made("outer-at-t") ? x : inner.value(x), made) * (made("inner-missing") ? 1 : inner.slope(x, made));
  return { dt: t.map(at) };
}

const slopePart = (fAfterG: boolean) => {
  const [outer, inner] = fAfterG ? ["f", "g"] : ["g", "f"];
  return part({
    name: `slope of ${outer}(${inner}(t))`,
    points: 2,
    entry: fAfterG ? "derivativeFG" : "derivativeGF",
    // Five points, so that none of them can hide a mistake; e^(6t) stays below 12.
    draw: (random: Rng) => ({ t: uniform([5], random, -1.2, 0.4) }),
    call: (student, { t }) => ({ dt: Array.from(t.data as Float64Array, (x: number) => student(x)) }),
    attempt: ({ t }, made) => slopes(t, fAfterG, made),
    mistakes: [
      {
        id: "order",
        says: `You differentiated the other order, ${inner}(${outer}(t)).`,
        hint: `In ${outer}(${inner}(t)) the argument t enters ${inner} first: ${inner} is the inner function.`,
      },
      {
        id: "outer-at-t",
        says: `You took ${outer}' at t and not at ${inner}(t).`,
        hint: `${outer} never sees t. Which number was it given?`,
        hides: ["order"],
      },
      {
        id: "inner-missing",
        says: `The factor ${inner}'(t) is missing.`,
        hint: `If ${inner} doubled its speed, so would the result.`,
        hides: fAfterG ? ["three", "power-rule", "exponential-lost"] : ["square-factor", "cosine-of-slope", "sine-sign"],
      },
      {
        id: "cosine-of-slope",
        says: "You took the cosine of the slope of t²: cos(2t).",
        hint: "The cosine is the outer slope: it is taken at t², where the sine was, and the slope of t² multiplies it.",
        hides: ["square-factor"],
      },
      {
        id: "square-factor",
        says: "In f' the derivative of the square is missing.",
        hint: "sin(t²) is itself a composition: the slope of the sine, times the slope of t².",
      },
      {
        id: "power-rule",
        says: "You differentiated exp(3t) by the power rule.",
        hint: "In exp(3t) the variable is the exponent, not the base: the exponential is its own derivative.",
        hides: ["exponential-lost"],
      },
      {
        id: "exponential-lost",
        says: "Of g' only the 3 is left: the exponential is gone.",
        hint: "The slope of exp(3t) is not constant.",
        hides: fAfterG ? ["three"] : ["three", "outer-at-t"],
      },
      {
        id: "three",
        says: "In g' the 3 is missing.",
        hint: "exp(3t) is itself a composition: the slope of the exponential, times the slope of 3t.",
      },
      { id: "sine-sign", says: "Your f' has the wrong sign.", hint: "The derivative of the sine is +cos; only the cosine's has a minus." },
    ],
    equivalent: fAfterG ? ["outer-at-t + exponential-lost = order + exponential-lost"] : [],
    forward: ({ t }) => t.map((x) => (fAfterG ? f.value(g.value(x)) : g.value(f.value(x)))).sum().item(),
  });
};

type Kind = "sin" | "square" | "tanh" | "exp";
const steps: Record<Kind, { f(x: number): number; df(x: number): number }> = {
  sin: { f: Math.sin, df: Math.cos },
  square: { f: (x) => x * x, df: (x) => 2 * x },
  tanh: { f: Math.tanh, df: (x) => 1 - Math.tanh(x) ** 2 },
  exp: { f: Math.exp, df: Math.exp },
};

type ChainMistake = "at-t" | "at-output" | "sum" | "overwritten" | "reversed" | "last-missing";

function run(kinds: readonly Kind[], t: number, made: (mistake: ChainMistake) => boolean): { y: number; dy: number } {
  const order = made("reversed") ? [...kinds].reverse() : kinds;
  let y = t;
  let dy = made("sum") ? 0 : 1;
  order.forEach((kind, i) => {
    const output = steps[kind].f(y);
    const slope = steps[kind].df(made("at-t") ? t : made("at-output") ? output : y);
    if (!(made("last-missing") && i === order.length - 1)) dy = made("overwritten") ? slope : made("sum") ? dy + slope : dy * slope;
    y = output;
  });
  return { y, dy };
}

/** Three to five different steps whose values and slopes stay between 1e-2 and 1e2. */
function drawChain(random: Rng, instance: number): { kinds: readonly Kind[]; t: number } {
  for (;;) {
    const kinds = random.shuffle<Kind>(["sin", "square", "tanh", "exp"]).slice(0, instance % 2 === 0 ? 4 : 3);
    if (instance === 1) kinds.push("square");
    const t = 0.3 + 1.2 * random.uniform();
    const { y, dy } = run(kinds, t, () => false);
    if ([y, dy].every((x) => Math.abs(x) > 1e-2 && Math.abs(x) < 1e2)) return { kinds, t };
  }
}

export default defineExercise({
  id: "scalar-chain-rule",
  number: 1,
  title: "The scalar chain rule, and the order of composition",
  source: 'math-for-llms, sections 1.1 and 2.2 and exercise 1; llm-from-scratch, "Chain rule"',
  minutes: 15,
  goal: "You can differentiate a composition of any length, say at which point each derivative is taken, and check it by a centred difference.",
  hints: [
    "Name the number in the middle: u = g(t) in f(g(t)). Write dy/du with u in it, then du/dt with t in it, then multiply.",
    "f itself is a composition: its slope at u is cos(u²) times 2u. g's slope at t is exp(3t) times 3.",
    "centredDifference: the two points are 2 · step apart, and that is what the difference of the values is divided by.",
    "chain: start with y = t and dy = 1. For each step, multiply dy by df of the value that enters the step; only then replace y.",
  ],
  parts: [
    slopePart(true),
    slopePart(false),
    part({
      name: "centred difference",
      points: 2,
      entry: "centredDifference",
      draw: (random, instance) => ({
        t: uniform([4], random, -1, 1),
        step: [1e-3, 0.1, 1e-2, 0.5][instance % 4],
        a: 0.5 + random.uniform(),
        b: 1 + random.uniform(),
        c: 0.5 + random.uniform(),
      }),
      call: (student, { t, step, a, b, c }) => ({
        slopes: Array.from(t.data as Float64Array, (at: number) => student((x: number) => a * Math.sin(b * x) + c * x * x, at, step)),
      }),
      attempt: ({ t, step, a, b, c }, made) => {
        const h = (x: number): number => a * Math.sin(b * x) + c * x * x;
        const at = (x: number): number => {
          const left = made("forward") ? h(x) : h(x - step);
          const right = made("backward") && !made("forward") ? h(x) : h(x + step);
          const difference = made("sign") ? left - right : right - left;
          return made("no-parentheses") ? (difference / 2) * step : difference / (made("no-step") ? 2 : made("not-halved") ? step : 2 * step);
        };
        return { slopes: t.map(at) };
      },
      mistakes: [
        {
          id: "forward",
          says: "You took the difference between t and t + step.",
          hint: "Centred means one point on either side of t, equally far.",
          hides: ["backward"],
        },
        {
          id: "backward",
          says: "You took the difference between t - step and t.",
          hint: "Centred means one point on either side of t, equally far.",
        },
        {
          id: "no-parentheses",
          says: "You divided by 2 and multiplied by the step.",
          hint: "a / 2 * step is (a / 2) * step: what you divide by needs parentheses.",
          hides: ["no-step", "not-halved"],
        },
        {
          id: "not-halved",
          says: "You divided by step.",
          hint: "How far apart are t - step and t + step?",
        },
        { id: "no-step", says: "You did not divide by the step.", hint: "A slope is a difference of values over a distance.", hides: ["not-halved"] },
        { id: "sign", says: "Your slope has the wrong sign.", hint: "A growing function has h(t + step) > h(t - step) and a positive slope." },
      ],
      noDifferences: "This part writes the finite difference itself.",
    }),
    part({
      name: "a chain of steps",
      points: 4,
      entry: "chain",
      draw: drawChain,
      call: (student, { kinds, t }) => {
        const known = {
          sin: { f: Math.sin, df: Math.cos },
          square: { f: (x: number) => x * x, df: (x: number) => 2 * x },
          tanh: { f: Math.tanh, df: (x: number) => 1 - Math.tanh(x) ** 2 },
          exp: { f: Math.exp, df: Math.exp },
        };
        const { y, dy } = student(kinds.map((kind: Kind) => known[kind]), t);
        return { y, dt: dy };
      },
      attempt: ({ kinds, t }, made) => {
        const { y, dy } = run(kinds, t, made);
        return { y, dt: dy };
      },
      mistakes: [
        {
          id: "at-t",
          says: "You took every step's derivative at t.",
          hint: "Each df belongs to the number that this step was given.",
          hides: ["at-output"],
        },
        {
          id: "at-output",
          says: "You took each step's derivative at its output.",
          hint: "df wants the number that enters the step. Is y already the new value when you call df?",
        },
        {
          id: "overwritten",
          says: "Your dy is the last step's slope alone: each step overwrites it.",
          hint: "= or *=?",
          hides: ["sum"],
        },
        { id: "sum", says: "You added the slopes.", hint: "Rates of change compose by multiplication." },
        { id: "reversed", says: "You ran the list from its end.", hint: "steps[0] takes t." },
        { id: "last-missing", says: "The last step's slope is missing.", hint: "A chain of n steps has n factors." },
      ],
      linear: [],
      forward: ({ kinds, t }) => run(kinds, t, () => false).y,
    }),
  ],
  after: [
    {
      type: "markdown",
      source:
        "The document's two points, $t = 0$ and $t = 1$: formula against centred difference, in both orders. (At $t = 1$ the slope of " +
        "$f(g(t))$ changes so fast that a step of $10^{-5}$ gives it to four digits only.) Then the error of the centred difference against its step. With large steps the curve bends away from the tangent, an error that grows as $s^2$; with small " +
        "steps two nearly equal numbers are subtracted and their last digits are noise, an error that grows as $10^{-16}/s$. The best step " +
        "in double precision lies near $10^{-5}$.",
    },
    {
      type: "code",
      source: [
        "const fg = (t: number) => Math.sin(Math.exp(3 * t) ** 2);",
        "const gf = (t: number) => Math.exp(3 * Math.sin(t ** 2));",
        "table([0, 1].flatMap((t) => [",
        '  { t, function: "f(g(t))", formula: derivativeFG(t), difference: centredDifference(fg, t, 1e-5) },',
        '  { t, function: "g(f(t))", formula: derivativeGF(t), difference: centredDifference(gf, t, 1e-5) },',
        "]), undefined, 9);",
      ].join("\n"),
    },
    {
      type: "code",
      source: [
        "const stepSizes = Array.from({ length: 45 }, (_, i) => 10 ** (-11 + i / 4));",
        "const errors = stepSizes.map((s) => Math.abs(centredDifference(gf, 0.7, s) - derivativeGF(0.7)));",
        'lines(stepSizes, errors, {',
        '  title: "Error of the centred difference", x: "step s", y: "absolute error", logX: true, logY: true,',
        "});",
      ].join("\n"),
    },
  ],
});
