/** Exercise 4: forward, error signals, gradients and 100 steps of a network with one hidden layer. */
import { randn, tensor, type Rng, type Tensor } from "gradbook";
import { defineExercise, part } from "../autograder/spec";
import { outer } from "../reference";

type Network = { W1: Tensor; b1: Tensor; w2: Tensor; b2: number; x: Tensor; y: number };

const sizes = [[4, 4], [3, 2], [5, 3], [4, 6]];

/** Units of both signs in z1, w2 and their products, so that neither mask nor sign can hide; the error is away from 0. */
function draw(random: Rng, instance: number, [h, n] = sizes[instance % sizes.length]): Network {
  for (;;) {
    const network = {
      W1: randn([h, n], random),
      b1: randn([h], random).mul(0.5),
      w2: randn([h], random),
      b2: random.normal(),
      x: randn([n], random),
      y: random.normal(),
    };
    const { z1, yhat } = forward(network);
    const open = Array.from(z1.data, (z) => z > 0);
    const up = Array.from(network.w2.data, (w) => w * (yhat - network.y) > 0);
    const seen = new Set(open.map((o, i) => `${o}${up[i]}`));
    const mixed = h > 3 ? seen.size === 4 : seen.size === 3 && seen.has("truefalse") && seen.has("falsetrue");
    if (mixed && Math.abs(yhat - network.y) > 0.3) return network;
  }
}

function forward({ W1, b1, w2, b2, x, y }: Network): { z1: Tensor; a1: Tensor; yhat: number; loss: number } {
  const z1 = W1.matmul(x).add(b1);
  const a1 = z1.maximum(0);
  const yhat = w2.dot(a1) + b2;
  return { z1, a1, yhat, loss: 0.5 * (yhat - y) ** 2 };
}

type BackwardMistake =
  | "sign" | "factor-2" | "z1-for-a1" | "w2-missing" | "delta2-missing" | "mask-missing" | "mask-from-gradient" | "a1-for-mask" | "transposed" | "dx-transposed";

function backward(network: Network, made: (mistake: BackwardMistake) => boolean) {
  const { W1, w2, x, y } = network;
  const { z1, a1, yhat } = forward(network);
  const delta2 = (yhat - y) * (made("sign") ? -1 : 1) * (made("factor-2") ? 2 : 1);
  const da1 = made("w2-missing") ? w2.mul(0).add(delta2) : made("delta2-missing") ? w2 : w2.mul(delta2);
  const delta1 = made("mask-missing") ? da1
    : made("mask-from-gradient") ? da1.maximum(0)
    : da1.mul(made("a1-for-mask") ? a1 : z1.gt(0));
  return {
    delta2,
    dw2: (made("z1-for-a1") ? z1 : a1).mul(delta2),
    delta1,
    dW1: made("transposed") ? outer(x, delta1) : outer(delta1, x),
    db1: delta1,
    // Without the transpose the product only exists where W1 is square.
    ...(made("dx-transposed") ? (W1.shape[0] === W1.shape[1] ? { dx: W1.matmul(delta1) } : {}) : { dx: W1.T.matmul(delta1) }),
  };
}

type TrainMistake = "ascent" | "no-reset" | "second-layer-first" | "first-layer-frozen" | "b2-frozen" | "loss-after" | "step-short";

function train(network: Network, rate: number, steps: number, made: (mistake: TrainMistake) => boolean) {
  let now = network;
  const losses: number[] = [];
  let kept = { dW1: now.W1.mul(0), db1: now.b1.mul(0), dw2: now.w2.mul(0), delta2: 0 };
  for (let step = 0; step < (made("step-short") ? steps - 1 : steps); step++) {
    if (!made("loss-after")) losses.push(forward(now).loss);
    const add = (t: Tensor, from: Tensor): Tensor => (made("no-reset") ? t.add(from) : t);
    const slope = made("ascent") ? -rate : rate;
    const first = backward(now, () => false);
    const dw2 = add(first.dw2, kept.dw2);
    const delta2 = first.delta2 + (made("no-reset") ? kept.delta2 : 0);
    const moved = { ...now, w2: now.w2.sub(dw2.mul(slope)), b2: made("b2-frozen") ? now.b2 : now.b2 - slope * delta2 };
    const { dW1, db1 } = made("second-layer-first") ? backward(moved, () => false) : first;
    kept = { dW1: add(dW1, kept.dW1), db1: add(db1, kept.db1), dw2, delta2 };
    now = made("first-layer-frozen") ? moved
      : { ...moved, W1: now.W1.sub(kept.dW1.mul(slope)), b1: now.b1.sub(kept.db1.mul(slope)) };
    if (made("loss-after")) losses.push(forward(now).loss);
  }
  const { W1, b1, w2, b2 } = now;
  return { losses: tensor(losses), W1, b1, w2, b2 };
}

