import { heNormal, xavierNormal, type Initializer } from "../init";
import { checkInterrupt } from "../interrupt";
import { gelu, layerNorm, leakyRelu, linear, relu, sigmoid, tanh, type AnyLayer } from "../layers";
import { eye, ones, zeros, type Rng, type Tensor } from "../tensor";
import type { Named } from "./gpt";

const activations = { sigmoid, tanh, relu, gelu, leakyRelu } as const satisfies Record<string, AnyLayer>;
export type MlpActivation = keyof typeof activations | "identity";

export interface MlpConfig {
  /** Widths from the input to the output: [2, 16, 1] is one hidden layer of 16. */
  readonly widths: readonly number[];
  readonly activation?: MlpActivation;
  /** Whether the last layer is activated too; a plain output by default. */
  readonly activateLast?: boolean;
  /** y = x + activation(W x + b) where a layer's widths agree. */
  readonly residual?: boolean;
  /**
   * A layer norm in every layer: "pre" at the layer's entry, y = x + f(W norm(x) + b), so that the skip carries x
   * itself; "post" at its exit, y = norm(x + f(W x + b)), so that every skip passes a norm (Math for LLMs, section 6.4).
   */
  readonly norm?: "none" | "pre" | "post";
  /** Of the weights; He for relu and its kin, Xavier else. Biases start at 0. */
  readonly init?: Initializer;
}

export interface MlpCache {
  readonly linears: readonly any[];
  readonly activations: readonly any[];
  readonly norms: readonly any[];
}

/**
 * A multilayer perceptron, and the documents' deep nets: twenty sigmoid layers that vanish, ReLU and He that do not,
 * and the residual ones (Math for LLMs, sections 4 and 6, exercise 4).
 *
 *     z[l] = a[l-1] W[l]^T + b[l],   a[l] = f(z[l])   (+ a[l-1] when residual)
 *     delta[l] = dL/dz[l] = (delta[l+1] W[l+1]) o f'(z[l])
 *     dW[l] = delta[l]^T a[l-1],     db[l] = sum of delta[l] over rows
 *
 * Parameters "W1", "b1", ..., "WL", "bL"; W [out, in]; with norms also "gamma1", "beta1", ....
 */
export class Mlp {
  readonly parameters: Named = {};
  readonly depth: number;
  readonly #f: MlpActivation;
  readonly #norm: "none" | "pre" | "post";

