/**
 * The minimal GPT of arXiv 2512.23329 ("Deep learning for pedestrians: backpropagation in Transformers", L. Boue),
 * every gradient written out as a formula on matrices, in the paper's own conventions:
 *
 *   rows are tokens, y = a w + b;   D is the upstream gradient of a layer, of the shape of its output;
 *   o is the Hadamard product;   (-) the row-wise dot product, a column;   ~ its broadcast over the row.
 *
 * One sequence at a time, one block, ReLU. `Gpt` is the same network in this library's layers (its W is w transposed).
 * Two slips of the paper's text can be switched on to see what they do.
 */
import { eye, oneHot, ones, Tensor } from "../tensor";
import type { Named } from "./gpt";

export interface PaperOptions {
  readonly heads: number;
  readonly eps?: number;
  /**
   * "infinity" as the paper's code masks; "zeros" is equations 13 and 15 read literally: scores above the diagonal
   * become 0 and softmax gives them exp(0) all the same, so the future leaks.
   */
  readonly mask?: "infinity" | "zeros";
  /** LoRA on the logits, w and b frozen: y = a w + b + alpha (a d) u. */
  readonly lora?: {
    readonly d: Tensor;
    readonly u: Tensor;
    readonly alpha: number;
    /** The text's input gradient, alpha D u^t d^t alone: the frozen path's D w^t is left out. */
    readonly omitFrozenPath?: boolean;
  };
}

/** What the forward keeps: the paper's a_i by name, and the attention weights of each head. */
export interface PaperCache {
  readonly ids: readonly number[];
  readonly targets: readonly number[];
  readonly a: Named;
  /** rho, [T, T] a head: row t says where token t looks. */
  readonly rho: readonly Tensor[];
  readonly options: PaperOptions;
  readonly p: Named;
}

const T = (x: Tensor): Tensor => x.T;
/** x (-) y: the row-wise dot product, [n, 1]. */
const rowDot = (x: Tensor, y: Tensor): Tensor => x.mul(y).sum(-1, true);
const softmax = (x: Tensor): Tensor => {
  const e = x.sub(x.max(-1, true)).exp();
  return e.div(e.sum(-1, true));
};
const head = (x: Tensor, h: number, heads: number): Tensor => {
  const width = x.shape[1] / heads;
  return x.slice(h * width, (h + 1) * width, 1);
};

/** 1 on and below the diagonal, [n, n]. */
const lower = (n: number): Tensor => {
  const out = ones([n, n]).clone();
  for (let i = 0; i < n; i++) for (let j = i + 1; j < n; j++) out.data[i * n + j] = 0;
  return out;
};

/** Layer norm without its parameters: abar, each row with mean 0 and deviation 1, and the deviations as a column. */
function normalise(a: Tensor, eps: number): { abar: Tensor; sigma: Tensor } {
  const centred = a.sub(a.mean(-1, true));
  const sigma = centred.square().mean(-1, true).add(eps).sqrt();
  return { abar: centred.div(sigma), sigma };
}

/**
 * @param p parameters: tokens [V, d], positions [context, d], gamma1, beta1, gamma2, beta2, gamma, beta [d],
 *   wq, wk, wv, wo [d, d], wexpand [d, 4d], wcontract [4d, d], wlogits [d, V] and their biases bq, ....
 * @param ids [T]. @param targets [T].
 */
export function paperForward(p: Named, ids: readonly number[], targets: readonly number[], options: PaperOptions):
  { loss: number; logits: Tensor; cache: PaperCache } {
  const { heads, eps = 0, mask = "infinity", lora } = options;
  const n = ids.length, [V, d] = p.tokens.shape;
  const a: Named = {};
  a.x0 = oneHot([...ids], V).matmul(p.tokens).add(p.positions.slice(0, n));

  ({ abar: a.bar1, sigma: a.sigma1 } = normalise(a.x0, eps));
  a.n1 = a.bar1.mul(p.gamma1).add(p.beta1);
  a.q = a.n1.matmul(p.wq).add(p.bq);
  a.k = a.n1.matmul(p.wk).add(p.bk);
  a.v = a.n1.matmul(p.wv).add(p.bv);
  const visible = lower(n);
  const rho = Array.from({ length: heads }, (_, h) => {
    const raw = head(a.q, h, heads).matmul(T(head(a.k, h, heads))).div(Math.sqrt(d / heads));
    const causal = raw.select(visible, mask === "zeros" ? 0 : -Infinity);
    return softmax(causal);
  });
  a.attended = rho.map((r, h) => r.matmul(head(a.v, h, heads))).reduce((x, y) => x.concat(y, 1));
  a.x1 = a.x0.add(a.attended.matmul(p.wo).add(p.bo));

  ({ abar: a.bar2, sigma: a.sigma2 } = normalise(a.x1, eps));
  a.n2 = a.bar2.mul(p.gamma2).add(p.beta2);
  a.expanded = a.n2.matmul(p.wexpand).add(p.bexpand);
  a.active = a.expanded.maximum(0);
  a.x2 = a.x1.add(a.active.matmul(p.wcontract).add(p.bcontract));

  ({ abar: a.bar, sigma: a.sigma } = normalise(a.x2, eps));
  a.n = a.bar.mul(p.gamma).add(p.beta);
  let logits = a.n.matmul(p.wlogits).add(p.blogits);
  if (lora) logits = logits.add(a.n.matmul(lora.d).matmul(lora.u).mul(lora.alpha));
  a.probabilities = softmax(logits);
  const m = logits.max(-1, true);
  const logSum = logits.sub(m).exp().sum(-1, true).log().add(m);
  const loss = logSum.sum().item() - rowDot(logits, oneHot([...targets], V)).sum().item();
  return { loss: loss / n, logits, cache: { ids, targets, a, rho, options, p } };
}

