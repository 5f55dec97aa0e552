import { checkInterrupt } from "../interrupt";
import type { Tensor } from "../tensor";

/** A batch cut into micro-batches of at most `size` rows along the first axis. */
export function splitBatch(x: Tensor, size: number): Tensor[] {
  if (!(Number.isInteger(size) && size > 0)) throw new Error(`splitBatch: size is ${size}, expected a whole number above 0`);
  const parts: Tensor[] = [];
  for (let from = 0; from < x.shape[0]; from += size) parts.push(x.slice(from, Math.min(from + size, x.shape[0])));
  return parts;
}

/**
 * The gradient of a mean loss over a whole batch, from micro-batches that fit into memory one at a time.
 *
 *     L = sum over parts of (n_part / N) L_part,   and the same for every gradient
 *
 * With parts of one size n_part / N is the 1 / G of Math for LLMs, section 9.3. With a smaller last part, or tokens
 * that are ignored, 1 / G would be wrong: pass each part's own count.
 *
 * @param parts what `pass` takes, one micro-batch each.
 * @param pass runs forward and backward on one part and returns its mean loss, its gradients, and over how many
 *   examples (or tokens) the mean was taken (1 when left out: parts of one size).
 */
export function accumulate<P, G extends Record<string, Tensor>>(
  parts: readonly P[], pass: (part: P) => { loss: number; gradients: G; count?: number },
): { loss: number; gradients: G } {
  if (parts.length === 0) throw new Error("accumulate: parts is empty, expected at least one micro-batch");
  let loss = 0, total = 0;
  const sums: Record<string, Tensor> = {};
  for (const part of parts) {
    checkInterrupt();
    const { loss: own, gradients, count = 1 } = pass(part);
    total += count;
    loss += own * count;
    for (const [name, g] of Object.entries(gradients)) {
      const weighted = g.mul(count);
      sums[name] = sums[name] ? sums[name].add(weighted) : weighted;
    }
  }
  const gradients = Object.fromEntries(Object.entries(sums).map(([name, sum]) => [name, sum.div(total)])) as G;
  return { loss: loss / total, gradients };
}
