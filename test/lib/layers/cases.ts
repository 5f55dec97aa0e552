/**
 * The table of cases that every layer is proved on, shared by all devices: each row is a layer, the shapes of its
 * inputs and its options. Inputs are drawn anew from the row's own seed.
 */

import * as lib from "../../../lib";
import { randn, rng, Tensor, type AnyLayer } from "../../../lib";

/** Whole numbers of a shape, 0 <= n < below. */
interface Ids { readonly ids: readonly number[]; readonly below: number }
type Row = readonly [inputs: Record<string, readonly number[] | Ids>, options?: Record<string, unknown> | (() => Record<string, unknown>)];

export interface LayerCase {
  readonly name: string;
  readonly layer: AnyLayer;
  /** Fresh inputs, of the dtype asked for. */
  inputs(dtype?: "float64" | "float32"): Record<string, Tensor>;
  /** Fresh options: a generator starts at its seed again. */
  options(): Record<string, unknown>;
}

const elementwise: Row[] = [[{ x: [] }], [{ x: [5] }], [{ x: [3, 4] }], [{ x: [2, 3, 4] }], [{ x: [2, 1, 3, 2] }], [{ x: [0, 3] }]];
const rowwise: Row[] = [[{ x: [5] }], [{ x: [1] }], [{ x: [3, 4] }], [{ x: [2, 3, 5] }], [{ x: [2, 2, 2, 3] }], [{ x: [0, 3] }]];

const targets = (shape: readonly number[], below: number): Ids => ({ ids: shape, below });
const qkv = (batch: readonly number[], T: number, S: number, d: number, dv: number): Row[0] =>
  ({ q: [...batch, T, d], k: [...batch, S, d], v: [...batch, S, dv] });
const attentions: Row[] = [
  [qkv([], 3, 3, 2, 2)],
  [qkv([], 1, 1, 3, 2)],
  [qkv([2], 4, 4, 3, 5)],
  [qkv([2], 3, 5, 2, 3)],
  [qkv([2, 2], 3, 3, 2, 2)],
  [qkv([], 4, 4, 2, 3), { causal: true }],
  [qkv([2], 5, 5, 3, 2), { causal: true }],
  [qkv([2], 3, 5, 2, 3), { causal: true }],
  [qkv([2], 5, 3, 2, 3), { causal: true }],
  [qkv([2], 1, 1, 2, 2), { causal: true }],
  [qkv([0], 3, 3, 2, 2)],
];
/** The second query may look nowhere. */
const mask = lib.tensor([[1, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0]]);

const mha = (B: number, T: number, C: number, biases = true): Row[0] =>
  ({ x: [B, T, C], Wqkv: [3 * C, C], ...(biases && { bqkv: [3 * C] }), Wo: [C, C], ...(biases && { bo: [C] }) });
const recurrent = (B: number, T: number, I: number, H: number, gates: number): Row[0] => ({
  x: [B, T, I], h0: [B, H], ...(gates === 4 && { c0: [B, H] }), Wx: [gates * H, I], Wh: [gates * H, H],
  ...(gates === 3 ? { bx: [3 * H], bh: [3 * H] } : { b: [gates * H] }),
});
const recurrents = (gates: number): Row[] => [
  [recurrent(2, 3, 2, 3, gates)],
  [recurrent(1, 1, 2, 2, gates)],
  [recurrent(2, 5, 1, 2, gates)],
  [recurrent(3, 2, 4, 1, gates)],
  [recurrent(2, 5, 2, 2, gates), { truncate: 2 }],
  [recurrent(1, 4, 2, 3, gates), { truncate: 1 }],
  [recurrent(2, 3, 2, 2, gates), { truncate: 7 }],
  [recurrent(2, 0, 2, 2, gates)],
  [recurrent(0, 3, 2, 2, gates)],
];
const block = (B: number, T: number, C: number): Row[0] => ({
  x: [B, T, C], gamma1: [C], beta1: [C], Wqkv: [3 * C, C], bqkv: [3 * C], Wo: [C, C], bo: [C],
  gamma2: [C], beta2: [C], W1: [4 * C, C], b1: [4 * C], W2: [C, 4 * C], b2: [C],
});
const draw = (p: number) => () => ({ p, rng: rng(7) });

