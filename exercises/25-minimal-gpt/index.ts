/** Exercise 25: the paper's GPT, every gradient from the loss to the tokens, and its parameter counts. */
import { layerNorm, linear, oneHot, randn, transformerBlock, zeros, type Rng, type Tensor } from "gradbook";
import { defineExercise, part } from "../autograder/spec";
import { softmax } from "../reference";
import { gptForward, type BlockParameters, type GptParameters } from "./starter";

type Model = Record<"E" | "P" | "gamma" | "beta" | "W" | "b", Tensor> & { blocks: readonly BlockParameters[]; ids: readonly number[][]; targets: readonly number[][]; heads: number };

/** Some tokens repeat within and between sequences, some never occur; targets vary. */
function drawModel(random: Rng, [V, C, T, B, L, heads]: number[]) {
  const weight = (...shape: number[]): Tensor => randn(shape, random).mul(0.5);
  const block = (): BlockParameters => ({
    gamma1: weight(C).add(1), beta1: weight(C), Wqkv: weight(3 * C, C), bqkv: weight(3 * C), Wo: weight(C, C), bo: weight(C),
    gamma2: weight(C).add(1), beta2: weight(C), W1: weight(4 * C, C), b1: weight(4 * C), W2: weight(C, 4 * C), b2: weight(C),
  });
  const draw = (below: number) => Array.from({ length: B }, () => Array.from({ length: T }, () => random.integer(0, below)));
  const ids = draw(V - 2);
  ids[1][0] = ids[0][1] = ids[0][0];
  const targets = draw(V);
  targets[0][0] = V - 1;
  return {
    E: randn([V, C], random), P: randn([T, C], random), blocks: Array.from({ length: L }, block), gamma: weight(C).add(1), beta: weight(C),
    W: weight(V, C), b: weight(V), ids, targets, heads,
  };
}
const SHAPES = [[7, 3, 2, 2, 1, 3], [6, 4, 3, 2, 2, 1], [5, 4, 2, 3, 1, 2]];

const run = ({ ids, targets, heads, ...p }: Model) =>
  gptForward(p as GptParameters, ids as number[][], targets as number[][], heads);

type LogitsMistake = "per-sequence" | "sum" | "no-one-hot" | "sign" | "per-element";

function logitsGradient(logits: Tensor, targets: readonly number[][], made: (m: LogitsMistake) => boolean): Tensor {
  const [B, T, V] = logits.shape;
  const p = softmax(logits);
  const g = made("no-one-hot") ? p : p.sub(oneHot(targets as number[][], V));
  const count = made("per-sequence") ? B : made("sum") ? 1 : made("per-element") ? B * T * V : B * T;
  return (made("sign") ? g.neg() : g).div(count);
}

type Mistake =
  | "norm-skipped" | "head-to-all" | "forward-order" | "list-reversed" | "overwritten" | "first-sequence" | "positions-mean";

function backward(model: Model, made: (m: Mistake) => boolean): Record<string, Tensor> {
  const { cache } = run(model);
  const head = linear.backward(logitsGradient(cache.logits, model.targets, () => false), cache.head);
  const norm = layerNorm.backward(head.dx, cache.norm);
  let dh = made("norm-skipped") ? head.dx : norm.dx;
  const top = dh;
  const out: Record<string, Tensor> = { dW: head.dW, db: head.db!, dgamma: norm.dgamma, dbeta: norm.dbeta };
  const order = cache.blocks.map((_, l) => l);
  if (!made("forward-order")) order.reverse();
  order.forEach((l) => {
    const { dx, ...gradients } = transformerBlock.backward(made("head-to-all") ? top : dh, cache.blocks[l]);
    dh = dx;
    const place = made("list-reversed") ? order.length - 1 - l : l;
    for (const [name, g] of Object.entries(gradients)) out[`dblock${place}_${name.slice(1)}`] = g as Tensor;
  });
  const C = dh.shape[2];
  const dE = zeros([cache.V, C]);
  model.ids.flat().forEach((id, n) => {
    for (let j = 0; j < C; j++) dE.data[id * C + j] = (made("overwritten") ? 0 : dE.data[id * C + j]) + dh.data[n * C + j];
  });
  out.dE = dE;
  out.dP = made("first-sequence") ? dh.at(0) : made("positions-mean") ? dh.mean(0) : dh.sum(0);
  return out;
}

const PARAMETERS = ["gamma1", "beta1", "Wqkv", "bqkv", "Wo", "bo", "gamma2", "beta2", "W1", "b1", "W2", "b2"];

const linearLayer = (out: number, into: number): number => out * into + out;

