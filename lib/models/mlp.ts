import { heNormal, xavierNormal, type Initializer } from "../init";
import { checkInterrupt } from "../interrupt";
import { gelu, leakyRelu, linear, relu, sigmoid, tanh, type AnyLayer } from "../layers";
import { zeros, type Rng, type Tensor } from "../tensor";
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
  /** Of the weights; He for relu and its kin, Xavier else. Biases start at 0. */
  readonly init?: Initializer;
}

export interface MlpCache {
  readonly linears: readonly any[];
  readonly activations: readonly any[];
}

/**
 * A multilayer perceptron, and the documents' deep nets: twenty sigmoid layers that vanish, ReLU and He that do not,
 * and the residual ones (Math for LLMs, sections 4 and 6, exercise 4).
 *
 *     z[l] = a[l-1] W[l]^T + b[l],   a[l] = f(z[l])   (+ a[l-1] when residual)
 *     delta[l] = dL/dz[l] = (delta[l+1] W[l+1]) o f'(z[l])
 *     dW[l] = delta[l]^T a[l-1],     db[l] = sum of delta[l] over rows
 *
 * Parameters "W1", "b1", ..., "WL", "bL"; W [out, in].
 */
export class Mlp {
  readonly parameters: Named = {};
  readonly depth: number;
  readonly #f: MlpActivation;

  constructor(readonly config: MlpConfig, generator: Rng) {
    const { widths, activation = "relu" } = config;
    if (widths.length < 2) throw new Error(`Mlp: widths has ${widths.length} entries, expected at least an input and an output`);
    this.#f = activation;
    this.depth = widths.length - 1;
    const init = config.init ?? (["relu", "leakyRelu", "gelu"].includes(activation) ? heNormal : xavierNormal);
    for (let l = 1; l <= this.depth; l++) {
      this.parameters[`W${l}`] = init([widths[l], widths[l - 1]], generator);
      this.parameters[`b${l}`] = zeros([widths[l]]);
    }
  }

  /** @param x [..., widths[0]]. @returns y [..., last width]. */
  forward(x: Tensor): { y: Tensor; cache: MlpCache } {
    const linears: any[] = [], acts: any[] = [];
    let a = x;
    for (let l = 1; l <= this.depth; l++) {
      checkInterrupt();
      const z = linear.forward({ x: a, W: this.parameters[`W${l}`], b: this.parameters[`b${l}`] });
      linears.push(z.cache);
      let out = z.y;
      const f = this.#activation(l);
      if (f) {
        const act = f.forward({ x: out });
        acts.push(act.cache);
        out = act.y;
      } else acts.push(undefined);
      a = this.#skips(l) ? a.add(out) : out;
    }
    return { y: a, cache: { linears, activations: acts } };
  }

  /**
   * @param dy dL/dy. @returns dx, the gradient of every parameter under its own name, and the norm of delta[l], the
   * error signal at each layer's pre-activation, from layer 1 to layer L.
   */
  backward(dy: Tensor, cache: MlpCache): { dx: Tensor; gradients: Named; deltaNorms: number[] } {
    const gradients: Named = {};
    const deltaNorms: number[] = [];
    let d = dy;
    for (let l = this.depth; l >= 1; l--) {
      checkInterrupt();
      const f = this.#activation(l);
      const delta: Tensor = f ? f.backward(d, cache.activations[l - 1]).dx : d;
      deltaNorms.unshift(delta.norm());
      const { dx, dW, db } = linear.backward(delta, cache.linears[l - 1]) as { dx: Tensor; dW: Tensor; db: Tensor };
      gradients[`W${l}`] = dW;
      gradients[`b${l}`] = db;
      d = this.#skips(l) ? d.add(dx) : dx;
    }
    return { dx: d, gradients, deltaNorms };
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
