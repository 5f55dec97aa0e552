/** Exercise 5: a linear layer's backward over a batch in both layouts, and a two-layer network with a mean loss. */
import { randn, type Rng, type Tensor } from "gradbook";
import { defineExercise, part } from "../autograder/spec";

/** [B, in, out]: all equal first, then all different. */
const sizes = [[3, 3, 3], [4, 2, 5], [5, 3, 2], [2, 6, 3]];
const sizeOf = (instance: number): number[] => sizes[instance % sizes.length];

function drawRows(random: Rng, [B, n, m]: number[]): { dY: Tensor; X: Tensor; W: Tensor; b: Tensor } {
  return { dY: randn([B, m], random), X: randn([B, n], random), W: randn([m, n], random), b: randn([m], random) };
}

function drawNetwork(random: Rng, [B, n, h, m]: number[]) {
  return {
    X: randn([B, n], random),
    W1: randn([h, n], random).div(Math.sqrt(n)),
    b1: randn([h], random),
    W2: randn([m, h], random),
    b2: randn([m], random),
    targets: randn([B, m], random).mul(2),
  };
}
type Network = ReturnType<typeof drawNetwork>;

function network({ X, W1, b1, W2, b2, targets }: Network) {
  const Z = X.matmul(W1.T).add(b1);
  const A = Z.tanh();
  const error = A.matmul(W2.T).add(b2).sub(targets);
  return { Z, A, error, loss: error.square().sum().item() / (2 * X.shape[0]) };
}

/** The product where the shapes allow it, as a student with the wrong operand gets it on a square instance only. */
const product = (a: Tensor, b: Tensor): Tensor | undefined => (a.shape[1] === b.shape[0] ? a.matmul(b) : undefined);
const given = <K extends string>(name: K, value: Tensor | undefined): Partial<Record<K, Tensor>> =>
  value ? ({ [name]: value } as Record<K, Tensor>) : {};

