import { gpt2Normal, gpt2Residual, type Initializer } from "../init";
import { checkInterrupt } from "../interrupt";
import {
  attention, embedding, gelu, geluTanh, layerNorm, layerScope, linear, lora, relu, silu, softmaxCrossEntropy, type AnyLayer, type Integers,
} from "../layers";
import { arange, ones, Tensor, zeros, type DType, type Rng } from "../tensor";

export interface GptConfig {
  readonly vocabulary: number;
  /** The longest sequence: rows of the position table. */
  readonly context: number;
  /** d, the width of the residual stream. */
  readonly width: number;
  readonly heads: number;
  readonly blocks: number;
  readonly activation?: "relu" | "gelu" | "geluTanh" | "silu";
  /** Of every layer norm; 1e-5 when left out. */
  readonly eps?: number;
}

export interface LoraConfig {
  readonly rank: number;
  /** The correction is scaled by alpha / rank; rank when left out, so a scale of 1. */
  readonly alpha?: number;
  /** Which linear layers: the logits only, or every one. */
  readonly on?: "logits" | "all";
}

/** Parameters or gradients by name: "tokens", "positions", "block0.gamma1", ..., "gamma", "beta", "Wlogits", "blogits". */
export type Named = Record<string, Tensor>;

/** The linear layers of a block, and how many widths go in and come out. */
const linears = { q: [1, 1], k: [1, 1], v: [1, 1], o: [1, 1], expand: [1, 4], contract: [4, 1] } as const;
type LinearName = keyof typeof linears;

/** The shape of every parameter: what counts them without making them. */
export function gptShapes({ vocabulary, context, width: d, blocks }: GptConfig): Record<string, number[]> {
  const shapes: Record<string, number[]> = { tokens: [vocabulary, d], positions: [context, d] };
  for (let i = 0; i < blocks; i++) Object.assign(shapes, blockShapes(d, `block${i}.`));
  return { ...shapes, gamma: [d], beta: [d], Wlogits: [vocabulary, d], blogits: [vocabulary] };
}

/** One block's parameters: two layer norms and six linear layers with biases, 12 d^2 + 13 d numbers. */
export function blockShapes(d: number, prefix = ""): Record<string, number[]> {
  const shapes: Record<string, number[]> = { gamma1: [d], beta1: [d], gamma2: [d], beta2: [d] };
  for (const [name, [into, out]] of Object.entries(linears)) Object.assign(shapes, { [`W${name}`]: [out * d, into * d], [`b${name}`]: [out * d] });
  return Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [prefix + name, shape]));
}

/** LoRA's parameters: A [rank, in] and B [out, rank] for each adapted linear layer. */
export function loraShapes(config: GptConfig, { rank, on = "logits" }: LoraConfig): Record<string, number[]> {
  const { vocabulary, width: d, blocks } = config;
  const shapes: Record<string, number[]> = {};
  for (let i = 0; on === "all" && i < blocks; i++) {
    for (const [name, [into, out]] of Object.entries(linears)) {
      shapes[`block${i}.A${name}`] = [rank, into * d];
      shapes[`block${i}.B${name}`] = [out * d, rank];
    }
  }
  return { ...shapes, Alogits: [rank, d], Blogits: [vocabulary, rank] };
}

/** How many numbers shapes hold. */
export function countParameters(shapes: Record<string, readonly number[]>): number {
  return Object.values(shapes).reduce((sum, shape) => sum + shape.reduce((a, b) => a * b, 1), 0);
}

const activations: Record<NonNullable<GptConfig["activation"]>, AnyLayer> = { relu, gelu, geluTanh, silu };

/** What a forward keeps: each layer's cache under the layer's name. */
export interface GptCache {
  readonly layers: Map<string, any>;
  readonly batch: number;
  readonly tokens: number;
}

/**
 * The minimal GPT of arXiv 2512.23329, layers composed by hand: untied, biases on, pre-norm.
 *
 *     x = tokens[ids] + positions
 *     for each block:   x += o(attention(q(n), k(n), v(n))),  n = layerNorm1(x);   x += contract(f(expand(layerNorm2(x))))
 *     logits = layerNorm(x) Wlogits^T + blogits;   loss = mean cross-entropy of the next token
 *
 * `parameters` and the gradients go by the same names; `optimizer.step(model.trainable, gradients)` trains.
 */
export class Gpt {
  readonly config: Required<GptConfig>;
  readonly parameters: Named;
  #adapters?: Required<LoraConfig> & { parameters: Named };

  constructor(config: GptConfig, parameters: Named) {
    this.config = { activation: "gelu", eps: 1e-5, ...config };
    for (const [name, shape] of Object.entries(gptShapes(config))) {
      if (String(parameters[name]?.shape) !== String(shape)) {
        throw new Error(`Gpt: ${name} has shape [${parameters[name]?.shape.join(", ") ?? "none"}], expected [${shape.join(", ")}]`);
      }
    }
    this.parameters = parameters;
  }

  /** What an optimiser should change: everything, or under LoRA the adapters alone. */
  get trainable(): Named {
    return this.#adapters?.parameters ?? this.parameters;
  }

