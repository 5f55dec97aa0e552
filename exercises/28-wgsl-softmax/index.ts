/** Exercise 28: two WGSL kernels for softmax's backward, run by the CPU's emulation of WebGPU. */
import { emulate, randn, tensor, type Rng, type Tensor } from "gradbook";
import { defineExercise, part } from "../autograder/spec";
import { rowSum, softmax } from "../reference";

/** Float32 rows of a softmax and a cotangent for them. */
function draw(random: Rng, [rows, columns]: number[]) {
  const x = randn([rows, columns], random, "float32");
  return { x, y: softmax(x.astype("float64")).astype("float32"), dy: randn([rows, columns], random, "float32") };
}

/** What each lane has summed: [rows, columns] -> [rows, 64], lane l holds columns l, l + 64, ... */
function laneSums(products: Tensor, stride: boolean): Tensor {
  const [rows, columns] = products.shape;
  const sums = new Float64Array(rows * 64);
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < (stride ? columns : Math.min(columns, 64)); j++) sums[i * 64 + (j % 64)] += products.get(i, j);
  }
  return tensor(sums, [rows, 64]);
}

export default defineExercise({
  id: "wgsl-softmax",
  number: 28,
  title: "A kernel of your own: softmax's backward in WGSL",
  source: "math-for-llms, sections 5.3 and 5.5 and appendix G.3",
  minutes: 30,
  goal: "You can write a GPU kernel for a backward pass, with a reduction in shared memory and its barriers.",
  hints: [
    "rowKernel: `if (id.x >= dims.rows) { return; }`, then `let start = id.x * dims.columns;` and two loops over j from 0u to dims.columns.",
    "Sum into `var s = 0.0;` with `s += y[start + j] * dy[start + j];`.",
    "groupKernel: the row is group.x, and the loops are `for (var j = lane; j < dims.columns; j += 64u)`.",
    "The rounds: `for (var half = 32u; half > 0u; half /= 2u)`, inside an if for lane < half, and after that if (not in it) workgroupBarrier().",
  ],
  parts: [
    part({
      name: "a row each",
      points: 4,
      entry: "rowKernel",
      kind: "string",
      draw: (random, instance) => draw(random, [[5, 5], [3, 7], [70, 4]][instance % 3]),
      call: (source: string, { y, dy }) => {
        if (source.includes("// not written yet")) throw new Error("not written yet");
        const [rows, columns] = y.shape;
        const dx = new Float32Array(rows * columns);
        const bindings = { 0: Float32Array.from(y.data), 1: Float32Array.from(dy.data), 2: dx, 3: Uint32Array.of(rows, columns) };
        emulate(source).dispatch({ groups: [Math.ceil(rows / 64)], bindings });
        return { dx: tensor(dx, [rows, columns]) };
      },
      attempt: ({ y, dy }, made) => {
        const [a, b] = [y.astype("float64"), dy.astype("float64")];
        const terms = made("unweighted") ? b : a.mul(b);
        const s = made("last-column") ? terms.slice(-1, undefined, 1) : rowSum(terms);
        let g = made("no-correction") ? b : made("sign") ? b.add(s) : b.sub(s);
        if (!made("not-times-y")) g = g.mul(a);
        if (made("first-64-rows")) g = g.mul(tensor(Array.from({ length: y.shape[0] }, (_, i) => [i < 64 ? 1 : 0])));
        return { dx: g.astype("float32") };
      },
      mistakes: [
        { id: "no-correction", says: "s is not subtracted: dx is only y dy.", hint: "The rows of dx must sum to 0.", hides: ["unweighted", "last-column", "sign"] },
        { id: "unweighted", says: "s sums dy alone; it must sum y dy.", hint: "The rows of dx must sum to 0." },
        { id: "last-column", says: "s holds the last column only.", hint: "= or +=?" },
        { id: "sign", says: "s is added; it must be subtracted.", hint: "dx = y (dy − s)." },
        { id: "not-times-y", says: "The factor y in front of the bracket is missing.", hint: "dx = y (dy − s)." },
        { id: "first-64-rows", says: "Rows from 64 on stay 0.", hint: "Several workgroups run: use global_invocation_id, not the local one." },
      ],
      dtype: "float32",
      cotangent: "dy",
      forward: ({ x }) => softmax(x.astype("float64")),
      instances: 3,
    }),
    part({
      name: "a workgroup each",
      points: 6,
      entry: "groupKernel",
      kind: "string",
      draw: (random, instance) => draw(random, [[3, 3], [2, 130], [4, 91]][instance % 3]),
      call: (source: string, { y, dy }) => {
        if (source.includes("// not written yet")) throw new Error("not written yet");
        const [rows, columns] = y.shape;
        const dx = new Float32Array(rows * columns);
        const bindings = { 0: Float32Array.from(y.data), 1: Float32Array.from(dy.data), 2: dx, 3: Uint32Array.of(rows, columns) };
        const { loads } = emulate(source).dispatch({ groups: [rows], bindings });
        return { dx: tensor(dx, [rows, columns]), loads };
      },
      attempt: ({ y, dy }, made) => {
        const columns = y.shape[1];
        const [a, b] = [y.astype("float64"), dy.astype("float64")];
        const lanes = laneSums(made("unweighted") ? b : a.mul(b), !made("first-64-summed"));
        const everyLane = made("every-lane-all") && !made("one-lane") && !made("own-part");
        const half = made("half-of-lanes") ? 32 : 64;
        const even = tensor(Array.from({ length: 64 }, (_, lane) => (made("round-short") && lane % 2 === 1 ? 0 : 1)));
        const s = made("own-part")
          ? tensor(Array.from({ length: y.shape[0] }, (_, i) => Array.from({ length: columns }, (_, j) => lanes.get(i, j % 64))))
          : rowSum(lanes.mul(even).slice(0, half, 1)).mul(everyLane ? 64 : 1);
        let g = a.mul(b.sub(s));
        if (made("first-64-written")) g = g.mul(tensor(Array.from({ length: columns }, (_, j) => (j < 64 ? 1 : 0))));
        return { dx: g.astype("float32"), loads: made("one-lane") || everyLane ? 4 * columns : 4 * Math.ceil(columns / 64) + 4 };
      },
      mistakes: [
        { id: "one-lane", says: "The result may be right, but one invocation reads the whole row.", hint: "Each lane reads every 64th column.", hides: ["every-lane-all"] },
        {
          id: "every-lane-all",
          says: "Every lane sums the whole row, so the 64 parts together are 64 times s.",
          hint: "Each lane reads every 64th column.",
        },
        {
          id: "round-short",
          says: "The last round is missing: the odd lanes' parts are not in the sum.",
          hint: "The rounds end with half = 1, in which lane 0 adds lane 1.",
        },
        { id: "own-part", says: "Each lane used its own part of the sum; nothing was added up.", hint: "After the rounds the sum is in partial[0].", hides: ["half-of-lanes", "round-short", "every-lane-all"] },
        { id: "half-of-lanes", says: "Only 32 of the 64 parts were added.", hint: "Start with half = 32: partial[lane] += partial[lane + 32]." },
        { id: "first-64-summed", says: "Only the first 64 columns are in the sum.", hint: "A lane goes on in steps of 64 to the end of the row." },
        { id: "first-64-written", says: "Columns from 64 on are not written.", hint: "The last loop goes in steps of 64 as well." },
        { id: "unweighted", says: "s sums dy alone; it must sum y dy.", hint: "The rows of dx must sum to 0." },
      ],
      atMost: ["loads"],
      dtype: "float32",
      cotangent: "dy",
      forward: ({ x }) => softmax(x.astype("float64")),
      instances: 3,
    }),
  ],
  after: [
    {
      type: "markdown",
      source: "The same text on the GPU, compared with the emulation. Without a GPU the cell says so.",
    },
    {
      type: "code",
      source: [
        "const random = rng(28);",
        "const [rows, columns] = [16, 200];",
        "const scores = randn([rows, columns], random).exp();",
        "const y = Float32Array.from(scores.div(scores.sum(-1, true)).data);",
        "const dy = Float32Array.from(randn([rows, columns], random).data);",
        "const dims = Uint32Array.of(rows, columns);",
        "const bind = (dx: Float32Array) => ({ groups: [rows] as [number], bindings: { 0: y, 1: dy, 2: dx, 3: dims } });",
        "const here = new Float32Array(rows * columns);",
        "emulate(groupKernel).dispatch(bind(here));",
        "try {",
        "  const { description } = await webgpu();",
        "  const there = new Float32Array(rows * columns);",
        "  await runShader(groupKernel, bind(there));",
        "  const most = Math.max(...there.map((v, i) => Math.abs(v - here[i])));",
        "  console.log(`${description}: differs from the emulation by at most ${most}`);",
        "} catch (error) {",
        "  console.log((error as Error).message);",
        "}",
      ].join("\n"),
    },
  ],
});
