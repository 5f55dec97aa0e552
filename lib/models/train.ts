import { clipGlobalNorm, globalNorm } from "../diagnostics";
import { checkInterrupt } from "../interrupt";
import type { Optimizer } from "../optim";
import { constantSchedule, type Schedule } from "../schedules";
import { Tensor, type Rng } from "../tensor";
import { GpuTensor, gpuScope } from "../webgpu";
import type { Gpt, Named } from "./gpt";

/** A random batch of windows of `ids`: inputs [batch, tokens], and the same moved on by one as targets. */
export function sampleBatch(ids: Int32Array, batch: number, tokens: number, generator: Rng): { inputs: Tensor; targets: Tensor } {
  if (ids.length < tokens + 1) throw new Error(`sampleBatch: ids holds ${ids.length} tokens, expected more than ${tokens}`);
  const inputs = new Int32Array(batch * tokens), targets = new Int32Array(batch * tokens);
  for (let b = 0; b < batch; b++) {
    const from = generator.integer(0, ids.length - tokens);
    inputs.set(ids.subarray(from, from + tokens), b * tokens);
    targets.set(ids.subarray(from + 1, from + tokens + 1), b * tokens);
  }
  return { inputs: new Tensor(inputs, [batch, tokens]), targets: new Tensor(targets, [batch, tokens]) };
}

export interface TrainOptions {
  readonly steps: number;
  readonly optimizer: Optimizer;
  readonly rng: Rng;
  readonly batch?: number;
  /** Tokens a row; the model's context when left out. */
  readonly tokens?: number;
  /** Factors of the optimiser's rate. */
  readonly schedule?: Schedule;
  /** Global norm above which gradients are scaled down. */
  readonly clip?: number;
}

export interface TrainStep {
  readonly step: number;
  readonly loss: number;
  readonly lr: number;
  /** The gradient's global norm before clipping. */
  readonly norm: number;
  /** The same by layer: "embedding", "block 0", ..., "head". */
  readonly norms: Record<string, number>;
}

/** Steps to be walked with `for`, or on any device with `for await`. */
export type Training = Generator<TrainStep, void, void> & AsyncIterable<TrainStep>;

/**
 * Next-token training: each turn of the loop is one step, so a notebook can plot or stop between them.
 *
 * ```ts
 * for (const { step, loss, norms } of train(model, ids, { steps: 200, optimizer: adamW({ lr: 3e-3 }), rng: rng(1) })) ...
 * ```
 *
 * On device "webgpu" walk it with `for await`: numbers come back from a GPU only to those who wait. The forward and the
 * backward run there, the optimiser here.
 */
export function train(model: Gpt, ids: Int32Array, options: TrainOptions): Training {
  const { steps, optimizer, rng, batch = 8, tokens = model.config.context, schedule = constantSchedule, clip = 1 } = options;
  const base = optimizer.lr;
  const forwardAndBackward = (): { loss: Tensor; gradients: Named } => {
    checkInterrupt();
    const { inputs, targets } = sampleBatch(ids, batch, tokens, rng);
    const { lossTensor, cache } = model.forward(inputs, targets);
    return { loss: lossTensor!, gradients: model.backward(cache) };
  };
  const update = (step: number, loss: Tensor, raw: Named): TrainStep => {
    const { gradients, norm } = clipGlobalNorm(raw, clip);
    optimizer.lr = base * schedule(step);
    optimizer.step(model.trainable, gradients);
    return { step, loss: loss.item(), lr: optimizer.lr, norm, norms: normsByLayer(raw) };
  };
  function* here(): Generator<TrainStep, void, void> {
    try {
      for (let step = 0; step < steps; step++) {
        const { loss, gradients } = forwardAndBackward();
        yield update(step, loss, gradients);
      }
    } finally {
      optimizer.lr = base;
    }
  }
  async function* anywhere(): AsyncGenerator<TrainStep, void, void> {
    try {
      for (let step = 0; step < steps; step++) {
        const { loss, gradients } = gpuScope(forwardAndBackward);
        const back = Object.entries(gradients).map(async ([name, g]): Promise<[string, Tensor]> => [name, await onCpu(g)]);
        yield update(step, await onCpu(loss), Object.fromEntries(await Promise.all(back)));
      }
    } finally {
      optimizer.lr = base;
    }
  }
  return Object.assign(here(), { [Symbol.asyncIterator]: anywhere });
}

/** A tensor's numbers where JavaScript can read them; what was on the GPU is freed there. */
async function onCpu(t: Tensor): Promise<Tensor> {
  if (!(t instanceof GpuTensor)) return t;
  const numbers = await t.read();
  t.dispose();
  return numbers;
}

/** Gradient norms gathered by layer, in the order of the forward pass. */
export function normsByLayer(gradients: Named): Record<string, number> {
  const groups = new Map<string, Named>();
  const rank = (name: string): number => (/^(tokens|positions)$/.test(name) ? -1 : Number(/^block(\d+)/.exec(name)?.[1] ?? Infinity));
  for (const name of Object.keys(gradients).sort((a, b) => rank(a) - rank(b) || 0)) {
    const layer = rank(name) === -1 ? "embedding" : rank(name) === Infinity ? "head" : `block ${rank(name)}`;
    groups.set(layer, { ...groups.get(layer), [name]: gradients[name] });
  }
  return Object.fromEntries([...groups].map(([layer, own]) => [layer, globalNorm(own)]));
}

/** The mean loss over consecutive windows of `ids`, each token predicted once: the measure to compare models by. */
export function evaluate(model: Gpt, ids: Int32Array, { batch = 8, tokens = model.config.context } = {}): number {
  let sum = 0, count = 0;
  const starts: number[] = [];
  for (let from = 0; from + tokens < ids.length; from += tokens) starts.push(from);
  if (starts.length === 0) throw new Error(`evaluate: ids holds ${ids.length} tokens, expected more than ${tokens}`);
  for (let i = 0; i < starts.length; i += batch) {
    const rows = starts.slice(i, i + batch);
    const cut = (shift: number): Tensor => {
      const out = new Int32Array(rows.length * tokens);
      rows.forEach((from, r) => out.set(ids.subarray(from + shift, from + shift + tokens), r * tokens));
      return new Tensor(out, [rows.length, tokens]);
    };
    const { loss } = model.forward(cut(0), cut(1));
    sum += loss * rows.length;
    count += rows.length;
  }
  return sum / count;
}

/**
 * The mean loss of the bigram model, -log p(next | this) from counts in `ids` plus `smoothing` for every pair, on
 * `test`: what a model must beat to show that it looks further back than one token.
 */
export function bigramLoss(ids: Int32Array, test: Int32Array, vocabulary: number, smoothing = 1): number {
  const pairs = new Float64Array(vocabulary * vocabulary).fill(smoothing);
  const totals = new Float64Array(vocabulary).fill(smoothing * vocabulary);
  for (let i = 0; i + 1 < ids.length; i++) {
    pairs[ids[i] * vocabulary + ids[i + 1]]++;
    totals[ids[i]]++;
  }
  let sum = 0;
  for (let i = 0; i + 1 < test.length; i++) sum -= Math.log(pairs[test[i] * vocabulary + test[i + 1]] / totals[test[i]]);
  return sum / (test.length - 1);
}