const table: Record<string, Row[]> = {
  linear: [
    [{ x: [3], W: [2, 3], b: [2] }],
    [{ x: [4, 3], W: [2, 3], b: [2] }],
    [{ x: [4, 3], W: [2, 3] }],
    [{ x: [2, 3, 4], W: [5, 4], b: [5] }],
    [{ x: [2, 1, 2, 3], W: [1, 3], b: [1] }],
    [{ x: [1, 1], W: [1, 1], b: [1] }],
    [{ x: [0, 3], W: [2, 3], b: [2] }],
    [{ x: [9, 17], W: [19, 17], b: [19] }],
  ],
  relu: elementwise,
  sigmoid: elementwise,
  tanh: elementwise,
  gelu: elementwise,
  geluTanh: elementwise,
  silu: elementwise,
  softplus: elementwise,
  leakyRelu: [...elementwise, [{ x: [3, 4] }, { slope: 0.2 }], [{ x: [3, 4] }, { slope: 0 }]],
  softmax: rowwise,
  logSoftmax: rowwise,
  softmaxCrossEntropy: [
    [{ logits: [4], targets: targets([], 4) }],
    [{ logits: [3, 4], targets: targets([3], 4) }],
    [{ logits: [2, 3, 5], targets: targets([2, 3], 5) }],
    [{ logits: [3, 4], targets: targets([3], 4) }, { reduction: "sum" }],
    [{ logits: [3, 4], targets: targets([3], 4) }, { reduction: "none" }],
    [{ logits: [6, 3], targets: targets([6], 3) }, { ignoreIndex: 1 }],
    [{ logits: [6, 3], targets: targets([6], 3) }, { ignoreIndex: 1, reduction: "sum" }],
    [{ logits: [6, 3], targets: targets([6], 3) }, { ignoreIndex: 1, reduction: "none", labelSmoothing: 0.3 }],
    [{ logits: [3, 4], targets: targets([3], 4) }, { labelSmoothing: 0.1 }],
    [{ logits: [2, 3, 4], targets: targets([2, 3], 4) }, { labelSmoothing: 1 }],
    [{ logits: [6, 3], targets: targets([6], 3) }, { labelSmoothing: 0.2, ignoreIndex: 0 }],
    [{ logits: [2, 1], targets: targets([2], 1) }],
    [{ logits: [0, 3], targets: targets([0], 3) }, { reduction: "sum" }],
  ],
  mse: [
    [{ x: [], target: [] }],
    [{ x: [5], target: [5] }],
    [{ x: [3, 4], target: [3, 4] }],
    [{ x: [2, 3, 2], target: [2, 3, 2] }, { reduction: "sum" }],
    [{ x: [2, 3], target: [2, 3] }, { reduction: "none" }],
    [{ x: [2, 3], target: [2, 3] }, { frozen: [] }],
    [{ x: [2, 3], target: [2, 3] }, { reduction: "none", frozen: [] }],
    [{ x: [0, 3], target: [0, 3] }, { reduction: "sum" }],
  ],
  layerNorm: [
    [{ x: [4], gamma: [4], beta: [4] }],
    [{ x: [3, 4], gamma: [4], beta: [4] }],
    [{ x: [2, 3, 5], gamma: [5], beta: [5] }],
    [{ x: [2, 1, 2, 3], gamma: [3], beta: [3] }],
    [{ x: [3, 4], gamma: [4], beta: [4] }, { eps: 0 }],
    [{ x: [3, 4], gamma: [4], beta: [4] }, { eps: 0.5 }],
    [{ x: [0, 4], gamma: [4], beta: [4] }],
    [{ x: [3, 1], gamma: [1], beta: [1] }],
  ],
  rmsNorm: [
    [{ x: [4], gamma: [4] }],
    [{ x: [3, 4], gamma: [4] }],
    [{ x: [2, 3, 5], gamma: [5] }],
    [{ x: [2, 1, 2, 3], gamma: [3] }],
    [{ x: [3, 4], gamma: [4] }, { eps: 0 }],
    [{ x: [3, 4], gamma: [4] }, { eps: 0.5 }],
    [{ x: [0, 4], gamma: [4] }],
    [{ x: [3, 1], gamma: [1] }],
  ],
  batchNorm: [
    [{ x: [4, 3], gamma: [3], beta: [3] }],
    [{ x: [2, 5], gamma: [5], beta: [5] }],
    [{ x: [6, 1], gamma: [1], beta: [1] }],
    [{ x: [4, 3], gamma: [3], beta: [3] }, { eps: 0 }],
    [{ x: [4, 3], gamma: [3], beta: [3] }, { eps: 0.5 }],
    [{ x: [2, 3, 4], gamma: [3], beta: [3] }],
    [{ x: [2, 3, 2, 2], gamma: [3], beta: [3] }],
    [{ x: [1, 3], gamma: [3], beta: [3] }],
  ],
  dropout: [
    [{ x: [20] }, draw(0.5)],
    [{ x: [4, 5] }, draw(0.1)],
    [{ x: [2, 3, 4] }, draw(0.9)],
    [{ x: [4, 5] }, draw(0)],
    [{ x: [4, 5] }, draw(1)],
    [{ x: [0, 3] }, draw(0.5)],
  ],
  embedding: [
    [{ E: [5, 3], ids: targets([4], 5) }],
    [{ E: [5, 3], ids: targets([2, 4], 5) }],
    [{ E: [3, 2], ids: targets([2, 2, 3], 3) }],
    [{ E: [5, 3], ids: targets([], 5) }],
    [{ E: [1, 4], ids: targets([6], 1) }],
    [{ E: [5, 3], ids: targets([0], 5) }],
    [{ E: [7, 3], ids: targets([4], 7) }, { sparse: true }],
    [{ E: [3, 2], ids: targets([2, 5], 3) }, { sparse: true }],
  ],
  attention: [...attentions, [qkv([2], 4, 3, 2, 2), { mask }], [qkv([], 4, 3, 2, 2), { mask, causal: true }]],
  flashAttention: [
    ...attentions,
    ...attentions.map(([inputs, options]): Row => [inputs, { ...(options as object), tile: 2 }]),
    [qkv([], 5, 5, 2, 2), { causal: true, tile: 1 }],
    [qkv([2], 7, 7, 3, 2), { causal: true, tile: 3 }],
    [qkv([2], 4, 3, 2, 2), { mask, tile: 2 }],
    [qkv([], 4, 3, 2, 2), { mask, causal: true, tile: 2 }],
  ],
  multiHeadAttention: [
    [mha(2, 3, 4), { heads: 2 }],
    [mha(1, 4, 4), { heads: 4, causal: true }],
    [mha(2, 3, 4), { heads: 1, causal: true }],
    [mha(1, 3, 6, false), { heads: 3 }],
    [mha(2, 1, 2), { heads: 2, causal: true }],
    [mha(0, 3, 4), { heads: 2 }],
  ],
  lora: [
    [{ x: [4, 3], W: [5, 3], A: [2, 3], B: [5, 2] }],
    [{ x: [4, 3], W: [5, 3], b: [5], A: [2, 3], B: [5, 2] }, { alpha: 4 }],
    [{ x: [3], W: [5, 3], b: [5], A: [1, 3], B: [5, 1] }, { alpha: 0.5 }],
    [{ x: [2, 2, 3], W: [2, 3], b: [2], A: [2, 3], B: [2, 2] }, { alpha: 1 }],
    [{ x: [4, 3], W: [5, 3], b: [5], A: [2, 3], B: [5, 2] }, { alpha: 4, frozen: [] }],
    [{ x: [4, 3], W: [5, 3], b: [5], A: [2, 3], B: [5, 2] }, { frozen: ["A", "x"] }],
    [{ x: [0, 3], W: [5, 3], A: [2, 3], B: [5, 2] }],
  ],
  conv2d: [
    [{ x: [1, 1, 3, 3], W: [1, 1, 2, 2], b: [1] }],
    [{ x: [2, 2, 4, 5], W: [3, 2, 2, 3], b: [3] }],
    [{ x: [2, 2, 4, 4], W: [2, 2, 3, 3] }, { padding: 1 }],
    [{ x: [1, 2, 5, 5], W: [2, 2, 3, 3], b: [2] }, { stride: 2 }],
    [{ x: [1, 2, 5, 6], W: [2, 2, 3, 2], b: [2] }, { stride: [2, 1], padding: [1, 2] }],
    [{ x: [2, 3, 3, 3], W: [4, 3, 1, 1], b: [4] }],
    [{ x: [1, 1, 2, 2], W: [1, 1, 3, 3] }, { padding: 1, stride: 3 }],
    [{ x: [0, 2, 3, 3], W: [2, 2, 2, 2], b: [2] }],
  ],
  maxPool2d: [
    [{ x: [1, 1, 4, 4] }, { kernel: 2 }],
    [{ x: [2, 3, 4, 6] }, { kernel: [2, 3] }],
    [{ x: [1, 2, 5, 5] }, { kernel: 2 }],
    [{ x: [1, 2, 5, 5] }, { kernel: 3, stride: 1 }],
    [{ x: [1, 1, 5, 7] }, { kernel: [2, 3], stride: [3, 2] }],
    [{ x: [2, 1, 3, 3] }, { kernel: 1 }],
    [{ x: [2, 1, 3, 3] }, { kernel: 3 }],
    [{ x: [0, 1, 3, 3] }, { kernel: 2 }],
  ],
  rnn: recurrents(1),
  lstm: recurrents(4),
  gru: recurrents(3),
  transformerBlock: [
    [block(2, 3, 4), { heads: 2, causal: true }],
    [block(1, 2, 4), { heads: 4, activation: "geluTanh" }],
    [block(1, 3, 2), { heads: 1, causal: true, activation: "relu" }],
    [block(1, 2, 2), { heads: 2, activation: "silu", eps: 1e-3 }],
    [block(1, 1, 4), { heads: 2, causal: true }],
  ],
};

