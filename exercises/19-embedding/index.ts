/** Exercise 19: the gradient of a table whose rows are looked up: repeated, sparse, with positions, tied to the output. */
import { oneHot, randn, tensor, zeros, type Rng, type Tensor } from "gradbook";
import { defineExercise, part } from "../autograder/spec";
import { rows } from "../reference";

/** N ids below V of which one occurs three times, one twice, and some rows never; ids 0 and V - 1 are among them. */
function drawIds(random: Rng, N: number, V: number): number[] {
  const order = random.shuffle(Array.from({ length: V - 2 }, (_, i) => i + 1));
  const ids = [order[0], order[0], order[0], order[1], order[1], 0, V - 1];
  while (ids.length < N) ids.push(order[2]);
  return random.shuffle(ids.slice(0, N));
}

/** onehot(ids)ᵀ dh, in the one place where V is small enough for it. */
const scatter = (dh: Tensor, ids: readonly number[], V: number): Tensor => oneHot([...ids], V).T.matmul(dh);

/** Only the last of repeated ids leaves its gradient, or only the first. */
function overwrite(dh: Tensor, ids: readonly number[], V: number, keepFirst: boolean): Tensor {
  const out = zeros([V, dh.shape[1]]);
  ids.forEach((id, n) => {
    if (keepFirst && ids.indexOf(id) < n) return;
    out.data.set(dh.row(n).data, id * dh.shape[1]);
  });
  return out;
}

const counts = (ids: readonly number[], V: number): Tensor => {
  const n = zeros([V, 1]);
  for (const id of ids) n.data[id] += 1;
  return n;
};

type TableMistake = "overwritten" | "first-only" | "mean" | "ones";

function tableGradient(dh: Tensor, ids: readonly number[], V: number, made: (m: TableMistake) => boolean): Tensor {
  const g = made("ones") ? dh.map(() => 1) : dh;
  if (made("overwritten") || made("first-only")) return overwrite(g, ids, V, !made("overwritten"));
  const dE = scatter(g, ids, V);
  return made("mean") ? dE.div(counts(ids, V).maximum(1)) : dE;
}

const TABLE_MISTAKES = [
  {
    id: "overwritten" as const,
    says: "A repeated token keeps only the gradient of its last place: you overwrite where you must add.",
    hint: "Look at the rows of the ids that occur more than once.",
    hides: ["first-only", "mean"] as const,
  },
  {
    id: "first-only" as const,
    says: "A repeated token keeps only the gradient of its first place.",
    hint: "Look at the rows of the ids that occur more than once.",
    hides: ["mean"] as const,
  },
  {
    id: "mean" as const,
    says: "You divided each row by the number of times its token occurs.",
    hint: "Every use of a row brings its whole gradient; they add up.",
  },
  { id: "ones" as const, says: "The rows hold counts: dh does not enter.", hint: "The gradient that arrives from above is what is added up." },
];