export default defineExercise({
  id: "two-layer-network",
  number: 4,
  title: "A two-layer network by hand",
  source: 'math-for-llms, sections 4.1 to 4.5, appendix A and exercise 3; reference, "A Concrete Example"',
  minutes: 25,
  goal: "You can write the backward pass of a small network from the recurrence of the error signals, and train the network with it.",
  hints: [
    "Forward: W1.matmul(x).add(b1), then maximum(0), then w2.dot(a1) + b2.",
    "delta2 is the derivative of ½(ŷ - y)² by ŷ: the ½ cancels the 2. dw2 = delta2 · a1, what came from above times what came from below.",
    "delta1: the gradient that arrives at a1 is delta2 · w2, shape [h]. ReLU then lets through only the entries with z1 > 0: multiply by z1.gt(0).",
    "dW1[i][j] = delta1[i] · x[j]: delta1.reshape(h, 1).matmul(x.reshape(1, n)). dx = W1.T.matmul(delta1).",
    "trainNetwork: store the loss, get all gradients from one call of networkBackward, and only then replace the four parameters. delta2 is b2's gradient.",
  ],
  withholds: ["linear", "relu", "mse", "mlp", "Mlp"],
  parts: [
    part({
      name: "forward",
      points: 2,
      entry: "networkForward",
      draw: (random, instance) => draw(random, instance),
      call: (student, { W1, b1, w2, b2, x, y }) => student(W1, b1, w2, b2, x, y),
      attempt: (network: Network, made) => {
        const { W1, b1, w2, b2, x, y } = network;
        const product = W1.matmul(x);
        const z1 = made("no-b1") ? product : product.add(b1);
        const a1 = made("no-relu") ? z1 : made("mask-only") ? z1.gt(0) : z1.maximum(0);
        const yhat = w2.dot(a1) + (made("no-b2") ? 0 : b2);
        return { z1, a1, yhat, loss: (made("no-half") ? 1 : 0.5) * (yhat - y) ** 2 };
      },
      mistakes: [
        { id: "no-b1", says: "The bias b1 is missing in z1.", hint: "Each hidden unit has an offset of its own." },
        { id: "no-relu", says: "Your a1 is z1: the ReLU is missing.", hint: "Negative pre-activations become 0.", hides: ["mask-only"] },
        {
          id: "mask-only",
          says: "Your a1 holds zeros and ones: that is ReLU's derivative.",
          hint: "ReLU keeps a positive number as it is.",
        },
        { id: "no-b2", says: "The bias b2 is missing in yhat.", hint: "The output has an offset too." },
        { id: "no-half", says: "The ½ of the loss is missing.", hint: "L = ½ (ŷ - y)²." },
      ],
      linear: [],
      noDifferences: "This part has no gradients.",
    }),
    part({
      name: "backward",
      points: 5,
      entry: "networkBackward",
      draw: (random, instance) => draw(random, instance),
      call: (student, { W1, b1, w2, b2, x, y }) => student(W1, b1, w2, b2, x, y),
      attempt: (network: Network, made) => backward(network, made),
      mistakes: [
        { id: "sign", says: "All your gradients have the wrong sign.", hint: "delta2 is prediction minus target." },
        { id: "factor-2", says: "All your gradients are twice too large.", hint: "The loss has a ½: what is left of the 2?" },
        {
          id: "z1-for-a1",
          says: "In dw2 you used z1 where a1 belongs.",
          hint: "What did w2 multiply in the forward pass, before or after the ReLU?",
        },
        {
          id: "w2-missing",
          says: "In delta1 the weights w2 are missing.",
          hint: "The error signal of layer 2 travels back through w2, each hidden unit getting its share.",
          hides: ["delta2-missing"],
        },
        {
          id: "delta2-missing",
          says: "delta1 does not contain delta2: it is w2 behind the mask.",
          hint: "What travels back through w2 is the error signal of layer 2.",
        },
        {
          id: "mask-missing",
          says: "The ReLU is ignored: units that were switched off get a gradient.",
          hint: "A unit with z1 < 0 put out 0; wiggling it a little changes nothing.",
          hides: ["mask-from-gradient", "a1-for-mask"],
        },
        {
          id: "mask-from-gradient",
          says: "You masked by the sign of the gradient, max(gradient, 0).",
          hint: "Whether a unit is open was decided in the forward pass, by the sign of z1.",
          hides: ["a1-for-mask"],
        },
        {
          id: "a1-for-mask",
          says: "You multiplied by a1 where ReLU's derivative belongs.",
          hint: "The slope of ReLU is 0 or 1, whatever the size of z1.",
        },
        {
          id: "transposed",
          says: "Your dW1 is transposed.",
          hint: "dW1 has W1's shape: a row for each hidden unit, a column for each input.",
        },
        { id: "dx-transposed", says: "In dx you multiplied by W1, not by its transpose.", hint: "dx has x's shape [n]; delta1 has shape [h]." },
      ],
      forward: (network: Network) => forward(network).loss,
      // A bias is added to its layer's pre-activation, so it differentiates the loss by it.
      jacobians: { delta2: "b2", delta1: "b1" },
      kink: (network: Network) => forward(network).z1.abs().min().item(),
      large: (random) => draw(random, 0, [48, 64]),
    }),
    part({
      name: "100 steps",
      points: 3,
      entry: "trainNetwork",
      draw: (random, instance): Network & { rate: number; steps: number } => {
        const network = draw(random, instance);
        const rate = instance === 1 ? 0.01 : 0.005 + 0.01 * random.uniform();
        return { ...network, x: network.x.mul(0.7), rate, steps: [10, 100, 20][instance % 3] };
      },
      call: (student, { W1, b1, w2, b2, x, y, rate, steps }) => student(W1, b1, w2, b2, x, y, rate, steps),
      attempt: ({ rate, steps, ...network }, made) => train(network, rate, steps, made),
      mistakes: [
        { id: "ascent", says: "You added the gradients: the loss grows.", hint: "The gradient points uphill." },
        {
          id: "no-reset",
          says: "Your gradients add up from step to step.",
          hint: "Each step's gradient starts from zero; what the last step computed is spent.",
        },
        {
          id: "second-layer-first",
          says: "You moved layer 2 before you computed layer 1's gradients.",
          hint: "All gradients belong to the same parameters: first all gradients, then all updates.",
        },
        {
          id: "first-layer-frozen",
          says: "W1 and b1 never move.",
          hint: "Four parameters have gradients; how many do you update?",
          hides: ["second-layer-first"],
        },
        { id: "b2-frozen", says: "b2 never moves.", hint: "b2 has a gradient too: delta2." },
        { id: "loss-after", says: "You stored each loss after the update.", hint: "losses[0] is the loss at the parameters you were given." },
        { id: "step-short", says: "You stopped one step early.", hint: "Count the updates." },
      ],
      linear: [],
      noDifferences: "The result is a state after many steps; the gradients were checked in the part before.",
      instances: 3,
    }),
  ],
  after: [
    {
      type: "markdown",
      source:
        "The worked example of appendix A: $\\hat y = 0.76$, $L = 0.0288$, $\\delta^{[2]} = -0.24$, $\\delta^{[1]} = (-0.096, -0.144)$. " +
        "(The document's check by finite differences has slips in its two loss values; the cell computes them. The quotient, -0.096, is right.)",
    },
    {
      type: "code",
      source: [
        "const W1 = tensor([[0.5, 0.1], [0.2, 0.3]]);",
        "const [b1, w2, x] = [tensor([0, 0]), tensor([0.4, 0.6]), tensor([1, 2])];",
        "const found = networkBackward(W1, b1, w2, 0, x, 1);",
        'console.log("delta2", found.delta2.toFixed(3), " delta1", found.delta1.toArray(), " dW1", found.dW1.toArray());',
        "const lossAt = (w: number) => networkForward(tensor([[w, 0.1], [0.2, 0.3]]), b1, w2, 0, x, 1).loss;",
        "const [above, below] = [lossAt(0.50001), lossAt(0.49999)];",
        "const slope = (above - below) / 2e-5;",
        'console.log("L at 0.50001", above.toFixed(9), " at 0.49999", below.toFixed(9), " slope", slope.toFixed(6));',
      ].join("\n"),
    },
    { type: "markdown", source: "A hundred steps with rate 0.01 from the same start. On a logarithmic axis a straight line is exponential decay." },
    {
      type: "code",
      source: [
        "const { losses } = trainNetwork(W1, b1, w2, 0, x, 1, 0.01, 100);",
        'lossCurve(losses, { title: "A hundred steps of gradient descent", logY: true, y: "loss ½(ŷ - y)²" });',
      ].join("\n"),
    },
  ],
});