/** Every gradient, by the parameter's name; also "x0", the gradient at the block's input. */
export function paperBackward({ ids, targets, a, rho, options, p }: PaperCache): Named {
  const { heads, mask = "infinity", lora } = options;
  const n = ids.length, [V, d] = p.tokens.shape;
  const g: Named = {};

  // Cross-entropy over logits: D = (softmax - one-hot) / number of tokens.
  const Dlogits = a.probabilities.sub(oneHot([...targets], V)).div(n);

  // Linear y = a w + b: dw = a^t D, db = sum over rows of D, D_prev = D w^t.
  const linear = (D: Tensor, input: Tensor, name: string): Tensor => {
    g[`w${name}`] = T(input).matmul(D);
    g[`b${name}`] = D.sum(0);
    return D.matmul(T(p[`w${name}`]));
  };
  // Layer norm: dw = sum D o abar, db = sum D,
  // D_prev = 1 / (d sigma) * (d (D o w) - sum_row(D o w) - abar o sum_row(D o w o abar)).
  const norm = (D: Tensor, abar: Tensor, sigma: Tensor, which: string): Tensor => {
    g[`gamma${which}`] = D.mul(abar).sum(0);
    g[`beta${which}`] = D.sum(0);
    const Dw = D.mul(p[`gamma${which}`]);
    return Dw.mul(d).sub(Dw.sum(-1, true)).sub(abar.mul(rowDot(Dw, abar))).div(sigma.mul(d));
  };

  let D: Tensor;
  if (lora) {
    // dd = alpha a^t D u^t, du = alpha (a d)^t D, D_prev = D w^t + alpha D u^t d^t; w and b are frozen.
    const back = Dlogits.matmul(T(lora.u)).mul(lora.alpha);
    g.d = T(a.n).matmul(back);
    g.u = T(a.n.matmul(lora.d)).matmul(Dlogits).mul(lora.alpha);
    D = back.matmul(T(lora.d));
    if (!lora.omitFrozenPath) D = D.add(Dlogits.matmul(T(p.wlogits)));
  } else {
    D = linear(Dlogits, a.n, "logits");
  }
  const Dx2 = norm(D, a.bar, a.sigma, "");

  // Feed-forward: contract, activation, expand, norm; the skip adds Dx2 itself.
  const Dactive = linear(Dx2, a.active, "contract");
  const Dexpanded = Dactive.mul(a.expanded.gt(0));
  const Dx1 = Dx2.add(norm(linear(Dexpanded, a.n2, "expand"), a.bar2, a.sigma2, "2"));

  // Attention, head by head: o = rho v.
  const Dattended = linear(Dx1, a.attended, "o");
  const Dq: Tensor[] = [], Dk: Tensor[] = [], Dv: Tensor[] = [];
  rho.forEach((r, h) => {
    const Dh = head(Dattended, h, heads);
    const Drho = Dh.matmul(T(head(a.v, h, heads)));
    // D_causal = [D v^t - ((D v^t) (-) rho)~] o rho
    let Dcausal = Drho.sub(rowDot(Drho, r)).mul(r);
    // A score that was overwritten with 0 gets no gradient; one at -infinity has rho = 0 already.
    if (mask === "zeros") Dcausal = Dcausal.mul(lower(n));
    const Draw = Dcausal.div(Math.sqrt(d / heads));
    Dq.push(Draw.matmul(head(a.k, h, heads)));
    Dk.push(T(Draw).matmul(head(a.q, h, heads)));
    Dv.push(T(r).matmul(Dh));
  });
  const join = (parts: Tensor[]): Tensor => parts.reduce((x, y) => x.concat(y, 1));
  // dw_q = a^t D_raw k, dw_k = (D_raw a)^t q, dw_v = (rho a)^t D, db_k = 0.
  const Dn1 = linear(join(Dq), a.n1, "q").add(linear(join(Dk), a.n1, "k")).add(linear(join(Dv), a.n1, "v"));
  const Dx0 = Dx1.add(norm(Dn1, a.bar1, a.sigma1, "1"));

  // Embedding: one-hot(a0)^t D; positions: D itself.
  g.tokens = T(oneHot([...ids], V)).matmul(Dx0);
  g.positions = T(eye(p.positions.shape[0]).slice(0, n)).matmul(Dx0);
  g.x0 = Dx0;
  return g;
}

/** The parameters of a one-block `Gpt`, named and transposed as the paper has them. */
export function paperParameters(parameters: Named): Named {
  return Object.fromEntries(Object.entries(parameters).map(([name, t]) => {
    const own = name.replace("block0.", "");
    return own.startsWith("W") ? [`w${own.slice(1)}`, t.T] : [own, t];
  }));
}