  constructor(readonly config: MlpConfig, generator: Rng) {
    const { widths, activation = "relu" } = config;
    if (widths.length < 2) throw new Error(`Mlp: widths has ${widths.length} entries, expected at least an input and an output`);
    this.#f = activation;
    this.#norm = config.norm ?? "none";
    this.depth = widths.length - 1;
    const init = config.init ?? (["relu", "leakyRelu", "gelu"].includes(activation) ? heNormal : xavierNormal);
    for (let l = 1; l <= this.depth; l++) {
      this.parameters[`W${l}`] = init([widths[l], widths[l - 1]], generator);
      this.parameters[`b${l}`] = zeros([widths[l]]);
      if (this.#norm !== "none") {
        const width = widths[this.#norm === "pre" ? l - 1 : l];
        this.parameters[`gamma${l}`] = ones([width]);
        this.parameters[`beta${l}`] = zeros([width]);
      }
    }
  }

  /** @param x [..., widths[0]]. @returns y [..., last width]. */
  forward(x: Tensor): { y: Tensor; cache: MlpCache } {
    const linears: any[] = [], acts: any[] = [], norms: any[] = [];
    const normalise = (l: number, t: Tensor): Tensor => {
      const { y, cache } = layerNorm.forward({ x: t, gamma: this.parameters[`gamma${l}`], beta: this.parameters[`beta${l}`] });
      norms.push(cache);
      return y;
    };
    let a = x;
    for (let l = 1; l <= this.depth; l++) {
      checkInterrupt();
      const input = this.#norm === "pre" ? normalise(l, a) : a;
      const z = linear.forward({ x: input, W: this.parameters[`W${l}`], b: this.parameters[`b${l}`] });
      linears.push(z.cache);
      let out = z.y;
      const f = this.#activation(l);
      if (f) {
        const act = f.forward({ x: out });
        acts.push(act.cache);
        out = act.y;
      } else acts.push(undefined);
      a = this.#skips(l) ? a.add(out) : out;
      if (this.#norm === "post") a = normalise(l, a);
    }
    return { y: a, cache: { linears, activations: acts, norms } };
  }

  /**
   * @param dy dL/dy. @returns dx, the gradient of every parameter under its own name, and the norm of delta[l], the
   * error signal at each layer's pre-activation, from layer 1 to layer L.
   */
  backward(dy: Tensor, cache: MlpCache): { dx: Tensor; gradients: Named; deltaNorms: number[] } {
    const gradients: Named = {};
    const deltaNorms: number[] = [];
    const normBack = (l: number, g: Tensor): Tensor => {
      const { dx, dgamma, dbeta } = layerNorm.backward(g, cache.norms[l - 1]) as { dx: Tensor; dgamma: Tensor; dbeta: Tensor };
      gradients[`gamma${l}`] = dgamma;
      gradients[`beta${l}`] = dbeta;
      return dx;
    };
    let d = dy;
    for (let l = this.depth; l >= 1; l--) {
      checkInterrupt();
      if (this.#norm === "post") d = normBack(l, d);
      const f = this.#activation(l);
      const delta: Tensor = f ? f.backward(d, cache.activations[l - 1]).dx : d;
      deltaNorms.unshift(delta.norm());
      const { dx, dW, db } = linear.backward(delta, cache.linears[l - 1]) as { dx: Tensor; dW: Tensor; db: Tensor };
      gradients[`W${l}`] = dW;
      gradients[`b${l}`] = db;
      const branch = this.#norm === "pre" ? normBack(l, dx) : dx;
      d = this.#skips(l) ? d.add(branch) : branch;
    }
    return { dx: d, gradients, deltaNorms };
  }

  /**
   * The Jacobian of each layer at one input, [out, in] each, first layer first: diag(f'(z)) W, plus I where it skips.
   * Their product is the net's own Jacobian; `jacobianProduct` compares its norm with the bound.
   * @param x [1, widths[0]].
   */
  jacobians(x: Tensor): Tensor[] {
    if (this.#norm !== "none") throw new Error(`jacobians: norm is "${this.#norm}", expected a net without norms`);
    if (x.rank !== 2 || x.shape[0] !== 1) throw new Error(`jacobians: x has shape [${x.shape.join(", ")}], expected [1, in]`);
    const { cache } = this.forward(x);
    return cache.linears.map((_, i) => {
      const l = i + 1, W = this.parameters[`W${l}`], [out] = W.shape;
      const slope: Tensor = this.#activation(l)?.backward(ones([1, out]), cache.activations[i]).dx ?? ones([1, out]);
      const J = W.mul(slope.reshape(out, 1));
      return this.#skips(l) ? J.add(eye(out)) : J;
    });
  }

  #activation(l: number): AnyLayer | undefined {
    if (this.#f === "identity" || (l === this.depth && !this.config.activateLast)) return undefined;
    return activations[this.#f];
  }

  #skips(l: number): boolean {
    const { widths, residual = false } = this.config;
    return residual && widths[l] === widths[l - 1];
  }
}

/** `new Mlp(...)`. */
export const mlp = (config: MlpConfig, generator: Rng): Mlp => new Mlp(config, generator);

/** A stack of `depth` equal layers, all of them activated: the documents' deep nets. */
export function deepNet(
  { depth, width, ...rest }: { depth: number; width: number } & Omit<MlpConfig, "widths" | "activateLast">, generator: Rng,
): Mlp {
  if (!(Number.isInteger(depth) && depth > 0)) throw new Error(`deepNet: depth is ${depth}, expected a whole number above 0`);
  return new Mlp({ ...rest, widths: new Array(depth + 1).fill(width), activateLast: true }, generator);
}
