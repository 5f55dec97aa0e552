/** Exercise 14: forward and reverse mode on a tape, the cheaper way to a Jacobian, and the Hessian times a vector. */
import { randn, tensor, type Rng, type Tensor } from "gradbook";
import { defineExercise, part } from "../autograder/spec";

type Entry = { op: "input" } | { op: "add" | "mul"; a: number; b: number } | { op: "exp" | "sin"; a: number };
type Tape = readonly Entry[];

function evaluate(tape: Tape, x: ArrayLike<number>): number[] {
  const v: number[] = [];
  for (const entry of tape) {
    if (entry.op === "input") v.push(x[v.length]);
    else if (entry.op === "add") v.push(v[entry.a] + v[entry.b]);
    else if (entry.op === "mul") v.push(v[entry.a] * v[entry.b]);
    else v.push(entry.op === "exp" ? Math.exp(v[entry.a]) : Math.sin(v[entry.a]));
  }
  return v;
}

type SlopeMistake = "mul-own" | "exp-input" | "sin-cos" | "sin-negative";

/** The operands of an entry with its slope by each. */
function slopes(entry: Entry, v: readonly number[], made: (mistake: SlopeMistake) => boolean): [operand: number, slope: number][] {
  switch (entry.op) {
    case "input": return [];
    case "add": return [[entry.a, 1], [entry.b, 1]];
    case "mul":
      return made("mul-own") ? [[entry.a, v[entry.a]], [entry.b, v[entry.b]]] : [[entry.a, v[entry.b]], [entry.b, v[entry.a]]];
    case "exp": return [[entry.a, made("exp-input") ? v[entry.a] : Math.exp(v[entry.a])]];
    case "sin": return [[entry.a, (made("sin-negative") ? -1 : 1) * (made("sin-cos") ? Math.sin : Math.cos)(v[entry.a])]];
  }
}

/** The tangents of those slopes, in the same order. */
function slopeTangents(entry: Entry, v: readonly number[], dot: readonly number[]): number[] {
  switch (entry.op) {
    case "input": return [];
    case "add": return [0, 0];
    case "mul": return [dot[entry.b], dot[entry.a]];
    case "exp": return [Math.exp(v[entry.a]) * dot[entry.a]];
    case "sin": return [-Math.sin(v[entry.a]) * dot[entry.a]];
  }
}

function push(
  tape: Tape, v: readonly number[], dx: ArrayLike<number>,
  made: (mistake: SlopeMistake | "one-operand" | "product-of-tangents") => boolean,
): number[] {
  const dot: number[] = [];
  tape.forEach((entry, i) => {
    const all = slopes(entry, v, made);
    if (entry.op === "input") dot.push(dx[i]);
    else if (entry.op === "mul" && made("product-of-tangents")) dot.push(dot[entry.a] * dot[entry.b]);
    else dot.push((made("one-operand") ? all.slice(0, 1) : all).reduce((sum, [p, s]) => sum + s * dot[p], 0));
  });
  return dot;
}

function pull(
  tape: Tape, v: readonly number[], outputs: readonly number[], dy: ArrayLike<number>,
  made: (mistake: SlopeMistake | "overwritten" | "forwards" | "seed-overwritten") => boolean,
): number[] {
  const bar = tape.map(() => 0);
  outputs.forEach((position, k) => (bar[position] = (made("seed-overwritten") ? 0 : bar[position]) + dy[k]));
  const order = tape.map((_, i) => i);
  for (const i of made("forwards") ? order : order.reverse()) {
    for (const [p, s] of slopes(tape[i], v, made)) bar[p] = (made("overwritten") ? 0 : bar[p]) + s * bar[i];
  }
  return bar;
}

type HvpMistake = "curvature-missing" | "mul-curvature" | "mul-own-tangent" | "sin-sign" | "not-carried" | "overwritten" | "gradient";

