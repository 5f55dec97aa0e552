import fs from "node:fs";
import path from "node:path";
import {
  blockShapes, countParameters, Gpt, gpt, gptShapes, loraShapes, paperBackward, paperForward, paperParameters, type Named, type PaperOptions,
} from "../../../lib/models";
import { detectAnomaly } from "../../../lib/graph";
import { linear } from "../../../lib/layers";
import { adam } from "../../../lib/optim";
import { randn, rng, tensor, type Tensor } from "../../../lib/tensor";

const golden = JSON.parse(fs.readFileSync(path.join(__dirname, "../../golden/optim_gpt.json"), "utf8"));
const tensors = (named: Record<string, any>): Named => Object.fromEntries(Object.entries(named).map(([name, t]) => [name, tensor(t)]));
const gap = (a: Tensor, b: Tensor): number => a.sub(b).abs().max().item();
const small = { vocabulary: 10, context: 5, width: 8, heads: 2, blocks: 2, activation: "relu", eps: 0 } as const;

describe("parameter counts of arXiv 2512.23329", () => {
  const paper = { vocabulary: 50257, context: 1024, width: 768, heads: 12, blocks: 1 };
  test("block 7,087,872; one block 85,120,849; twelve 163,087,441", () => {
    expect(countParameters(blockShapes(768))).toBe(7_087_872);
    expect(countParameters(gptShapes(paper))).toBe(85_120_849);
    expect(countParameters(gptShapes({ ...paper, blocks: 12 }))).toBe(163_087_441);
  });
  test("LoRA of rank 16: on the logits 816,400; on everything 3,470,608", () => {
    expect(countParameters(loraShapes({ ...paper, blocks: 12 }, { rank: 16 }))).toBe(816_400);
    expect(countParameters(loraShapes({ ...paper, blocks: 12 }, { rank: 16, on: "all" }))).toBe(3_470_608);
  });
});

describe("Gpt against PyTorch's autograd", () => {
  test("loss, every gradient, and one Adam step", () => {
    const model = new Gpt(small, tensors(golden.parameters));
    const { loss, cache } = model.forward(golden.ids, golden.targets);
    expect(loss).toBeCloseTo(golden.loss, 12);
    const gradients = model.backward(cache);
    expect(Object.keys(gradients).sort()).toEqual(Object.keys(golden.gradients).sort());
    for (const [name, want] of Object.entries(golden.gradients)) {
      expect([name, gap(gradients[name], tensor(want as never)) < 1e-12]).toEqual([name, true]);
    }
    adam({ lr: 1e-3 }).step(model.parameters, gradients);
    for (const [name, want] of Object.entries(golden.after)) {
      // bk's true gradient is 0: both sides step along the sign of a rounding error, so only its size is comparable.
      const tolerance = name === "block0.bk" ? 2.1e-3 : 1e-9;
      expect(gap(model.parameters[name], tensor(want as never))).toBeLessThan(tolerance);
    }
  });
  test("db_k = 0, up to rounding, in every block", () => {
    const model = new Gpt(small, tensors(golden.parameters));
    const gradients = model.backward(model.forward(golden.ids, golden.targets).cache);
    for (const i of [0, 1]) {
      expect(gradients[`block${i}.bk`].abs().max().item()).toBeLessThan(1e-15);
      expect(gradients[`block${i}.bq`].abs().max().item()).toBeGreaterThan(1e-3);
    }
  });
  test("LoRA on every linear layer: only the adapters get gradients, equal to PyTorch's; the base does not move", () => {
    const base = new Gpt(small, tensors(golden.parameters));
    const model = base.withLora({ rank: golden.rank, alpha: golden.alpha, on: "all" }, rng(1));
    for (const [name, t] of Object.entries(tensors(golden.lora))) (model.trainable[name].data as Float64Array).set(t.data);
    const { loss, cache } = model.forward(golden.ids, golden.targets);
    expect(loss).toBeCloseTo(golden.loraLoss, 12);
    const gradients = model.backward(cache);
    expect(Object.keys(gradients).sort()).toEqual(Object.keys(golden.loraGradients).sort());
    for (const [name, want] of Object.entries(golden.loraGradients)) expect(gap(gradients[name], tensor(want as never))).toBeLessThan(1e-12);
    adam().step(model.trainable, gradients);
    for (const [name, t] of Object.entries(tensors(golden.parameters))) expect(gap(base.parameters[name], t)).toBe(0);
  });
});

