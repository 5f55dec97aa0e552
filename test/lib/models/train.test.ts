import { device } from "../../../lib";
import {
  bigramLoss, countParameters, evaluate, gpt, normsByLayer, sampleBatch, train, type Gpt, type Named, type TrainStep,
} from "../../../lib/models";
import { adamW, sgd } from "../../../lib/optim";
import { warmupCosine } from "../../../lib/schedules";
import { characters, texts } from "../../../lib/text";
import { rng } from "../../../lib/tensor";

const shapesOf = (named: Named) => Object.fromEntries(Object.entries(named).map(([name, t]) => [name, t.shape]));

describe("characters of real texts", () => {
  const alphabet = characters(texts.austen, texts.constitution);
  const cut = (text: string, test: number) => {
    const ids = alphabet.encode(text);
    return { train: ids.subarray(0, ids.length - test), test: ids.subarray(ids.length - test) };
  };
  const austen = cut(texts.austen, 4096), law = cut(texts.constitution, 4096);
  const run = (model: Gpt, ids: Int32Array, steps: number, lr: number): TrainStep[] => [...train(model, ids, {
    steps, rng: rng(2), batch: 16, optimizer: adamW({ lr }), schedule: warmupCosine(20, steps, 0.1),
  })];

  let base: Gpt, log: TrainStep[], before: string;
  beforeAll(() => {
    device("wasm");
    base = gpt({ vocabulary: alphabet.size, context: 16, width: 32, heads: 2, blocks: 1, activation: "relu" }, rng(1), { dtype: "float32", std: 0.15 });
    log = run(base, austen.train, 200, 2e-2);
    before = JSON.stringify(Object.values(base.parameters).map((t) => [...t.data]));
  }, 120_000);
  afterAll(() => void device("cpu"));

  test("Austen: the loss on unseen text falls below the bigram baseline, which has seen the whole training text", () => {
    const bigram = bigramLoss(austen.train, austen.test, alphabet.size);
    expect(bigram).toBeGreaterThan(2.3);
    expect(evaluate(base, austen.test)).toBeLessThan(bigram - 0.05);
  });
  test("the gradient norms of every layer are on record, finite and not vanished", () => {
    for (const { norms, norm } of log) {
      expect(Object.keys(norms)).toEqual(["embedding", "block 0", "head"]);
      for (const own of Object.values(norms)) expect(own).toBeGreaterThan(1e-3);
      expect(Math.hypot(...Object.values(norms))).toBeCloseTo(norm, 6);
    }
    expect(log.map((s) => s.step)).toEqual(Array.from({ length: 200 }, (_, i) => i));
  });
  test("samples look like its text: words of letters, a blank every few characters", () => {
    const start = alphabet.encode("It is ");
    const text = alphabet.decode(base.generate([...start], 300, { rng: rng(3), temperature: 0.8 })).slice(6);
    expect(text).toHaveLength(300);
    const blanks = [...text].filter((c) => c === " ").length / 300;
    expect(blanks).toBeGreaterThan(0.1);
    expect(blanks).toBeLessThan(0.35);
    expect(text.match(/[a-z]/g)!.length / 300).toBeGreaterThan(0.6);
  });
  test("LoRA on the Constitution: the base stays bit for bit, most of full fine-tuning's gain with a sixth of the numbers", () => {
    const start = evaluate(base, law.test);
    const adapted = base.withLora({ rank: 4, on: "all" }, rng(5));
    run(adapted, law.train, 90, 1e-2);
    const lora = start - evaluate(adapted, law.test);
    expect(JSON.stringify(Object.values(base.parameters).map((t) => [...t.data]))).toBe(before);
    expect(countParameters(shapesOf(adapted.trainable)) * 6).toBeLessThan(countParameters(shapesOf(base.trainable)));

    const copy = gpt(base.config, rng(1), { dtype: "float32" });
    for (const [name, t] of Object.entries(base.parameters)) (copy.parameters[name].data as Float32Array).set(t.data as Float32Array);
    run(copy, law.train, 90, 1e-2);
    const full = start - evaluate(copy, law.test);
    expect(full).toBeGreaterThan(0.2);
    expect(lora).toBeGreaterThan(0.5 * full);
  }, 120_000);
});

