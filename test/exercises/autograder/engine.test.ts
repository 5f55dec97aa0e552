/** The engine on small exercises of its own, where each verdict and each sentence can be foreseen. */
import { randn, tensor, Tensor, type Rng } from "gradbook";
import { copy, read, same, write } from "../../../exercises/autograder/data";
import { gradeHere } from "../../../exercises/autograder/grade";
import { nbgraderMetadata } from "../../../exercises/autograder/nbgrader";
import { hash, plan } from "../../../exercises/autograder/plan";
import { numbers } from "../../../exercises/autograder/probe";
import { overall, type Report } from "../../../exercises/autograder/report";
import { cellSource } from "../../../exercises/autograder/source";
import { part, type Exercise, type Part } from "../../../exercises/autograder/spec";

/** y = W x, dW = dy xᵀ, dx = Wᵀ dy. */
const product = part({
  name: "product",
  points: 3,
  entry: "backward",
  draw: (random: Rng, instance: number) => {
    const [m, n] = [[3, 3], [2, 4], [4, 3], [3, 2]][instance % 4];
    return { W: randn([m, n], random), x: randn([n, 1], random), dy: randn([m, 1], random) };
  },
  call: (student, { W, x, dy }) => student(W, x, dy),
  attempt: ({ W, x, dy }, made) => {
    const dW = made("sign") ? dy.matmul(x.T).neg() : dy.matmul(x.T);
    return { dW: made("transposed") ? dW.T : dW, dx: made("forgot-W") ? dy : W.T.matmul(dy) };
  },
  mistakes: [
    { id: "transposed", says: "You transposed dW.", hint: "It has W's shape." },
    { id: "sign", says: "dW has the wrong sign.", hint: "Nothing is subtracted." },
    { id: "forgot-W", says: "dx lacks W.", hint: "Which way did x go?" },
  ],
  cotangent: "dy",
  forward: ({ W, x }) => W.matmul(x),
});

function exerciseOf(...parts: Part<any, any, any>[]): Exercise {
  const points = parts.reduce((sum, { points: p }) => sum + p, 0);
  return {
    id: "test", number: 99, title: "A test", source: "none", minutes: 1, goal: "", hints: [], parts, points,
    folder: "99-test", statement: "", starter: "", solution: "",
  };
}

type Backward = (W: Tensor, x: Tensor, dy: Tensor) => unknown;
const right: Backward = (W, x, dy) => ({ dW: dy.matmul(x.T), dx: W.T.matmul(dy) });

function check(backward: unknown, seed = "engine"): Report {
  return gradeHere(exerciseOf(product), (name) => (name === "backward" ? backward : undefined), seed) as Report;
}

