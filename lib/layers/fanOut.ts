import { SparseRows, Tensor } from "../tensor";

type Gradients = Readonly<Record<string, Tensor | undefined>>;

/**
 * Fan-out: what is used in several places gets the sum of the gradients from each. Adds gradients of the same name;
 * a name that only some of them have is taken as it is. Two SparseRows stay sparse.
 *
 * ```ts
 * // W is used twice: y = W (W x)
 * const { dW } = addGradients(linear.backward(dy, second), linear.backward(dh, first));
 * // tied embedding and output: the same table under two names
 * const { dE } = addGradients(embedding.backward(dx, lookUp), { dE: linear.backward(dlogits, project).dW });
 * ```
 *
 * Source: Math for LLMs, section 3.4 (gradient accumulation at branching nodes).
 */
export function addGradients<G extends readonly Gradients[]>(...parts: G): { [K in NamesIn<G[number]>]: Tensor } {
  const sums: Record<string, Tensor> = {};
  for (const part of parts) {
    for (const [name, gradient] of Object.entries(part)) {
      if (gradient) sums[name] = sums[name] ? sum(name, sums[name], gradient) : gradient;
    }
  }
  return sums as { [K in NamesIn<G[number]>]: Tensor };
}

type NamesIn<U> = U extends unknown ? keyof U & string : never;

function sum(name: string, a: Tensor, b: Tensor): Tensor {
  if (String(a.shape) !== String(b.shape)) {
    throw new Error(`addGradients: ${name} has shape [${a.shape.join(", ")}] in one part and [${b.shape.join(", ")}] in another`);
  }
  return a instanceof SparseRows && b instanceof SparseRows ? a.plus(b) : a.add(b);
}
