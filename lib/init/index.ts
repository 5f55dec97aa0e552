/**
 * Where weights start. Shapes are PyTorch's: [out, in], or [out, in, kernel...] for a convolution.
 * Sources: Math for LLMs, section 6.3 and appendix E.4; reference, weight initialization.
 */
import { randn, Tensor, uniform, type Rng } from "../tensor";

export type Initializer = (shape: readonly number[], generator: Rng) => Tensor;

/** Numbers that one output reads (in), and outputs that one input reaches (out). */
export function fans(shape: readonly number[]): { fanIn: number; fanOut: number } {
  if (shape.length < 2) throw new Error(`init: the shape is [${shape.join(", ")}], expected [out, in] or [out, in, kernel...]`);
  const kernel = shape.slice(2).reduce((a, b) => a * b, 1);
  return { fanIn: shape[1] * kernel, fanOut: shape[0] * kernel };
}

const normal = (variance: (fanIn: number, fanOut: number) => number): Initializer => (shape, generator) => {
  const { fanIn, fanOut } = fans(shape);
  return randn(shape, generator).mul(Math.sqrt(variance(fanIn, fanOut)));
};

/** U[-a, a] has variance a^2 / 3. */
const uniformWith = (variance: (fanIn: number, fanOut: number) => number): Initializer => (shape, generator) => {
  const { fanIn, fanOut } = fans(shape);
  const a = Math.sqrt(3 * variance(fanIn, fanOut));
  return uniform(shape, generator, -a, a);
};

const xavier = (fanIn: number, fanOut: number): number => 2 / (fanIn + fanOut);
const he = (fanIn: number): number => 2 / fanIn;
const lecun = (fanIn: number): number => 1 / fanIn;

/** N(0, 2 / (in + out)): a compromise between forward (1 / in) and backward (1 / out). Glorot and Bengio 2010; sigmoid, tanh. */
export const xavierNormal: Initializer = normal(xavier);
/** U[-a, a], a = sqrt(6 / (in + out)): the same variance. */
export const xavierUniform: Initializer = uniformWith(xavier);
/** N(0, 2 / in): ReLU halves E[z^2], the 2 restores it. He et al. 2015. */
export const heNormal: Initializer = normal(he);
/** U[-a, a], a = sqrt(6 / in). */
export const heUniform: Initializer = uniformWith(he);
/** N(0, 1 / in). LeCun et al. 1998; linear layers, SELU. */
export const lecunNormal: Initializer = normal(lecun);
/** U[-a, a], a = sqrt(3 / in). */
export const lecunUniform: Initializer = uniformWith(lecun);

/** Every weight the same: the start from which all neurons of a layer stay alike for ever (Math for LLMs, mistake 5). */
export const constantInit = (value: number): Initializer => (shape) => filled(shape, value);

const filled = (shape: readonly number[], value: number): Tensor =>
  new Tensor(new Float64Array(shape.reduce((a, b) => a * b, 1)).fill(value), shape);

/** N(0, 0.02^2): GPT-2's plain weights. */
export const gpt2Normal: Initializer = (shape, generator) => randn(shape, generator).mul(0.02);

/**
 * N(0, (0.02 / sqrt(2 L))^2) for the 2 L projections that write into the residual stream of an L-block transformer:
 * their 2 L variances then add up to that of one.
 */
export const gpt2Residual = (blocks: number): Initializer => {
  if (!(Number.isInteger(blocks) && blocks > 0)) throw new Error(`gpt2Residual: blocks is ${blocks}, expected a whole number above 0`);
  return (shape, generator) => randn(shape, generator).mul(0.02 / Math.sqrt(2 * blocks));
};

/**
 * Orthonormal rows, or columns where out > in: every singular value is 1, so lengths pass unchanged in both
 * directions. Saxe et al. 2014. Gram-Schmidt, twice, on normal vectors: uniform over the orthogonal matrices.
 */
export const orthogonal: Initializer = (shape, generator) => {
  const { fanIn } = fans(shape);
  const [rows, columns] = [shape[0], fanIn];
  const count = Math.min(rows, columns), length = Math.max(rows, columns);
  const basis: Float64Array[] = [];
  while (basis.length < count) {
    const v = Float64Array.from({ length }, () => generator.normal());
    for (let pass = 0; pass < 2; pass++) {
      for (const q of basis) {
        let along = 0;
        for (let i = 0; i < length; i++) along += q[i] * v[i];
        for (let i = 0; i < length; i++) v[i] -= along * q[i];
      }
    }
    const norm = Math.sqrt(v.reduce((sum, x) => sum + x * x, 0));
    if (norm > 1e-8) basis.push(v.map((x) => x / norm));
  }
  const out = new Float64Array(rows * columns);
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++) out[r * columns + c] = rows <= columns ? basis[r][c] : basis[c][r];
  }
  return new Tensor(out, shape);
};

/** All initialisers by name, for tables and plots. */
export const initializers: Readonly<Record<string, Initializer>> = {
  xavierNormal, xavierUniform, heNormal, heUniform, lecunNormal, lecunUniform, orthogonal, gpt2Normal,
};

export { propagateVariance, type VarianceOptions, type VarianceReport } from "./propagate";
