import { checkInterrupt } from "../interrupt";
import { updateHere } from "../layers/device";
import { formatShape, sameShape, type Tensor } from "../tensor";

export type Parameters = Readonly<Record<string, Tensor>>;

/** One gradient for each parameter, under its name with a d before it, as a layer's backward gives them, or under its own name. */
export type Gradients<P extends Parameters> =
  | { readonly [K in keyof P & string as `d${K}`]: Tensor }
  | { readonly [K in keyof P]: Tensor };

/** What an optimiser remembers about one parameter: flat arrays of the parameter's size, or smaller. */
export type OptimizerState = Record<string, Float64Array | Float32Array | Int8Array | Uint8Array>;

export interface Optimizer {
  readonly name: string;
  /** The learning rate; a schedule sets it between steps. */
  lr: number;
  /** Steps taken. */
  readonly steps: number;
  /**
   * One update of every parameter, in place (the tensors' own numbers change, as PyTorch's do).
   * Gradients of other things (dx) are ignored. To freeze a parameter, leave it out of `parameters`.
   * @throws if a parameter has no gradient, or one of another shape; nothing has then changed.
   */
  step<P extends Parameters>(parameters: P, gradients: Gradients<P>): void;
  /** By parameter name. */
  readonly state: ReadonlyMap<string, OptimizerState>;
  /** Bytes held in `state`, counted. */
  readonly stateBytes: number;
  /** The rule's numbers, but for the learning rate: what a device needs that has the rule in code of its own. */
  readonly settings: Readonly<Record<string, number>>;
}

/** The numbers of one update. Rules write `w` (and `state`) and read `g`, all flat and of one size. */
export interface Update {
  readonly w: Tensor["data"];
  readonly g: Float64Array;
  readonly shape: readonly number[];
  readonly state: OptimizerState;
  readonly lr: number;
  /** This step's number, from 1. */
  readonly t: number;
}

/** The same for a device's own code, which knows the rule by the optimiser's name and its numbers by theirs. */
export interface DeviceUpdate extends Omit<Update, "w" | "g" | "shape"> {
  readonly w: Tensor;
  readonly g: Tensor;
  readonly settings: Readonly<Record<string, number>>;
}

/**
 * Makes an optimiser from its rule for one tensor.
 * @param check says what parameters it is not for. @param settings the rule's numbers.
 */
export function defineOptimizer(
  name: string, lr: number, rule: (update: Update) => void, check?: (parameter: string, w: Tensor) => void,
  settings: Readonly<Record<string, number>> = {},
): Optimizer {
  if (!(lr >= 0)) throw new Error(`${name}: lr is ${lr}, expected a number of at least 0`);
  const state = new Map<string, OptimizerState>();
  let t = 0;
  return {
    name,
    lr,
    settings,
    state,
    get steps() { return t; },
    get stateBytes() {
      let bytes = 0;
      for (const own of state.values()) for (const array of Object.values(own)) bytes += array.byteLength;
      return bytes;
    },
    step(parameters: Parameters, gradients: Readonly<Record<string, Tensor | undefined>>) {
      const work = Object.entries(parameters).map(([key, w]) => {
        const g = gradients[`d${key}`] ?? gradients[key];
        if (!g) throw new Error(`${name}: ${key} has no gradient, expected d${key} or ${key} among the gradients`);
        if (!sameShape(g.shape, w.shape)) {
          throw new Error(`${name}: the gradient of ${key} has shape ${formatShape(g.shape)}, ${key} has ${formatShape(w.shape)}`);
        }
        if (w.dtype === "int32") throw new Error(`${name}: ${key} is int32, expected float64 or float32`);
        check?.(key, w);
        return { key, w, g };
      });
      t++;
      const onDevice = updateHere(name);
      for (const { key, w, g } of work) {
        checkInterrupt();
        if (!state.has(key)) state.set(key, {});
        const own = { state: state.get(key)!, lr: this.lr, t };
        if (onDevice?.({ w, g, settings, ...own } satisfies DeviceUpdate)) continue;
        rule({ w: w.data, g: new Float64Array(g.data), shape: w.shape, ...own });
      }
    },
  };
}

/** A state array of the parameter's size, zero at first. On wasm it may hold float32. */
export function slot(state: OptimizerState, name: string, size: number, start = 0): Float64Array {
  return (state[name] ??= new Float64Array(size).fill(start)) as Float64Array;
}
