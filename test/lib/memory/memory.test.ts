import fs from "node:fs";
import path from "node:path";
import { embedding, linear, mse, transformerBlock } from "../../../lib/layers";
import {
  accumulate, activationMemory, bfloat16, castThrough, checkpointedBackward, checkpointEvery, checkpointRevolve, checkpointSqrt,
  documentFigures, float16, formatBytes, loraParameters, lossScaler, masterWeights, revolveForwards, roundTo, splitBatch,
  stageOf, storeAll,
  trainingMemory, zeroMemory, type CheckpointSchedule, type Stage,
} from "../../../lib/memory";
import { adam } from "../../../lib/optim";
import { randn, rng, tensor, type Tensor } from "../../../lib/tensor";

/** tanh(x W^T) as one stage, counting how often it runs and how many of its caches are held. */
function chain(L: number): { stages: Stage[]; counts: { forwards: number } } {
  const counts = { forwards: 0 };
  const stages = Array.from({ length: L }, (_, l): Stage => {
    const W = randn([4, 4], rng(l)).mul(0.6);
    return {
      name: `stage ${l}`,
      forward(x) {
        counts.forwards++;
        const { y, cache } = linear.forward({ x, W });
        const a = y.tanh();
        return { y: a, cache: { cache, a } };
      },
      backward(dy, { cache, a }: { cache: any; a: Tensor }) {
        const { dx, dW } = linear.backward(dy.mul(a.square().neg().add(1)), cache) as { dx: Tensor; dW: Tensor };
        return { dx, dW };
      },
    };
  });
  return { stages, counts };
}

const loss = (y: Tensor) => ({ loss: y.square().sum().item() / 2, dy: y });

