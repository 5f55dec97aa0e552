import { findExercise } from "../../../exercises";

/**
 * Attempts to get points without a backward, to leave the sandbox, or to stop the grader. Each is the whole answer cell of
 * an exercise; what it must come to stands beside it.
 */
export interface Cheat {
  name: string;
  /** The answer cell. */
  code: string;
  /** States of the exercise that are right for it. */
  states: ("failed" | "error" | "timeout" | "passed")[];
  /** What some check's message must say. */
  says?: RegExp;
  /** jacobian-composition when left out. */
  exercise?: string;
}

/** The four functions of jacobian-composition, each with this body; J_f, J_g, J_h and the pullback get the same treatment. */
const all = (body: string, before = ""): string =>
  `${before}\nfunction jacobianF(u) { ${body} }\nfunction jacobianG(u) { ${body} }\nfunction jacobianH(u) { ${body} }\nfunction pullback(u, dy) { ${body} }`;

/** What the library would answer in the student's place, by exercise: each of these calls must be refused. */
const givesAway: Record<string, string[]> = {
  "line-by-gradient-descent": ["linear.backward()", "mse.backward()"],
  "two-layer-network": ["mlp({ widths: [2, 2] }, rng(0))", "new Mlp({ widths: [2, 2] }, rng(0))"],
  "batched-backward": ["tanh.backward()"],
  "softmax-cross-entropy": ["softmaxCrossEntropy.forward()", "gumbelSoftmax.backward()", "softmaxScore()", "softmaxFisher()", "exactPolicyGradient()"],
  "layer-norm": ["layerNorm.forward()", "batchNorm.forward()"],
  "vanishing-gradients": ["sigmoid.backward()", "linear.backward()", "deepNet()", "mlp()", "new Mlp()", "jacobianProduct()", "gradientsAlongLine()"],
  initialisation: ["initializers.heNormal([2, 2], rng(0))", "heNormal([2, 2], rng(0))", "deepNet()", "mlp()", "new Mlp()"],
  "residual-highways": ["tanh.backward()", "jacobianProduct()"],
  "training-loop": ["globalNorm()", "tensorNorms()"],
  "autograd-engine": ["topologicalOrder()", "new Value(1)", "new Tape()"],
  checkpointing: ["checkpointedBackward()", "checkpointEvery(2)", "checkpointRevolve(2)", "checkpointSqrt.actions(4)", "storeAll.actions(4)", "revolveForwards(4, 2)"],
  attention: ["attention.forward()", "flashAttention.forward()", "multiHeadAttention.forward()"],
  "multi-head-attention": ["paperBackward()"],
  "flash-attention": ["flashAttention.forward()"],
  lora: ["loraParameters(4, 4, 2)"],
  reinforce: ["reinforce()", "exactPolicyGradient()", "softmaxScore(tensor([0, 1]), 1)"],
  "straight-through": ["roundStraightThrough.forward({ x: zeros(2) })", "roundStraightThrough.backward()", "signStraightThrough.backward()", "vectorQuantize.backward()"],
  bptt: ["new RecurrentModel()", "gradientReach()"],
  "transformer-block": ["paperBackward()"],
  "minimal-gpt": ["paperForward()", "paperBackward()", "softmaxScore()"],
  "find-the-bug": [
    ...["linear", "relu", "tanh", "softmaxCrossEntropy", "softmax", "layerNorm", "attention", "embedding", "dropout"].map((layer) => `${layer}.backward()`),
    ...["clipGlobalNorm()", "globalNorm()", "softmaxScore()"],
  ],
};

/** An answer whose functions try all calls and say which were not refused. */
function lent(exercise: string, calls: string[]): Cheat {
  const { parts } = findExercise(exercise)!;
  const names = new Set(parts.flatMap(({ entry, also = [] }) => [entry, ...also]));
  const mends = names.delete("mended");
  const body = `const open = [${calls.map((call) => `() => ${call}`).join()}].filter((call) => { try { call(); return true; } catch (error) { return !error.message.includes(" is withheld here: "); } });
    throw new Error(open.length ? "open: " + open.join() : "every call was refused");`;
  const code = [mends ? "const mended = [1, 2, 3];" : "", ...[...names].map((name) => `function ${name}() { ${body} }`)].join("\n");
  return { name: `the library's own, in ${exercise}`, exercise, code, states: ["error"], says: /every call was refused/ };
}