  /** How LoRA is set up, if it is. */
  get lora(): Required<LoraConfig> | undefined {
    return this.#adapters && { rank: this.#adapters.rank, alpha: this.#adapters.alpha, on: this.#adapters.on };
  }

  /**
   * The same base, frozen and shared, with LoRA adapters (Hu et al. 2022): A normal with variance 1 / in, B zero, so
   * the model starts where the base is.
   */
  withLora(config: LoraConfig, generator: Rng): Gpt {
    if (!(Number.isInteger(config.rank) && config.rank > 0)) throw new Error(`withLora: rank is ${config.rank}, expected a whole number above 0`);
    const model = new Gpt(this.config, this.parameters);
    const dtype = this.parameters.tokens.dtype;
    const parameters = Object.fromEntries(Object.entries(loraShapes(this.config, config)).map(([name, shape]) => {
      const isA = name.split(".").pop()![0] === "A";
      return [name, isA ? normal(shape, generator, 1 / Math.sqrt(shape[1]), dtype) : zeros(shape, dtype)];
    }));
    model.#adapters = { parameters, rank: config.rank, alpha: config.alpha ?? config.rank, on: config.on ?? "logits" };
    return model;
  }

  /**
   * @param ids [B, T] token numbers. @param targets [B, T] the next ones; without them there is no loss.
   * @returns logits [B, T, vocabulary], and the loss as a number; on a GPU, where a number cannot be had without waiting,
   * `await lossTensor.read()` instead.
   */
  forward(ids: Integers, targets?: Integers): { logits: Tensor; readonly loss: number; lossTensor?: Tensor; cache: GptCache } {
    const { context, blocks, heads, activation, eps } = this.config;
    const p = this.parameters;
    const layers = new Map<string, any>();
    const keep = (name: string, run: () => { y: Tensor; cache: unknown }): Tensor => {
      checkInterrupt();
      const { y, cache } = layerScope(name, run);
      layers.set(name, cache);
      return y;
    };
    // Under LoRA the base is frozen: no gradient of it is worked out.
    const lookUp = (E: Tensor, rows: Integers) => embedding.forward({ E, ids: rows }, { frozen: this.#adapters ? ["E"] : [] });
    const norm = (name: string, x: Tensor, gamma: Tensor, beta: Tensor): Tensor =>
      keep(name, () => this.#adapters
        ? layerNorm.forward({ x, gamma, beta }, { eps, frozen: ["gamma", "beta"] })
        : layerNorm.forward({ x, gamma, beta }, { eps }));

    const e = keep("tokens", () => lookUp(p.tokens, ids));
    const [batch, T] = e.shape;
    if (e.rank !== 3) throw new Error(`Gpt: ids has ${e.rank - 1} dimensions, expected [B, T]`);
    if (T > context) throw new Error(`Gpt: ids has ${T} tokens a row, expected at most the context of ${context}`);
    const at = keep("positions", () => lookUp(p.positions, arange(T).astype("int32")));
    let x = e.add(at);
    for (let i = 0; i < blocks; i++) {
      const b = `block${i}.`;
      const dense = (name: LinearName, input: Tensor): Tensor => keep(b + name, () => this.#dense(b, name, input));
      const n1 = norm(`${b}norm1`, x, p[`${b}gamma1`], p[`${b}beta1`]);
      const [q, k, v] = (["q", "k", "v"] as const).map((name) => split(dense(name, n1), heads));
      x = x.add(dense("o", merge(keep(`${b}attention`, () => attention.forward({ q, k, v }, { causal: true })))));
      const n2 = norm(`${b}norm2`, x, p[`${b}gamma2`], p[`${b}beta2`]);
      const expanded = dense("expand", n2);
      x = x.add(dense("contract", keep(`${b}activation`, () => activations[activation].forward({ x: expanded }))));
    }
    const n = norm("norm", x, p.gamma, p.beta);
    const logits = keep("logits", () => this.#dense("", "logits", n));
    const lossTensor = targets === undefined ? undefined : keep("loss", () => softmaxCrossEntropy.forward({ logits, targets }));
    return { logits, lossTensor, get loss() { return lossTensor ? lossTensor.item() : NaN; }, cache: { layers, batch, tokens: T } };
  }

  /** dL/dparameter for every trainable parameter, under the parameter's own name. */
  backward(cache: GptCache): Named {
    const { blocks, heads, activation } = this.config;
    const gradients: Named = {};
    const { layers } = cache;
    if (!layers.has("loss")) throw new Error("Gpt: backward of a forward without targets, expected forward(ids, targets)");
    const back = (layer: AnyLayer, name: string, dy?: Tensor): Named => layerScope(name, () => layer.backward(dy, layers.get(name)));
    const denseBack = (b: string, name: string, dy: Tensor): Tensor => {
      checkInterrupt();
      const layer: AnyLayer = this.#adapters && this.#adapted(b, name) ? lora : linear;
      const { dx, ...own }: Named = back(layer, b + name, dy);
      // dW, db, dA, dB of this layer become the gradients of W<name>, b<name>, ...
      for (const [d, g] of Object.entries(own)) gradients[`${b}${d.slice(1)}${name}`] = g;
      return dx;
    };
    const normBack = (name: string, dy: Tensor, gamma: string, beta: string): Tensor => {
      const { dx, dgamma, dbeta } = back(layerNorm, name, dy) as Partial<Named>;
      if (dgamma) gradients[gamma] = dgamma;
      if (dbeta) gradients[beta] = dbeta;
      return dx!;
    };

    const { dlogits } = back(softmaxCrossEntropy, "loss");
    let dx = normBack("norm", denseBack("", "logits", dlogits), "gamma", "beta");
    for (let i = blocks - 1; i >= 0; i--) {
      const b = `block${i}.`;
      // x += contract(f(expand(norm2(x)))): dx goes along the skip and through the branch.
      const df = denseBack(b, "contract", dx);
      const { dx: dexpand } = back(activations[activation], `${b}activation`, df);
      dx = dx.add(normBack(`${b}norm2`, denseBack(b, "expand", dexpand), `${b}gamma2`, `${b}beta2`));
      // x += o(attention(q, k, v)): three branches meet at norm1.
      const da = split(denseBack(b, "o", dx), heads);
      const { dq, dk, dv } = back(attention, `${b}attention`, da);
      const dn1 = denseBack(b, "q", merge(dq)).add(denseBack(b, "k", merge(dk))).add(denseBack(b, "v", merge(dv)));
      dx = dx.add(normBack(`${b}norm1`, dn1, `${b}gamma1`, `${b}beta1`));
    }
    if (!this.#adapters) {
      // Positions were broadcast over the batch: their gradient is the sum over it.
      gradients.positions = back(embedding, "positions", dx.sum(0)).dE;
      gradients.tokens = back(embedding, "tokens", dx).dE;
    }
    return gradients;
  }

  /**
   * Samples `count` tokens after `ids`, one at a time.
   * @param options temperature: 0 takes the likeliest, 1 samples as the model says.
   */
  generate(ids: readonly number[], count: number, { rng, temperature = 1 }: { rng: Rng; temperature?: number }): number[] {
    if (ids.length === 0) throw new Error("generate: ids is empty, expected at least one token to start from");
    const out = [...ids];
    for (let i = 0; i < count; i++) {
      const window = out.slice(-this.config.context);
      const { logits } = this.forward([window]);
      const last = logits.reshape(window.length, -1).row(window.length - 1);
      if (temperature === 0) {
        out.push(last.argmax().item());
        continue;
      }
      const z = last.sub(last.max()).div(temperature).exp();
      out.push(rng.choice(z.data));
    }
    return out;
  }

  #adapted(b: string, name: string): boolean {
    return this.#adapters !== undefined && `${b}A${name}` in this.#adapters.parameters;
  }

  #dense(b: string, name: string, x: Tensor): { y: Tensor; cache: unknown } {
    const W = this.parameters[`${b}W${name}`], bias = this.parameters[`${b}b${name}`];
    if (!this.#adapters) return linear.forward({ x, W, b: bias });
    if (!this.#adapted(b, name)) return linear.forward({ x, W, b: bias }, { frozen: ["W", "b"] });
    const { parameters, alpha } = this.#adapters;
    return lora.forward({ x, W, b: bias, A: parameters[`${b}A${name}`], B: parameters[`${b}B${name}`] }, { alpha });
  }
}

/** A GPT with GPT-2's initialisation: N(0, 0.02^2), less for what writes into the residual stream; biases 0. */
export function gpt(config: GptConfig, generator: Rng, { dtype = "float64", std = 0.02 }: { dtype?: DType; std?: number } = {}): Gpt {
  if (config.width % config.heads !== 0) throw new Error(`gpt: heads is ${config.heads}, it should divide the width ${config.width}`);
  const residual = gpt2Residual(Math.max(1, config.blocks));
  const parameters = Object.fromEntries(Object.entries(gptShapes(config)).map(([name, shape]) => {
    const own = name.split(".").pop()!;
    if (own.startsWith("gamma")) return [name, ones(shape, dtype)];
    if (own.startsWith("b")) return [name, zeros(shape, dtype)];
    const init: Initializer = own === "Wo" || own === "Wcontract" ? residual : gpt2Normal;
    return [name, init(shape, generator).mul(std / 0.02).astype(dtype)];
  }));
  return new Gpt(config, parameters);
}

const normal = (shape: number[], generator: Rng, std: number, dtype: DType): Tensor => {
  const t = zeros(shape, dtype);
  for (let i = 0; i < t.size; i++) t.data[i] = generator.normal() * std;
  return t;
};

/** [B, T, d] -> [B, heads, T, d / heads] */
function split(t: Tensor, heads: number): Tensor {
  const [B, T, d] = t.shape;
  return t.reshape(B, T, heads, d / heads).transpose([0, 2, 1, 3]);
}

/** [B, heads, T, d / heads] -> [B, T, d] */
function merge(t: Tensor): Tensor {
  const [B, heads, T, d] = t.shape;
  return t.transpose([0, 2, 1, 3]).reshape(B, T, heads * d);
}
