import { embedding, linear, lstm, rnn, softmaxCrossEntropy, type Integers } from "../layers";
import { lecunNormal, orthogonal } from "../init";
import { randn, zeros, type Rng, type Tensor } from "../tensor";
import type { Named } from "./gpt";

export interface RecurrentConfig {
  readonly vocabulary: number;
  /** Width of an embedding. */
  readonly width: number;
  /** Width of the state. */
  readonly hidden: number;
  readonly cell: "rnn" | "lstm";
}

/**
 * A recurrent language model: embedding, one recurrent layer, logits. Its backward is backpropagation through time
 * (Math for LLMs, section 8.1), full or truncated to windows of k steps:
 *
 *     delta[t] = (dL[t]/dh[t] + delta[t+1] Wh) o f'(z[t]),   dWh = sum over t of delta[t]^T h[t-1]
 *
 * so each step back multiplies by diag(f'(z[t])) and then Wh^T. (The document writes dh[t+1]/dh[t] as
 * Wh diag(f'(z[t])); it is diag(f'(z[t+1])) Wh.)
 * Truncation shortens the backward window only: the forward, and so the loss, stay the same.
 */
export class RecurrentModel {
  readonly parameters: Named;

  constructor(readonly config: RecurrentConfig, generator: Rng) {
    const { vocabulary: V, width: d, hidden: H, cell } = config;
    const gates = cell === "lstm" ? 4 : 1;
    const b = zeros([gates * H]);
    // An LSTM's forget gate starts open: sigmoid(1) = 0.73 of the cell survives a step.
    if (cell === "lstm") b.data.fill(1, H, 2 * H);
    const square = (): Tensor => orthogonal([H, H], generator);
    this.parameters = {
      E: randn([V, d], generator),
      Wx: lecunNormal([gates * H, d], generator),
      Wh: cell === "lstm" ? square().concat([square(), square(), square()]) : square(),
      b,
      Wlogits: lecunNormal([V, H], generator),
      blogits: zeros([V]),
    };
  }

  /** @param ids [B, T]. @param targets [B, T]. @param truncate steps of the backward window; all when left out. */
  forward(ids: Integers, targets: Integers, { truncate }: { truncate?: number } = {}): { loss: number; states: Tensor; cache: RecurrentCache } {
    const { E, Wx, Wh, b, Wlogits, blogits } = this.parameters;
    const look = embedding.forward({ E, ids });
    const h0 = zeros([look.y.shape[0], this.config.hidden]);
    const recur = this.config.cell === "lstm"
      ? lstm.forward({ x: look.y, h0, c0: h0, Wx, Wh, b }, { truncate })
      : rnn.forward({ x: look.y, h0, Wx, Wh, b }, { truncate });
    const read = linear.forward({ x: recur.y, W: Wlogits, b: blogits });
    const end = softmaxCrossEntropy.forward({ logits: read.y, targets });
    return { loss: end.y.item(), states: recur.y, cache: { look: look.cache, recur: recur.cache, read: read.cache, end: end.cache } };
  }

  /** The gradient of every parameter, under its own name. */
  backward(cache: RecurrentCache): Named {
    const { dlogits } = softmaxCrossEntropy.backward(cache.end) as unknown as Named;
    const read = linear.backward(dlogits, cache.read) as unknown as Named;
    const layer = this.config.cell === "lstm" ? lstm : rnn;
    const { dx, dWx, dWh, db } = (layer as typeof rnn).backward(read.dx, cache.recur) as unknown as Named;
    const { dE } = embedding.backward(dx, cache.look) as unknown as Named;
    return { E: dE, Wx: dWx, Wh: dWh, b: db, Wlogits: read.dW, blogits: read.db };
  }
}

export interface RecurrentCache { readonly look: any; readonly recur: any; readonly read: any; readonly end: any }

/** |dL_T/dx_t| for a loss on the last state only: how far back a recurrent layer's gradient reaches, step by step. */
export function gradientReach(
  cell: "rnn" | "lstm", { steps, hidden, scale = 1 }: { steps: number; hidden: number; scale?: number }, generator: Rng,
): number[] {
  const model = new RecurrentModel({ vocabulary: 2, width: hidden, hidden, cell }, generator);
  const { Wx, Wh, b } = model.parameters;
  const x = randn([1, steps, hidden], generator).mul(0.1), h0 = zeros([1, hidden]);
  const inputs = { x, h0, Wx, Wh: Wh.mul(scale), b };
  const { y, cache } = cell === "lstm" ? lstm.forward({ ...inputs, c0: h0 }) : rnn.forward(inputs);
  const dy = zeros(y.shape);
  dy.data.fill(1, (steps - 1) * hidden);
  const { dx } = ((cell === "lstm" ? lstm : rnn) as typeof rnn).backward(dy, cache as never) as unknown as Named;
  return Array.from({ length: steps }, (_, t) => dx.at(0).row(t).norm());
}