describe("a verdict", () => {
  it("is passed, with finite differences beside it", () => {
    const report = check(right);
    expect(report).toMatchObject({ status: "passed", score: 3, max: 3 });
    const [{ tensors }] = report.checks;
    expect(tensors.map(({ name, state }) => [name, state])).toEqual([["dW", "right"], ["dx", "right"]]);
    for (const { differences } of tensors) expect(differences).toBeLessThan(1e-10);
  });

  it.each<[string, unknown, string, RegExp]>([
    ["nothing called so", undefined, "error", /there is no function called backward/],
    ["no function", 3, "error", /backward is the number "3", it should be a function/],
    ["not written", () => { throw new Error("not written yet"); }, "not attempted", /not written yet/],
    ["a throw", () => { throw new TypeError("oh"); }, "error", /TypeError: oh/],
    ["nothing returned", () => undefined, "error", /backward returned undefined/],
    ["an output missing", (_W: Tensor, x: Tensor, dy: Tensor) => ({ dW: dy.matmul(x.T) }), "failed", /dx is not among what you return/],
    ["a wrong shape", (W: Tensor, x: Tensor, dy: Tensor) => ({ dW: dy.matmul(x.T), dx: W.T.matmul(dy).reshape(1, -1) }), "failed", /dx has shape \[1, 3\], it should be \[3, 1\]/],
    ["float32", (W: Tensor, x: Tensor, dy: Tensor) => ({ dW: dy.matmul(x.T), dx: W.T.matmul(dy).astype("float32") }), "failed", /dx is float32, it should be float64/],
    ["NaN", (W: Tensor, x: Tensor, dy: Tensor) => ({ dW: dy.matmul(x.T), dx: W.T.matmul(dy).mul(NaN) }), "failed", /dx is NaN at \[0, 0\]/],
    ["an input changed", (W: Tensor, x: Tensor, dy: Tensor) => { const out = right(W, x, dy); x.data[0] = 7; return out; }, "failed", /backward changes its argument x: copy/],
    ["a word kept from call to call", (() => { let n = 0; return (W: Tensor, x: Tensor, dy: Tensor) => ({ dW: dy.matmul(x.T), dx: W.T.matmul(dy).mul(1 + 1e-14 * n++) }); })(), "failed", /differs between two calls with the same inputs/],
    ["the cotangent ignored", (W: Tensor, x: Tensor, dy: Tensor) => ({ dW: dy.matmul(x.T), dx: W.T.matmul(dy.map(() => 1)) }), "failed", /dx does not depend on dy/],
    ["a cotangent squared", (W: Tensor, x: Tensor, dy: Tensor) => ({ dW: dy.matmul(x.T), dx: W.T.matmul(dy.square()) }), "failed", /dx is not linear in dy/],
    ["one mistake", (W: Tensor, x: Tensor, dy: Tensor) => ({ dW: dy.matmul(x.T).T, dx: W.T.matmul(dy) }), "failed", /^You transposed dW\.$/],
    ["two mistakes", (W: Tensor, x: Tensor, dy: Tensor) => ({ dW: dy.matmul(x.T).T.neg(), dx: W.T.matmul(dy) }), "failed", /^Two mistakes at once\. You transposed dW\. dW has the wrong sign\.$/],
    ["one mistake known and one not", (W: Tensor, x: Tensor, dy: Tensor) => ({ dW: dy.matmul(x.T).neg(), dx: W.T.matmul(dy).mul(2) }), "failed", /^dW: dW has the wrong sign\. dx: wrong in a way that is not on the list\.$/],
    ["no mistake on the list", (W: Tensor, x: Tensor, dy: Tensor) => ({ dW: dy.matmul(x.T), dx: W.T.matmul(dy).mul(2) }), "failed", /^dx is wrong, most of all at \[\d, 0\]\. Right: dW\.$/],
  ])("%s", (_name, backward, status, says) => {
    const [result] = check(backward).checks;
    expect(result.message).toMatch(says);
    expect(result.status).toBe(status);
    expect(result.score).toBe(0);
  });

  it("shows where, in which direction and how far off, where it cannot name the mistake", () => {
    const [{ tensors, diagnosis }] = check((W: Tensor, x: Tensor, dy: Tensor) => ({ dW: dy.matmul(x.T), dx: W.T.matmul(dy).mul(2) })).checks;
    expect(diagnosis).toBeUndefined();
    const [, dx] = tensors;
    expect(dx.cosine).toBeCloseTo(1, 12);
    expect(dx.scale).toBeCloseTo(2, 12);
    expect(dx.worst).toHaveLength(3);
    expect(dx.heat).toHaveLength(3);
  });

  it("waits for an asynchronous answer", async () => {
    const report = gradeHere(exerciseOf(product), () => async (W: Tensor, x: Tensor, dy: Tensor) => right(W, x, dy), "later");
    expect(report).toBeInstanceOf(Promise);
    expect((await report).status).toBe("passed");
  });

  it("accepts numbers however they are held", () => {
    const nested: Backward = (W, x, dy) => ({ dW: dy.matmul(x.T).toArray(), dx: W.T.matmul(dy).toArray() });
    expect(check(nested).status).toBe("passed");
  });

  it("is the same from the same seed, and draws anew from another", () => {
    const one = plan(exerciseOf(product), "a");
    expect(same(one.calls.map(({ args }) => args), plan(exerciseOf(product), "a").calls.map(({ args }) => args))).toBe(true);
    expect(same(one.calls[0].args, plan(exerciseOf(product), "b").calls[0].args)).toBe(false);
  });
});

