/** Exercise 11: the backward of a residual block, of a stack of them, and the stack's gradient by path length. */
import { randn, stack, zeros, type Rng, type Tensor } from "gradbook";
import { defineExercise, part } from "../autograder/spec";
import { outer } from "../reference";

function drawBlock(random: Rng, [n, h]: number[]) {
  return {
    dy: randn([n], random),
    x: randn([n], random),
    W1: randn([h, n], random).div(Math.sqrt(n)),
    W2: randn([n, h], random).div(Math.sqrt(h)),
  };
}

function drawStack(random: Rng, instance: number) {
  const n = [3, 4, 2, 5][instance % 4];
  const depth = [3, 5, 4, 6][instance % 4];
  return {
    dy: randn([n], random),
    x: randn([n], random),
    Js: Array.from({ length: depth }, () => randn([n, n], random).mul(0.8 / Math.sqrt(n))),
  };
}

type PathMistake = "not-transposed" | "order" | "repeats" | "no-direct" | "overwritten";

function paths(dy: Tensor, Js: readonly Tensor[], made: (mistake: PathMistake) => boolean): Tensor {
  const L = Js.length;
  let sums = Array.from({ length: L + 1 }, (_, k) => (k === 0 ? dy : zeros(dy.shape)));
  for (let i = 0; i < L; i++) {
    const J = Js[made("order") ? i : L - 1 - i];
    const step = (v: Tensor): Tensor => (made("not-transposed") ? J : J.T).matmul(v);
    const next = [...sums];
    // From the front, sums[k] already holds paths through this very branch.
    for (let k = 0; k < L; k++) {
      const skipped = made("overwritten") ? zeros(dy.shape) : sums[k + 1];
      next[k + 1] = skipped.add(step((made("repeats") ? next : sums)[k]));
    }
    sums = next;
  }
  if (made("no-direct")) sums[0] = zeros(dy.shape);
  return stack(sums);
}