function hessianTimes(
  tape: Tape, x: ArrayLike<number>, direction: ArrayLike<number>, made: (mistake: HvpMistake) => boolean,
): Tensor {
  const v = evaluate(tape, x);
  const dot = push(tape, v, direction, () => false);
  const bar = tape.map(() => 0);
  const dotBar = tape.map(() => 0);
  bar[tape.length - 1] = 1;
  for (let i = tape.length - 1; i >= 0; i--) {
    const entry = tape[i];
    const ofSlopes = slopeTangents(entry, v, dot);
    if (made("mul-own-tangent") && entry.op === "mul") ofSlopes.reverse();
    const tangents = ofSlopes.map((t) =>
      made("curvature-missing") && entry.op !== "mul" ? 0
        : made("mul-curvature") && entry.op === "mul" ? 0
        : made("sin-sign") && entry.op === "sin" ? -t : t);
    slopes(entry, v, () => false).forEach(([p, s], k) => {
      bar[p] += s * bar[i];
      const share = (made("not-carried") ? 0 : s * dotBar[i]) + tangents[k] * bar[i];
      dotBar[p] = (made("overwritten") ? 0 : dotBar[p]) + share;
    });
  }
  return tensor((made("gradient") ? bar : dotBar).slice(0, direction.length));
}

/** A tape of n inputs that uses every operation at least twice, with values below 4 and shared entries. */
function drawTape(random: Rng, n: number, curved = false): { tape: Entry[]; x: Tensor } {
  for (;;) {
    const tape: Entry[] = Array.from({ length: n }, () => ({ op: "input" }));
    const x = tensor(Array.from({ length: n }, () => (0.4 + 0.8 * random.uniform()) * (random.uniform() < 0.5 ? -1 : 1)));
    const unused = new Set(tape.map((_, i) => i));
    const pick = (): number => {
      const fresh = [...unused];
      return fresh.length > 0 && random.uniform() < 0.6 ? fresh[random.integer(0, fresh.length)] : random.integer(0, tape.length);
    };
    const bag = random.shuffle<"add" | "mul" | "exp" | "sin">(["add", "add", "mul", "mul", "mul", "exp", "exp", "sin", "sin"]);
    // In the end everything is used: what is left over is multiplied up.
    while (bag.length > 0 || unused.size > 1) {
      const op = bag.pop() ?? "mul";
      const a = bag.length === 0 && op === "mul" && unused.size > 1 ? [...unused][0] : pick();
      const b = bag.length === 0 && unused.size > 1 ? [...unused].at(-1)! : pick();
      const entry: Entry = op === "add" || op === "mul" ? { op, a, b } : { op, a };
      unused.delete(a);
      if (op === "add" || op === "mul") unused.delete(b);
      unused.add(tape.push(entry) - 1);
    }
    const v = evaluate(tape, x.data);
    const adjoints = pull(tape, v, [tape.length - 1], [1], () => false);
    const lively = v.every((value) => Math.abs(value) > 0.05 && Math.abs(value) < 4)
      && adjoints.every((g) => Math.abs(g) > 0.02 && Math.abs(g) < 40);
    if (!lively) continue;
    const h = hessianTimes(tape, x.data, x.data.map(() => 1), () => false).abs();
    if (!curved || (h.max().item() > 0.3 && h.max().item() < 300)) return { tape, x };
  }
}

const withValues = ({ tape, x }: { tape: Tape; x: Tensor }) => ({ tape, x, values: evaluate(tape, x.data) });

const slopeMistakes = [
  { id: "mul-own", says: "In a product each factor's slope is the factor itself.", hint: "Differentiate a · b by a." },
  { id: "exp-input", says: "The slope of exp is not its input.", hint: "The exponential is its own derivative." },
  { id: "sin-cos", says: "You used the sine as its own slope.", hint: "The derivative of the sine is the cosine." },
  { id: "sin-negative", says: "The slope of the sine has the wrong sign.", hint: "The derivative of the sine is +cos; only the cosine's has a minus." },
] as const;

