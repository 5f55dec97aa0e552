import { randn, rng } from "../tensor";
import { runRing } from "./ring";

export interface ZeroOptions {
  /** 0: plain data parallelism. 1: optimiser states sharded. 2: gradients too. 3: parameters too. */
  readonly stage: 0 | 1 | 2 | 3;
  readonly workers: number;
  readonly steps?: number;
  readonly lr?: number;
  /** Rows of the whole batch, dealt out to the workers. */
  readonly rows?: number;
  readonly inputs?: number;
  readonly hidden?: number;
  readonly seed?: number;
}

export interface ZeroReport {
  /** The whole batch's loss before each step. */
  readonly losses: number[];
  /** The parameters after the last step. */
  readonly parameters: Float64Array;
  /** Bytes of the arrays that one worker holds between steps, measured, by worker. */
  readonly held: { readonly parameters: number; readonly gradients: number; readonly optimizer: number }[];
  /** Bytes that one worker sent, by worker. */
  readonly sent: number[];
}

/**
 * Data-parallel training with ZeRO sharding (Rajbhandari et al. 2020; Math for LLMs, section 9.4) between real
 * threads: a two-layer net, y = w2 tanh(W1 x), mean squared error, Adam. Every stage takes the same steps as one
 * process with the whole batch; only where numbers live, and what travels, differ:
 *
 *     0  all-reduce gradients; everybody updates everything            2 (N - 1) / N sent
 *     1  reduce-scatter gradients; update the own shard; all-gather parameters      2 (N - 1) / N
 *     2  the same, and only the own shard of the gradient is kept      2 (N - 1) / N
 *     3  all-gather parameters for the forward and again for the backward, keep only the own shard     3 (N - 1) / N
 *
 * as fractions of the parameters' bytes, a step and worker. Everything is float64 here: 8 bytes a parameter, 8 its
 * gradient, 16 its states, so the reductions differ from those of mixed precision (`zeroMemory`).
 */
export async function zeroTraining(options: ZeroOptions): Promise<ZeroReport> {
  const { stage, workers, steps = 10, lr = 0.01, rows = 4 * workers, inputs = 6, hidden = 8, seed = 1 } = options;
  if (![0, 1, 2, 3].includes(stage)) throw new Error(`zeroTraining: stage is ${stage}, expected 0, 1, 2 or 3`);
  if (!(Number.isInteger(workers) && workers > 0)) throw new Error(`zeroTraining: workers is ${workers}, expected a whole number above 0`);
  if (rows % workers !== 0) throw new Error(`zeroTraining: rows is ${rows}, expected a multiple of the ${workers} workers`);

  const generator = rng(seed);
  const x = randn([rows, inputs], generator), y = randn([rows], generator);
  const theta = randn([hidden * inputs + hidden], generator).mul(0.5);
  const each = rows / workers;
  const data = Array.from({ length: workers }, (_, w) => ({
    stage, steps, lr, inputs, hidden,
    theta: Float64Array.from(theta.data),
    x: Float64Array.from(x.slice(w * each, (w + 1) * each).data),
    y: Float64Array.from(y.slice(w * each, (w + 1) * each).data),
  }));

  const reports = await runRing(data, async (ring, { stage, steps, lr, inputs, hidden, theta, x, y }) => {
    const P = theta.length, own = ring.chunk(ring.rank, P);
    const sharded = { states: stage >= 1, gradients: stage >= 2, parameters: stage >= 3 };
    let parameters: Float64Array = sharded.parameters ? theta.slice(...own) : theta;
    let gradients: Float64Array = new Float64Array(0);
    const states = sharded.states ? own[1] - own[0] : P;
    const m = new Float64Array(states), v = new Float64Array(states);

    /** All parameters; under stage 3 a copy made of everybody's shards, to be dropped after use. */
    const gather = async (): Promise<Float64Array> => {
      if (!sharded.parameters) return parameters;
      const full = new Float64Array(P);
      full.set(parameters, own[0]);
      await ring.allGather(full);
      return full;
    };
    const losses: number[] = [];
    for (let t = 1; t <= steps; t++) {
      // Forward on this worker's rows: h = tanh(W1 x), e = w2 h - y.
      const forward = await gather();
      const rows = y.length, h = new Float64Array(rows * hidden), e = new Float64Array(rows);
      let loss = 0;
      for (let r = 0; r < rows; r++) {
        e[r] = -y[r];
        for (let j = 0; j < hidden; j++) {
          let z = 0;
          for (let i = 0; i < inputs; i++) z += forward[j * inputs + i] * x[r * inputs + i];
          h[r * hidden + j] = Math.tanh(z);
          e[r] += forward[hidden * inputs + j] * h[r * hidden + j];
        }
        loss += (e[r] * e[r]) / rows;
      }
      // Backward: dw2 = 2 e h / rows, dW1 = 2 e w2 (1 - h^2) x / rows; the mean over workers makes it the batch's.
      const backward = await gather();
      const g = new Float64Array(P);
      for (let r = 0; r < rows; r++) {
        const d = (2 * e[r]) / rows / ring.size;
        for (let j = 0; j < hidden; j++) {
          const a = h[r * hidden + j];
          g[hidden * inputs + j] += d * a;
          const dz = d * backward[hidden * inputs + j] * (1 - a * a);
          for (let i = 0; i < inputs; i++) g[j * inputs + i] += dz * x[r * inputs + i];
        }
      }
      if (stage === 0) await ring.allReduce(g);
      else await ring.reduceScatter(g);
      gradients = sharded.gradients ? g.slice(...own) : g;

      // Adam on the shard whose states are here.
      const [from, to] = sharded.states ? own : [0, P];
      for (let i = from; i < to; i++) {
        const s = i - from, gi = sharded.gradients ? gradients[s] : gradients[i];
        m[s] = 0.9 * m[s] + 0.1 * gi;
        v[s] = 0.999 * v[s] + 0.001 * gi * gi;
        parameters[sharded.parameters ? s : i] -= (lr * m[s]) / (1 - 0.9 ** t) / (Math.sqrt(v[s] / (1 - 0.999 ** t)) + 1e-8);
      }
      if (stage === 1 || stage === 2) await ring.allGather(parameters);
      losses.push(loss);
    }
    const held = { parameters: parameters.byteLength, gradients: gradients.byteLength, optimizer: m.byteLength + v.byteLength };
    const sent = ring.sent;
    parameters = await gather();
    return { losses, parameters, held, sent };
  });

  const results = reports.map((report) => report.result);
  return {
    losses: results[0].losses.map((_, t) => results.reduce((sum, r) => sum + r.losses[t] / workers, 0)),
    parameters: results[0].parameters,
    held: results.map((r) => r.held),
    sent: results.map((r) => r.sent),
  };
}
