import type { Kernel } from "../gpu";
import { MAIN, PARAMS, PIXEL } from "./windows";

/** y and where in x it was found: the first greatest of each window, the first NaN if there is one. */
export const maxPool: Kernel = {
  name: "max pool",
  code: /* wgsl */ `${PARAMS}
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<storage, read_write> found: array<i32>;
@group(0) @binding(3) var<uniform> p: Params;
fn isNan(v: f32) -> bool { return (bitcast<u32>(v) & 0x7fffffffu) > 0x7f800000u; }
${MAIN}
  let image = o / (p.OH * p.OW);
  let top = ((o / p.OW) % p.OH) * p.sh;
  let left = (o % p.OW) * p.sw;
  var at = (image * p.H + top) * p.W + left;
  var best = x[at];
  for (var u = 0u; u < p.kh; u++) {
    for (var v = 0u; v < p.kw; v++) {
      let i = (image * p.H + top + u) * p.W + left + v;
      let value = x[i];
      if (!isNan(best) && (isNan(value) || value > best)) { best = value; at = i; }
    }
  }
  y[o] = best;
  found[o] = i32(at);
}`,
};

/** dx: each element of x collects dy from the windows that chose it. */
export const maxPoolBackward: Kernel = {
  name: "max pool backward",
  code: /* wgsl */ `${PARAMS}
@group(0) @binding(0) var<storage, read> dy: array<f32>;
@group(0) @binding(1) var<storage, read> found: array<i32>;
@group(0) @binding(2) var<storage, read_write> dx: array<f32>;
@group(0) @binding(3) var<uniform> p: Params;
${MAIN}
${PIXEL}
  var total = 0.0;
  for (var i = firstRow; i < p.OH && i * p.sh <= row; i++) {
    for (var j = firstColumn; j < p.OW && j * p.sw <= column; j++) {
      let at = (image * p.OH + i) * p.OW + j;
      if (found[at] == i32(o)) { total += dy[at]; }
    }
  }
  dx[o] = total;
}`,
};
