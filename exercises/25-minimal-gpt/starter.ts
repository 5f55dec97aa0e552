import { layerNorm, linear, oneHot, tensor, transformerBlock, zeros, type Tensor } from "gradbook";

export type BlockParameters = Record<
  "gamma1" | "beta1" | "Wqkv" | "bqkv" | "Wo" | "bo" | "gamma2" | "beta2" | "W1" | "b1" | "W2" | "b2", Tensor
>;
export type GptParameters = Record<"E" | "P" | "gamma" | "beta" | "W" | "b", Tensor> & { blocks: BlockParameters[] };

/** Given: the forward. ids, targets [B][T]. */
export function gptForward(p: GptParameters, ids: number[][], targets: number[][], heads: number) {
  const [V, C] = p.E.shape;
  const rows = ids.flat().flatMap((id) => Array.from(p.E.row(id).data));
  let h = tensor(rows).reshape(ids.length, ids[0].length, C).add(p.P);
  const blocks = p.blocks.map((parameters) => {
    const { y, cache } = transformerBlock.forward({ x: h, ...parameters }, { heads, causal: true });
    h = y;
    return cache;
  });
  const norm = layerNorm.forward({ x: h, gamma: p.gamma, beta: p.beta });
  const head = linear.forward({ x: norm.y, W: p.W, b: p.b });
  const shifted = head.y.sub(head.y.max(-1, true));
  const logp = shifted.sub(shifted.exp().sum(-1, true).log());
  const loss = -logp.mul(oneHot(targets, V)).sum().item() / targets.flat().length;
  return { loss, cache: { logits: head.y, head: head.cache, norm: norm.cache, blocks, ids, targets, V } };
}
export type GptCache = ReturnType<typeof gptForward>["cache"];

/** logits [B, T, V], targets [B][T] -> ∂L/∂logits [B, T, V]. */
export function logitsGradient(logits: Tensor, targets: number[][]): Tensor {
  throw new Error("not written yet");
}

/** Every parameter's gradient. */
export function gptBackward(
  cache: GptCache,
): Record<"dE" | "dP" | "dgamma" | "dbeta" | "dW" | "db", Tensor> & {
  dblocks: Record<`d${keyof BlockParameters}`, Tensor>[];
} {
  throw new Error("not written yet");
}

/** V tokens, width C, context T, L blocks. */
export function countParameters(V: number, C: number, T: number, L: number): number {
  throw new Error("not written yet");
}