describe("checkpointing", () => {
  const x = randn([2, 4], rng(99));
  const run = (L: number, schedule: CheckpointSchedule) => {
    const { stages, counts } = chain(L);
    const result = checkpointedBackward(stages, x, loss, schedule);
    expect(result.report.forwards).toBe(counts.forwards);
    expect(result.report.backwards).toBe(L);
    return result;
  };
  const schedules = [
    ...[1, 2, 3, 4, 5, 10, 16].map(checkpointEvery), checkpointSqrt, ...[1, 2, 3, 4, 16].map(checkpointRevolve),
  ];
  test.each([1, 2, 5, 10, 16, 17])("gradients are bit for bit those of plain backpropagation, depth %i", (L) => {
    const plain = run(L, storeAll);
    expect(plain.report).toEqual({ peakLive: L, forwards: L, recomputed: 0, backwards: L });
    for (const schedule of schedules) {
      const got = run(L, schedule);
      expect(Object.keys(got.gradients).sort()).toEqual(Object.keys(plain.gradients).sort());
      for (const [name, g] of Object.entries(plain.gradients)) expect([...got.gradients[name].data]).toEqual([...g.data]);
      expect([...got.dx.data]).toEqual([...plain.dx.data]);
      expect(got.loss).toBe(plain.loss);
    }
  });
  test("exercise 5: ten layers, every 3rd: counted live tensors and forwards", () => {
    const { report } = run(10, checkpointEvery(3));
    // Checkpoints 0, 3, 6, 9; the last segment (stage 9) keeps its cache, stages 0 to 8 run twice.
    expect(report).toEqual({ peakLive: 5, forwards: 19, recomputed: 9, backwards: 10 });
    // One more forward for 9 of 10 stages, a backward costing two forwards: 9 / 30, under the document's third.
    expect(report.recomputed / (3 * 10)).toBeLessThan(1 / 3);
  });
  test("sqrt(L): about 2 sqrt(L) live, at most one recomputation a stage", () => {
    for (const L of [16, 64, 100]) {
      const { report } = run(L, checkpointSqrt);
      expect(report.peakLive).toBeLessThanOrEqual(2 * Math.sqrt(L));
      expect(report.recomputed).toBe(L - Math.sqrt(L));
    }
    const best = Array.from({ length: 64 }, (_, i) => run(64, checkpointEvery(i + 1)).report.peakLive);
    expect(Math.min(...best)).toBe(best[7]);
  });
  test("Revolve runs the least number of forwards for its slots, and holds no more than slots + 1", () => {
    for (const [L, slots] of [[10, 1], [10, 3], [17, 4], [64, 6]]) {
      const { report } = run(L, checkpointRevolve(slots));
      expect(report.forwards).toBe(revolveForwards(L, slots));
      expect(report.peakLive).toBeLessThanOrEqual(slots + 1);
    }
    // Griewank and Walther's closed form: r L - C(s + r, s + 1) advances, and one recorded forward for each stage,
    // where r is the least number of repetitions with C(s + r, s) >= L.
    const choose = (n: number, k: number): number => Array.from({ length: k }, (_, i) => (n - i) / (i + 1)).reduce((a, b) => a * b, 1);
    for (const L of [1, 2, 7, 10, 33, 100]) {
      for (const s of [1, 2, 3, 5]) {
        let r = 0;
        while (Math.round(choose(s + r, s)) < L) r++;
        expect([L, s, revolveForwards(L, s)]).toEqual([L, s, Math.round(r * L - choose(s + r, s + 1)) + L]);
      }
    }
    expect(revolveForwards(10, 1)).toBe(55);
    expect(revolveForwards(1000, 10)).toBeLessThan(5 * 1000);
    for (let slots = 1; slots < 8; slots++) expect(revolveForwards(30, slots + 1)).toBeLessThanOrEqual(revolveForwards(30, slots));
  });
  test("transformer blocks as stages: the same gradients from fewer live blocks", () => {
    const C = 4;
    const shapes = { gamma1: [C], beta1: [C], Wqkv: [3 * C, C], bqkv: [3 * C], Wo: [C, C], bo: [C], gamma2: [C], beta2: [C], W1: [4 * C, C], b1: [4 * C], W2: [C, 4 * C], b2: [C] };
    const stages = Array.from({ length: 9 }, (_, l) => stageOf(`block ${l}`, transformerBlock,
      Object.fromEntries(Object.entries(shapes).map(([name, shape], i) => [name, randn(shape, rng(20 * l + i)).mul(0.5)])), { heads: 2, causal: true }));
    const input = randn([1, 3, C], rng(1));
    const plain = checkpointedBackward(stages, input, loss), kept = checkpointedBackward(stages, input, loss, checkpointSqrt);
    expect(Object.keys(plain.gradients)).toHaveLength(9 * 12);
    for (const [name, g] of Object.entries(plain.gradients)) expect([...kept.gradients[name].data]).toEqual([...g.data]);
    expect([plain.report.peakLive, kept.report.peakLive, kept.report.recomputed]).toEqual([9, 5, 6]);
    expect(() => stageOf("e", embedding)).toThrow("stageOf: embedding has no input x");
  });
  test("bad intervals and empty chains are refused", () => {
    expect(() => checkpointEvery(0)).toThrow("checkpointEvery: k is 0");
    expect(() => checkpointRevolve(1.5)).toThrow("checkpointRevolve: slots is 1.5");
    expect(() => checkpointedBackward([], x, loss)).toThrow("stages is empty");
  });
});

