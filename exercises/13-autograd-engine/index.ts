/** Exercise 13: a scalar autograd engine, graded on expressions with and without sharing. */
import { tensor, type Rng, type Tensor } from "gradbook";
import { defineExercise, part } from "../autograder/spec";

/** One operation of a program: its operands are positions among the leaves and the operations before it. */
type Operation =
  | { op: "add" | "mul"; a: number; b: number }
  | { op: "add-number" | "mul-number" | "pow"; a: number; by: number }
  | { op: "exp" | "tanh" | "relu"; a: number };
type Args = { leaves: Tensor; program: readonly Operation[] };

const operands = (operation: Operation): number[] => ("b" in operation ? [operation.a, operation.b] : [operation.a]);

function evaluate({ leaves, program }: Args): number[] {
  const v = Array.from(leaves.data as Float64Array);
  for (const operation of program) v.push(apply(operation, v));
  return v;
}

function apply(operation: Operation, v: readonly number[]): number {
  const x = v[operation.a];
  switch (operation.op) {
    case "add": return x + v[operation.b];
    case "mul": return x * v[operation.b];
    case "add-number": return x + operation.by;
    case "mul-number": return x * operation.by;
    case "pow": return x ** operation.by;
    case "exp": return Math.exp(x);
    case "tanh": return Math.tanh(x);
    case "relu": return Math.max(0, x);
  }
}

type EngineMistake =
  | "no-seed" | "upstream-ignored" | "mul-own" | "pow-exponent" | "pow-factor" | "exp-input" | "tanh-input" | "tanh-not-squared" | "relu-gradient" | "relu-value"
  | "overwritten" | "first-only" | "not-reversed" | "breadth-first" | "preorder" | "no-visited";

/** What each operand's adjoint gets when its result has the adjoint g. */
function sendBack(operation: Operation, v: readonly number[], g: number, made: (mistake: EngineMistake) => boolean): number[] {
  const x = v[operation.a];
  const up = made("upstream-ignored") ? 1 : g;
  switch (operation.op) {
    case "add": return [up, up];
    case "mul": return made("mul-own") ? [up * x, up * v[operation.b]] : [up * v[operation.b], up * x];
    case "add-number": return [up];
    case "mul-number": return [up * (made("mul-own") ? x : operation.by)];
    case "pow": return [up * (made("pow-factor") ? 1 : operation.by) * x ** (operation.by - (made("pow-exponent") ? 0 : 1))];
    case "exp": return [up * (made("exp-input") ? x : Math.exp(x))];
    case "tanh": return [up * (1 - (made("tanh-input") ? x : Math.tanh(x)) ** (made("tanh-not-squared") ? 1 : 2))];
    case "relu": return [made("relu-gradient") ? Math.max(up, 0) : x > 0 ? up * (made("relu-value") ? x : 1) : 0];
  }
}

/** The order in which values send their adjoints on; the values are those of `evaluate`. */
function orderOf({ leaves, program }: Args, made: (mistake: EngineMistake) => boolean): number[] {
  const L = leaves.size;
  const parents = (i: number): number[] => (i < L ? [] : operands(program[i - L]));
  const root = L + program.length - 1;
  const seen = new Set<number>();
  const order: number[] = [];
  if (made("breadth-first")) {
    const queue = [root];
    seen.add(root);
    for (const i of queue) for (const p of parents(i)) if (!seen.has(p)) queue.push(p), seen.add(p);
    return queue;
  }
  const visit = (i: number): void => {
    if (seen.has(i) && !made("no-visited")) return;
    seen.add(i);
    if (made("preorder")) order.push(i);
    parents(i).forEach(visit);
    if (!made("preorder")) order.push(i);
  };
  visit(root);
  return made("preorder") || made("not-reversed") ? order : order.reverse();
}

