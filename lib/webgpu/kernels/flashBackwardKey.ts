import { family } from "../gpu";
import { accumulate, cell, dots, join, keep, list, loadTile, main, ownOf, params, parts, put, source, target, tileOf, type FlashTraits } from "./flash";

/**
 * dk = dS^T (scale q) and dv = P^T dy, one key an invocation (or several that share it), over tiles of queries. With
 * `oneBuffer` both are written to one buffer, which a kernel may bind only once: its places keep them apart.
 */
export const flashBackwardKey = family((traits: FlashTraits, oneBuffer: boolean) => {
  const { d, e, share, tile } = traits;
  const [D, E] = [ownOf(d, share), ownOf(e, share)];
  return {
    name: `flash attention dk dv ${d} ${e}`,
    code: /* wgsl */ `${params("q", "k", "v", "dy", "dk", "dv")}
${source(0, "q", d, traits)}
${source(1, "k", d, traits)}
${source(2, "v", e, traits)}
${source(3, "dy", e, traits)}
@group(0) @binding(4) var<storage, read> kept: array<vec2f>;
@group(0) @binding(5) var<storage, read> inner: array<f32>;
${target(6, "dk", d, traits)}
${oneBuffer ? put("dv", "dk", e, traits) : target(7, "dv", e, traits)}
@group(0) @binding(${oneBuffer ? 7 : 8}) var<uniform> p: Params;
${tileOf("q", d, traits)}
${tileOf("dy", e, traits)}
/** m, l and D of the queries. */
var<workgroup> keptTile: array<vec3f, ${tile}>;
${parts(2, traits)}
${main(traits)}
  let row = min(own, p.s - 1u);
  let atK = placeOf(p.k, batch, row);
  let atV = placeOf(p.v, batch, row);
${keep("key", d, traits, (c) => `kAt(atK, ${c})`)}
${keep("totalK", d, traits)}
${keep("value", e, traits, (c) => `vAt(atV, ${c})`)}
${keep("totalV", e, traits)}
  // Causal: a key is seen by no query before it.
  let start = select(0u, begin, p.causal == 1u);
  let since = select(0u, own, p.causal == 1u);
  for (var first = start; first < p.t; first += ${tile}u) {
    workgroupBarrier();
${loadTile("q", d, "p.t", traits, " * p.scale")}
${loadTile("dy", e, "p.t", traits)}
    if (local < ${tile}u) {
      let i = first + local;
      keptTile[local] = vec3f();
      if (i < p.t) { keptTile[local] = vec3f(kept[batch * p.t + i], inner[batch * p.t + i]); }
    }
    workgroupBarrier();
    for (var r = 0u; r < ${tile}u; r += 4u) {
      let i = first + r;
      if (i >= p.t) { break; }
${share === 1 ? "      if (i + 4u <= since) { continue; }" : ""}
${dots("s", "key", "q", d, traits)}
${dots("dP", "value", "dy", e, traits)}
${join(["s", "dP"], traits)}
      let m = vec4f(${list(4, (i) => `keptTile[r + ${i}u].x`, ", ")});
      let l = vec4f(${list(4, (i) => `keptTile[r + ${i}u].y`, ", ")});
      let D = vec4f(${list(4, (i) => `keptTile[r + ${i}u].z`, ", ")});
      let query = vec4u(i, i + 1u, i + 2u, i + 3u);
      let hidden = (query < vec4u(since)) | (query >= vec4u(p.t));
      let P = select(exp(s - m) / l, vec4f(), hidden | (l == vec4f()));
      let dS = select(P * (dP - D), vec4f(), hidden);
${accumulate("totalK", "dS", "q", d, traits)}
${accumulate("totalV", "P", "dy", e, traits)}
    }
  }
  if (own < p.s) {
    let atDk = placeOf(p.dk, batch, row);
    let atDv = placeOf(p.dv, batch, row);
${list(D, (c) => `    dkPut(atDk, ${cell(c, D, traits)}, totalK${c});`)}
${list(E, (c) => `    dvPut(atDv, ${cell(c, E, traits)}, totalV${c});`)}
  }
}`,
  };
});