export default defineExercise({
  id: "residual-highways",
  number: 11,
  title: "Residual highways: the 2ᴸ paths",
  source: 'math-for-llms, sections 3.4 and 6.4 and appendix F.1; reference, "Gradient Flow Problems"; llm-from-scratch, "Expanding to computation graphs"',
  minutes: 25,
  goal: "You can write the backward of a residual block and split a deep network's gradient into its paths by length.",
  hints: [
    "blockBackward: name the parts, z = W1 x, a = tanh(z). Go back through W2 to a, through tanh to z, through W1 to x, and add dy, which came over the skip.",
    "dW2 is the outer product of dy and a, dW1 the outer product of dz and x: v.reshape(-1, 1).matmul(w.reshape(1, -1)).",
    "stackBackward: start with dx = dy and go from the last block to the first: dx = dx + Jᵀ dx.",
    "pathsByLength: start with [dy]. At each block, from the last to the first, compute Jᵀ times every entry before you change any.",
    "Then add the product made of entry k to entry k + 1; the last one starts a new entry.",
  ],
  withholds: ["linear", "tanh", "jacobianProduct"],
  parts: [
    part({
      name: "one block",
      points: 4,
      entry: "blockBackward",
      draw: (random, instance) => drawBlock(random, [[3, 3], [4, 2], [3, 5], [2, 6]][instance % 4]),
      call: (student, { dy, x, W1, W2 }) => student(dy, x, W1, W2),
      attempt: ({ dy, x, W1, W2 }, made) => {
        const z = W1.matmul(x);
        const a = z.tanh();
        const dW2 = outer(dy, made("z-in-dW2") ? z : a);
        const da = W2.T.matmul(dy);
        const inner = made("z-for-a") ? z : a;
        const slope = (made("not-squared") ? inner : inner.square()).neg().add(1);
        const dz = made("tanh-missing") ? da : da.mul(slope);
        const dW1 = outer(dz, x);
        const branch = W1.T.matmul(dz);
        const skip = made("skip-twice") ? dy.mul(2) : dy;
        const dx = made("skip-missing") ? branch : made("branch-missing") ? dy : skip.add(branch);
        return { dW2: made("dW2-transposed") ? dW2.T : dW2, dW1: made("dW1-transposed") ? dW1.T : dW1, dx };
      },
      mistakes: [
        {
          id: "skip-missing",
          says: "In dx the gradient over the skip is missing.",
          hint: "x is used twice: gradients add up where a value is used twice.",
          hides: ["branch-missing", "skip-twice"],
        },
        {
          id: "branch-missing",
          says: "In dx the gradient through the branch is missing.",
          hint: "x is used twice: gradients add up where a value is used twice.",
          hides: ["skip-twice"],
        },
        { id: "skip-twice", says: "You counted the skip twice.", hint: "How often does x itself stand in y = x + G(x)?" },
        {
          id: "tanh-missing",
          says: "You passed the gradient through tanh unchanged.",
          hint: "Between the two matrices stands a function with a slope of its own.",
          hides: ["z-for-a", "not-squared"],
        },
        { id: "not-squared", says: "The square is missing in the slope of tanh.", hint: "tanh' at z is 1 - tanh(z)²." },
        { id: "z-for-a", says: "You computed tanh' as 1 - z².", hint: "tanh' at z is 1 - tanh(z)²." },
        { id: "z-in-dW2", says: "dW2 uses z where tanh(z) belongs.", hint: "What did W2 multiply in the forward pass?" },
        { id: "dW1-transposed", says: "Your dW1 is transposed.", hint: "dW1 has W1's shape, [h, n]." },
        { id: "dW2-transposed", says: "Your dW2 is transposed.", hint: "dW2 has W2's shape, [n, h]." },
      ],
      cotangent: "dy",
      forward: ({ x, W1, W2 }) => x.add(W2.matmul(W1.matmul(x).tanh())),
      large: (random) => drawBlock(random, [32, 48]),
    }),
    part({
      name: "a stack of blocks",
      points: 2,
      entry: "stackBackward",
      draw: drawStack,
      call: (student, { dy, Js }) => ({ dx: student(dy, [...Js]) }),
      attempt: ({ dy, Js }, made) => {
        const order = made("order") ? Js : [...Js].reverse();
        const walk = (all: readonly Tensor[]): Tensor =>
          all.reduce((v, J) => {
            const branch = (made("not-transposed") ? J : J.T).matmul(v);
            return made("no-identity") ? branch : v.add(branch);
          }, dy);
        if (made("first-order")) return { dx: Js.reduce((sum, J) => sum.add((made("not-transposed") ? J : J.T).matmul(dy)), dy) };
        return { dx: walk(made("block-short") ? order.slice(0, -1) : order) };
      },
      mistakes: [
        { id: "not-transposed", says: "You multiplied by J, not by its transpose.", hint: "J leads from input to output; you go the other way." },
        { id: "order", says: "You went from the first block to the last.", hint: "The gradient comes from the output: which block does it meet first?" },
        { id: "no-identity", says: "The skips are missing: that is a plain network.", hint: "Each block hands back two gradients." },
        {
          id: "first-order",
          says: "You counted only paths with at most one branch.",
          hint: "What a branch hands back goes on through all the blocks below it.",
          hides: ["order", "no-identity", "block-short"],
        },
        { id: "block-short", says: "You left out the last block of your loop.", hint: "L blocks, L steps." },
      ],
      cotangent: "dy",
      forward: ({ x, Js }) => Js.reduce((v, J) => v.add(J.matmul(v)), x),
    }),
    part({
      name: "paths by length",
      points: 4,
      entry: "pathsByLength",
      draw: drawStack,
      call: (student, { dy, Js }) => ({ paths: student(dy, [...Js]).map((path: any) => Array.from(path.data ?? path)) }),
      attempt: ({ dy, Js }, made) => ({ paths: paths(dy, Js, made) }),
      mistakes: [
        { id: "not-transposed", says: "You multiplied by J, not by its transpose.", hint: "J leads from input to output; you go the other way." },
        { id: "order", says: "You went from the first block to the last.", hint: "J_L's transpose is applied first." },
        {
          id: "repeats",
          says: "Some of your paths go through the same branch twice.",
          hint: "Entry k + 1 must get what entry k was before this block. Compute all products first, or go through the entries from the back.",
        },
        { id: "no-direct", says: "The direct path is missing: P_0 is 0.", hint: "One path takes no branch at all." },
        {
          id: "overwritten",
          says: "At each block you overwrote the sum that stood at k + 1.",
          hint: "A path may also take the skip: the sum that was at k + 1 stays there.",
        },
      ],
      linear: ["paths"],
      cotangent: "dy",
    }),
  ],
  after: [
    {
      type: "markdown",
      source:
        "Twelve blocks, 4096 paths. Each branch shrinks what passes it to about a third. Bars: how much the paths of each length contribute. Most paths are of length " +
        "6, but the gradient lives in the short ones: a deep residual network behaves like a crowd of shallow ones. The longest path is the plain network's only one.",
    },
    {
      type: "code",
      source: [
        "const random = rng(11);",
        "const Js = Array.from({ length: 12 }, () => randn([16, 16], random).mul(0.3 / 4));",
        "const dy = randn([16], random);",
        "const lengths = pathsByLength(dy, Js);",
        "const total = lengths.reduce((sum, path) => sum.add(path));",
        'console.log("sum of all paths minus stackBackward:", total.sub(stackBackward(dy, Js)).norm().toExponential(1));',
        "bars(lengths.map((_, k) => k), lengths.map((path) => path.norm()), {",
        '  title: "Gradient by number of branches on the path", x: "branches k", y: "norm of P_k", logY: true,',
        "});",
      ].join("\n"),
    },
  ],
});