export default defineExercise({
  id: "batched-backward",
  number: 5,
  title: "Batched backward, and where the transpose comes from",
  source: 'math-for-llms, sections 4.6 and 5.1; llm-from-scratch, "Using vectors instead of scalars"; arXiv 2512.23329, linear layer',
  minutes: 20,
  goal: "You can write a linear layer's backward over a batch in either layout by its shapes, and put the mean's 1/B where it belongs.",
  hints: [
    "Write the shape of each gradient first: it is the shape of what it belongs to. Then look for the one product of the arriving gradient and a stored matrix that has this shape.",
    "In rows: dX is [B, in] and made of dY [B, out] and W [out, in], so dX = dY W with no transpose. dW is [out, in], made of dY [B, out] and X [B, in], so dY goes transposed to the left.",
    "The bias was added to every sample, so its gradient is the sum of dY over samples: axis 0 in rows, axis 1 in columns.",
    "batchBackward: dY = (ŷ - targets) / B is the only place with B in it. Then two calls of rowsBackward with tanh' between them.",
    "tanh' at Z is 1 - A², since A = tanh(Z): dZ = dA · (1 - A²), element by element.",
  ],
  withholds: ["linear", "mse", "tanh"],
  parts: [
    part({
      name: "samples in rows",
      points: 3,
      entry: "rowsBackward",
      draw: (random, instance) => drawRows(random, sizeOf(instance)),
      call: (student, { dY, X, W }) => student(dY, X, W),
      attempt: ({ dY, X, W }, made) => {
        const mean = made("mean") ? 1 / X.shape[0] : 1;
        const dW = made("first-sample") ? dY.slice(0, 1).T.matmul(X.slice(0, 1)) : dY.T.matmul(X);
        return {
          ...given("dX", made("wrong-operand") ? product(dY, W.T) : dY.matmul(W)),
          dW: (made("transposed") ? dW.T : dW).mul(mean),
          db: (made("db-first-sample") ? dY.row(0) : made("db-wrong-axis") ? dY.sum(1) : dY.sum(0)).mul(mean),
        };
      },
      mistakes: [
        {
          id: "wrong-operand",
          says: "In dX you multiplied by Wᵀ.",
          hint: "dX is [B, in]. Which of W and Wᵀ leads from [B, out] to [B, in]?",
        },
        { id: "transposed", says: "Your dW is transposed.", hint: "dW has W's shape, [out, in]." },
        { id: "first-sample", says: "Your dW holds the first sample only.", hint: "Every sample uses W: its gradient is a sum over samples." },
        {
          id: "db-first-sample",
          says: "Your db holds the first sample only.",
          hint: "Every sample uses b: its gradient is a sum over samples.",
          hides: ["db-wrong-axis"],
        },
        {
          id: "db-wrong-axis",
          says: "You summed db over the outputs.",
          hint: "b has one number for each output: which axis has to go?",
        },
        {
          id: "mean",
          says: "You divided the parameters' gradients by the batch size.",
          hint: "A mean belongs to the loss. If there is one, dY brings its 1/B along.",
        },
      ],
      cotangent: "dY",
      forward: ({ X, W, b }) => X.matmul(W.T).add(b),
      large: (random) => drawRows(random, [16, 48, 32]),
    }),
    part({
      name: "samples in columns",
      points: 2,
      entry: "columnsBackward",
      draw: (random, instance) => {
        const [B, n, m] = sizeOf(instance);
        return { dZ: randn([m, B], random), A: randn([n, B], random), W: randn([m, n], random), b: randn([m], random) };
      },
      call: (student, { dZ, A, W }) => student(dZ, A, W),
      attempt: ({ dZ, A, W }, made) => {
        const dW = dZ.matmul(A.T);
        const mean = made("mean") ? 1 / A.shape[1] : 1;
        return {
          ...given("dA", made("wrong-operand") ? product(W, dZ) : W.T.matmul(dZ)),
          dW: (made("transposed") ? dW.T : dW).mul(mean),
          db: (made("db-wrong-axis") ? dZ.sum(0) : made("db-as-column") ? dZ.sum(1, true) : dZ.sum(1)).mul(mean),
        };
      },
      mistakes: [
        { id: "wrong-operand", says: "In dA you multiplied by W.", hint: "dA is [n, B]. Which of W and Wᵀ leads from [m, B] to [n, B]?" },
        { id: "transposed", says: "Your dW is transposed.", hint: "dW has W's shape, [m, n]." },
        {
          id: "db-wrong-axis",
          says: "You summed db over the outputs.",
          hint: "In this layout the samples are the columns: which axis has to go?",
          hides: ["db-as-column"],
        },
        { id: "db-as-column", says: "Your db has shape [m, 1].", hint: "db has b's shape, [m]." },
        {
          id: "mean",
          says: "You divided the parameters' gradients by the batch size.",
          hint: "A mean belongs to the loss. If there is one, dZ brings its 1/B along.",
        },
      ],
      cotangent: "dZ",
      forward: ({ A, W, b }) => W.matmul(A).add(b.reshape(-1, 1)),
    }),
    part({
      name: "a network over a batch",
      points: 5,
      entry: "batchBackward",
      draw: (random, instance) => drawNetwork(random, [[3, 3, 3, 3], [4, 2, 5, 3], [5, 3, 4, 2], [2, 4, 3, 5]][instance % 4]),
      call: (student, { X, W1, b1, W2, b2, targets }) => student(X, W1, b1, W2, b2, targets),
      attempt: (args: Network, made) => {
        const { X, W2 } = args;
        const { Z, A, error, loss: right } = network(args);
        const [B, m] = error.shape;
        const divisor = made("no-mean") ? 1 : made("mean-over-elements") ? B * m : B;
        const loss = right * (made("loss-no-mean") ? B : 1) * (made("loss-no-half") ? 2 : 1) / (made("loss-over-elements") ? m : 1);
        const dY = error.div(divisor).mul((made("factor-2") ? 2 : 1) * (made("sign") ? -1 : 1));
        const again = made("mean-twice") && !made("no-mean") ? B : 1;
        const dA = dY.matmul(W2);
        const inner = made("z-for-a") ? Z : A;
        const slope = (made("not-squared") ? inner : inner.square()).neg().add(1);
        const dZ = made("tanh-missing") ? dA : dA.mul(slope);
        return {
          loss,
          dW2: dY.T.matmul(made("z-in-dW2") ? Z : A).div(again),
          db2: dY.sum(0).div(again),
          dW1: dZ.T.matmul(X).div(again),
          db1: dZ.sum(0).div(again),
        };
      },
      mistakes: [
        { id: "no-mean", says: "The 1/B of the mean is missing.", hint: "The loss is a mean over samples.", hides: ["mean-over-elements", "mean-twice"] },
        {
          id: "mean-over-elements",
          says: "You divided by all elements of the output, B · m.",
          hint: "The loss sums over outputs and averages over samples.",
        },
        {
          id: "mean-twice",
          says: "You divided by B twice.",
          hint: "The 1/B enters with dL/dŶ; what is made of it has it already.",
        },
        { id: "factor-2", says: "All your gradients are twice too large.", hint: "The loss has a ½: what is left of the 2?" },
        { id: "sign", says: "All your gradients have the wrong sign.", hint: "If a prediction is too large, does the loss grow or fall with it?" },
        { id: "loss-no-half", says: "The ½ of the loss is missing.", hint: "L = 1/(2B) Σ ‖Ŷ - T‖²." },
        { id: "loss-no-mean", says: "Your loss is a sum over samples.", hint: "The loss is a mean over samples." },
        { id: "loss-over-elements", says: "Your loss is a mean over all B · m elements.", hint: "The loss sums over outputs and averages over samples." },
        {
          id: "tanh-missing",
          says: "You passed the gradient through tanh unchanged.",
          hint: "Between the two linear layers stands a function with a slope of its own.",
          hides: ["z-for-a", "not-squared"],
        },
        { id: "not-squared", says: "The square is missing in the slope of tanh.", hint: "tanh' at z is 1 - tanh(z)²." },
        {
          id: "z-for-a",
          says: "You computed tanh' as 1 - Z², from what enters the tanh.",
          hint: "tanh' at z is 1 - tanh(z)². Which stored matrix is tanh(z)?",
        },
        { id: "z-in-dW2", says: "dW2 uses Z where A belongs.", hint: "What did W2 multiply in the forward pass?" },
      ],
      forward: (args: Network) => network(args).loss,
      large: (random) => drawNetwork(random, [16, 32, 40, 8]),
    }),
  ],
  after: [
    {
      type: "markdown",
      source:
        "One sample's $dW$ is an outer product, a matrix of rank 1 (section 4.5). A batch adds $B$ of them up. Left, the gradient of one sample: every row is " +
        "a multiple of every other. Right, the sum over six samples.",
    },
    {
      type: "code",
      source: [
        "const random = rng(5);",
        "const [dY, X, W] = [randn([6, 6], random), randn([6, 8], random), randn([6, 8], random)];",
        "const one = rowsBackward(dY.slice(0, 1), X.slice(0, 1), W).dW;",
        "const all = rowsBackward(dY, X, W).dW;",
        'const axes = { x: "input", y: "output" };',
        'beside([heatmap(one, { title: "dW, one sample", ...axes }), heatmap(all, { title: "dW, six samples", ...axes })]);',
      ].join("\n"),
    },
  ],
});