function describe(inputs: Row[0], options: Record<string, unknown>): string {
  const shapes = Object.entries(inputs).map(([name, shape]) => `${name} [${("ids" in shape ? shape.ids : shape).join(", ")}]`);
  const settings = Object.entries(options)
    .map(([name, value]) => (name === "rng" ? "" : value instanceof Tensor ? name : `${name} ${JSON.stringify(value)}`))
    .filter(Boolean);
  const shown = shapes.length > 5 ? [...shapes.slice(0, 3), "..."] : shapes;
  return [shown.join(", "), settings.join(", ")].filter(Boolean).join("; ");
}

let seed = 0;
export const layerCases: readonly LayerCase[] = Object.entries(table).flatMap(([name, rows]) =>
  rows.map(([shapes, given]) => {
    const own = ++seed * 1000;
    const options = (): Record<string, unknown> => (typeof given === "function" ? given() : { ...given });
    return {
      name: `${name} (${describe(shapes, options())})`,
      layer: (lib as unknown as Record<string, AnyLayer>)[name],
      options,
      inputs: (dtype = "float64" as const) => {
        const generator = rng(own);
        return Object.fromEntries(Object.entries(shapes).map(([input, shape]) => {
          if (!("ids" in shape)) return [input, randn(shape, generator).astype(dtype)];
          const ids = Int32Array.from({ length: lib.sizeOf(shape.ids) }, () => generator.integer(0, shape.below));
          return [input, new Tensor(ids, shape.ids)];
        }));
      },
    };
  }));