export default defineExercise({
  id: "minimal-gpt",
  number: 25,
  title: "The minimal GPT: every parameter's gradient",
  source: "arXiv 2512.23329, the GPT-like network and its parameter counts; math-for-llms, sections 5.3, 5.6 and 9.1",
  minutes: 30,
  goal: "You can compute every gradient of a GPT, from the loss to the token table, and count its parameters.",
  withholds: ["Gpt", "gpt", "gptShapes", "blockShapes", "paperForward", "paperBackward", "softmaxCrossEntropy", "softmaxScore", "embedding"],
  hints: [
    "logitsGradient: softmax over the last axis, minus oneHot(targets, V), divided by targets.flat().length.",
    "gptBackward: each layer's dx is the next one's dy. Start with linear.backward(logitsGradient(...), cache.head).",
    "Blocks: loop from the last cache to the first; `const { dx, ...gradients } = transformerBlock.backward(dh, block)`. Put the gradients into the list at their own place.",
    "dh₀ is [B, T, C]. dP sums it over the batch; dE adds row n of the flattened dh₀ to row ids.flat()[n].",
    "Counting: a linear layer of [out, in] with bias has out · in + out numbers. Block, L times; E, P, final norm and logits once.",
  ],
  parts: [
    part({
      name: "logits",
      points: 2,
      entry: "logitsGradient",
      draw: (random, instance) => {
        const [V, , T, B] = SHAPES[instance % 3];
        const targets = Array.from({ length: B }, () => Array.from({ length: T }, () => random.integer(0, V)));
        targets[0][0] = V - 1;
        return { logits: randn([B, T, V], random).mul(2), targets };
      },
      call: (student, { logits, targets }) => ({ dlogits: student(logits, targets) }),
      attempt: ({ logits, targets }, made) => ({ dlogits: logitsGradient(logits, targets, made) }),
      mistakes: [
        { id: "sum", says: "The division by the number of tokens is missing.", hint: "The loss is a mean over B · T tokens.", hides: ["per-element"] },
        { id: "per-sequence", says: "You divided by the number of sequences; the loss is a mean over tokens.", hint: "Every position predicts: B · T of them.", hides: ["sum", "per-element"] },
        { id: "per-element", says: "You divided by B · T · V; the loss has one term a token.", hint: "Averages run over predictions, not over the vocabulary." },
        { id: "no-one-hot", says: "The one-hot of the target is not subtracted.", hint: "softmax − one-hot: only at the target it is negative." },
        { id: "sign", says: "The sign is wrong.", hint: "Raising the target's logit lowers the loss: its gradient is negative." },
      ],
      forward: ({ logits, targets }) => {
        const m = logits.max(-1, true);
        const logp = logits.sub(m).sub(logits.sub(m).exp().sum(-1, true).log());
        return -logp.mul(oneHot(targets, logits.shape[2])).sum().item() / targets.flat().length;
      },
    }),
    part({
      name: "every gradient",
      points: 6,
      entry: "gptBackward",
      also: ["gptForward"],
      draw: (random, instance) => {
        const { blocks, ...model } = drawModel(random, SHAPES[instance % 3]);
        const flat = blocks.flatMap((block, l) => Object.entries(block).map(([name, value]) => [`block${l}_${name}`, value] as const));
        return { ...model, depth: blocks.length, ...Object.fromEntries(flat) } as unknown as Record<string, Tensor>;
      },
      call: (student, args: any, { gptForward }) => {
        const { ids, targets, heads, depth, E, P, gamma, beta, W, b } = args;
        const names = ["gamma1", "beta1", "Wqkv", "bqkv", "Wo", "bo", "gamma2", "beta2", "W1", "b1", "W2", "b2"];
        const blocks = Array.from({ length: depth }, (_, l) => Object.fromEntries(names.map((name) => [name, args[`block${l}_${name}`]])));
        const g = student(gptForward({ E, P, gamma, beta, W, b, blocks }, ids, targets, heads).cache);
        const out: Record<string, unknown> = { dW: g.dW, db: g.db, dgamma: g.dgamma, dbeta: g.dbeta };
        for (let l = depth - 1; l >= 0; l--) for (const name of names) out[`dblock${l}_${name}`] = g.dblocks[l]?.[`d${name}`];
        return { ...out, dE: g.dE, dP: g.dP };
      },
      attempt: (args: any, made) => backward(assemble(args), (m) => made(m as "norm-skipped")),
      mistakes: [
        { id: "norm-skipped", says: "The final norm is left out on the way back.", hint: "The logits read LN(h_L), not h_L." },
        {
          id: "head-to-all",
          says: "Every block got the gradient that belongs to the last one.",
          hint: "A block's dy is the dx of the block above it.",
        },
        { id: "forward-order", says: "You went through the blocks from the first to the last.", hint: "Backward: the last block first." },
        { id: "list-reversed", says: "dblocks lists the last block first.", hint: "dblocks[0] belongs to the block next to the embedding." },
        { id: "overwritten", says: "A repeated token keeps only the gradient of its last place.", hint: "dE[id] adds up over all places of that token." },
        { id: "first-sequence", says: "dP holds the first sequence's gradient only.", hint: "Every sequence adds the same P.", hides: ["positions-mean"] },
        { id: "positions-mean", says: "dP is a mean over the batch; it must be a sum.", hint: "The 1/(BT) is already in the gradient of the logits." },
      ],
      forward: (args: any) => run(assemble(args)).loss,
      instances: 3,
    }),
    part({
      name: "counting",
      points: 2,
      entry: "countParameters",
      draw: (random, instance) => [
        { V: 50257, C: 768, T: 1024, L: 12 },
        { V: 50257, C: 768, T: 1024, L: 1 },
        { V: 10, C: 32, T: 4, L: 2 },
        { V: random.integer(100, 1000), C: 4 * random.integer(4, 40), T: random.integer(8, 64), L: random.integer(3, 9) },
      ][instance % 4],
      call: (student, { V, C, T, L }) => ({ parameters: student(V, C, T, L) }),
      attempt: ({ V, C, T, L }, made) => {
        const bias = made("no-biases") ? (out: number, into: number) => out * into : linearLayer;
        const attention = bias(3 * C, C) + (made("no-projection") ? 0 : bias(C, C));
        const block = (made("no-norms") ? 0 : made("one-norm") ? 2 * C : 4 * C) + attention + bias(4 * C, C) + bias(C, 4 * C);
        const head = made("tied") ? 0 : bias(V, C);
        return { parameters: V * C + (made("no-positions") ? 0 : T * C) + L * block + (made("no-norms") || made("no-final-norm") ? 0 : 2 * C) + head };
      },
      mistakes: [
        { id: "no-biases", says: "The biases are not counted.", hint: "Every linear layer has one of length out." },
        { id: "no-norms", says: "The norms' gamma and beta are not counted.", hint: "2C a norm; two a block and one at the end.", hides: ["one-norm", "no-final-norm"] },
        { id: "one-norm", says: "You counted one norm a block.", hint: "A block has a norm before the attention and one before the MLP." },
        { id: "no-final-norm", says: "The norm after the last block is not counted.", hint: "The logits read LN(h_L)." },
        { id: "no-positions", says: "The table of positions is not counted.", hint: "P is [T, C]." },
        { id: "tied", says: "The layer of the logits is not counted; it is not tied to E here.", hint: "W is [V, C] and b is [V]." },
        { id: "no-projection", says: "The attention's output projection Wo, bo is not counted.", hint: "Four linear layers a block: Wqkv, Wo, W1, W2." },
      ],
      noDifferences: "A count has no derivative.",
    }),
  ],
  after: [
    {
      type: "markdown",
      source: "Train it with your own gradients: a sequence that counts 0 1 2 3 4 5 0 1 ... The loss starts at log 6 and falls towards 0.",
    },
    {
      type: "code",
      source: [
        "const random = rng(25);",
        "const [V, C, T] = [6, 8, 6];",
        "const weight = (...shape: number[]) => randn(shape, random).mul(0.2);",
        "const p: GptParameters = {",
        "  E: weight(V, C), P: weight(T, C), gamma: ones(C), beta: zeros(C), W: weight(V, C), b: zeros(V),",
        "  blocks: [{",
        "    gamma1: ones(C), beta1: zeros(C), Wqkv: weight(3 * C, C), bqkv: zeros(3 * C), Wo: weight(C, C), bo: zeros(C),",
        "    gamma2: ones(C), beta2: zeros(C), W1: weight(4 * C, C), b1: zeros(4 * C), W2: weight(C, 4 * C), b2: zeros(C),",
        "  }],",
        "};",
        "const descend = (tensors: Record<string, any>, gradients: Record<string, any>) => {",
        "  for (const name of Object.keys(tensors)) {",
        '    if (name !== "blocks") tensors[name] = tensors[name].sub(gradients[`d${name}`].mul(0.5));',
        "  }",
        "};",
        "const losses: number[] = [];",
        "for (let step = 0; step < 120; step++) {",
        "  const starts = Array.from({ length: 4 }, () => random.integer(0, V));",
        "  const ids = starts.map((s) => Array.from({ length: T }, (_, t) => (s + t) % V));",
        "  const targets = ids.map((row) => row.map((id) => (id + 1) % V));",
        "  const { loss, cache } = gptForward(p, ids, targets, 2);",
        "  losses.push(loss);",
        "  const g = gptBackward(cache);",
        "  descend(p, g);",
        "  p.blocks.forEach((block, l) => descend(block, g.dblocks[l]));",
        "}",
        'lossCurve(losses, { title: "A GPT learns to count", y: "cross-entropy a token, in nats" });',
      ].join("\n"),
    },
  ],
});

/** The model back from its flat arguments. */
function assemble({ depth, ...args }: any): Model {
  const blocks = Array.from({ length: depth }, (_, l) => Object.fromEntries(PARAMETERS.map((name) => [name, args[`block${l}_${name}`]])));
  return { ...args, blocks };
}