/** A right answer, with something before it: for those that attack the grader rather than the question. */
export const honest = `
function g(x) { const [p, q] = x.data; return tensor([p ** 2, p * q, Math.exp(q)]); }
function jacobianF(u) { const [a, b, c] = u.data; return tensor([[b, a, 0], [0, 1, 2 * c]]); }
function jacobianG(x) { const [p, q] = x.data; return tensor([[2 * p, 0], [q, p], [0, Math.exp(q)]]); }
function jacobianH(x) { const [p, q] = x.data; return tensor([[3 * p ** 2 * q, p ** 3], [q, p + 2 * Math.exp(2 * q)]]); }
function pullback(x, dy) { return jacobianG(x).T.matmul(jacobianF(g(x)).T.matmul(dy.reshape(2, 1))).reshape(2); }`;

const zeros = "return zeros(u.shape[0] === 3 ? [2, 3] : arguments.length === 2 ? [2] : [3, 2]);";
/** Node's modules, for code that was given no `require`. */
const node = (name: string): string => `process.getBuiltinModule ? process.getBuiltinModule("${name}") : process.binding("natives")`;

/** Exact to eleven digits, one parameter at a time. */
const lateDifferences = `
    function loss(dY, X, W) { return dY.mul(X.matmul(W.T)).sum().item(); }
    function diff(f, x) {
      return tensor(Float64Array.from(x.data, (value, i) => {
        const at = (s) => { const c = x.clone(); c.data[i] = value + s; return f(c); };
        return (at(0.5) - at(-0.5));
      }), x.shape);
    }`;

