import { family } from "../gpu";
import { arrays, rowKernel, typeOf, type RowTraits } from "./rows";

/** y = softmax(x), a row -infinity throughout gives zeros. Parameters: [rows, n, bits of -infinity]. */
export const softmax = family((traits: RowTraits) => rowKernel(
  "softmax", traits, arrays(typeOf(traits), "x"), arrays(typeOf(traits), "y"), "rows: u32, n: u32, lowest: u32, unused: u32",
  ({ T, hold, each, again, sum, max }) => /* wgsl */ `
${hold("x")}
  var m = bitcast<f32>(p.lowest);
${each((of) => `m = max(m, ${max(of("x"))});`)}
  let top = maxOf(m, local, lane, lanes);
  let shift = select(top, 0.0, top == bitcast<f32>(p.lowest));
  var s = ${T}();
${each((of) => `let e = exp(${of("x")} - shift); ${of(again("x", "y"))} = e; s += e;`)}
  let total = sumOf(${sum("s")}, local, lane, lanes);
  let scale = 1.0 / select(total, 1.0, total == 0.0);
${each((of) => `y[base + j] = ${of(again("x", "y"))} * scale;`)}`));

/** dx = y (dy - sum(y dy)). Parameters: [rows, n]. */
export const softmaxBackward = family((traits: RowTraits) => rowKernel(
  "softmax backward", traits, arrays(typeOf(traits), "y", "dy"), arrays(typeOf(traits), "dx"), "rows: u32, n: u32, unused0: u32, unused1: u32",
  ({ T, hold, each, sum }) => /* wgsl */ `
${hold("y")}
${hold("dy")}
  var s = ${T}();
${each((of) => `s += ${of("y")} * ${of("dy")};`)}
  let inner = sumOf(${sum("s")}, local, lane, lanes);
${each((of) => `dx[base + j] = ${of("y")} * (${of("dy")} - inner);`)}`));