/** The value, the adjoints of all operations' results in the program's order, and those of the leaves. */
function differentiate(args: Args, made: (mistake: EngineMistake) => boolean): { y: number; adjoints: Tensor; dleaves: Tensor } {
  const v = evaluate(args);
  const L = args.leaves.size;
  const adjoints = new Float64Array(v.length);
  if (!made("no-seed")) adjoints[v.length - 1] = 1;
  for (const i of orderOf(args, made)) {
    if (i < L) continue;
    const sent = sendBack(args.program[i - L], v, adjoints[i], made);
    operands(args.program[i - L]).forEach((p, k) => {
      if (made("first-only") && adjoints[p] !== 0) return;
      adjoints[p] = made("overwritten") ? sent[k] : adjoints[p] + sent[k];
    });
  }
  return { y: v.at(-1)!, adjoints: tensor(adjoints.slice(L)), dleaves: tensor(adjoints.slice(0, L)) };
}

const kinkOf = (args: Args): number => {
  const v = evaluate(args);
  return Math.min(Infinity, ...args.program.map((operation) => (operation.op === "relu" ? Math.abs(v[operation.a]) : Infinity)));
};

/**
 * A program that holds every operation. "tree" uses each value once, "leaves" each leaf twice, "all" also the values in between.
 * Values stay between 0.05 and 6 in size and no gradient is lost in them.
 */
function drawProgram(random: Rng, sharing: "tree" | "leaves" | "all"): Args {
  for (;;) {
    const L = 5;
    const leaves = tensor(Array.from({ length: L }, () => (0.4 + random.uniform()) * (random.uniform() < 0.5 ? -1 : 1)));
    const program: Operation[] = [];
    const pool = Array.from({ length: sharing === "tree" ? L : 2 * L }, (_, i) => i % L);
    const push = (operation: Operation): void => void pool.push(L + program.push(operation) - 1);
    const take = (): number => pool.splice(random.integer(0, pool.length), 1)[0];
    const unary = random.shuffle<Operation["op"]>(["pow", "exp", "tanh", "relu", "relu", "add-number", "mul-number"]);
    let kept = 0;
    while (unary.length > 0 || pool.length > 1) {
      if (unary.length > 0 && (pool.length < 2 || random.uniform() < 0.6)) {
        const op = unary.pop()!;
        const a = take();
        if (op === "exp" || op === "tanh" || op === "relu") push({ op, a });
        else push({ op: op as "pow", a, by: op === "pow" ? 2 + random.integer(0, 2) : 0.5 + random.uniform() });
      } else {
        const [a, b] = [take(), take()];
        push({ op: random.uniform() < 0.5 ? "add" : "mul", a, b });
        if (sharing === "all" && kept < 4 && a >= L) pool.push(a), kept++;
      }
    }
    const args = { leaves, program };
    const values = evaluate(args).slice(L).map(Math.abs);
    const relus = program.filter(({ op }) => op === "relu").map(({ a }) => evaluate(args)[a] > 0);
    const { dleaves } = differentiate(args, () => false);
    const sizes = Array.from(dleaves.data, Math.abs);
    const lively = Math.max(...values) < 6 && relus.includes(true) && relus.includes(false)
      && sizes.filter((g) => g > 0.02).length >= 4 && Math.max(...sizes) < 50;
    if (lively && (sharing !== "all" || kept >= 2)) return args;
  }
}

const noSeed = {
  id: "no-seed" as const,
  says: "All your gradients are 0: the output's own adjoint is missing.",
  hint: "What is the derivative of y by y?",
};

/** Builds the program's expression from the student's class. */
const callWith = (Scalar: any, { leaves, program }: Args): unknown => {
  const inputs = Array.from(leaves.data as Float64Array, (x: number) => new Scalar(x));
  const values: any[] = [...inputs];
  for (const operation of program as readonly any[]) {
    const { op, b, by } = operation;
    const a = values[operation.a];
    if (op === "add") values.push(a.add(values[b]));
    else if (op === "mul") values.push(a.mul(values[b]));
    else if (op === "add-number") values.push(a.add(by));
    else if (op === "mul-number") values.push(a.mul(by));
    else if (op === "pow") values.push(a.pow(by));
    else values.push(a[op]());
  }
  const y = values[values.length - 1];
  y.backward();
  const adjoints = values.map(({ grad }) => grad);
  return { y: y.data, adjoints: adjoints.slice(inputs.length), dleaves: adjoints.slice(0, inputs.length) };
};