describe("Gpt", () => {
  const model = gpt({ ...small, eps: 1e-5 }, rng(1), { std: 0.3 });
  test("fresh adapters change nothing", () => {
    const ids = [[1, 2, 3]];
    expect(gap(model.withLora({ rank: 2, on: "all" }, rng(2)).forward(ids).logits, model.forward(ids).logits)).toBe(0);
  });
  test("no logit sees a later token", () => {
    const a = model.forward([[1, 2, 3, 4]]).logits, b = model.forward([[1, 2, 9, 0]]).logits;
    expect(gap(a.slice(0, 2, 1), b.slice(0, 2, 1))).toBe(0);
    expect(gap(a, b)).toBeGreaterThan(0.01);
  });
  test("a batch is the mean of its rows", () => {
    const rows = [[[1, 2], [3, 4]], [[5, 6], [7, 8]]];
    const one = rows.map(([x, y]) => { const { loss, cache } = model.forward([x], [y]); return { loss, g: model.backward(cache) }; });
    const { loss, cache } = model.forward(rows.map((r) => r[0]), rows.map((r) => r[1]));
    const g = model.backward(cache);
    expect(loss).toBeCloseTo((one[0].loss + one[1].loss) / 2, 13);
    for (const name of Object.keys(g)) expect(gap(g[name], one[0].g[name].add(one[1].g[name]).div(2))).toBeLessThan(1e-14);
  });
  test("generate: greedy is deterministic, the window slides past the context", () => {
    const once = model.generate([1], 9, { rng: rng(1), temperature: 0 });
    expect(once).toHaveLength(10);
    expect(model.generate([1], 9, { rng: rng(7), temperature: 0 })).toEqual(once);
    expect(() => model.generate([], 1, { rng: rng(1) })).toThrow("ids is empty");
  });
  test("detectAnomaly names the layer and its place, forward and backward, and what was already bad on the way in", () => {
    const sick = (name: string, value: number) => {
      const m = new Gpt(model.config, Object.fromEntries(Object.entries(model.parameters).map(([n, t]) => [n, t.clone()])));
      m.parameters[name].data[0] = value;
      return () => detectAnomaly(() => m.backward(m.forward([[1, 2]], [[2, 3]]).cache));
    };
    expect(sick("block0.bq", 0)).not.toThrow();
    expect(sick("block1.Wv", 1e308)).toThrow(/^anomaly: forward of \w+ in block1\.\w+ made, in y, a/);
    expect(sick("block1.Wexpand", NaN)).toThrow("anomaly: forward of linear in block1.expand was given, in W, a NaN at [0, 0]");
    // sqrt' at 0: a constant row into a norm with eps 0 is where backward passes go wrong first.
    const flat = new Gpt({ ...model.config, eps: 0 }, Object.fromEntries(Object.entries(model.parameters).map(([n, t]) =>
      [n, /^(tokens|positions)$/.test(n) ? t.mul(0) : t])));
    expect(() => detectAnomaly(() => flat.forward([[1, 2]]))).toThrow("anomaly: forward of layerNorm in block0.norm1 made, in y, a NaN at [0, 0, 0]");
    const x = tensor([[-1e200, 1e200]]);
    const { cache } = linear.forward({ x, W: x });
    expect(() => detectAnomaly(() => linear.backward(tensor([[1e200]]), cache))).toThrow("anomaly: backward of linear made, in dx, a negative infinity at [0, 0]");
  });
  test("errors", () => {
    expect(() => model.forward([[1, 2, 3, 4, 5, 6]])).toThrow("ids has 6 tokens a row, expected at most the context of 5");
    expect(() => model.backward(model.forward([[1]]).cache)).toThrow("a forward without targets");
    expect(() => gpt({ ...small, heads: 3 }, rng(1))).toThrow("heads is 3, it should divide the width 8");
    expect(() => new Gpt(small, { ...model.parameters, gamma: tensor([1]) })).toThrow("gamma has shape [1], expected [8]");
    expect(() => model.withLora({ rank: 0 }, rng(1))).toThrow("rank is 0");
  });
});

