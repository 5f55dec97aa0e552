/** Exercise 2: Jacobians of f, g and f ∘ g, and the pullback that never forms the last. */
import { randn, tensor, type Rng, type Tensor } from "gradbook";
import { defineExercise, part } from "../autograder/spec";

const f = ([u1, u2, u3]: ArrayLike<number> & Iterable<number>): Tensor => tensor([u1 * u2, u2 + u3 ** 2]);
const g = ([x1, x2]: ArrayLike<number> & Iterable<number>): Tensor => tensor([x1 ** 2, x1 * x2, Math.exp(x2)]);
const h = (x: Tensor): Tensor => f(g(x.data).data);

const point = (n: number) => (random: Rng) => ({ x: randn([n], random) });

export default defineExercise({
  id: "jacobian-composition",
  number: 2,
  title: "Jacobian composition",
  source: "math-for-llms, exercise 2",
  minutes: 15,
  goal: "You can write the Jacobian of a vector function, compose two by the chain rule, and pull a gradient back without forming the product.",
  hints: [
    "A Jacobian has a row for each output and a column for each input. Write the outputs below each other and differentiate each by every input.",
    "The first row of J_f differentiates u1 u2: by u1 it gives u2, by u2 it gives u1, by u3 it gives 0.",
    "J_f is taken at u = g(x), not at x: compute u first.",
    "pullback: du = J_f(u)ᵀ dy has three elements, then dx = J_g(x)ᵀ du has two.",
  ],
  parts: [
    part({
      name: "J_f",
      points: 2,
      entry: "jacobianF",
      draw: (random) => ({ u: randn([3], random) }),
      call: (student, { u }) => ({ J: student(u) }),
      attempt: ({ u }, made) => {
        const [u1, u2, u3] = u.data;
        const product = made("product-kept") ? [u1, u2, 0] : [u2, u1, 0];
        const last = made("square-kept") ? u3 ** 2 : made("factor-2") ? u3 : 2 * u3;
        const J = tensor([product, [made("sum-kept") ? u2 : 0, made("sum-kept") ? 0 : 1, last]]);
        if (made("u2-kept")) J.data[4] = u2;
        return { J: made("transposed") ? J.T : J };
      },
      mistakes: [
        {
          id: "transposed",
          says: "Your J_f is the transpose: it has a row for each input.",
          hint: "J has a row for each output of f (two) and a column for each input (three).",
        },
        {
          id: "product-kept",
          says: "In the first row you put u1 below u1 and u2 below u2.",
          hint: "Differentiate u1 u2 by u1: u2 is a constant then, and it is what remains.",
        },
        {
          id: "square-kept",
          says: "You left u3² as it is where its derivative belongs.",
          hint: "The entry is the slope of u3², not its value.",
          hides: ["factor-2"],
        },
        { id: "factor-2", says: "The 2 of the derivative of u3² is missing.", hint: "What is the derivative of a square?" },
        {
          id: "sum-kept",
          says: "In the second row you put u2 itself, and in the first column.",
          hint: "u2 + u3² does not depend on u1, and its slope in u2 is the same everywhere.",
        },
        { id: "u2-kept", says: "In the second row you left u2 as it is.", hint: "How much does u2 + u3² grow when u2 grows by a little?" },
      ],
      forward: ({ u }) => f(u.data),
      jacobians: { J: "u" },
    }),
    part({
      name: "J_g",
      points: 2,
      entry: "jacobianG",
      draw: point(2),
      call: (student, { x }) => ({ J: student(x) }),
      attempt: ({ x }, made) => {
        const [x1, x2] = x.data;
        const exponential = made("exp-power-rule") ? x2 * Math.exp(x2 - 1) : made("exp-times-x") ? x2 * Math.exp(x2) : Math.exp(x2);
        const J = tensor([
          [made("factor-2") ? x1 : 2 * x1, 0],
          made("product-kept") ? [x1, x2] : [x2, x1],
          made("exp-column") ? [exponential, 0] : [0, exponential],
        ]);
        return { J: made("transposed") ? J.T : J };
      },
      mistakes: [
        {
          id: "transposed",
          says: "Your J_g is the transpose: it has a row for each input.",
          hint: "J has a row for each output of g (three) and a column for each input (two).",
        },
        { id: "factor-2", says: "The 2 of the derivative of x1² is missing.", hint: "What is the derivative of a square?" },
        {
          id: "product-kept",
          says: "In the second row you put x1 below x1 and x2 below x2.",
          hint: "Differentiate x1 x2 by x1: x2 is a constant then, and it is what remains.",
        },
        {
          id: "exp-power-rule",
          says: "You differentiated exp(x2) by the power rule.",
          hint: "In exp(x2) the variable is the exponent, not the base.",
          hides: ["exp-times-x"],
        },
        {
          id: "exp-times-x",
          says: "You multiplied exp(x2) by x2.",
          hint: "The chain rule multiplies by the slope of the exponent. What is the slope of x2 in x2?",
        },
        {
          id: "exp-column",
          says: "exp(x2) stands in the column of x1.",
          hint: "The second column holds derivatives by x2.",
        },
      ],
      forward: ({ x }) => g(x.data),
      jacobians: { J: "x" },
    }),
    part({
      name: "J_h written out",
      points: 2,
      entry: "jacobianH",
      draw: point(2),
      call: (student, { x }) => ({ J: student(x) }),
      attempt: ({ x }, made) => {
        const [x1, x2] = x.data;
        const inner = made("inner-derivative") ? 1 : 2;
        const J = tensor([
          [(made("cube") ? 1 : 3) * x1 ** 2 * x2, x1 ** 3],
          [x2, (made("one-path") ? 0 : x1) + inner * Math.exp((made("exp-not-squared") ? 1 : 2) * x2)],
        ]);
        return { J: made("transposed") ? J.T : J };
      },
      mistakes: [
        {
          id: "transposed",
          says: "Your J_h is the transpose.",
          hint: "Both shapes are [2, 2], so the shape cannot tell you: row 1 belongs to the first output, x1³ x2.",
        },
        { id: "cube", says: "The 3 of the derivative of x1³ is missing.", hint: "h's first output is x1² times x1 x2." },
        {
          id: "inner-derivative",
          says: "The inner derivative of exp(2 x2) is missing.",
          hint: "exp(2 x2) is a composition too: what is the slope of 2 x2?",
        },
        {
          id: "exp-not-squared",
          says: "You used exp(x2) where its square belongs.",
          hint: "f's second output holds u3², and u3 is exp(x2).",
        },
        {
          id: "one-path",
          says: "x2 reaches the second output by two paths, and you counted one.",
          hint: "The second output is x1 x2 + exp(2 x2): both terms depend on x2.",
        },
      ],
      forward: ({ x }) => h(x),
      jacobians: { J: "x" },
    }),
    part({
      name: "pullback",
      points: 4,
      entry: "pullback",
      draw: (random) => ({ x: randn([2], random), dy: randn([2], random) }),
      call: (student, { x, dy }) => ({ dx: student(x, dy) }),
      attempt: ({ x, dy }, made) => {
        const [x1, x2] = x.data;
        const [u1, u2, u3] = made("at-x") ? [x1, x2, 0] : g(x.data).data;
        const [c1, c2] = made("ignores-dy") ? [1, 1] : dy.data;
        const du = [c1 * u2, c1 * u1 + (made("fan-out") ? 0 : c2), 2 * u3 * c2];
        if (made("stops-early")) return { dx: tensor(du) };
        if (made("jvp")) return { dx: tensor([3 * x1 ** 2 * x2 * c1 + x1 ** 3 * c2, x2 * c1 + (x1 + 2 * Math.exp(2 * x2)) * c2]) };
        return { dx: tensor([2 * x1 * du[0] + (made("one-path") ? 0 : x2 * du[1]), x1 * du[1] + Math.exp(x2) * du[2]]) };
      },
      mistakes: [
        {
          id: "ignores-dy",
          says: "Your result does not depend on dy: you summed the rows of J_h.",
          hint: "The gradient that arrives from above multiplies everything below it.",
        },
        {
          id: "at-x",
          says: "You took J_f at (x1, x2, 0) and not at g(x).",
          hint: "A local derivative belongs to the point where the function was evaluated: f was evaluated at u = g(x).",
        },
        {
          id: "fan-out",
          says: "u2 feeds both outputs of f, and you kept the first path only.",
          hint: "Where a value is used twice its gradients add up.",
        },
        {
          id: "one-path",
          says: "x1 feeds two outputs of g, and you kept the first path only.",
          hint: "Where a value is used twice its gradients add up.",
        },
        {
          id: "stops-early",
          says: "You stopped at u: your result is the gradient with respect to g's outputs.",
          hint: "Shape [3] is u's. One more step leads to x.",
          hides: ["one-path", "jvp"],
        },
        {
          id: "jvp",
          says: "You multiplied dy by J_h, not by its transpose: you pushed it forward.",
          hint: "J_h takes a step in x to a step in y. A gradient goes the other way: which side of the matrix belongs to y?",
          hides: ["at-x", "fan-out", "one-path"],
        },
      ],
      cotangent: "dy",
      forward: ({ x }) => h(x),
    }),
  ],
  after: [
    {
      type: "markdown",
      source:
        "Check the chain rule at the document's own point, $x_0 = (1, 0)$: the product of the two Jacobians and the Jacobian written out " +
        "should be the same matrix.",
    },
    {
      type: "code",
      source: [
        "const x0 = tensor([1, 0]);",
        "const product = jacobianF(g(x0)).matmul(jacobianG(x0));",
        'console.log("J_f(g(x0)) J_g(x0) =", product.toArray());',
        'console.log("J_h(x0)            =", jacobianH(x0).toArray());',
        'console.log("finite differences =", jacobian((x) => {',
        "  const [u1, u2, u3] = g(x).data;",
        "  return tensor([u1 * u2, u2 + u3 ** 2]);",
        '}, x0, { by: "differences" }).toArray());',
      ].join("\n"),
    },
    {
      type: "markdown",
      source:
        "The same three matrices as pictures, at a point with no zeros in it. Blue is negative, red is positive. The middle axis, " +
        "$u_1$ to $u_3$, is summed over in the product: it is the layer that the gradient passes on its way from $y$ to $x$.",
    },
    {
      type: "code",
      source: [
        "const at = tensor([1.2, -0.5]);",
        'const [ys, us, xs] = [["y1", "y2"], ["u1", "u2", "u3"], ["x1", "x2"]];',
        'const axes = { x: "by", y: "derivative of" };',
        "beside([",
        '  heatmap(jacobianF(g(at)), { title: "J_f(g(x))", rows: ys, columns: us, ...axes }),',
        '  heatmap(jacobianG(at), { title: "J_g(x)", rows: us, columns: xs, ...axes }),',
        '  heatmap(jacobianF(g(at)).matmul(jacobianG(at)), { title: "J_h(x), the product", rows: ys, columns: xs, ...axes }),',
        '], { title: "The chain rule is a matrix product" });',
      ].join("\n"),
    },
  ],
});