/** `secret`, `canary` and `port` are filled in by the test: a file to read, one to create, and a server to reach. */
export const cheats = (secret: string, canary: string, port: number): Cheat[] => [
  // Numbers that are none, or that nobody computed.
  { name: "zero forward with zero backward", code: all(zeros), states: ["failed"] },
  { name: "a constant", code: all("return ones(u.shape);"), states: ["failed"] },
  { name: "the input itself", code: all("return u;"), states: ["failed"] },
  { name: "NaN", code: all("return [[NaN, NaN, NaN], [NaN, NaN, NaN]];"), states: ["failed"], says: /NaN/ },
  { name: "Infinity", code: all("return [[Infinity, Infinity, Infinity], [Infinity, Infinity, Infinity]];"), states: ["failed"], says: /Infinity/ },
  { name: "an empty list", code: all("return [];"), states: ["failed"], says: /shape \[0\]/ },
  { name: "nothing", code: all("return undefined;"), states: ["failed"], says: /undefined/ },
  { name: "null", code: all("return null;"), states: ["failed"], says: /null/ },
  { name: "strings that look like numbers", code: all('return [["1", "2", "3"], ["1", "2", "3"]];'), states: ["failed"] },
  { name: "ragged lists", code: all("return [[1, 2], [3]];"), states: ["failed"], says: /ragged/ },
  { name: "an object with its own every()", code: all("return { every: () => true, map: () => [], length: 6 };"), states: ["failed"] },
  { name: "a proxy that agrees with everything", code: all("return new Proxy({}, { get: () => () => true, has: () => true });"), states: ["failed", "error"] },
  { name: "valueOf that counts", code: all("let n = 0; return [[{ valueOf: () => n++ }]];"), states: ["failed"] },
  { name: "data that is other data at each look", code: all("let n = 0; return { shape: [2, 3], get data() { return Float64Array.of(n++, 0, 0, 0, 1, 0); } };"), states: ["failed", "error"] },
  { name: "a tensor that lies about its shape", code: all("return { shape: [2, 3], data: new Float64Array(0) };"), states: ["failed", "error"] },
  { name: "a shape that is a proxy", code: all("return { shape: new Proxy([2, 3], {}), data: new Float64Array(6) };"), states: ["failed", "error"] },
  { name: "a negative shape", code: all("return { shape: [-2, -3], data: new Float64Array(6) };"), states: ["failed", "error"] },
  { name: "a thenable that never answers", code: all("return { then() {} };"), states: ["failed", "error"] },
  { name: "a generator in place of a function", code: all("return 1;").replaceAll("function ", "function* "), states: ["failed"] },
  { name: "a class in place of a function", code: "class jacobianF {}\nclass jacobianG {}\nclass jacobianH {}\nclass pullback {}", states: ["error"] },
  { name: "a number in place of a function", code: "const jacobianF = 1, jacobianG = 2, jacobianH = 3, pullback = 4;", states: ["error"], says: /should be a function/ },
  { name: "random numbers", code: all("return [[Math.random(), Math.random(), Math.random()], [0, 1, Math.random()]];"), states: ["failed"] },
  { name: "right numbers for one input, kept for ever", code: `let kept;\nfunction jacobianF(u) { kept ??= tensor([[u.data[1], u.data[0], 0], [0, 1, 2 * u.data[2]]]); return kept; }`, states: ["failed", "error"] },
  { name: "right on the first call only", code: `let n = 0;\nfunction jacobianF(u) { const [a, b, c] = u.data; return n++ ? zeros(2, 3) : tensor([[b, a, 0], [0, 1, 2 * c]]); }`, states: ["failed", "error"] },
  { name: "right but for a word kept from call to call", code: `let n = 0;\nfunction jacobianF(u) { const [a, b, c] = u.data; n += 1e-3; return tensor([[b, a, 0], [0, 1, 2 * c + n]]); }`, states: ["failed", "error"] },
  { name: "changes its input", code: `function jacobianF(u) { const [a, b, c] = u.data; u.data.fill(0); return tensor([[b, a, 0], [0, 1, 2 * c]]); }`, states: ["failed", "error"], says: /changes its argument u/ },

  // Differentiating instead of deriving.
  { name: "central differences", code: `function h(x) { const [p, q] = x; return [p ** 3 * q, p * q + Math.exp(2 * q)]; }\nfunction jacobianH(x) { const e = 1e-5; return [0, 1].map((i) => [0, 1].map((j) => { const a = [...x.data], b = [...x.data]; a[j] += e; b[j] -= e; return (h(a)[i] - h(b)[i]) / (2 * e); })); }`, states: ["failed", "error"] },
  {
    name: "Richardson's differences with six levels, exact to ten digits",
    exercise: "activations",
    code: `const D = (f) => (da, z) => da.mul(z.map((x) => {
      let row = [];
      for (let k = 0; k < 6; k++) {
        const h = 0.1 / 2 ** k; const next = [(f(x + h) - f(x - h)) / (2 * h)];
        for (let j = 1; j <= k; j++) next[j] = next[j - 1] + (next[j - 1] - row[j - 1]) / (4 ** j - 1);
        row = next;
      }
      return row.at(-1);
    }));
    const tanhBackward = D(Math.tanh);`,
    states: ["failed", "error"],
  },
  {
    name: "Richardson's differences of a whole loss, one weight at a time",
    exercise: "batched-backward",
    code: `function loss(dY, X, W) { return dY.mul(X.matmul(W.T)).sum().item(); }
    function diff(f, x) {
      return x.map((_, i) => _).clone().reshape(...x.shape) && tensor(Float64Array.from(x.data, (value, i) => {
        let row = [];
        for (let k = 0; k < 4; k++) {
          const h = 0.5 / 2 ** k; const at = (s) => { const c = x.clone(); c.data[i] = value + s; return f(c); };
          const next = [(at(h) - at(-h)) / (2 * h)];
          for (let j = 1; j <= k; j++) next[j] = next[j - 1] + (next[j - 1] - row[j - 1]) / (4 ** j - 1);
          row = next;
        }
        return row.at(-1);
      }), x.shape);
    }
    function rowsBackward(dY, X, W) { return { dX: diff((x) => loss(dY, x, W), X), dW: diff((w) => loss(dY, X, w), W), db: dY.sum(0) }; }`,
    states: ["failed", "error", "timeout"],
  },
  { name: "the library's own differences", code: all("return jacobian((x) => x, u);"), states: ["error"], says: /withheld/ },
  { name: "the library's tape", code: all("return new Tape();"), states: ["error"], says: /withheld/ },
  { name: "the library's backward of the layer asked for", exercise: "layer-norm", code: `function layerNormBackward(dY, X, gamma, eps) { const cache = {}; const { dx, dgamma, dbeta } = layerNorm.backward(dY, cache); return { dX: dx, dgamma, dbeta }; }`, states: ["error"], says: /layerNorm.backward is withheld/ },
  { name: "the same by the prototype", exercise: "layer-norm", code: `function layerNormBackward(dY, X, gamma, eps) { const layer = Object.getPrototypeOf(layerNorm); const cache = {}; const { dx, dgamma, dbeta } = layer.backward(dY, cache); return { dX: dx, dgamma, dbeta }; }`, states: ["error"] },
  ...Object.entries(givesAway).map(([exercise, calls]) => lent(exercise, calls)),
  {
    name: "the library's exact gradient of an expectation",
    exercise: "reinforce",
    code: "function exactGradient(theta, l0, l1) { return exactPolicyGradient(tensor([0, theta]), (z) => [l0, l1][z]).get(1); }",
    states: ["error"],
    says: /exactPolicyGradient is withheld/,
  },
  {
    name: "no cheat: layers that the exercise does not ask for",
    exercise: "attention",
    code: `function attentionForward(q, k, v, causal) {
      const s = q.matmul(k.T).div(Math.sqrt(q.shape[2]));
      const T = q.shape[1];
      const masked = causal ? s.add(tensor(Array.from({ length: T }, (_, i) => Array.from({ length: T }, (_, j) => (j > i ? -Infinity : 0))))) : s;
      const { y: p } = softmax.forward({ x: masked });
      return { o: p.matmul(v), p };
    }
    function attentionBackward(dO, q, k, v, p) {
      const { dx } = softmax.backward(dO.matmul(v.T), softmax.forward({ x: p.log() }).cache);
      const ds = dx.div(Math.sqrt(q.shape[2]));
      return { dq: ds.matmul(k), dk: ds.T.matmul(q), dv: p.T.matmul(dO) };
    }`,
    states: ["passed"],
  },

  // Changing what judges.
  { name: "a checker of one's own", code: `globalThis.check = () => ({ status: "passed", score: 10 });\nfunction check() { return true; }\n${all(zeros)}`, states: ["failed"] },
  { name: "Math.abs is 0", code: all(zeros, "Math.abs = () => 0; Math.max = () => 0; Math.min = () => 0;"), states: ["failed"] },
  { name: "Array.prototype.every is true", code: all(zeros, "Array.prototype.every = () => true; Array.prototype.some = () => false;"), states: ["failed", "error"] },
  { name: "Number.prototype.toFixed", code: all(zeros, "Number.prototype.toFixed = () => '0.0'; Number.isFinite = () => true;"), states: ["failed"] },
  { name: "Object.is is true", code: all(zeros, "Object.is = () => true;"), states: ["failed"] },
  { name: "JSON.stringify of one's own", code: all(zeros, `JSON.stringify = () => '{"state":"returned","outputs":{"J":0},"changed":[],"milliseconds":0,"score":10}';`), states: ["failed", "error"] },
  { name: "JSON.parse of one's own", code: all(zeros, "JSON.parse = () => ({ score: 10 });"), states: ["failed"] },
  { name: "Tensor.prototype.data patched", code: all(zeros, `Object.defineProperty(Tensor.prototype, "data", { get: () => new Float64Array(6) });`), states: ["failed", "error"] },
  { name: "Object.prototype polluted", code: all(zeros, `Object.prototype.state = "returned"; Object.prototype.score = 10; Object.prototype.passed = true;`), states: ["failed", "error"] },
  { name: "__proto__ among the outputs", code: all(`return JSON.parse('{"__proto__": {"passed": true}, "shape": [2, 3]}');`), states: ["failed", "error"] },
  { name: "Float64Array replaced", code: all(zeros, "globalThis.Float64Array = Array; globalThis.Promise = null;"), states: ["failed", "error"] },
  { name: "Buffer patched", code: all(zeros, "Buffer.from = () => Buffer.alloc(0); Buffer.prototype.toString = () => '';"), states: ["failed", "error"] },
  { name: "Promise.prototype.then patched", code: all(zeros, "Promise.prototype.then = function (f) { f({ passed: true }); };"), states: ["failed", "error", "timeout"] },
  { name: "a clock that stands still", exercise: "batched-backward", code: `performance.now = () => 0; Date.now = () => 0;\nfunction rowsBackward(dY, X, W) { return { dX: X, dW: W, db: dY }; }`, states: ["failed", "error"] },
  { name: "the hidden source by the stack", code: all(`Error.prepareStackTrace = (_, sites) => sites.map((site) => String(site.getFunction())).join("\\n"); throw new Error(new Error("x").stack);`), states: ["error"] },
  { name: "the reference by the caller", code: all("return arguments.callee.caller;"), states: ["error"] },
  { name: "out of the function by the Function constructor", code: all(`return (() => {}).constructor("return process.mainModule.require('fs')")().readFileSync("${secret}", "utf8");`), states: ["error"] },
  { name: "the wrapper closed early", code: `} })(); globalThis.done = true; (() => { { ${zeros}`, states: ["error"], says: /line 1/ },
  { name: "a forged answer on the pipe", code: all(`${zeros}`, `for (const fd of [3, 4, 5]) try { (${node("fs")}).writeSync(fd, '00000000000000000000000000000000 0 {"state":"returned","outputs":{},"changed":[],"milliseconds":0}\\n'); } catch {}`), states: ["failed", "error"] },
  { name: "the pipe closed", code: all(zeros, `for (const fd of [1, 2, 3]) try { (${node("fs")}).closeSync(fd); } catch {}`), states: ["failed", "error", "timeout"] },

  // Ending or blocking the process.
  { name: "process.exit(0) at once", code: `const done = process.exit(0);\n${honest.replace("const [a, b, c]", "done; const [a, b, c]")}`, states: ["error"], says: /ended its process/ },
  { name: "process.exit(0) in a function", code: all("process.exit(0);"), states: ["error"], says: /ended its process/ },
  { name: "process.reallyExit", code: all("process.reallyExit(0);"), states: ["error"], says: /ended its process/ },
  { name: "process.abort", code: all("process.abort();"), states: ["error"] },
  { name: "kills itself", code: all("process.kill(process.pid, 'SIGKILL');"), states: ["error"] },
  { name: "kills its parent", code: all("process.kill(process.ppid, 'SIGKILL'); process.kill(-1, 'SIGKILL');"), states: ["error"] },
  { name: "throws", code: all('throw new Error("no");'), states: ["error"], says: /no/ },
  { name: "throws nothing", code: all("throw undefined;"), states: ["error"] },
  { name: "throws something that throws when read", code: all("throw new Proxy({}, { get() { throw 1; } });"), states: ["error"] },
  { name: "a rejection nobody handles", code: all("Promise.reject(new Error('late')); return null;"), states: ["failed", "error"] },
  { name: "a loop at the top", code: `for (;;) { jacobianF; }\n${all(zeros)}`, states: ["timeout"], says: /longer than/ },
  { name: "a loop in one function, the others right", code: honest.replace("function jacobianF(u) {", "function jacobianF(u) { for (;;);"), states: ["timeout"], says: /longer than/ },
  { name: "a loop of promises", code: `async function spin() { for (;;) await null; }\nfunction jacobianF(u) { return spin(); }`, states: ["timeout", "failed"] },
  { name: "a promise that never settles", code: `async function jacobianF(u) { await new Promise(() => {}); }`, states: ["timeout", "error", "failed"] },
  { name: "Atomics.wait", code: `function jacobianF(u) { Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0); }`, states: ["timeout"] },
  { name: "a regular expression that never ends", code: `function jacobianF(u) { return /^(a+)+$/.test("a".repeat(60) + "b"); }`, states: ["timeout"] },
  { name: "recursion without end", code: all("const f = () => f() + 1; return f();"), states: ["error"], says: /call stack/i },
  { name: "a timer that goes on", code: `setInterval(() => {}, 1);\n${honest}`, states: ["passed"] },
  { name: "swallows its own interruption", code: `for (;;) { try { for (;;) jacobianF; } finally { continue; } }\n${all(zeros)}`, states: ["timeout"] },

  // Filling memory, disk and pipes.
  { name: "memory: the heap", code: all("const all = []; for (;;) all.push(new Array(1e5).fill(Math.random()));"), states: ["error", "timeout"], says: /memory|longer than/ },
  { name: "memory: outside the heap", code: all("const all = []; for (;;) all.push(new Float64Array(1e7).fill(1));"), states: ["error", "timeout"], says: /memory|allocation|longer than/i },
  { name: "memory: one string", code: all('let s = "x"; for (;;) s += s;'), states: ["error", "timeout"] },
  { name: "output without end", code: all('for (;;) console.log("x".repeat(1e5));'), states: ["error", "timeout"], says: /printed more than|longer than|used more than/ },
  { name: "errors without end", code: all('for (;;) console.error("x".repeat(1e5));'), states: ["error", "timeout"], says: /printed more than|longer than|used more than/ },
  { name: "a huge answer", code: all("return new Float64Array(3e7);"), states: ["error", "failed", "timeout"] },
  { name: "a deep answer", code: all("let deep = []; for (let i = 0; i < 1e5; i++) deep = [deep]; return deep;"), states: ["failed", "error"] },

  // Out of the sandbox.
  { name: "require fs", code: `const fs = require("fs");\n${all(`return fs.readFileSync("${secret}", "utf8");`)}`, states: ["error"], says: /not available/ },
  { name: "import fs", code: `import { readFileSync } from "node:fs";\n${all(`return readFileSync("${secret}", "utf8");`)}`, states: ["error"], says: /not available/ },
  { name: "dynamic import", code: `async function jacobianF(u) { const fs = await import("node:fs"); throw new Error(fs.readFileSync("${secret}", "utf8")); }`, states: ["error"] },
  { name: "reads a file", code: all(`throw new Error((${node("fs")}).readFileSync("${secret}", "utf8"));`), states: ["error"] },
  { name: "reads the solutions", code: all(`throw new Error((${node("fs")}).readdirSync("${process.cwd()}/solutions").join());`), states: ["error"] },
  { name: "writes a file", code: all(`(${node("fs")}).writeFileSync("${canary}", "was here"); ${zeros}`), states: ["error", "failed"] },
  { name: "deletes a file", code: all(`(${node("fs")}).rmSync("${secret}"); ${zeros}`), states: ["error", "failed"] },
  { name: "opens a file by the binding", code: all(`return process.binding("fs").open("${secret}", 0, 0o666);`), states: ["error"] },
  { name: "starts a shell", code: all(`return (${node("child_process")}).execSync("id > ${canary}; cat ${secret}").toString();`), states: ["error"] },
  { name: "spawns by the binding", code: all(`const { Process } = process.binding("process_wrap"); const p = new Process(); return p.spawn({ file: "/bin/sh", args: ["sh", "-c", "touch ${canary}"], stdio: [] });`), states: ["error", "failed"] },
  { name: "starts a worker", code: all(`new ((${node("worker_threads")}).Worker)("for(;;);", { eval: true }); ${zeros}`), states: ["error", "failed"] },
  { name: "a fork bomb", code: all(`const { spawn } = ${node("child_process")}; for (;;) spawn(process.execPath, ["-e", "for(;;);"]);`), states: ["error", "timeout"] },
  { name: "the network", code: `async function jacobianF(u) { await new Promise((resolve, reject) => { (${node("net")}).connect(${port}, "127.0.0.1").on("connect", resolve).on("error", reject); }); return tensor([[1]]); }`, states: ["error", "failed"] },
  { name: "a request", code: `async function jacobianF(u) { await fetch("http://127.0.0.1:${port}/"); return tensor([[1]]); }`, states: ["error", "failed"] },
  { name: "the environment", code: all(`throw new Error("env " + JSON.stringify(process.env));`), states: ["error"], says: /env/ },
  { name: "loads a native library", code: all(`process.dlopen({ exports: {} }, "/usr/lib/x86_64-linux-gnu/libc.so.6"); ${zeros}`), states: ["error"] },
  { name: "an inspector", code: all(`(${node("inspector")}).open(0, "127.0.0.1"); ${zeros}`), states: ["error", "failed"] },
  { name: "flags of the engine", code: all(`(${node("v8")}).setFlagsFromString("--max-old-space-size=100000"); const all = []; for (;;) all.push(new Array(1e5).fill(Math.random()));`), states: ["error", "timeout"] },

  // Values that are other values at each look, or that compute when they are looked at.
  { name: "a typed array with a length of its own", code: all("let n = 0; class L extends Float64Array { get length() { return n++ % 2 ? 6 : 1e9; } } return { shape: [2, 3], data: new L(6) };"), states: ["failed", "error"] },
  { name: "a species that makes other arrays", code: all("class S extends Float64Array { static get [Symbol.species]() { return function () { return { passed: true }; }; } } return new S(6);"), states: ["failed", "error"] },
  { name: "a tensor whose data change after the call", code: all("const t = zeros(2, 3); queueMicrotask(() => t.data.fill(1)); setTimeout(() => t.data.fill(2)); return t;"), states: ["failed"] },
  { name: "a shape that grows while it is read", code: all("const shape = [2, 3]; shape[Symbol.iterator] = function* () { yield 2; yield 3; for (;;) yield 1; }; return { shape, data: new Float64Array(6) };"), states: ["failed", "error", "timeout"] },
  { name: "the array iterator patched", code: all(zeros, "Array.prototype[Symbol.iterator] = function* () { yield 1; };"), states: ["failed", "error"] },
  { name: "Object.entries and Object.keys patched", code: all(zeros, "Object.entries = () => []; Object.keys = () => [];"), states: ["failed", "error"] },
  { name: "Float64Array.prototype.slice patched", code: all(zeros, "Object.getPrototypeOf(Float64Array.prototype).slice = function () { return new Float64Array(this.length).fill(1); };"), states: ["failed", "error"] },
  { name: "a buffer that shrinks", code: all("const b = new ArrayBuffer(48, { maxByteLength: 64 }); const data = new Float64Array(b); b.resize(8); return { shape: [2, 3], data };"), states: ["failed", "error"] },
  { name: "a buffer that was given away", code: all("const data = new Float64Array(6); structuredClone(data.buffer, { transfer: [data.buffer] }); return { shape: [2, 3], data };"), states: ["failed", "error"] },
  { name: "an input whose buffer is given away", code: `function jacobianF(u) { const [a, b, c] = u.data; structuredClone(u.data.buffer, { transfer: [u.data.buffer] }); return tensor([[b, a, 0], [0, 1, 2 * c]]); }`, states: ["failed", "error"], says: /changes its argument u/ },
  { name: "memory that another thread could change", code: all("return { shape: [2, 3], data: new Float64Array(new SharedArrayBuffer(48)) };"), states: ["failed", "error"] },
  { name: "a thenable that answers twice", code: all("return { then(done) { done(zeros(2, 3)); done(ones([2, 3])); done({ passed: true }); } };"), states: ["failed", "error"] },
  { name: "a promise that is no promise", code: all("return Object.create(Promise.prototype);"), states: ["failed", "error"] },
  { name: "a promise of a promise without end", code: `async function jacobianF(u) { const p = new Promise((done) => setTimeout(() => done(p), 1)); return p; }`, states: ["failed", "error", "timeout"] },
  { name: "float32 numbers", code: `function jacobianF(u) { const [a, b, c] = u.data; return { shape: [2, 3], data: Float32Array.of(b, a, 0, 0, 1, 2 * c) }; }`, states: ["failed", "error"], says: /is float32, it should be float64/ },
  { name: "numbers with an imaginary rest", code: all("return [[1n, 2n, 3n], [0n, 1n, 2n]];"), states: ["failed", "error"] },
  {
    name: "differences that are computed when the promise is awaited, after the clock",
    exercise: "batched-backward",
    code: `${lateDifferences}
    function rowsBackward(dY, X, W) { return { dX: later(() => diff((x) => loss(dY, x, W), X)), dW: later(() => diff((w) => loss(dY, X, w), W)), db: dY.sum(0) }; }
    async function later(f) { await null; return f(); }`,
    states: ["failed", "error", "timeout"],
    says: /differentiates numerically|longer than/,
  },
  {
    name: "differences that are computed when the data are read, after the clock",
    exercise: "batched-backward",
    code: `${lateDifferences}
    const late = (x, f) => ({ shape: [...x.shape], get data() { return f().data; } });
    function rowsBackward(dY, X, W) { return { dX: late(X, () => diff((x) => loss(dY, x, W), X)), dW: late(W, () => diff((w) => loss(dY, X, w), W)), db: dY.sum(0) }; }`,
    states: ["failed", "error", "timeout"],
    says: /differentiates numerically|longer than/,
  },
  { name: "the token overheard", code: all(zeros, `const { from } = Buffer; Buffer.from = function (text, ...rest) { if (typeof text === "string") { const [token] = text.split(" "); for (let i = 0; i < 40; i++) try { (${node("fs")}).writeSync(3, token + " " + i + ' {"state":"returned","outputs":{"passed":true},"changed":[],"milliseconds":0}\\n'); } catch {} } return from.call(Buffer, text, ...rest); };`), states: ["failed", "error"] },
  { name: "the names of the script around it", code: all("throw new Error([typeof fs, typeof vm, typeof readFrame, typeof child, typeof source, typeof globalThis.require].join());"), states: ["error"], says: /Error: (undefined,?){6}\./ },
  { name: "the job read a second time", code: all(`const bytes = new Uint8Array(100); (${node("fs")}).readSync(0, bytes, 0, 100); ${zeros}`), states: ["error", "failed", "timeout"] },

  // More ways to block, fill, and look around.
  { name: "memory: WebAssembly", code: all("const all = []; for (;;) { const m = new WebAssembly.Memory({ initial: 4096 }); new Uint8Array(m.buffer).fill(1); all.push(m); }"), states: ["error", "timeout"], says: /memory|longer than/i },
  { name: "memory: a buffer that grows", code: all("const b = new ArrayBuffer(0, { maxByteLength: 2 ** 32 }); b.resize(2 ** 32); new Uint8Array(b).fill(1); return b;"), states: ["error", "timeout", "failed"] },
  { name: "memory: a Map without end", code: all("const m = new Map(); for (let i = 0; ; i++) m.set(i, { i });"), states: ["error", "timeout"], says: /memory|longer than/i },
  { name: "finalizers without end", code: `const r = new FinalizationRegistry(() => { for (;;); });\n${honest.replace("function jacobianF(u) {", "function jacobianF(u) { for (let i = 0; i < 1e5; i++) r.register({}, i);")}`, states: ["passed", "timeout", "error"] },
  { name: "microtasks that outlive their call", code: honest.replace("function jacobianF(u) {", "async function spin() { for (;;) await null; }\nfunction jacobianF(u) { spin();"), states: ["passed", "timeout", "error"] },
  { name: "an exception from a timer", code: `setTimeout(() => { throw new Error("late"); });\nasync function jacobianF(u) { await new Promise((done) => setTimeout(done, 20)); return zeros(2, 3); }`, states: ["error", "failed"] },
  { name: "what the system says of the process", code: all(`const fs = ${node("fs")}; throw new Error(["environ", "cmdline", "maps", "mem"].map((name) => { try { return fs.readFileSync("/proc/self/" + name, "utf8"); } catch (error) { return error.code; } }).join());`), states: ["error"] },
  { name: "what lies in the root folder", code: all(`throw new Error((${node("fs")}).readdirSync("/").join());`), states: ["error"] },
  { name: "a link to the secret", code: all(`(${node("fs")}).symlinkSync("${secret}", "/tmp/link"); throw new Error((${node("fs")}).readFileSync("/tmp/link", "utf8"));`), states: ["error"] },
  { name: "import from a data address", code: `async function jacobianF(u) { const m = await import("data:text/javascript,export default 1"); return zeros(2, 3); }`, states: ["error", "failed"] },
  { name: "a require of Node's own making", code: all(`return process.mainModule.require("fs").readFileSync("${secret}", "utf8");`), states: ["error"] },
  { name: "a second process model", code: all(`(${node("cluster")}).fork(); ${zeros}`), states: ["error", "failed"] },
  { name: "commands to the terminal", code: all('throw new Error("\\u001b]0;owned\\u0007\\u001b[2J\\u202e");'), states: ["error"] },
];