export default defineExercise({
  id: "embedding",
  number: 19,
  title: "Embedding: sparse, repeated and tied",
  source: "math-for-llms, section 5.6; arXiv 2512.23329, embedding layer and positions",
  minutes: 20,
  goal: "You can write the backward of a table lookup, keep it sparse, and add up the gradients of a tied table.",
  withholds: ["embedding"],
  hints: [
    "Go over the positions n: row ids[n] of dE gets row n of dh added to it.",
    "sparse: `[...new Set(ids)].sort((a, b) => a - b)` are the rows; a Map from id to its place tells where to add.",
    "positions: the same P[t] is added in each of the B sequences, so dP sums dh over the batch. dE is part 1 on flattened ids.",
    "tied: first treat the two E as different tables: dE_out = dlogitsᵀ h, and dh = dlogits E goes back through the lookup. Then add.",
  ],
  parts: [
    part({
      name: "repeated tokens",
      points: 2,
      entry: "embeddingBackward",
      draw: (random, instance) => {
        const [N, V, d] = [[7, 7, 3], [8, 12, 2], [9, 9, 4], [7, 10, 5]][instance % 4];
        return { dh: randn([N, d], random), ids: drawIds(random, N, V), V, E: randn([V, d], random) };
      },
      call: (student, { dh, ids, V }) => ({ dE: student(dh, ids, V) }),
      attempt: ({ dh, ids, V }, made) => ({ dE: tableGradient(dh, ids, V, made) }),
      mistakes: TABLE_MISTAKES,
      equivalent: ["ones + overwritten = ones + first-only = ones + mean"],
      cotangent: "dh",
      forward: ({ E, ids }) => rows(E, ids),
      large: (random) => {
        const ids = Array.from({ length: 200 }, () => random.integer(0, 120));
        return { dh: randn([200, 16], random), ids, V: 120, E: randn([120, 16], random) };
      },
    }),
    part({
      name: "sparse",
      points: 2,
      entry: "sparseBackward",
      draw: (random, instance) => {
        const [N, V, d] = [[7, 9, 3], [8, 14, 2], [9, 11, 4], [7, 30, 2]][instance % 4];
        return { dh: randn([N, d], random), ids: drawIds(random, N, V) };
      },
      call: (student, { dh, ids }) => {
        const { rows, values } = student(dh, ids);
        return { rows, values };
      },
      attempt: ({ dh, ids }, made) => {
        let list = [...new Set(ids)];
        if (!made("order-of-occurrence")) list.sort(made("sorted-as-text") ? undefined : (a, b) => a - b);
        if (made("repeated-rows")) return { rows: tensor([...ids]), values: dh };
        const all = tableGradient(dh, ids, Math.max(...ids) + 1, (m) => made(m as "overwritten"));
        if (made("zero-rows")) list = Array.from({ length: Math.max(...ids) + 1 }, (_, i) => i);
        return { rows: tensor(list), values: rows(all, made("values-unsorted") && !made("zero-rows") ? [...new Set(ids)] : list) };
      },
      mistakes: [
        {
          id: "repeated-rows",
          says: "You returned one row for each position, so repeated ids stand there several times.",
          hint: "Each id once; its gradients are added up.",
          hides: ["*"],
        },
        {
          id: "overwritten",
          says: "A repeated token keeps only the gradient of its last place: you overwrite where you must add.",
          hint: "Look at the rows of the ids that occur more than once.",
        },
        {
          id: "zero-rows",
          says: "Rows that do not occur are listed too.",
          hint: "Sparse means: only what was looked up.",
          hides: ["order-of-occurrence", "sorted-as-text", "values-unsorted"],
        },
        {
          id: "values-unsorted",
          says: "The rows ascend, but the values are in the order in which the ids occur.",
          hint: "Row n of values belongs to rows[n]: sort the ids before you decide where each gradient goes.",
        },
        {
          id: "order-of-occurrence",
          says: "The rows are in the order in which they occur; they should ascend.",
          hint: "Sort the ids.",
          hides: ["sorted-as-text", "values-unsorted"],
        },
        { id: "sorted-as-text", says: "The rows are sorted as text: 10 stands before 2.", hint: "sort() without a comparison turns numbers into text." },
      ],
      cotangent: "dh",
      linear: ["values"],
    }),
    part({
      name: "tokens and positions",
      points: 2,
      entry: "tokenAndPosition",
      draw: (random, instance) => {
        const [B, T, V, d] = [[4, 4, 8, 4], [3, 5, 9, 2], [2, 6, 8, 3], [5, 2, 7, 3]][instance % 4];
        const ids = Array.from({ length: B }, () => Array.from({ length: T }, () => random.integer(0, V)));
        ids[1][0] = ids[0][1] = ids[0][0];
        return { dh: randn([B, T, d], random), ids, V, E: randn([V, d], random), P: randn([T, d], random) };
      },
      call: (student, { dh, ids, V }) => {
        const { dE, dP } = student(dh, ids, V);
        return { dE, dP };
      },
      attempt: ({ dh, ids, V }, made) => {
        const flat = dh.reshape(-1, dh.shape[2]);
        const order = made("ids-by-column") ? ids[0].flatMap((_, t) => ids.map((row) => row[t])) : ids.flat();
        return {
          dE: tableGradient(flat, order, V, (m) => made(m as "overwritten")),
          dP: made("wrong-axis") ? dh.sum(1) : made("first-sequence") ? dh.at(0) : made("mean-positions") ? dh.mean(0) : dh.sum(0),
        };
      },
      mistakes: [
        {
          id: "overwritten",
          says: "A repeated token keeps only the gradient of its last place: you overwrite where you must add.",
          hint: "Tokens repeat within a sequence and between sequences.",
        },
        {
          id: "ids-by-column",
          says: "You flattened the ids column by column, and dh row by row.",
          hint: "dh[b, t] belongs to ids[b][t]: both must be flattened in the same order.",
        },
        {
          id: "first-sequence",
          says: "dP holds the first sequence's gradient only.",
          hint: "Every sequence of the batch uses the same P.",
          hides: ["mean-positions"],
        },
        {
          id: "wrong-axis",
          says: "You summed dP over the positions.",
          hint: "dP has a row for each position: which axis of dh [B, T, d] has to go?",
          hides: ["first-sequence", "mean-positions"],
        },
        { id: "mean-positions", says: "dP is a mean over the batch; it must be a sum.", hint: "A 1/B belongs into the loss, and is then already in dh." },
      ],
      cotangent: "dh",
      forward: ({ E, P, ids }) => {
        const [B, T] = [ids.length, ids[0].length];
        return rows(E, ids.flat()).reshape(B, T, E.shape[1]).add(P);
      },
    }),
    part({
      name: "tied",
      points: 4,
      entry: "tiedBackward",
      draw: (random, instance) => {
        const [N, V, d] = [[7, 7, 7], [8, 10, 3], [9, 9, 2], [7, 12, 4]][instance % 4];
        const E = randn([V, d], random);
        const ids = drawIds(random, N, V);
        return { dlogits: randn([N, V], random), h: rows(E, ids), ids, E };
      },
      call: (student, { dlogits, h, ids, E }) => ({ dE: student(dlogits, h, ids, E) }),
      attempt: ({ dlogits, h, ids, E }, made) => {
        const V = E.shape[0];
        const asOutput = dlogits.T.matmul(h);
        const asInput = tableGradient(dlogits.matmul(E), ids, V, (m) => made(m as "overwritten"));
        if (made("output-only")) return { dE: asOutput };
        if (made("input-only")) return { dE: asInput };
        return { dE: made("averaged") ? asOutput.add(asInput).div(2) : asOutput.add(asInput) };
      },
      mistakes: [
        {
          id: "output-only",
          says: "Only the gradient of E's use as output is there; the lookup's is missing.",
          hint: "E is used twice, and the gradients of both uses add up.",
          hides: ["*"],
        },
        {
          id: "input-only",
          says: "Only the gradient of the lookup is there; that of E's use as output is missing.",
          hint: "E is used twice, and the gradients of both uses add up.",
          hides: ["averaged"],
        },
        { id: "averaged", says: "You averaged the gradients of the two uses.", hint: "Fan-out adds." },
        {
          id: "overwritten",
          says: "In the lookup's part a repeated token keeps only the gradient of its last place.",
          hint: "Use embeddingBackward, which adds.",
        },
      ],
      cotangent: "dlogits",
      forward: ({ E, ids }) => rows(E, ids).matmul(E.T),
    }),
  ],
  after: [
    {
      type: "markdown",
      source:
        "What sparsity saves: how much of a table with 128,000 rows, LLaMA-3's size, a batch of random tokens touches. Real text repeats its words and touches less.",
    },
    {
      type: "code",
      source: [
        "const batch = [64, 256, 1024, 4096, 16384, 65536];",
        "lines(batch, {",
        "  expected: batch.map((N) => 100 * (1 - (1 - 1 / 128000) ** N)),",
        '}, { title: "Rows with a gradient", x: "tokens in the batch", y: "% of the table", logX: true, markers: true });',
      ].join("\n"),
    },
  ],
});
