import { gelu } from "./gelu";
import { geluTanh } from "./geluTanh";
import { defineLayer, type AnyLayer } from "./layer";
import { layerNorm } from "./layerNorm";
import { linear } from "./linear";
import { multiHeadAttention } from "./multiHeadAttention";
import { flag, nonNegative, oneOf, requiredCount } from "./options";
import { relu } from "./relu";
import { silu } from "./silu";

/**
 * One block of a transformer, norms before (pre-norm).
 *
 *     r = x + multiHeadAttention(layerNorm1(x))
 *     y = r + W2 activation(W1 layerNorm2(r) + b1) + b2
 *
 *     dr = dy + (dy back through contraction, activation, expansion and norm 2)
 *     dx = dr + (dr back through attention and norm 1)
 *
 * Each skip copies the gradient: once unchanged along the skip, once through the branch, and the two add up.
 *
 * Shapes: x [B, T, C], gamma1, beta1, gamma2, beta2, bo, b2 [C], Wqkv [3C, C], bqkv [3C], Wo [C, C], W1 [4C, C],
 * b1 [4C], W2 [C, 4C] -> y [B, T, C].
 * Sources: Math for LLMs, section 9.1; arXiv 2512.23329, the transformer block.
 */
export const transformerBlock = defineLayer({
  name: "transformerBlock",
  inputs: {
    x: "[B, T, C]",
    gamma1: "[C]", beta1: "[C]",
    Wqkv: "[3C, C]", bqkv: "[3C]", Wo: "[C, C]", bo: "[C]",
    gamma2: "[C]", beta2: "[C]",
    W1: "[4C, C]", b1: "[4C]", W2: "[C, 4C]", b2: "[C]",
  },
  output: "[B, T, C]",
  options: {
    heads: requiredCount(1),
    causal: flag(false),
    activation: oneOf(["gelu", "geluTanh", "relu", "silu"], "gelu"),
    eps: nonNegative(1e-5),
  },

  check({ x }, { heads }) {
    const C = x.shape[2];
    return C % heads === 0 ? undefined : `the option heads is ${heads}, it should divide x's last dimension ${C}`;
  },

  forward({ x, gamma1, beta1, Wqkv, bqkv, Wo, bo, gamma2, beta2, W1, b1, W2, b2 }, { heads, causal, activation, eps }) {
    const norm1 = layerNorm.forward({ x, gamma: gamma1, beta: beta1 }, { eps });
    const attend = multiHeadAttention.forward({ x: norm1.y, Wqkv, bqkv, Wo, bo }, { heads, causal });
    const r = x.add(attend.y);
    const norm2 = layerNorm.forward({ x: r, gamma: gamma2, beta: beta2 }, { eps });
    const expand = linear.forward({ x: norm2.y, W: W1, b: b1 });
    const act = activations[activation].forward({ x: expand.y });
    const contract = linear.forward({ x: act.y, W: W2, b: b2 });
    return {
      y: r.add(contract.y),
      saved: {
        norm1: norm1.cache, attend: attend.cache, norm2: norm2.cache,
        expand: expand.cache, act: act.cache, contract: contract.cache,
      },
    };
  },

  backward(dy, _, { norm1, attend, norm2, expand, act, contract }, { activation }) {
    const { dx: dact, dW: dW2, db: db2 } = linear.backward(dy, contract);
    const { dx: dexpand } = activations[activation].backward(dact, act);
    const { dx: dnorm2, dW: dW1, db: db1 } = linear.backward(dexpand, expand);
    const { dx: branch2, dgamma: dgamma2, dbeta: dbeta2 } = layerNorm.backward(dnorm2, norm2);
    const dr = dy.add(branch2);
    const { dx: dnorm1, dWqkv, dbqkv, dWo, dbo } = multiHeadAttention.backward(dr, attend);
    const { dx: branch1, dgamma: dgamma1, dbeta: dbeta1 } = layerNorm.backward(dnorm1, norm1);
    return { dx: dr.add(branch1), dgamma1, dbeta1, dWqkv, dbqkv, dWo, dbo, dgamma2, dbeta2, dW1, db1, dW2, db2 };
  },

  jvp(d, { x, gamma1, beta1, Wqkv, bqkv, Wo, bo, gamma2, beta2, W1, b1, W2, b2 }, _, { heads, causal, activation, eps }) {
    const norm1 = layerNorm.jvp({ x, gamma: gamma1, beta: beta1 }, { x: d.x, gamma: d.gamma1, beta: d.beta1 }, { eps });
    const attend = multiHeadAttention.jvp(
      { x: norm1.y, Wqkv, bqkv, Wo, bo },
      { x: norm1.dy, Wqkv: d.Wqkv, bqkv: d.bqkv, Wo: d.Wo, bo: d.bo }, { heads, causal });
    const [r, dr] = [x.add(attend.y), d.x.add(attend.dy)];
    const norm2 = layerNorm.jvp({ x: r, gamma: gamma2, beta: beta2 }, { x: dr, gamma: d.gamma2, beta: d.beta2 }, { eps });
    const expand = linear.jvp({ x: norm2.y, W: W1, b: b1 }, { x: norm2.dy, W: d.W1, b: d.b1 });
    const act = activations[activation].jvp({ x: expand.y }, { x: expand.dy });
    const contract = linear.jvp({ x: act.y, W: W2, b: b2 }, { x: act.dy, W: d.W2, b: d.b2 });
    return dr.add(contract.dy);
  },
});

const activations: Record<"gelu" | "geluTanh" | "relu" | "silu", AnyLayer> = { gelu, geluTanh, relu, silu };
