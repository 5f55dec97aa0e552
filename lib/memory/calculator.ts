/**
 * What training holds in memory, in bytes. 1 GB here is 1e9 bytes, as in the documents' "7B in fp16: 14 GB".
 */

export interface TrainingMemory {
  readonly parameters: number;
  readonly gradients: number;
  readonly optimizer: number;
  readonly total: number;
}

/** Bytes of optimiser state for each parameter. */
export const adamStates = { sgd: 0, momentum: 4, adam: 8, adam8bit: 2 } as const;

/**
 * Parameters, gradients and optimiser states of a model of n parameters. Activations come on top (`activationMemory`).
 * @param options bytes for each weight and gradient (2 for fp16), the optimiser, and whether float32 master weights
 *   are kept (4 more for each parameter, counted as optimiser state as ZeRO counts them).
 */
export function trainingMemory(
  n: number, { bytes = 2, optimizer = "adam", master = false }:
    { bytes?: number; optimizer?: keyof typeof adamStates; master?: boolean } = {},
): TrainingMemory {
  positive("trainingMemory", "n", n);
  const parameters = n * bytes, gradients = n * bytes;
  const states = n * (adamStates[optimizer] + (master ? 4 : 0));
  return { parameters, gradients, optimizer: states, total: parameters + gradients + states };
}

export interface TransformerShape {
  readonly layers: number;
  readonly batch: number;
  readonly tokens: number;
  readonly width: number;
  readonly heads: number;
  /** Bytes for each number; 2 for fp16. */
  readonly bytes?: number;
}

/**
 * What a backward pass finds stored, by component (Math for LLMs, section 7.1).
 *
 *     residual stream  L B T d       (one tensor a layer; section 3.2, reference)
 *     qkv              3 L B T d
 *     scores           L B H T^2
 *     mlp              4 L B T d
 *     layer norm       2 * 2 L B T   (mean and deviation, twice a layer)
 */
export function activationMemory({ layers, batch, tokens, width, heads, bytes = 2 }: TransformerShape):
  { stream: number; qkv: number; scores: number; mlp: number; layerNorm: number; total: number } {
  for (const [name, x] of Object.entries({ layers, batch, tokens, width, heads, bytes })) positive("activationMemory", name, x);
  const LBT = layers * batch * tokens * bytes;
  const stream = LBT * width, qkv = 3 * stream, mlp = 4 * stream, layerNorm = 4 * LBT;
  const scores = LBT * heads * tokens;
  return { stream, qkv, scores, mlp, layerNorm, total: stream + qkv + scores + mlp + layerNorm };
}

/** Trainable numbers of LoRA of rank r on a matrix [m, n], against the whole matrix (Math for LLMs, section 9.2). */
export function loraParameters(m: number, n: number, r: number): { full: number; lora: number; ratio: number } {
  for (const [name, x] of Object.entries({ m, n, r })) positive("loraParameters", name, x);
  return { full: m * n, lora: r * (m + n), ratio: (m * n) / (r * (m + n)) };
}

/**
 * Bytes that each of `workers` holds under ZeRO (Rajbhandari et al. 2020), mixed precision with Adam:
 * 2 for a parameter, 2 for its gradient, 12 for its states (float32 master, m, v). Stage 0 shards nothing, 1 the
 * states, 2 the gradients too, 3 the parameters too. Against 16 a parameter the reduction tends to 4, 8 and `workers`.
 */
export function zeroMemory(n: number, workers: number, stage: 0 | 1 | 2 | 3): TrainingMemory & { reduction: number } {
  positive("zeroMemory", "n", n);
  positive("zeroMemory", "workers", workers);
  if (![0, 1, 2, 3].includes(stage)) throw new Error(`zeroMemory: stage is ${stage}, expected 0, 1, 2 or 3`);
  const parameters = (2 * n) / (stage >= 3 ? workers : 1);
  const gradients = (2 * n) / (stage >= 2 ? workers : 1);
  const optimizer = (12 * n) / (stage >= 1 ? workers : 1);
  const total = parameters + gradients + optimizer;
  return { parameters, gradients, optimizer, total, reduction: (16 * n) / total };
}

/** A figure printed in one of the documents, and what its formula gives. */
export interface DocumentFigure {
  readonly source: string;
  readonly what: string;
  readonly printed: string;
  /** In the unit of `printed`. */
  readonly computed: string;
  /** Whether the printed figure is the computed one to its printed digits. */
  readonly follows: boolean;
  readonly note?: string;
}