describe("statistics", () => {
  const mean = part({
    name: "mean",
    points: 1,
    entry: "estimate",
    draw: (random: Rng) => ({ p: 0.2 + 0.6 * random.uniform(), N: 4000 }),
    call: (student, { p, N }) => ({ m: student(p, N) }),
    attempt: ({ p }, made) => ({ m: made("square") ? p * p : p }),
    mistakes: [{ id: "square", says: "You squared p.", hint: "Do not." }],
    statistical: { standardErrors: ({ p, N }) => ({ m: Math.sqrt((p * (1 - p)) / N) }) },
  });
  const grade = (estimate: (p: number, N: number) => number, seed: string): Report =>
    gradeHere(exerciseOf(mean), () => estimate, seed) as Report;
  const toss = (p: number, N: number): number => Array.from({ length: N }, () => Number(Math.random() < p)).reduce((a, b) => a + b) / N;

  it("accept a right estimate", () => {
    for (let i = 0; i < 50; i++) expect(grade(toss, `right ${i}`).status).toBe("passed");
  });

  it("reject a biased one, and name the bias", () => {
    const [result] = grade((p, N) => toss(p * p, N), "biased").checks;
    expect(result).toMatchObject({ status: "failed", message: "You squared p." });
  });
});

describe("the state of a whole", () => {
  it.each([
    [["passed", "passed"], "passed"],
    [["not attempted", "not attempted"], "not attempted"],
    [["passed", "not attempted"], "failed"],
    [["passed", "timeout"], "timeout"],
    [["error", "timeout"], "timeout"],
    [["passed", "error"], "error"],
    [["failed", "timeout"], "failed"],
  ] as const)("%j is %s", (states, whole) => expect(overall(states)).toBe(whole));
});

describe("data between processes", () => {
  it("comes back bit by bit", () => {
    const data = {
      a: tensor([[1, -0, NaN], [Infinity, -Infinity, 1e-310]]),
      b: tensor([Math.PI, 1 / 3, 0]).astype("float32"),
      c: [0.1, -0, NaN, "text", true, null, { deep: tensor(Int32Array.of(1, 2), [2]) }],
    };
    expect(same(read(write(data)), data)).toBe(true);
    expect(same(copy(data), data)).toBe(true);
  });

  it("is not taken for a tensor where it is none", () => {
    expect(() => read('{"$tensor": {"dtype": "float64", "shape": "x", "base64": ""}}')).toThrow(/no dtype, shape or numbers/);
    expect(() => read('{"$tensor": {"dtype": "constructor", "shape": [], "base64": ""}}')).toThrow(/no dtype/);
    expect(() => read('{"$tensor": {"dtype": "float64", "shape": [2], "base64": "AAAA"}}')).toThrow();
  });

  it("names what is no number", () => {
    expect(numbers("12")).toEqual({ notNumbers: 'the string "12"' });
    expect(numbers([[1, 2], [3]])).toEqual({ notNumbers: "a list that is ragged or holds something that is no number" });
  });
});

describe("a report", () => {
  it("says the same in text and HTML, and escapes what the student wrote", () => {
    const report = check(() => { throw new Error("<b>&"); });
    const { "text/html": html, "text/plain": text } = (report as unknown as Record<symbol, () => Record<string, string>>)[Symbol.for("Jupyter.display")]();
    expect(text).toContain("Error: <b>&");
    expect(html).toContain("Error: &lt;b&gt;&amp;");
    expect(html).not.toContain("<b>&");
    expect(text).toBe(String(report));
  });
});

describe("nbgrader's metadata", () => {
  it("has nbgrader's checksum", () => {
    // Both computed with Python's hashlib as nbgrader does: source, type, grade, solution, locked, id, points as a float.
    expect(nbgraderMetadata({ gradeId: "answer", source: "1 + 1", role: "answer" })).toEqual({
      schema_version: 3, grade: false, locked: false, solution: true, task: false, grade_id: "answer", cell_type: "code",
      checksum: "ec9a6e3adf9fceb648754124d86d15a0",
    });
    expect(nbgraderMetadata({ gradeId: "tests", source: "check(2)", role: "tests", points: 10 })).toMatchObject({
      grade: true, locked: true, points: 10, checksum: "460ebfbd2ac5ee677175eb395543854e",
    });
    expect(() => nbgraderMetadata({ gradeId: "a b", source: "", role: "answer" })).toThrow(/gradeId is "a b"/);
  });
});

describe("a module as a cell", () => {
  it("loses imports of gradbook and export, and nothing else", () => {
    const module = 'import { a } from "gradbook";\nimport {\n  b,\n} from "gradbook";\n\nexport function f() {\n  return "export function";\n}\nexport const c = 1;\n';
    expect(cellSource(module)).toBe('function f() {\n  return "export function";\n}\nconst c = 1;');
  });

  it("has a hash that spreads", () => expect(new Set(Array.from({ length: 5000 }, (_, i) => hash(`seed/${i}`))).size).toBe(5000));
});
