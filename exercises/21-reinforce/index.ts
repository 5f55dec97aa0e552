/** Exercise 21: the score-function estimator, its baselines, and 10,000 samples against the exact value. */
import { rng, type Rng } from "gradbook";
import { defineExercise, part } from "../autograder/spec";

const sigma = (theta: number): number => 1 / (1 + Math.exp(-theta));
const mean = (list: readonly number[]): number => list.reduce((a, b) => a + b, 0) / list.length;

/** θ away from 0, where p = 1/2 would hide which side is which. */
const drawTheta = (random: Rng, instance: number): number => (instance % 2 ? 1 : -1) * (0.4 + random.uniform());

/** N tosses with both faces among them, and costs that differ from toss to toss. */
function drawTosses(random: Rng, instance: number) {
  const theta = drawTheta(random, instance);
  const N = [8, 12, 9, 25][instance % 4];
  const z = Array.from({ length: N }, (_, i) => (i < 2 ? i : Number(random.uniform() < sigma(theta))));
  return { theta, z, losses: z.map((face) => 2 * face + 1 + random.normal()) };
}

const drawCosts = (random: Rng, instance: number) => ({ theta: drawTheta(random, instance), l0: random.normal(), l1: 2 + random.normal() });

export default defineExercise({
  id: "reinforce",
  number: 21,
  title: "REINFORCE: a gradient through a coin toss",
  source: "math-for-llms, sections 2.5 and 8.3 and exercise 8 (a) to (c)",
  minutes: 25,
  goal: "You can estimate the gradient of an expectation without differentiating through the sample, and lower its variance without biasing it.",
  withholds: ["reinforce", "exactPolicyGradient", "softmaxScore", "softmaxFisher"],
  hints: [
    "p depends on θ with slope p (1 − p), and E[L] is linear in p.",
    "estimate: the score of toss i is z_i − p, whatever the cost is. Multiply, add, divide by N.",
    "bestBaseline: E[s²] = p (1 − p)² + (1 − p) p². Weigh each cost by its term of that sum.",
    "leaveOneOut: with the total of all costs at hand, the mean of the others is (total − L_i) / (N − 1).",
    "sampledGradient: z = random.uniform() < p ? 1 : 0.",
  ],
  parts: [
    part({
      name: "exact",
      points: 2,
      entry: "exactGradient",
      draw: drawCosts,
      call: (student, { theta, l0, l1 }) => ({ dtheta: student(theta, l0, l1) }),
      attempt: ({ theta, l0, l1 }, made) => {
        const p = sigma(theta);
        const slope = made("no-slope") ? 1 : made("slope-p") ? p : p * (1 - p);
        const change = made("only-heads") ? l1 : l1 - l0;
        if (made("expectation")) return { dtheta: p * l1 + (1 - p) * l0 };
        return { dtheta: made("sign") ? -slope * change : slope * change };
      },
      mistakes: [
        { id: "expectation", says: "You returned the expected cost itself.", hint: "How does it change with θ?", hides: ["*"] },
        { id: "no-slope", says: "You differentiated by p; θ sits inside σ.", hint: "dp/dθ = p (1 − p).", hides: ["slope-p"] },
        { id: "slope-p", says: "You used p as the slope of σ.", hint: "σ' = σ (1 − σ)." },
        { id: "only-heads", says: "The cost of z = 0 is left out.", hint: "When p grows, 1 − p shrinks: l0 enters with a minus." },
        { id: "sign", says: "The sign is wrong.", hint: "Raising θ makes z = 1 likelier, so the expected cost moves towards l1." },
      ],
      forward: ({ theta, l0, l1 }) => (1 - sigma(theta)) * l0 + sigma(theta) * l1,
    }),
    part({
      name: "estimator",
      points: 2,
      entry: "estimate",
      draw: (random, instance) => ({ ...drawTosses(random, instance), b: 1 + random.uniform() }),
      call: (student, { theta, z, losses, b }) => ({ gradient: student(theta, z, losses, b) }),
      attempt: ({ theta, z, losses, b }, made) => {
        const p = sigma(theta);
        const base = made("no-baseline") ? 0 : made("baseline-added") ? -b : b;
        const score = (face: number): number => {
          if (made("log-probability")) return Math.log(face ? p : 1 - p);
          if (made("score-in-p")) return face ? 1 / p : -1 / (1 - p);
          return made("score-z") ? face : made("score-heads") ? 1 - p : face - p;
        };
        const terms = z.map((face, i) => (losses[i] - base) * score(face));
        return { gradient: (made("sign") ? -1 : 1) * (made("sum") ? terms.length : 1) * mean(terms) };
      },
      mistakes: [
        { id: "no-baseline", says: "The baseline is not subtracted.", hint: "(L − b) times the score.", hides: ["baseline-added"] },
        { id: "baseline-added", says: "You added the baseline.", hint: "It is subtracted: only what is worse or better than b counts." },
        { id: "sign", says: "The sign is wrong: it is a gradient of the cost, not of a reward.", hint: "A step against your result should lower the cost." },
        { id: "sum", says: "You summed over the samples; asked is their mean.", hint: "An expectation is estimated by 1/N Σ." },
        {
          id: "log-probability",
          says: "You multiplied by log p(z); asked is its derivative by θ.",
          hint: "The score is the slope of the log-probability: z − p.",
          hides: ["score-in-p", "score-z", "score-heads"],
        },
        {
          id: "score-in-p",
          says: "You differentiated log p(z) by p, not by θ.",
          hint: "One factor is missing: dp/dθ = p (1 − p).",
          hides: ["score-z", "score-heads"],
        },
        { id: "score-z", says: "You used z itself as the score.", hint: "∇ log p(z) = z − p: tails have a score too.", hides: ["score-heads"] },
        { id: "score-heads", says: "Every toss got the score of heads, 1 − p.", hint: "Where z = 0 the score is −p." },
      ],
      noDifferences: "The samples are fixed, so nothing here can be differentiated by θ; the mean over all samples can (part 1).",
    }),
    part({
      name: "best baseline",
      points: 2,
      entry: "bestBaseline",
      draw: drawCosts,
      call: (student, { theta, l0, l1 }) => ({ b: student(theta, l0, l1) }),
      attempt: ({ theta, l0, l1 }, made) => {
        const p = sigma(theta);
        if (made("mean-cost")) return { b: p * l1 + (1 - p) * l0 };
        const weight1 = made("unlikely") ? (1 - p) ** 2 : made("score-not-squared") ? p * (1 - p) : p * (1 - p) ** 2;
        const weight0 = made("unlikely") ? p ** 2 : made("score-not-squared") ? (1 - p) * p : (1 - p) * p ** 2;
        const sum = weight1 * l1 + weight0 * l0;
        return { b: made("not-normalised") ? sum : sum / (weight1 + weight0) };
      },
      mistakes: [
        { id: "mean-cost", says: "You returned the mean cost E[L]; the best baseline weighs the costs by s².", hint: "A rare face has a large score: its cost matters more.", hides: ["*"] },
        { id: "not-normalised", says: "The division by E[s²] is missing.", hint: "With l0 = l1 = 1 the best baseline is 1." },
        { id: "unlikely", says: "You left out how likely each face is.", hint: "E[s²] = p (1 − p)² + (1 − p) p².", hides: ["score-not-squared"] },
        { id: "score-not-squared", says: "You weighed the costs by |s|, not by s².", hint: "A variance holds squares." },
      ],
    }),
    part({
      name: "leave one out",
      points: 2,
      entry: "leaveOneOut",
      draw: drawTosses,
      call: (student, { theta, z, losses }) => ({ gradient: student(theta, z, losses) }),
      attempt: ({ theta, z, losses }, made) => {
        const p = sigma(theta);
        const N = z.length;
        const total = losses.reduce((a, b) => a + b, 0);
        const base = (i: number): number =>
          made("no-baseline") ? 0 : made("own-cost") ? total / N : (total - losses[i]) / (made("not-divided") ? 1 : made("divided-by-n") ? N : N - 1);
        const terms = z.map((face, i) => (losses[i] - base(i)) * (face - p));
        const factor = made("sum") ? N : made("mean-of-others") ? N / (N - 1) : 1;
        return { gradient: (made("sign") ? -1 : 1) * factor * mean(terms) };
      },
      mistakes: [
        {
          id: "no-baseline",
          says: "There is no baseline.",
          hint: "Each sample's baseline is the mean cost of the others.",
          hides: ["own-cost", "divided-by-n", "not-divided"],
        },
        {
          id: "own-cost",
          says: "Your baseline is the mean of all costs, the sample's own included: that shrinks the estimate by (N − 1) / N.",
          hint: "A baseline may not depend on its own sample.",
          hides: ["divided-by-n", "not-divided"],
        },
        { id: "not-divided", says: "Your baseline is the sum of the other costs, not their mean.", hint: "There are N − 1 others.", hides: ["divided-by-n"] },
        { id: "divided-by-n", says: "There are N − 1 other samples; you divided their sum by N.", hint: "A mean divides by how many it adds." },
        { id: "sign", says: "The sign is wrong: what costs more than the others counts as positive.", hint: "L_i − b_i, times z_i − p." },
        { id: "sum", says: "You summed over the samples; asked is their mean.", hint: "An expectation is estimated by 1/N Σ.", hides: ["mean-of-others"] },
        { id: "mean-of-others", says: "You divided the whole sum by N − 1.", hint: "N − 1 belongs to the baseline; the estimate is a mean over all N samples." },
      ],
      // The mean of all costs as baseline and N − 1 below the sum: another way to write what is asked.
      equivalent: ["none = own-cost + mean-of-others"],
      noDifferences: "The samples are fixed, so nothing here can be differentiated by θ.",
    }),
    part({
      name: "10,000 samples",
      points: 2,
      entry: "sampledGradient",
      draw: (random, instance) => ({ theta: drawTheta(random, instance), N: 10_000, seed: random.integer(0, 1_000_000) }),
      call: (student, { theta, N, seed }) => ({ gradient: student(theta, N, rng(seed)) }),
      attempt: ({ theta, N }, made) => {
        const p = sigma(theta);
        const q = made("theta-for-p") ? Math.min(Math.max(theta, 0), 1) : made("other-face") ? 1 - p : p;
        const exact = q * (1 - p);
        return { gradient: (made("sign") ? -1 : 1) * (made("sum") ? N : 1) * exact };
      },
      mistakes: [
        { id: "sign", says: "The sign is wrong: z = 1 costs more, and a larger θ makes it likelier.", hint: "Use your `estimate`." },
        { id: "sum", says: "You summed over the samples; asked is their mean.", hint: "Use your `estimate`." },
        { id: "theta-for-p", says: "You tossed with probability θ, not σ(θ).", hint: "θ may be negative; p = σ(θ).", hides: ["other-face"] },
        { id: "other-face", says: "Your coin shows 1 with probability 1 − p.", hint: "uniform() < p happens with probability p." },
      ],
      statistical: {
        // Var[z² s] = E[z (1 − p)²] − (p (1 − p))² = p (1 − p)³.
        standardErrors: ({ theta, N }) => {
          const p = sigma(theta);
          return { gradient: Math.sqrt((p * (1 - p) ** 3) / N) };
        },
      },
      noDifferences: "A sampled estimate differs from run to run; it is compared with the exact value of part 1.",
    }),
  ],
  after: [
    {
      type: "markdown",
      source:
        "Exercise 8 (c) first: one estimate from 10,000 tosses for $L = z^2$. Then the baselines: one estimate from 20 tosses, a thousand times, for $L(0) = 2$, $L(1) = 3$: all three have the same mean, the exact gradient. " +
        "The baseline decides how far they scatter; where a coin has two costs only, the best one leaves no scatter at all.",
    },
    {
      type: "code",
      source: [
        "const random = rng(21);",
        "const [theta, l0, l1] = [0.8, 2, 3];",
        "const p = 1 / (1 + Math.exp(-theta));",
        "const sampled = sampledGradient(theta, 1e4, random);",
        'console.log("L = z²: exact", exactGradient(theta, 0, 1).toFixed(4), " from 10,000 tosses", sampled.toFixed(4));',
        "const toss = () => (random.uniform() < p ? 1 : 0);",
        "const runs = Array.from({ length: 1000 }, () => Array.from({ length: 20 }, toss));",
        "const costs = (z: number[]) => z.map((face) => (face ? l1 : l0));",
        "const exact = exactGradient(theta, l0, l1).toFixed(4);",
        "histogram({",
        '  "no baseline": runs.map((z) => estimate(theta, z, costs(z), 0)),',
        '  "leave one out": runs.map((z) => leaveOneOut(theta, z, costs(z))),',
        '  "best baseline": runs.map((z) => estimate(theta, z, costs(z), bestBaseline(theta, l0, l1))),',
        "}, { title: `A thousand estimates; exact is ${exact}`, x: \"estimate of the gradient\" });",
      ].join("\n"),
    },
  ],
});