describe("the paper's formulas, written out", () => {
  const one = { ...small, blocks: 1, eps: 1e-5 } as const;
  const model = gpt(one, rng(3), { std: 0.5 });
  for (const [name, t] of Object.entries(model.parameters)) {
    if (/[.b]?b(q|k|v|o|expand|contract|logits)$/.test(name)) (t.data as Float64Array).set(randn(t.shape, rng(name.length)).data);
  }
  const p = paperParameters(model.parameters);
  const ids = [1, 7, 3, 7], targets = [7, 3, 7, 4];
  const options: PaperOptions = { heads: 2, eps: 1e-5 };

  /** Every gradient that `paperBackward` gives against finite differences of `paperForward`; the worst difference. */
  function worst(o: PaperOptions, also: Named = {}): number {
    const run = (params: Named, lora = o.lora): number => paperForward(params, ids, targets, { ...o, lora }).loss;
    const g = paperBackward(paperForward(p, ids, targets, o).cache);
    let most = 0;
    for (const [name, gradient] of Object.entries(g)) {
      const target = also[name] ?? p[name];
      if (!target) continue;
      for (let i = 0; i < gradient.size; i += 7) {
        const at = (h: number): number => {
          const moved = target.clone();
          moved.data[i] += h;
          return name in also ? run(p, { ...o.lora!, [name]: moved }) : run({ ...p, [name]: moved });
        };
        most = Math.max(most, Math.abs((at(1e-5) - at(-1e-5)) / 2e-5 - gradient.data[i]));
      }
    }
    return most;
  }

  test("every gradient equals the layers' own", () => {
    const { loss, cache } = paperForward(p, ids, targets, options);
    const ours = model.forward([ids], [targets]);
    expect(loss).toBeCloseTo(ours.loss, 13);
    const g = paperBackward(cache);
    const theirs = paperParameters(model.backward(ours.cache));
    expect(Object.keys(theirs).sort()).toEqual(Object.keys(g).filter((name) => name !== "x0").sort());
    for (const [name, t] of Object.entries(theirs)) expect([name, gap(g[name], t) < 1e-13]).toEqual([name, true]);
    expect(worst(options)).toBeLessThan(1e-8);
  });

  test("slip 1: equations 13 and 15 read literally (zeros, then softmax) leak the future, and db_k is not 0", () => {
    const literal = paperForward(p, ids, targets, { ...options, mask: "zeros" });
    const proper = paperForward(p, ids, targets, options);
    const above = (rho: readonly Tensor[]): number => Math.max(...rho.flatMap((r) =>
      [0, 1, 2, 3].map((t) => [0, 1, 2, 3].filter((s) => s > t).reduce((sum, s) => sum + r.get(t, s), 0))));
    expect(above(proper.cache.rho)).toBe(0);
    expect(above(literal.cache.rho)).toBeGreaterThan(0.01);
    const later = paperForward(p, [1, 7, 3, 0], targets, { ...options, mask: "zeros" });
    expect(gap(later.logits.slice(0, 3), literal.logits.slice(0, 3))).toBeGreaterThan(1e-3);
    expect(gap(paperForward(p, [1, 7, 3, 0], targets, options).logits.slice(0, 3), proper.logits.slice(0, 3))).toBe(0);
    // The literal network's gradients are right for that network: it is the network that is wrong.
    expect(worst({ ...options, mask: "zeros" })).toBeLessThan(1e-8);
    expect(paperBackward(literal.cache).bk.abs().max().item()).toBeGreaterThan(1e-3);
    expect(paperBackward(proper.cache).bk.abs().max().item()).toBeLessThan(1e-15);
  });

  test("slip 2: under LoRA the frozen path's D w^t belongs to the input gradient", () => {
    const r = rng(9);
    const lora = { d: randn([8, 2], r), u: randn([2, 10], r), alpha: 0.7 };
    const { d, u } = lora;
    expect(worst({ ...options, lora }, { d, u })).toBeLessThan(1e-8);
    // As the text has it: d and u are still right, everything below the logits is not.
    expect(worst({ ...options, lora: { ...lora, omitFrozenPath: true } }, { d, u })).toBeGreaterThan(0.01);
    const g = [false, true].map((omitFrozenPath) =>
      paperBackward(paperForward(p, ids, targets, { ...options, lora: { ...lora, omitFrozenPath } }).cache));
    expect([gap(g[0].d, g[1].d), gap(g[0].u, g[1].u)]).toEqual([0, 0]);
    expect(gap(g[0].x0, g[1].x0)).toBeGreaterThan(0.01);
  });
});