const forward = (args: Args): number => evaluate(args).at(-1)!;

/** Doublings, then a chain; wide values are kept near 1. */
function deepProgram(random: Rng, doublings: number, length: number): Args {
  const program: Operation[] = [];
  let last = 0;
  const push = (operation: Operation): void => void (last = program.push(operation));
  for (let i = 0; i < doublings; i++) {
    push({ op: "add", a: last, b: last });
    push({ op: "mul-number", a: last, by: 0.5 });
  }
  for (let i = 0; i < length; i++) {
    if (i % 2 === 0) push({ op: "add-number", a: last, by: random.normal() });
    else push({ op: "mul-number", a: last, by: i % 4 === 1 ? 1.25 : 0.8 });
  }
  return { leaves: tensor([random.normal()]), program };
}

export default defineExercise({
  id: "autograd-engine",
  number: 13,
  title: "An autograd engine: fan-out and topological order",
  source: 'math-for-llms, sections 3.1 to 3.4, appendices C.2, I.1 and I.2 and common mistake 2; handbook, "Computational graphs and memory efficiency"',
  minutes: 30,
  goal: "You can build reverse-mode differentiation from a class that records operations, and say why it needs += and a topological order.",
  withholds: ["topologicalOrder"],
  hints: [
    "Let the constructor take the parents too, and for each parent the local slope, or a function that sends the gradient back. Each operation computes its data and remembers these.",
    "Plain numbers: turn them into a Scalar first, new Scalar(number); nobody will read its grad.",
    "A value's slopes: add 1 and 1; mul the other factor; pow n · x^(n-1); exp its own result; tanh 1 - result²; relu 1 where x > 0.",
    "backward, order: visit(value) goes through the parents first and then puts the value in a list, unless it was there before. The list is a topological order.",
    "backward, sending: set this.grad = 1, walk the list from its end, and for each value do parent.grad += value.grad * slope for every parent.",
  ],
  parts: [
    part({
      name: "operations",
      points: 3,
      entry: "Scalar",
      kind: "class",
      draw: (random) => drawProgram(random, "tree"),
      call: callWith,
      attempt: (args: Args, made) => differentiate(args, made as (mistake: EngineMistake) => boolean),
      mistakes: [
        { ...noSeed, hides: ["mul-own", "pow-exponent", "pow-factor", "exp-input", "tanh-input", "tanh-not-squared", "relu-gradient", "relu-value"] },
        {
          id: "upstream-ignored",
          says: "Your operations send back their slope alone, without the gradient that arrived.",
          hint: "What a value sends to its parents is its own adjoint times the local slope.",
        },
        { id: "mul-own", says: "In a product each factor gets its own value as slope.", hint: "Differentiate a · b by a." },
        { id: "pow-exponent", says: "In pow the exponent does not go down by one.", hint: "The slope of x³ is 3x²." },
        { id: "pow-factor", says: "In pow the factor n is missing.", hint: "The slope of x³ is 3x²." },
        { id: "exp-input", says: "exp sends back with its input, not with its output.", hint: "The exponential is its own derivative." },
        { id: "tanh-not-squared", says: "In tanh the square is missing.", hint: "tanh' at x is 1 - tanh(x)²." },
        { id: "tanh-input", says: "In tanh you computed 1 - x² from the input.", hint: "tanh' at x is 1 - tanh(x)²." },
        {
          id: "relu-gradient",
          says: "In relu you masked by the sign of the gradient.",
          hint: "Whether ReLU is open was decided in the forward pass, by the sign of its input.",
          hides: ["relu-value"],
        },
        { id: "relu-value", says: "In relu you used its value as its slope.", hint: "Where x is positive, ReLU is the line y = x. What is that line's slope?" },
      ],
      linear: [],
      forward,
      kink: kinkOf,
    }),
    part({
      name: "fan-out",
      points: 2,
      entry: "Scalar",
      kind: "class",
      draw: (random) => drawProgram(random, "leaves"),
      call: callWith,
      attempt: (args: Args, made) => differentiate(args, made as (mistake: EngineMistake) => boolean),
      mistakes: [
        { ...noSeed, hides: ["*"] },
        {
          id: "overwritten",
          says: "Where a value is used twice, the second gradient overwrites the first.",
          hint: "= or +=?",
        },
        {
          id: "first-only",
          says: "Where a value is used twice, only the first gradient counts.",
          hint: "A value that was visited may still receive gradients: they add up.",
          hides: ["overwritten"],
        },
      ],
      linear: [],
      forward,
      kink: kinkOf,
    }),
    part({
      name: "order",
      points: 3,
      entry: "Scalar",
      kind: "class",
      draw: (random) => drawProgram(random, "all"),
      call: callWith,
      attempt: (args: Args, made) => differentiate(args, made as (mistake: EngineMistake) => boolean),
      mistakes: [
        {
          id: "breadth-first",
          says: "You went through the graph level by level: some values sent their gradient on before it was complete.",
          hint: "A value may lie one step below the output and five steps below it as well.",
          hides: ["not-reversed", "preorder", "no-visited"],
        },
        {
          id: "preorder",
          says: "You sent each gradient on as soon as you met a value: some were not complete yet.",
          hint: "First make the list of all values, parents before children; then walk it from its end.",
          hides: ["not-reversed"],
        },
        {
          id: "no-visited",
          says: "A value that is used twice stands in your list twice and sends its gradient twice.",
          hint: "Remember which values were visited.",
        },
        {
          id: "not-reversed",
          says: "You walked the list from the inputs to the output.",
          hint: "Gradients start at the output. Which end of your list is it?",
          hides: ["no-visited", "overwritten"],
        },
        {
          id: "overwritten",
          says: "Where a value is used twice, the second gradient overwrites the first.",
          hint: "= or +=?",
          hides: ["no-visited"],
        },
      ],
      linear: [],
      forward,
      kink: kinkOf,
    }),
    part({
      name: "deep graphs",
      points: 2,
      entry: "Scalar",
      kind: "class",
      draw: (random, instance) => (instance % 2 === 0 ? deepProgram(random, 40, 10) : deepProgram(random, 0, 2000)),
      call: callWith,
      attempt: (args: Args) => differentiate(args, () => false),
      mistakes: [],
      linear: [],
      forward,
    }),
  ],
  after: [
    {
      type: "markdown",
      source:
        "The document's tape (appendix C.2): $f(x) = e^x (x + 1)$ has the slope $(x + 2)\\,e^x$. Then a network trained by nothing but your class: two inputs, four tanh " +
        "units and one output learn XOR, which no line can separate.",
    },
    {
      type: "code",
      source: [
        "const x = new Scalar(2);",
        "x.exp().mul(x.add(1)).backward();",
        'console.log("your engine", x.grad, " by hand", 4 * Math.exp(2));',
        "",
        "const random = rng(13);",
        "const weights = Array.from({ length: 17 }, () => random.normal());",
        "const examples = [[0, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 0]];",
        "const losses: number[] = [];",
        "for (let step = 0; step < 600; step++) {",
        "  const w = weights.map((value) => new Scalar(value));",
        "  let loss = new Scalar(0);",
        "  for (const [p, q, target] of examples) {",
        "    let out = w[16];",
        "    for (let unit = 0; unit < 4; unit++) {",
        "      const [a, b, c, d] = w.slice(4 * unit, 4 * unit + 4);",
        "      out = out.add(a.mul(p).add(b.mul(q)).add(c).tanh().mul(d));",
        "    }",
        "    loss = loss.add(out.add(-target).pow(2).mul(0.25));",
        "  }",
        "  loss.backward();",
        "  losses.push(loss.data);",
        "  w.forEach((value, i) => (weights[i] -= 0.1 * value.grad));",
        "}",
        'lossCurve(losses, { title: "XOR, learned by your engine", y: "mean squared error", logY: true });',
      ].join("\n"),
    },
  ],
});
