import type { Kernel } from "../gpu";
import { MAIN, PARAMS, PIXEL } from "./windows";

/** cols [images, kh kw, OH OW]: what each place of each window reads of x [images, H, W], 0 in the padding. */
export const im2col: Kernel = {
  name: "im2col",
  code: /* wgsl */ `${PARAMS}
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> cols: array<f32>;
@group(0) @binding(2) var<uniform> p: Params;
${MAIN}
  let window = o % (p.OH * p.OW);
  let place = (o / (p.OH * p.OW)) % (p.kh * p.kw);
  let image = o / (p.OH * p.OW * p.kh * p.kw);
  // Counted with the padding.
  let row = (window / p.OW) * p.sh + place / p.kw;
  let column = (window % p.OW) * p.sw + place % p.kw;
  var value = 0.0;
  if (row >= p.ph && row < p.H + p.ph && column >= p.pw && column < p.W + p.pw) {
    value = x[(image * p.H + row - p.ph) * p.W + column - p.pw];
  }
  cols[o] = value;
}`,
};

/** im2col's adjoint without atomics, which WGSL lacks for floats: each pixel of dx collects from the windows that cover it. */
export const col2im: Kernel = {
  name: "col2im",
  code: /* wgsl */ `${PARAMS}
@group(0) @binding(0) var<storage, read> dcols: array<f32>;
@group(0) @binding(1) var<storage, read_write> dx: array<f32>;
@group(0) @binding(2) var<uniform> p: Params;
${MAIN}
${PIXEL}
  var total = 0.0;
  for (var i = firstRow; i < p.OH && i * p.sh <= row; i++) {
    for (var j = firstColumn; j < p.OW && j * p.sw <= column; j++) {
      let place = (row - i * p.sh) * p.kw + column - j * p.sw;
      total += dcols[((image * p.kh * p.kw + place) * p.OH + i) * p.OW + j];
    }
  }
  dx[o] = total;
}`,
};
