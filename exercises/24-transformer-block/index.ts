/** Exercise 24: the backward of a pre-norm transformer block, put together from its layers'. */
import { gelu, layerNorm, linear, multiHeadAttention, randn, type Rng, type Tensor } from "gradbook";
import { defineExercise, part } from "../autograder/spec";
import { blockForward, type BlockInputs } from "./starter";

function drawBlock(random: Rng, [B, T, C, heads]: number[]) {
  const weight = (...shape: number[]): Tensor => randn(shape, random).mul(0.5);
  const inputs: BlockInputs = {
    x: randn([B, T, C], random),
    gamma1: randn([C], random).add(1), beta1: randn([C], random),
    Wqkv: weight(3 * C, C), bqkv: weight(3 * C), Wo: weight(C, C), bo: weight(C),
    gamma2: randn([C], random).add(1), beta2: randn([C], random),
    W1: weight(4 * C, C), b1: weight(4 * C), W2: weight(C, 4 * C), b2: weight(C),
  };
  return { ...inputs, heads, dy: randn([B, T, C], random) };
}
const SHAPES = [[2, 4, 4, 2], [1, 3, 6, 3], [2, 5, 3, 1], [3, 2, 4, 2]];

type Mistake =
  | "skip2" | "skip1" | "dy-twice" | "dy-into-attention" | "skip1-from-dy" | "norms-swapped" | "norm2-skipped" | "norm1-skipped" | "branch-from-output";

function backward(args: BlockInputs & { heads: number; dy: Tensor }, made: (m: Mistake) => boolean) {
  const { dy, heads } = args;
  const { cache } = blockForward(args, heads);
  const contract = linear.backward(dy, cache.contract);
  const expand = linear.backward(gelu.backward(contract.dx, cache.act).dx, cache.expand);
  const norm2 = layerNorm.backward(expand.dx, cache.norm2);
  const back2 = made("norm2-skipped") ? expand.dx : norm2.dx;
  const dr = made("skip2") ? back2 : dy.add(back2);
  const { dx: dattend, ...attention } = multiHeadAttention.backward(made("dy-into-attention") ? dy : dr, cache.attend);
  const norm1 = layerNorm.backward(dattend, cache.norm1);
  const back1 = made("norm1-skipped") ? dattend : norm1.dx;
  const [first, second] = made("norms-swapped") ? [norm2, norm1] : [norm1, norm2];
  return {
    dW2: contract.dW, db2: contract.db!, dW1: expand.dW, db1: expand.db!, dgamma2: second.dgamma, dbeta2: second.dbeta,
    dWo: attention.dWo, dbo: attention.dbo!, dWqkv: attention.dWqkv, dbqkv: attention.dbqkv!, dgamma1: first.dgamma, dbeta1: first.dbeta,
    dx: made("skip1") ? back1 : (made("dy-twice") ? dr.add(dy) : made("skip1-from-dy") ? dy : dr).add(back1),
  };
}

