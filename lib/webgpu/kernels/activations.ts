/**
 * Activations, one expression each way: y of x0 (and the option s), and dx of x0 and x1 = dy. The formulas are those of
 * lib/layers; here each is one pass over memory.
 */

export type Activation = "relu" | "leakyRelu" | "sigmoid" | "tanh" | "gelu" | "geluTanh" | "silu" | "softplus";

const GELU_TANH = "tanhOf(0.7978845608 * x0 * (1.0 + 0.044715 * x0 * x0))";

export const ACTIVATIONS: Record<Activation, { readonly value: string; readonly backward: string }> = {
  relu: { value: "selected(positive(x0), x0, 0.0)", backward: "selected(positive(x0), x1, 0.0)" },
  leakyRelu: { value: "selected(positive(x0), x0, s * x0)", backward: "selected(positive(x0), x1, s * x1)" },
  sigmoid: { value: "sigmoidOf(x0)", backward: "x1 * sigmoidOf(x0) * sigmoidOf(-x0)" },
  tanh: { value: "tanhOf(x0)", backward: "x1 * (1.0 - tanhOf(x0) * tanhOf(x0))" },
  gelu: {
    value: "x0 * 0.5 * (1.0 + erfOf(0.7071067812 * x0))",
    backward: "x1 * (0.5 * (1.0 + erfOf(0.7071067812 * x0)) + x0 * 0.3989422804 * exp(-0.5 * x0 * x0))",
  },
  geluTanh: {
    value: `0.5 * x0 * (1.0 + ${GELU_TANH})`,
    backward: `x1 * 0.5 * (1.0 + ${GELU_TANH} + x0 * (1.0 - ${GELU_TANH} * ${GELU_TANH}) * 0.7978845608 * (1.0 + 0.134145 * x0 * x0))`,
  },
  silu: { value: "x0 * sigmoidOf(x0)", backward: "x1 * sigmoidOf(x0) * (1.0 + x0 * sigmoidOf(-x0))" },
  softplus: { value: "max(x0, 0.0) + log1pOf(exp(-abs(x0))) + 0.0 * x0", backward: "x1 * sigmoidOf(x0)" },
};
