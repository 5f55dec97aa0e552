import { checkInterrupt } from "../interrupt";
import { randn, rng, type Tensor } from "../tensor";

/**
 * The greatest singular value of a matrix [m, n]: power iteration on A^T A, which needs only products with A and A^T
 * (a JVP and a VJP), never A^T A itself.
 */
export function spectralNorm(A: Tensor, { tolerance = 1e-12, maxIterations = 10_000 } = {}): number {
  if (A.rank !== 2) throw new Error(`spectralNorm: A has shape [${A.shape.join(", ")}], expected a matrix`);
  let v = randn([A.shape[1], 1], rng(1));
  let sigma = 0;
  for (let i = 0; i < maxIterations; i++) {
    checkInterrupt();
    v = v.div(v.norm());
    const u = A.matmul(v);
    const next = u.norm();
    if (next === 0 || Number.isNaN(next)) return next;
    v = A.T.matmul(u);
    if (Math.abs(next - sigma) <= tolerance * next) return next;
    sigma = next;
  }
  return sigma;
}

/**
 * The product of layer Jacobians J_L ... J_1 (given first layer first) and the bound of section 2.4:
 * |J_L ... J_1| <= |J_L| ... |J_1| in spectral norms. Entry l is about the product of the first l + 1.
 *
 * The document's section 6.1 also writes ">= rho^(L-l)" for the exploding case; submultiplicativity gives no lower
 * bound, and factors of norm above 1 can multiply to 0.
 */
export function jacobianProduct(jacobians: readonly Tensor[]): { norms: number[]; bounds: number[] } {
  const norms: number[] = [], bounds: number[] = [];
  let product: Tensor | undefined;
  for (const J of jacobians) {
    product = product ? J.matmul(product) : J;
    norms.push(spectralNorm(product));
    bounds.push((bounds[bounds.length - 1] ?? 1) * spectralNorm(J));
  }
  return { norms, bounds };
}