export default defineExercise({
  id: "transformer-block",
  number: 24,
  title: "A transformer block, whole",
  source: "math-for-llms, section 9.1; arXiv 2512.23329, the transformer block",
  minutes: 25,
  goal: "You can carry a gradient through a whole transformer block and know where the residual stream splits and adds it.",
  withholds: ["transformerBlock", "paperBackward"],
  hints: [
    "mlpBackward: contract, act, expand, in this order, each fed with the dx of the one before.",
    "blockBackward, second half first: the branch gets dy. What comes out of norm 2 is added to dy, which came along the skip. That is dr.",
    "First half: the same again with dr in the place of dy: attention, norm 1, and dx = dr + what norm 1 returns.",
    "`const { dx: dattend, ...attention } = multiHeadAttention.backward(dr, cache.attend)` keeps dWqkv, dbqkv, dWo and dbo together; spread them into the result.",
  ],
  parts: [
    part({
      name: "MLP",
      points: 3,
      entry: "mlpBackward",
      also: ["blockForward"],
      draw: (random, instance) => drawBlock(random, SHAPES[instance % 4]),
      call: (student, { dy, heads, ...inputs }, { blockForward }) => {
        const { dW2, db2, dW1, db1, dinput } = student(dy, blockForward(inputs, heads).cache);
        return { dW2, db2, dW1, db1, dinput };
      },
      attempt: (args, made) => {
        const { cache } = blockForward(args, args.heads);
        const contract = linear.backward(args.dy, cache.contract);
        const dact = made("no-activation") ? contract.dx : gelu.backward(contract.dx, cache.act).dx;
        const expand = linear.backward(dact, cache.expand);
        const norm = made("through-norm") ? layerNorm.backward(expand.dx, cache.norm2).dx : expand.dx;
        const swapped = made("weights-swapped");
        return {
          dW2: swapped ? expand.dW : contract.dW, db2: swapped ? expand.db! : contract.db!,
          dW1: swapped ? contract.dW : expand.dW, db1: swapped ? contract.db! : expand.db!,
          dinput: made("skip") ? norm.add(args.dy) : norm,
        };
      },
      mistakes: [
        { id: "no-activation", says: "The activation is left out on the way back.", hint: "Between contract and expand stands act." },
        { id: "through-norm", says: "dinput went through norm 2 as well; asked is the gradient at the input of expand.", hint: "The norm comes in part 2." },
        { id: "skip", says: "dinput contains the skip's gradient; it belongs to the block, not to the branch.", hint: "The branch alone: contract, act, expand." },
        { id: "weights-swapped", says: "The gradients of W1 and W2 have changed places.", hint: "expand holds W1 [4C, C], contract W2 [C, 4C]." },
      ],
      cotangent: "dy",
      linear: ["dW2", "db2", "dW1", "db1", "dinput"],
      noDifferences: "dy stands for the gradient at the branch's output; the whole block is compared with finite differences in the next part.",
    }),
    part({
      name: "block",
      points: 7,
      entry: "blockBackward",
      also: ["blockForward"],
      draw: (random, instance) => drawBlock(random, SHAPES[instance % 4]),
      call: (student, { dy, heads, ...inputs }, { blockForward }) => {
        const g = student(dy, blockForward(inputs, heads).cache);
        const { dW2, db2, dW1, db1, dgamma2, dbeta2, dWo, dbo, dWqkv, dbqkv, dgamma1, dbeta1, dx } = g;
        return { dW2, db2, dW1, db1, dgamma2, dbeta2, dWo, dbo, dWqkv, dbqkv, dgamma1, dbeta1, dx };
      },
      attempt: backward,
      mistakes: [
        {
          id: "skip2",
          says: "The second skip is missing: dr is only what comes back through the MLP.",
          hint: "y = r + branch(r): r gets dy itself, too.",
        },
        {
          id: "skip1",
          says: "The first skip is missing: dx is only what comes back through the attention.",
          hint: "r = x + attention(LN(x)): x gets dr itself, too.",
          hides: ["skip1-from-dy", "dy-twice"],
        },
        {
          id: "dy-twice",
          says: "dx contains dy once too often.",
          hint: "dr brings dy along already.",
          hides: ["skip1-from-dy"],
        },
        {
          id: "dy-into-attention",
          says: "The attention branch got dy; it must get dr.",
          hint: "The attention's output goes into r, and r's gradient is dr.",
        },
        {
          id: "skip1-from-dy",
          says: "Along the first skip you added dy; what runs there is dr.",
          hint: "dr holds dy and what the MLP branch sent back.",
        },
        { id: "norm2-skipped", says: "On the way back through the MLP branch norm 2 is left out.", hint: "The branch reads LN₂(r), not r." },
        { id: "norm1-skipped", says: "On the way back through the attention branch norm 1 is left out.", hint: "The branch reads LN₁(x), not x." },
        { id: "norms-swapped", says: "The parameters of the two norms have changed places.", hint: "gamma1 and beta1 belong to the norm before the attention." },
      ],
      cotangent: "dy",
      forward: ({ heads, ...inputs }) => blockForward(inputs, heads).y,
    }),
  ],
  after: [
    {
      type: "markdown",
      source:
        "What the skips carry: the part of dx that is dy itself, and the part that came back through the two branches, against the size of the block's weights. At the start of " +
        "training (weights near 0.02) a block hands the gradient on as it is, however many of them stand on each other; the branches join in as the weights grow.",
    },
    {
      type: "code",
      source: [
        "const [B, T, C, heads] = [2, 8, 16, 4];",
        "const scales = [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5];",
        "const parts = scales.map((scale) => {",
        "  const random = rng(24);",
        "  const weight = (...shape: number[]) => randn(shape, random).mul(scale);",
        "  const { cache } = blockForward({",
        "    x: randn([B, T, C], random),",
        "    gamma1: ones(C), beta1: zeros(C), Wqkv: weight(3 * C, C), bqkv: zeros(3 * C), Wo: weight(C, C), bo: zeros(C),",
        "    gamma2: ones(C), beta2: zeros(C), W1: weight(4 * C, C), b1: zeros(4 * C), W2: weight(C, 4 * C), b2: zeros(C),",
        "  }, heads);",
        "  const dy = randn([B, T, C], random);",
        "  const { dx } = blockBackward(dy, cache);",
        "  return { whole: dx.norm() / dy.norm(), branches: dx.sub(dy).norm() / dy.norm() };",
        "});",
        "lines(scales, {",
        '  "dx, all of it": parts.map(({ whole }) => whole),',
        '  "what came through the branches": parts.map(({ branches }) => branches),',
        "}, {",
        '  title: "What a block adds to the gradient", x: "standard deviation of the weights", y: "norm, relative to dy",',
        "  logX: true, logY: true, markers: true,",
        "});",
      ].join("\n"),
    },
  ],
});