describe("gradient accumulation", () => {
  const x = randn([12, 3], rng(1)), target = randn([12, 2], rng(2)), W = randn([2, 3], rng(3)), b = randn([2], rng(4));
  const pass = (part: { x: Tensor; target: Tensor }) => {
    const { y, cache } = linear.forward({ x: part.x, W, b });
    const end = mse.forward({ x: y, target: part.target });
    const { dW, db } = linear.backward((mse.backward(undefined, end.cache) as { dx: Tensor }).dx, cache) as { dW: Tensor; db: Tensor };
    return { loss: end.y.item(), gradients: { dW, db }, count: part.x.shape[0] };
  };
  const whole = pass({ x, target });
  test.each([1, 3, 4, 5, 12])("micro-batches of %i rows equal the full batch, an uneven last one included", (size) => {
    const targets = splitBatch(target, size);
    const parts = splitBatch(x, size).map((part, i) => ({ x: part, target: targets[i] }));
    const got = accumulate(parts, pass);
    expect(got.loss).toBeCloseTo(whole.loss, 13);
    for (const name of ["dW", "db"] as const) {
      expect(got.gradients[name].sub(whole.gradients[name]).abs().max().item()).toBeLessThan(1e-14);
    }
  });
  test("without division the gradient is G times too large (mistake 10)", () => {
    const got = accumulate(splitBatch(x, 4), () => ({ loss: 1, gradients: { g: tensor([1]) } }));
    expect(got.gradients.g.item()).toBe(1);
    expect(() => accumulate([], pass)).toThrow("parts is empty");
    expect(() => splitBatch(x, 0)).toThrow("size is 0");
  });
});

describe("16-bit formats", () => {
  const golden = JSON.parse(fs.readFileSync(path.join(__dirname, "../../golden/optim_precision.json"), "utf8"));
  const parse = (s: string): number => (s === "inf" ? Infinity : s === "-inf" ? -Infinity : Number(s));
  test.each([float16, bfloat16])("$name equals PyTorch on every golden number", (format) => {
    golden.x.forEach((x: number, i: number) => expect(roundTo(x, format)).toBe(parse(golden[format.name][i])));
  });
  test("ranges", () => {
    expect([float16.max, float16.smallestNormal, float16.smallest, float16.epsilon]).toEqual([65504, 2 ** -14, 2 ** -24, 2 ** -10]);
    expect(bfloat16.max).toBeCloseTo(3.3895313892515355e38, -24);
    expect(Object.is(roundTo(-0, float16), -0)).toBe(true);
    expect(roundTo(NaN, float16)).toBeNaN();
    expect([...castThrough(tensor([1 / 3, 70000]), float16).data]).toEqual([0.333251953125, Infinity]);
  });
  test("master weights keep updates that the rounded weight would lose", () => {
    const weights = masterWeights({ w: tensor([1]) }, bfloat16);
    let rounded = 1;
    for (let i = 0; i < 100; i++) {
      weights.master.w.data[0] += 1e-4;
      rounded = roundTo(rounded + 1e-4, bfloat16);
    }
    expect(rounded).toBe(1);
    expect(weights.model.w.item()).toBe(1.0078125);
  });
  test("loss scaling rescues a gradient that float16 flushes to 0", () => {
    const g = 1e-8;
    expect(roundTo(g, float16)).toBe(0);
    const scaler = lossScaler();
    const scaled = castThrough(tensor([g * scaler.scale]), float16);
    expect(scaler.unscale({ dw: scaled })!.dw.item() / g).toBeCloseTo(1, 3);
  });
  test("overflow halves the scale and skips; enough good steps double it", () => {
    const scaler = lossScaler({ scale: 1024, growthInterval: 3 });
    expect(scaler.unscale({ a: tensor([1]), b: tensor([Infinity]) })).toBeUndefined();
    expect([scaler.scale, scaler.skipped]).toEqual([512, 1]);
    for (let i = 0; i < 3; i++) expect(scaler.unscale({ a: tensor([512]) })!.a.item()).toBe(1);
    expect(scaler.scale).toBe(1024);
    expect(scaler.unscale({ a: tensor([NaN]) })).toBeUndefined();
  });
});