describe("the parts", () => {
  test("sampleBatch: targets are the inputs moved on by one", () => {
    const ids = Int32Array.from({ length: 50 }, (_, i) => i);
    const { inputs, targets } = sampleBatch(ids, 3, 7, rng(1));
    expect([inputs.shape, targets.shape]).toEqual([[3, 7], [3, 7]]);
    inputs.data.forEach((id, i) => expect(targets.data[i]).toBe(id + 1));
    expect(() => sampleBatch(ids, 1, 50, rng(1))).toThrow("ids holds 50 tokens, expected more than 50");
  });
  test("bigramLoss: a fixed cycle costs nothing, fair coins cost log 2", () => {
    const cycle = Int32Array.from({ length: 300 }, (_, i) => i % 3);
    expect(bigramLoss(cycle, cycle, 3, 1e-9)).toBeCloseTo(0, 6);
    const r = rng(1), coins = Int32Array.from({ length: 20_000 }, () => r.integer(0, 2));
    expect(bigramLoss(coins, coins, 2)).toBeCloseTo(Math.log(2), 3);
  });
  test("train applies the schedule, restores the rate, and stops when the loop does", () => {
    const model = gpt({ vocabulary: 3, context: 4, width: 4, heads: 1, blocks: 1 }, rng(1));
    const optimizer = sgd({ lr: 0.5 });
    const ids = Int32Array.from({ length: 40 }, (_, i) => i % 3);
    const rates: number[] = [];
    for (const { step, lr } of train(model, ids, { steps: 9, optimizer, rng: rng(1), batch: 2, schedule: (s) => 1 / (s + 1) })) {
      rates.push(lr);
      if (step === 2) break;
    }
    expect(rates).toEqual([0.5, 0.25, 0.5 / 3]);
    expect([optimizer.lr, optimizer.steps]).toEqual([0.5, 3]);
    expect(() => evaluate(model, ids.subarray(0, 4))).toThrow("ids holds 4 tokens");
  });
  test("for await walks the same steps, and restores the rate where the loop ends", async () => {
    const ids = Int32Array.from({ length: 40 }, (_, i) => i % 3);
    const made = () => {
      const optimizer = sgd({ lr: 0.5 });
      return { optimizer, steps: train(gpt({ vocabulary: 3, context: 4, width: 4, heads: 1, blocks: 1 }, rng(1)), ids, { steps: 3, optimizer, rng: rng(1), batch: 2, schedule: () => 0.1 }) };
    };
    const { optimizer, steps } = made();
    const waited: TrainStep[] = [];
    for await (const step of steps) waited.push(step);
    expect(waited).toEqual([...made().steps]);
    expect([waited.length, optimizer.lr]).toEqual([3, 0.5]);
  });
  test("a step runs where it is told to, the optimiser's update too", () => {
    const ids = Int32Array.from({ length: 40 }, (_, i) => i % 3);
    const optimizer = adamW();
    const model = gpt({ vocabulary: 3, context: 4, width: 4, heads: 1, blocks: 1 }, rng(1), { dtype: "float32" });
    expect([...train(model, ids, { steps: 2, optimizer, rng: rng(1), batch: 2, device: "wasm" })]).toHaveLength(2);
    expect(optimizer.state.get("Wlogits")!.m).toBeInstanceOf(Float32Array);
  });
  test("normsByLayer orders layers as the forward runs them", () => {
    const model = gpt({ vocabulary: 3, context: 4, width: 4, heads: 1, blocks: 11 }, rng(1));
    expect(Object.keys(normsByLayer(model.parameters))).toEqual(["embedding", ...Array.from({ length: 11 }, (_, i) => `block ${i}`), "head"]);
  });
});