/** Every memory and cost figure of the documents, computed again from its own formula. */
export function documentFigures(): DocumentFigure[] {
  const seven = trainingMemory(7e9);
  const gpt3 = activationMemory({ layers: 96, batch: 512, tokens: 2048, width: 12288, heads: 96 });
  const big = activationMemory({ layers: 96, batch: 32, tokens: 4096, width: 8192, heads: 64 });
  const llama = (batch: number): number => activationMemory({ layers: 32, batch, tokens: 2048, width: 4096, heads: 32 }).stream;
  const lora = loraParameters(4096, 4096, 16);
  const handbook = "handbook, optimizer state and training memory", math = "Math for LLMs, section";
  return [
    { source: handbook, what: "7B parameters in fp16", printed: "14 GB", computed: gb(seven.parameters), follows: true },
    { source: handbook, what: "7B gradients in fp16", printed: "14 GB", computed: gb(seven.gradients), follows: true },
    { source: handbook, what: "7B Adam states in fp32 (table)", printed: "56 GB", computed: gb(seven.optimizer), follows: true },
    {
      source: handbook, what: "7B Adam states in fp32 (text)", printed: "28 GB", computed: gb(seven.optimizer), follows: false,
      note: "28 GB is one float32 state; Adam has two, as the same page's table counts",
    },
    {
      source: handbook, what: "7B fine-tuning in all (text)", printed: "42 GB", computed: gb(seven.total), follows: false,
      note: "14 + 28 leaves out the second state and the gradients: 14 + 14 + 56",
    },
    {
      source: handbook, what: "8-bit Adam against fp32 states", printed: "4x",
      computed: `${seven.optimizer / trainingMemory(7e9, { optimizer: "adam8bit" }).optimizer}x`, follows: true,
    },
    {
      source: handbook, what: "parameters and states against parameters alone", printed: "3x",
      computed: `${(seven.parameters + seven.optimizer) / seven.parameters}x`, follows: false,
      note: "3x holds when states and parameters have one precision; fp16 parameters with fp32 states make 5x",
    },
    {
      source: "handbook, backpropagation through transformer layers", what: "32 attention matrices of 1024 x 1024 floats",
      printed: "(no figure)", computed: `${((32 * 1024 ** 2 * 4) / 1e6).toFixed(0)} MB`, follows: true,
      note: "for one head and one sequence",
    },
    { source: "handbook, section 1", what: "forward passes for a central difference of 7B parameters", printed: "14B", computed: `${(2 * 7e9) / 1e9}B`, follows: true },
    {
      source: "reference, memory cost", what: "LLaMA-7B activations, L B T d in fp16", printed: "(lost in the text)",
      computed: `${gb(llama(1))} a sequence of 2048, ${gb(llama(32))} at batch 32`, follows: true,
      note: "L = 32, d = 4096; from batch 27 on it exceeds the parameters' 14 GB, as the text says it often does",
    },
    { source: `${math} 3.2`, what: "L B T d in fp16: 96, 32, 4096, 8192", printed: "200 GB", computed: gb(big.stream), follows: true, note: "to one digit" },
    {
      source: `${math} 7.1`, what: "GPT-3's attention scores: L B H T^2 in fp16 with B = 512", printed: "2.4 TB",
      computed: `${(gpt3.scores / 1e12).toFixed(1)} TB`, follows: false,
      note: "the printed product is 16 times as much; 2.5 TB would be B = 32",
    },
    {
      source: `${math} 7.3`, what: "one attention matrix, T = 32768, fp16", printed: "2 GB",
      computed: `${((32768 ** 2 * 2) / 1e9).toFixed(1)} GB`, follows: true, note: "of one head; exactly 2 GiB",
    },
    { source: `${math} 7.2`, what: "one more forward against a forward and a backward of twice its cost", printed: "+33%", computed: `+${((1 / 3) * 100).toFixed(0)}%`, follows: true },
    { source: `${math} 9.2`, what: "gradient of W0 [4096, 4096]", printed: "16.7M", computed: `${(lora.full / 1e6).toFixed(1)}M`, follows: true, note: "16,777,216, cut and not rounded" },
    { source: `${math} 9.2`, what: "gradients of LoRA, r = 16", printed: "131K", computed: `${Math.floor(lora.lora / 1e3)}K`, follows: true },
    { source: `${math} 9.2`, what: "the ratio of the two", printed: "128x", computed: `${lora.ratio}x`, follows: true },
    ...([1, 2, 3] as const).map((stage): DocumentFigure => ({
      source: `${math} 9.4`, what: `ZeRO stage ${stage}, many workers`, printed: ["4x", "8x", "Nx"][stage - 1],
      computed: stage === 3 ? "Nx" : `${zeroMemory(1e9, 1e9, stage).reduction.toFixed(0)}x`, follows: true,
      note: `with 64 workers ${zeroMemory(1e9, 64, stage).reduction.toFixed(1)}x`,
    })),
    { source: `${math} 9.4`, what: "70B parameters over 1024 GPUs", printed: "68M", computed: `${Math.round(70e9 / 1024 / 1e6)}M`, follows: true },
    { source: `${math} A.2`, what: "forward passes for a central difference of GPT-3", printed: "350 billion", computed: `${(2 * 175e9) / 1e9} billion`, follows: true },
    {
      source: `${math} H.3`, what: "the Hessian of 70B parameters in fp32", printed: "40e21 GB",
      computed: `${((70e9 ** 2 * 4) / 1e9).toExponential(1)} GB`, follows: false,
      note: "70e9^2 is 4.9e21 entries, not 1e22; and 4e22 bytes would be 4e13 GB, not 40e21",
    },
    { source: `${math} 6.2`, what: "0.25^20", printed: "1e-12", computed: (0.25 ** 20).toExponential(1), follows: true, note: "to the power of ten" },
  ];
}

/** Bytes in the largest decimal unit that leaves at least one digit before the point. */
export function formatBytes(bytes: number): string {
  const units = ["B", "kB", "MB", "GB", "TB", "PB"];
  const power = bytes < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(bytes) / 3));
  return `${Number((bytes / 1000 ** power).toPrecision(4))} ${units[power]}`;
}

const gb = (bytes: number): string => `${Number((bytes / 1e9).toPrecision(3))} GB`;

function positive(who: string, name: string, x: number): void {
  if (!(x > 0)) throw new Error(`${who}: ${name} is ${x}, expected a number above 0`);
}