describe("training in float16", () => {
  /** Fits y = 3e-4 x, whose gradients lie under float16's range, with weights and gradients rounded to it. */
  const fit = (scaled: boolean): { w: number; skipped: number } => {
    const x = tensor([[0.001], [-0.002], [0.003]]), target = x.mul(3e-4);
    const weights = masterWeights({ w: tensor([[0]]) }, float16);
    const scaler = lossScaler({ scale: scaled ? 2 ** 40 : 1, growthInterval: scaled ? 50 : 1e9 });
    const optimizer = adam({ lr: 1e-5, eps: 1e-15 });
    for (let step = 0; step < 120; step++) {
      const { y, cache } = linear.forward({ x, W: weights.model.w });
      const dy = castThrough(y.sub(target).mul((2 / 3) * scaler.scale), float16);
      const { dW } = linear.backward(dy, cache) as { dW: Tensor };
      const gradients = scaler.unscale({ w: castThrough(dW, float16) });
      if (gradients) optimizer.step(weights.master, gradients);
    }
    return { w: weights.master.w.item(), skipped: scaler.skipped };
  };
  test("without loss scaling the gradient is flushed to 0 and nothing is learned; with it the fit succeeds after a few skips", () => {
    expect(fit(false)).toEqual({ w: 0, skipped: 0 });
    const { w, skipped } = fit(true);
    expect(Math.abs(w / 3e-4 - 1)).toBeLessThan(0.1);
    expect(skipped).toBeGreaterThan(0);
  });
});

describe("calculator", () => {
  test("7B: 14 / 14 / 56 GB", () => {
    expect(trainingMemory(7e9)).toEqual({ parameters: 14e9, gradients: 14e9, optimizer: 56e9, total: 84e9 });
  });
  test("section 7.1's formulas, in bytes at fp16: 6 LBTd, 2 LBHT^2, 8 LBTd", () => {
    const [L, B, T, d, H] = [3, 5, 7, 8, 2];
    const m = activationMemory({ layers: L, batch: B, tokens: T, width: d, heads: H });
    expect([m.qkv, m.scores, m.mlp]).toEqual([6 * L * B * T * d, 2 * L * B * H * T * T, 8 * L * B * T * d]);
    expect(m.total).toBe(m.stream + m.qkv + m.scores + m.mlp + m.layerNorm);
  });
  test("LoRA: 16.7M to 131K, 128 times", () => {
    expect(loraParameters(4096, 4096, 16)).toEqual({ full: 16_777_216, lora: 131_072, ratio: 128 });
  });
  test("ZeRO: the paper's 7.5B on 64 GPUs, and the limits 4, 8, N", () => {
    const totals = ([0, 1, 2, 3] as const).map((stage) => (zeroMemory(7.5e9, 64, stage).total / 1e9).toFixed(1));
    expect(totals).toEqual(["120.0", "31.4", "16.6", "1.9"]);
    expect(([1, 2] as const).map((stage) => Math.round(zeroMemory(1, 1e9, stage).reduction))).toEqual([4, 8]);
    expect(zeroMemory(1, 1024, 3).reduction).toBe(1024);
    expect(() => zeroMemory(1, 1, 4 as never)).toThrow("stage is 4, expected 0, 1, 2 or 3");
  });
  test("every printed figure is reproduced, or named as one that does not follow, with the reason", () => {
    const number = (s: string): number => Number(s.replace(/^\+/, "").match(/^[\d.]+(e[+-]?\d+)?/)?.[0]);
    const figures = documentFigures();
    let checked = 0;
    for (const { printed, computed, follows, note, what } of figures) {
      if (!follows) expect(note).toBeTruthy();
      if (!/^\+?\d/.test(printed)) continue;
      checked++;
      const ratio = number(printed) / number(computed);
      expect([what, Math.abs(ratio - 1) < 0.101]).toEqual([what, follows]);
    }
    expect(checked).toBeGreaterThan(18);
    expect(figures.filter((f) => !f.follows)).toHaveLength(5);
    expect(figures.find((f) => f.what.startsWith("GPT-3's attention"))!.computed).toBe("39.6 TB");
    expect(figures.find((f) => f.what.startsWith("LLaMA"))!.computed).toBe("0.537 GB a sequence of 2048, 17.2 GB at batch 32");
  });
  test("formatBytes", () => {
    expect([0, 999, 1500, 39_582_418_599_936].map(formatBytes)).toEqual(["0 B", "999 B", "1.5 kB", "39.58 TB"]);
    expect(() => trainingMemory(0)).toThrow("trainingMemory: n is 0");
  });
});
