import { family } from "../gpu";
import { accumulate, cell, dots, join, keep, list, main, overKeys, ownOf, params, parts, source, target, tileOf, type FlashTraits } from "./flash";

/**
 * Flash attention: y = softmax(scale q k^T) v without the [T, S] scores ever in memory. Each invocation owns a query (or
 * a part of its columns) and walks over the keys, four at a time, with a running maximum m, a running sum l and an unfinished
 * y that is rescaled whenever m grows:
 *
 *     m' = max(m, s);  l' = l e^(m - m') + e^(s - m');  y' = y e^(m - m') + e^(s - m') v
 *
 * Kept for the backward: m and l of each query, [batch, T, 2]. Their log-sum-exp m + log l would do, but at scores of
 * thousands it loses in float32 the digits that P = e^(s - m) / l keeps.
 * Shapes: q [batch, T, d], k [batch, S, d], v [batch, S, e] -> y [batch, T, e].
 */
export const flashForward = family((traits: FlashTraits) => {
  const { d, e, share } = traits;
  const E = ownOf(e, share);
  return {
    name: `flash attention ${d} ${e}`,
    code: /* wgsl */ `${params("q", "k", "v", "y")}
${source(0, "q", d, traits)}
${source(1, "k", d, traits)}
${source(2, "v", e, traits)}
${target(3, "y", e, traits)}
@group(0) @binding(4) var<storage, read_write> kept: array<vec2f>;
@group(0) @binding(5) var<uniform> p: Params;
${tileOf("k", d, traits)}
${tileOf("v", e, traits)}
${parts(1, traits)}
${main(traits)}
  let row = min(own, p.t - 1u);
  let lowest = bitcast<f32>(p.lowest);
  let atQ = placeOf(p.q, batch, row);
${keep("query", d, traits, (c) => `qAt(atQ, ${c}) * p.scale`)}
${keep("total", e, traits)}
  var m = lowest;
  var l = 0.0;
${overKeys(traits, `${dots("product", "query", "k", d, traits)}
${join(["product"], traits)}
      let s = select(product, vec4f(lowest), vec4u(j, j + 1u, j + 2u, j + 3u) >= vec4u(seen));
      let top = max(m, max(max(s.x, s.y), max(s.z, s.w)));
      let shrink = select(exp(m - top), 0.0, m == lowest);
      let add = select(exp(s - top), vec4f(), s == vec4f(lowest));
      l = l * shrink + dot(add, vec4f(1.0));
${list(E, (c) => `      total${c} *= shrink;`)}
${accumulate("total", "add", "v", e, traits)}
      m = top;`)}
  if (own < p.t) {
    let scale = 1.0 / select(l, 1.0, l == 0.0);
    let atY = placeOf(p.y, batch, row);
${list(E, (c) => `    yPut(atY, ${cell(c, E, traits)}, total${c} * scale);`)}
    if (part == 0u) { kept[batch * p.t + row] = vec2f(m, l); }
  }
}`,
  };
});
