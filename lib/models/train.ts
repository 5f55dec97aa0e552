import { clipGlobalNorm } from "../diagnostics";
import { checkInterrupt } from "../interrupt";
import { checkDevice, device, tidy, withDevice, type DeviceName } from "../layers/device";
import type { Optimizer } from "../optim";
import { constantSchedule, type Schedule } from "../schedules";
import { Tensor, type Rng } from "../tensor";
import type { Gpt, Named } from "./gpt";
import { trainOnGpu } from "./trainOnGpu";

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
  /** Where to train; the default is what `device()` says. */
  readonly device?: DeviceName;
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

/**
 * Next-token training as a generator: each turn of the loop is one step, so a notebook can plot or stop between them.
 *
 * ```ts
 * for await (const { step, loss, norms } of train(model, ids, { steps: 200, optimizer: adamW({ lr: 3e-3 }), rng: rng(1) })) ...
 * ```
 *
 * On cpu and wasm a plain `for` does as well. With `device: "webgpu"` (after `await webgpu()`) the numbers come back from
 * the GPU, so it takes `for await`; the optimiser is then adam or adamW, and keeps its state on the GPU.
 */
export function train(model: Gpt, ids: Int32Array, options: TrainOptions & { readonly device: "webgpu" }): AsyncGenerator<TrainStep, void, void>;
export function train(model: Gpt, ids: Int32Array, options: TrainOptions): Generator<TrainStep, void, void>;
export function train(model: Gpt, ids: Int32Array, options: TrainOptions): Generator<TrainStep, void, void> | AsyncGenerator<TrainStep, void, void> {
  const where = options.device ?? device();
  checkDevice("train", where);
  if (where !== "webgpu") return trainHere(model, ids, options, where);
  return Object.assign(trainOnGpu(model, ids, options), {
    [Symbol.iterator](): never {
      throw new Error("train: on webgpu the loss has to come back from the GPU; write `for await (... of train(...))`");
    },
  });
}

function* trainHere(model: Gpt, ids: Int32Array, options: TrainOptions, where: DeviceName): Generator<TrainStep, void, void> {
  const { steps, optimizer, rng, batch = 8, tokens = model.config.context, schedule = constantSchedule, clip = 1 } = options;
  for (let step = 0; step < steps; step++) {
    checkInterrupt();
    const { inputs, targets } = sampleBatch(ids, batch, tokens, rng);
    yield withDevice(where, () => tidy(() => {
      const { loss, cache } = model.forward(inputs, targets);
      const raw = model.backward(cache);
      const { gradients, norm } = clipGlobalNorm(raw, clip);
      const lr = optimizer.lr * schedule(step);
      stepAt(lr, optimizer, model.trainable, gradients);
      return { step, loss, lr, norm, norms: normsByLayer(raw) };
    }));
  }
}

/** Takes a step at a rate that a schedule says; the optimiser's own stays what the schedule multiplies. */
function stepAt(lr: number, optimizer: Optimizer, parameters: Named, gradients: Named): void {
  const base = optimizer.lr;
  optimizer.lr = lr;
  try {
    optimizer.step(parameters, gradients);
  } finally {
    optimizer.lr = base;
  }
}

/** Gradient norms gathered by layer, in the order of the forward pass. */
export function normsByLayer(gradients: Named): Record<string, number> {
  return joinByLayer(Object.fromEntries(Object.entries(gradients).map(([name, g]) => [name, g.norm()])));
}

/** Norms by parameter as norms by layer. */
export function joinByLayer(norms: Readonly<Record<string, number>>): Record<string, number> {
  const layers = new Map<string, number[]>();
  const rank = (name: string): number => (/^(tokens|positions)$/.test(name) ? -1 : Number(/^block(\d+)/.exec(name)?.[1] ?? Infinity));
  for (const name of Object.keys(norms).sort((a, b) => rank(a) - rank(b) || 0)) {
    const layer = rank(name) === -1 ? "embedding" : rank(name) === Infinity ? "head" : `block ${rank(name)}`;
    layers.set(layer, [...(layers.get(layer) ?? []), norms[name]]);
  }
  return Object.fromEntries([...layers].map(([layer, own]) => [layer, Math.hypot(...own)]));
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
