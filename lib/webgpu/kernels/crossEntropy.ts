import { family } from "../gpu";
import { arrays, rowKernel, typeOf, type RowTraits } from "./rows";

/**
 * The loss of each row, (log sum exp(x) - x[target]) factor, 0 where the target is ignored; `lse` is kept for the backward.
 * Parameters: [rows, n, ignored target, bits of -infinity, bits of factor].
 */
export const crossEntropy = family((traits: RowTraits) => rowKernel(
  "cross-entropy", traits, [...arrays(typeOf(traits), "x"), "targets: array<i32>"], arrays("f32", "loss", "lse"),
  "rows: u32, n: u32, ignored: i32, lowest: u32, factor: f32",
  ({ T, hold, each, sum, max }) => /* wgsl */ `
${hold("x")}
  var m = bitcast<f32>(p.lowest);
${each((of) => `m = max(m, ${max(of("x"))});`)}
  let top = maxOf(m, local, lane, lanes);
  var s = ${T}();
${each((of) => `s += exp(${of("x")} - top);`)}
  let total = sumOf(${sum("s")}, local, lane, lanes);
  if (local == 0u) {
    let l = top + log(total);
    lse[row] = l;
    let t = targets[row];
    var value = 0.0;
    if (t != p.ignored) { value = l - ${traits.wide ? "x[base + u32(t) / 4u][u32(t) % 4u]" : "x[base + u32(t)]"}; }
    loss[row] = value * p.factor;
  }`));

/**
 * dx = (exp(x - lse) - onehot(target)) dy factor, 0 where the target is ignored; dy is one number a row, or one for all.
 * Parameters: [rows, n, ignored, dy's step from row to row (1 or 0), bits of factor].
 */
export const crossEntropyBackward = family((traits: RowTraits) => rowKernel(
  "cross-entropy backward", traits, [...arrays(typeOf(traits), "x"), "targets: array<i32>", ...arrays("f32", "lse", "dy")],
  arrays(typeOf(traits), "dx"), "rows: u32, n: u32, ignored: i32, step: u32, factor: f32",
  ({ T, hold, each }) => /* wgsl */ `
${hold("x")}
  let t = targets[row];
  let up = dy[row * p.step] * p.factor;
  let l = lse[row];
${each((of) => `
    let here = ${traits.wide ? "vec4i(i32(4u * j)) + vec4i(0, 1, 2, 3) == vec4i(t)" : "i32(j) == t"};
    dx[base + j] = select((exp(${of("x")} - l) - select(${T}(), ${T}(1.0), here)) * up, ${T}(), t == p.ignored);`)}`));
