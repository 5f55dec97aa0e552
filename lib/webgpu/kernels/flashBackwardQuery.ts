import { family } from "../gpu";
import { accumulate, cell, dots, join, keep, list, main, overKeys, ownOf, params, parts, source, target, tileOf, type FlashTraits } from "./flash";

/**
 * dq, one query an invocation (or several that share it). P is recomputed from what was kept, and D = rowsum(dy y), which
 * the next kernel reads too, replaces the row sum of P dP:
 *
 *     P = e^(s - m) / l;  dS = P (dy v^T - D);  dq = scale dS k
 *
 * A second kernel owns the keys: WGSL cannot add floats atomically, so one kernel cannot do both.
 */
export const flashBackwardQuery = family((traits: FlashTraits) => {
  const { d, e, share } = traits;
  const [D, E] = [ownOf(d, share), ownOf(e, share)];
  return {
    name: `flash attention dq ${d} ${e}`,
    code: /* wgsl */ `${params("q", "k", "v", "dy", "y", "dq")}
${source(0, "q", d, traits)}
${source(1, "k", d, traits)}
${source(2, "v", e, traits)}
${source(3, "dy", e, traits)}
${source(4, "y", e, traits)}
@group(0) @binding(5) var<storage, read> kept: array<vec2f>;
${target(6, "dq", d, traits)}
@group(0) @binding(7) var<storage, read_write> inner: array<f32>;
@group(0) @binding(8) var<uniform> p: Params;
${tileOf("k", d, traits)}
${tileOf("v", e, traits)}
${parts(2, traits)}
${main(traits)}
  let row = min(own, p.t - 1u);
  let atQ = placeOf(p.q, batch, row);
  let atUp = placeOf(p.dy, batch, row);
  let atY = placeOf(p.y, batch, row);
${keep("query", d, traits, (c) => `qAt(atQ, ${c}) * p.scale`)}
${keep("total", d, traits)}
${keep("up", e, traits, (c) => `dyAt(atUp, ${c})`)}
  // In the order in which dP is summed below, so that dP - D is 0 where all attention is on one key.
  var terms = vec4f();
${list(E, (c) => `  terms = fma(up${c}, yAt(atY, ${cell(c, E, traits)}), terms);`)}
  var sum = vec4f(dot(terms, vec4f(1.0)));
${join(["sum"], traits)}
  let D = sum.x;
  let m = kept[batch * p.t + row].x;
  let l = kept[batch * p.t + row].y;
${overKeys(traits, `${dots("s", "query", "k", d, traits)}
${dots("dP", "up", "v", e, traits)}
${join(["s", "dP"], traits)}
      let hidden = vec4u(j, j + 1u, j + 2u, j + 3u) >= vec4u(seen);
      let P = select(exp(s - m) / l, vec4f(), hidden | vec4<bool>(l == 0.0));
      let dS = select(P * (dP - D) * p.scale, vec4f(), hidden);
${accumulate("total", "dS", "k", d, traits)}`)}
  if (own < p.t) {
    let atDq = placeOf(p.dq, batch, row);
${list(D, (c) => `    dqPut(atDq, ${cell(c, D, traits)}, total${c});`)}
    if (part == 0u) { inner[batch * p.t + row] = D; }
  }
}`,
  };
});
