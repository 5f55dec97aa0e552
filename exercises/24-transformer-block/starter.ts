import { gelu, layerNorm, linear, multiHeadAttention, type Tensor } from "gradbook";

/** x [B, T, C] and the block's twelve parameters. */
export type BlockInputs = Record<
  "x" | "gamma1" | "beta1" | "Wqkv" | "bqkv" | "Wo" | "bo" | "gamma2" | "beta2" | "W1" | "b1" | "W2" | "b2", Tensor
>;

/** Given: the forward, with every layer's cache. */
export function blockForward(p: BlockInputs, heads: number) {
  const norm1 = layerNorm.forward({ x: p.x, gamma: p.gamma1, beta: p.beta1 });
  const { Wqkv, bqkv, Wo, bo } = p;
  const attend = multiHeadAttention.forward({ x: norm1.y, Wqkv, bqkv, Wo, bo }, { heads, causal: true });
  const r = p.x.add(attend.y);
  const norm2 = layerNorm.forward({ x: r, gamma: p.gamma2, beta: p.beta2 });
  const expand = linear.forward({ x: norm2.y, W: p.W1, b: p.b1 });
  const act = gelu.forward({ x: expand.y });
  const contract = linear.forward({ x: act.y, W: p.W2, b: p.b2 });
  const cache = {
    norm1: norm1.cache, attend: attend.cache,
    norm2: norm2.cache, expand: expand.cache, act: act.cache, contract: contract.cache,
  };
  return { y: r.add(contract.y), cache };
}
export type BlockCache = ReturnType<typeof blockForward>["cache"];

/** From the output of `contract` [B, T, C] to the input of `expand`. */
export function mlpBackward(dbranch: Tensor, cache: BlockCache): Record<"dW2" | "db2" | "dW1" | "db1" | "dinput", Tensor> {
  throw new Error("not written yet");
}

/** dy [B, T, C] -> the gradient of x and of each parameter, named d + its name. */
export function blockBackward(dy: Tensor, cache: BlockCache): Record<`d${keyof BlockInputs}`, Tensor> {
  throw new Error("not written yet");
}