export default defineExercise({
  id: "tape-vjp-jvp",
  number: 14,
  title: "The tape: VJP against JVP, and Hessian times vector",
  source: 'math-for-llms, sections 2.3 and 8.4, appendices B and C and common mistakes 7 and 11; reference, "Jacobians and Automatic Differentiation"',
  minutes: 30,
  goal: "You can run a tape forwards and backwards, choose the mode with fewer passes, and multiply by a Hessian without forming it.",
  hints: [
    "tapeJvp: one loop forwards. An input's tangent is dx[i]; every other entry's is the sum of slope · tangent over its operands.",
    "tapeVjp: an array of zeros, plus dy[k] at outputs[k]; then one loop backwards in which every entry adds slope · its adjoint to its operands.",
    "fullJacobian: pull(unit vector) gives a row and there are m of them; push(unit vector) gives a column and there are n. Compare m and n.",
    "tapeHvp: call tapeJvp for the tangents first. Then the loop of tapeVjp with two arrays, bar and dotBar; bar starts with 1 at the last entry, dotBar with zeros.",
    "In that loop, for an operand with slope s and slope tangent t: bar[operand] += s · bar[i] and dotBar[operand] += s · dotBar[i] + t · bar[i].",
  ],
  parts: [
    part({
      name: "forward mode",
      points: 2,
      entry: "tapeJvp",
      draw: (random, instance) => {
        const drawn = withValues(drawTape(random, [3, 2, 4, 5][instance % 4]));
        return { ...drawn, dx: randn([drawn.x.size], random) };
      },
      call: (student, { tape, values, dx }) => ({ tangents: student(tape, [...values], Array.from(dx.data)) }),
      attempt: ({ tape, values, dx }, made) => ({ tangents: tensor(push(tape, values, dx.data, made as (mistake: string) => boolean)) }),
      mistakes: [
        ...slopeMistakes,
        {
          id: "one-operand",
          says: "You followed each entry's first operand only.",
          hint: "A sum and a product move with both of their operands.",
        },
        {
          id: "product-of-tangents",
          says: "For a product you multiplied the tangents.",
          hint: "The product rule: one factor's tangent times the other factor, and the other way round.",
          hides: ["mul-own"],
        },
      ],
      cotangent: "dx",
      linear: ["tangents"],
      differences: ({ tape, x, dx }) => {
        const at = (h: number): Tensor => tensor(evaluate(tape, x.add(dx.mul(h)).data));
        const h = 1e-3;
        return { tangents: at(h).sub(at(-h)).mul(8).sub(at(2 * h).sub(at(-2 * h))).div(12 * h) };
      },
    }),
    part({
      name: "reverse mode",
      points: 3,
      entry: "tapeVjp",
      draw: (random, instance) => {
        const drawn = withValues(drawTape(random, [3, 2, 4, 5][instance % 4]));
        const last = drawn.tape.length - 1;
        // One entry of each curved operation, the last one, and the last one again.
        const ofEach = ["mul", "exp", "sin"].map((op) => drawn.tape.findLastIndex((entry) => entry.op === op));
        return { ...drawn, outputs: [...ofEach, last, last], dy: randn([5], random) };
      },
      call: (student, { tape, values, outputs, dy }) => ({ adjoints: student(tape, [...values], [...outputs], Array.from(dy.data)) }),
      attempt: ({ tape, values, outputs, dy }, made) => ({ adjoints: tensor(pull(tape, values, outputs, dy.data, made as (mistake: string) => boolean)) }),
      mistakes: [
        {
          id: "forwards",
          says: "You walked the tape from its beginning.",
          hint: "An adjoint is complete when everything made from it has sent its share: start at the end.",
        },
        { id: "overwritten", says: "Where an entry is used twice, the second share overwrites the first.", hint: "= or +=?" },
        {
          id: "seed-overwritten",
          says: "Where an entry is an output twice, only the last gradient counts.",
          hint: "Gradients of the same entry add up, at the outputs too.",
        },
        ...slopeMistakes,
      ],
      cotangent: "dy",
      linear: ["adjoints"],
      differences: ({ tape, values, outputs, dy }) => {
        // Entry i and all that is made from it, with entry i moved by h.
        const loss = (i: number, h: number): number => {
          const v = [...values];
          for (let j = i; j < tape.length; j++) {
            const entry = tape[j];
            if (j === i) v[j] += h;
            else if (entry.op !== "input") {
              v[j] = entry.op === "add" ? v[entry.a] + v[entry.b] : entry.op === "mul" ? v[entry.a] * v[entry.b]
                : entry.op === "exp" ? Math.exp(v[entry.a]) : Math.sin(v[entry.a]);
            }
          }
          return outputs.reduce((sum, position, k) => sum + dy.data[k] * v[position], 0);
        };
        const h = 1e-3;
        return {
          adjoints: tensor(tape.map((_, i) => (8 * (loss(i, h) - loss(i, -h)) - (loss(i, 2 * h) - loss(i, -2 * h))) / (12 * h))),
        };
      },
    }),
    part({
      name: "the cheaper Jacobian",
      points: 2,
      entry: "fullJacobian",
      draw: (random, instance) => {
        const [m, n] = [[3, 3], [2, 5], [6, 2], [1, 7]][instance % 4];
        return { M: randn([m, n], random) };
      },
      call: (student, { M }) => {
        const [m, n] = M.shape;
        const rows: number[][] = M.toArray();
        let passes = 0;
        const f = {
          n,
          m,
          push: (dx: number[]) => {
            passes++;
            return rows.map((row) => row.reduce((sum, value, j) => sum + value * dx[j], 0));
          },
          pull: (dy: number[]) => {
            passes++;
            return Array.from({ length: n }, (_, j) => rows.reduce((sum, row, i) => sum + row[j] * dy[i], 0));
          },
        };
        return { jacobian: student(f), passes };
      },
      attempt: ({ M }, made) => {
        const [m, n] = M.shape;
        const passes = made("always-push") ? n : made("always-pull") ? m : made("dearer") ? Math.max(m, n) : Math.min(m, n);
        return { jacobian: made("transposed") ? M.T : M, passes };
      },
      mistakes: [
        { id: "transposed", says: "Your Jacobian is transposed.", hint: "A row for each result, a column for each input." },
        {
          id: "always-push",
          says: "You always pushed: with fewer results than inputs that is the dear way.",
          hint: "How many passes would it take with one result and a billion inputs?",
          hides: ["always-pull", "dearer"],
        },
        {
          id: "always-pull",
          says: "You always pulled: with fewer inputs than results that is the dear way.",
          hint: "How many passes would it take with one input and a thousand results?",
          hides: ["dearer"],
        },
        { id: "dearer", says: "You chose the mode with more passes.", hint: "A pull gives a row. Are there fewer rows or fewer columns?" },
      ],
      linear: [],
      atMost: ["passes"],
      noDifferences: "The function is linear; its matrix is known.",
    }),
    part({
      name: "Hessian times vector",
      points: 3,
      entry: "tapeHvp",
      draw: (random, instance) => {
        const drawn = withValues(drawTape(random, [3, 2, 4, 5][instance % 4], true));
        return { ...drawn, v: randn([drawn.x.size], random) };
      },
      call: (student, { tape, values, v }) => ({ Hv: student(tape, [...values], Array.from(v.data)) }),
      attempt: ({ tape, x, v }, made) => ({ Hv: hessianTimes(tape, x.data, v.data, made) }),
      mistakes: [
        {
          id: "gradient",
          says: "You returned the gradient, without the vector in it.",
          hint: "Hv is linear in v; the gradient does not know v.",
          hides: ["*"],
        },
        {
          id: "curvature-missing",
          says: "For exp and sin the tangent of the slope is missing.",
          hint: "Their slopes depend on the input, so they move along with it.",
          hides: ["sin-sign"],
        },
        {
          id: "mul-curvature",
          says: "For products the tangent of the slope is missing.",
          hint: "The slope of a product by one factor is the other factor, and that moves.",
          hides: ["mul-own-tangent"],
        },
        {
          id: "mul-own-tangent",
          says: "For products each factor's slope moves with the factor itself.",
          hint: "The slope of a product by one factor is the other factor: whose tangent is that slope's?",
        },
        { id: "sin-sign", says: "The tangent of the sine's slope has the wrong sign.", hint: "The derivative of the cosine is minus the sine." },
        {
          id: "not-carried",
          says: "You did not send dotBar on to the operands.",
          hint: "The product rule has two terms: slope times dotBar, and the slope's tangent times bar.",
        },
        { id: "overwritten", says: "Where an entry is used twice, the second share overwrites the first.", hint: "= or +=?" },
      ],
      cotangent: "v",
      linear: ["Hv"],
      differences: ({ tape, x, v }) => {
        const gradient = (h: number): Tensor => {
          const at = evaluate(tape, x.add(v.mul(h)).data);
          return tensor(pull(tape, at, [tape.length - 1], [1], () => false).slice(0, x.size));
        };
        const h = 1e-3;
        return { Hv: gradient(h).sub(gradient(-h)).mul(8).sub(gradient(2 * h).sub(gradient(-2 * h))).div(12 * h) };
      },
    }),
  ],
  after: [
    {
      type: "markdown",
      source:
        "The document's tape, $f(x) = e^x (x + 1)$ at $x = 1$ (the constant 1 is a second input here): $f' = (x + 2)e^x$ and $f'' = (x + 3)e^x$. Then the passes that a whole Jacobian takes, " +
        "by the number of inputs and results. A neural network with a scalar loss lives in the last row.",
    },
    {
      type: "code",
      source: [
        "const tape: Entry[] = [",
        '  { op: "input" }, { op: "input" }, { op: "exp", a: 0 }, { op: "add", a: 0, b: 1 }, { op: "mul", a: 2, b: 3 },',
        "];",
        "const values = runTape(tape, [1, 1]);",
        'console.log("adjoints", tapeVjp(tape, values, [4], [1]), " (x + 2) exp x =", 3 * Math.E);',
        'console.log("f\'\'     ", tapeHvp(tape, values, [1, 0])[0], " (x + 3) exp x =", 4 * Math.E);',
        "",
        "table([[1, 1000], [10, 10], [1000, 1], [7e9, 1]].map(([n, m]) => ({",
        '  "inputs n": n, "results m": m, "forward passes": n, "reverse passes": m,',
        '  use: m <= n ? "reverse (VJP)" : "forward (JVP)",',
        "})));",
      ].join("\n"),
    },
    {
      type: "markdown",
      source:
        "What a product with the Hessian is good for: power iteration finds its largest eigenvalue, the curvature of the sharpest direction, from nothing but `tapeHvp`. " +
        "Here for $f = \\sin(x_1 x_2) + e^{x_1}$.",
    },
    {
      type: "code",
      source: [
        "const bumpy: Entry[] = [",
        '  { op: "input" }, { op: "input" }, { op: "mul", a: 0, b: 1 }, { op: "sin", a: 2 },',
        '  { op: "exp", a: 0 }, { op: "add", a: 3, b: 4 },',
        "];",
        "const at = runTape(bumpy, [0.5, -1]);",
        "let direction = [0, 1];",
        "const estimates: number[] = [];",
        "for (let i = 0; i < 8; i++) {",
        "  const Hd = tapeHvp(bumpy, at, direction);",
        "  estimates.push(Hd[0] * direction[0] + Hd[1] * direction[1]);",
        "  direction = Hd.map((value) => value / Math.hypot(...Hd));",
        "}",
        'const title = "Power iteration on the Hessian";',
        'lines(undefined, estimates, { title, x: "iteration", y: "estimated eigenvalue", markers: true });',
      ].join("\n"),
    },
  ],
});
