/**
 * WGSL on the CPU: what it computes, what it refuses, and the same text on a GPU where there is one.
 * @jest-environment ./test/support/gpu-environment.js
 */

import { gpu } from "../../../lib/webgpu/connect";
import { RESERVED } from "../../../lib/webgpu/emulate/lexer";
import { emulate, randn, rng, runShader, webgpu, WgslError } from "../../../lib";
import { gpuIt } from "./support";

/** A kernel of one invocation that writes to out: array<f32>, and reads in0: array<f32>. */
const single = (body: string, top = ""): string => `
${top}
@group(0) @binding(0) var<storage, read> in0: array<f32>;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;
@compute @workgroup_size(1)
fn main() {
${body}
}`;

function evaluate(body: string, input: number[] = [1, 2, 3, 4], top = "", size = 4): number[] {
  const out = new Float32Array(size);
  emulate(single(body, top)).dispatch({ groups: [1], bindings: { 0: Float32Array.from(input), 1: out } });
  return Array.from(out);
}

const softmaxBackward = `
struct Dims { rows: u32, columns: u32 }
@group(0) @binding(0) var<storage, read> y: array<f32>;
@group(0) @binding(1) var<storage, read> dy: array<f32>;
@group(0) @binding(2) var<storage, read_write> dx: array<f32>;
@group(0) @binding(3) var<uniform> dims: Dims;
const LANES = 64u;
var<workgroup> partial: array<f32, LANES>;
@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let start = group.x * dims.columns;
  var s = 0.0;
  for (var j = lane; j < dims.columns; j += LANES) { s += y[start + j] * dy[start + j]; }
  partial[lane] = s;
  workgroupBarrier();
  for (var half = LANES / 2; half > 0; half >>= 1u) {
    if (lane < half) { partial[lane] += partial[lane + half]; }
    workgroupBarrier();
  }
  let total = partial[0];
  for (var j = lane; j < dims.columns; j += LANES) { dx[start + j] = y[start + j] * (dy[start + j] - total); }
}`;

function softmaxCase(rows: number, columns: number) {
  const random = rng(5);
  const y = Float32Array.from(randn([rows * columns], random).data, Math.abs);
  const dy = Float32Array.from(randn([rows * columns], random).data);
  return { y, dy, bind: (dx: Float32Array) => ({ groups: [rows] as [number], bindings: { 0: y, 1: dy, 2: dx, 3: Uint32Array.of(rows, columns) } }) };
}

describe("what it computes", () => {
  it.each<[string, string, number[]]>([
    ["float32 after each operation", "out[0] = 0.1f + 0.2f; out[1] = 16777216.0 + in0[0];", [Math.fround(Math.fround(0.1) + Math.fround(0.2)), 16777216, 0, 0]],
    ["integers that wrap", "out[0] = f32(2147483647 + i32(in0[0])); out[1] = f32(0u - u32(in0[0]));", [-2147483648, 4294967296, 0, 0]],
    ["integer division and remainder toward zero", "out[0] = f32(-7 / 2); out[1] = f32(-7 % 3); let z = i32(in0[0]) - 1; out[2] = f32(7 / z); out[3] = f32(7 % z);", [-3, -1, 7, 0]],
    ["precedence and shifts", "out[0] = f32((1u << 4u) | (3u & 6u)); out[1] = f32(-16 >> 2u); out[2] = 1.0 + 2.0 * 3.0; out[3] = f32(7u & 3u & 2u);", [18, -4, 7, 2]],
    ["short circuits", "if (in0[0] > 5.0 && in0[9] > 0.0) { out[0] = 1.0; } else { out[0] = 2.0; }", [2, 0, 0, 0]],
    ["vectors, swizzles, components", "var v = vec3f(in0[0], in0[1], in0[2]); v.y += 10.0; let w = v.zyx * 2.0; out[0] = w.x; out[1] = w[1]; out[2] = dot(v, vec3(1.0)); out[3] = select(1.0, 2.0, all(v > vec3f(0)));", [6, 24, 16, 2]],
    ["built-in functions", "out[0] = exp(in0[0]); out[1] = clamp(in0[3], 0.0, 2.5); out[2] = inverseSqrt(in0[3]); out[3] = f32(max(3, i32(in0[3])));", [Math.fround(Math.E), 2.5, 0.5, 4]],
    ["loops, break, continue", "var s = 0.0; var i = 0; loop { if (i == 3) { break; } if (i == 1) { i++; continue; } s += in0[i]; continuing { i++; } } out[0] = s;", [1, 0, 0, 0]],
    ["while and switch", "var i = 0u; while (i < 4u) { switch (i) { case 1u, 2u: { out[i] = 7.0; } default: { out[i] = in0[i]; } } i += 1u; }", [1, 7, 7, 4]],
    ["arrays, copies, arrayLength", "var a = array<f32, 3>(1.0, 2.0, 3.0); var b = a; b[1] = 9.0; out[0] = a[1]; out[1] = b[1]; out[2] = f32(arrayLength(&in0));", [2, 9, 4, 0]],
  ])("%s", (_name, body, expected) => {
    // In the loop's case `continue` runs the continuing block, so i goes from 1 to 3.
    expect(evaluate(body)).toEqual(expected);
  });

  it("functions, pointers, structs and constants", () => {
    const top = `
      struct Pair { a: vec3f, b: f32, c: array<u32, 2> }
      const TWICE = 2 * 1.5;
      fn grow(p: ptr<function, Pair>, by: f32) { (*p).b += by; (*p).c[1] = 8u; }
      fn total(p: Pair) -> f32 { return p.a.x + p.a.y + p.a.z + p.b + f32(p.c[1]); }`;
    expect(evaluate("var p = Pair(vec3f(1.0, 2.0, 3.0), 4.0, array<u32, 2>(5u, 6u)); grow(&p, TWICE); out[0] = total(p);", [0], top)[0]).toBe(21);
  });

  it("lays buffers out as WGSL does: vec3 on 16 bytes, structs rounded up", () => {
    const source = `
      struct Item { weight: f32, place: vec3f, id: u32 }
      @group(0) @binding(0) var<storage, read> items: array<Item>;
      @group(0) @binding(1) var<storage, read_write> out: array<f32>;
      @compute @workgroup_size(1) fn main() { out[0] = items[1].weight; out[1] = items[1].place.z; out[2] = f32(items[1].id); out[3] = f32(arrayLength(&items)); }`;
    const words = new Float32Array(24);
    words[8] = 5;
    words[14] = 7;
    new Uint32Array(words.buffer)[15] = 9;
    const out = new Float32Array(4);
    emulate(source).dispatch({ groups: [1], bindings: { 0: words, 1: out } });
    expect(Array.from(out)).toEqual([5, 7, 9, 3]);
  });

  it("sums in shared memory across barriers, and counts the busiest invocation's loads", () => {
    const { y, dy, bind } = softmaxCase(3, 130);
    const dx = new Float32Array(390);
    expect(emulate(softmaxBackward).dispatch(bind(dx)).loads).toBe(4 * 3);
    for (let i = 0; i < 3; i++) {
      let s = 0;
      for (let j = 0; j < 130; j++) s += y[i * 130 + j] * dy[i * 130 + j];
      for (let j = 0; j < 130; j++) expect(dx[i * 130 + j]).toBeCloseTo(y[i * 130 + j] * (dy[i * 130 + j] - s), 4);
    }
  });

  it("atomics", () => {
    const source = `
      @group(0) @binding(0) var<storage, read_write> counter: array<atomic<u32>, 2>;
      @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) { atomicAdd(&counter[0], id.x); atomicMax(&counter[1], id.x); }`;
    const counter = new Uint32Array(2);
    emulate(source).dispatch({ groups: [2], bindings: { 0: counter } });
    expect(Array.from(counter)).toEqual([(127 * 128) / 2, 127]);
  });
});

describe("what it refuses, and where", () => {
  it.each<[string, string, RegExp]>([
    ["mixed types", "out[0] = in0[0] + 1u;", /^line 7, column 17: \+ of f32 and u32: convert one side first/],
    ["an unknown name", "out[0] = inn[0];", /unknown name inn/],
    ["an unknown function", "out[0] = softmax(1.0);", /unknown function softmax/],
    ["assignment to let", "let a = 1.0; a = 2.0;", /only a variable can be assigned to/],
    ["writing to a read-only buffer", "in0[0] = 1.0;", /read-only/],
    ["a float condition", "if (in0[0]) { }", /the condition must be bool, this is f32/],
    ["a float index", "out[in0[0]] = 1.0;", /an index must be i32 or u32, this is f32/],
    ["an index outside", "out[4] = 1.0;", /index 4 is outside out, which has 4 elements/],
    ["a missing semicolon", "out[0] = 1.0", /expected ";", found "}"/],
    ["a wrong number of arguments", "out[0] = max(1.0);", /max takes 2 arguments, got 1/],
    ["an unused value", "max(1.0, 2.0);", /the value of max is not used/],
    ["an integer where a float belongs", "var a = 0; a += in0[0];", /\+ of i32 and f32/],
    ["shifts and bits without parentheses", "out[0] = f32(1u << 4u | 3u);", /mixing << and \| needs parentheses/],
    ["reserved words as names", "var shared = 1.0;", /shared is a reserved word/],
    ["a loop without end", "var i = 0; while (i < 1) { i = 0; }", /this loop does not end/],
    ["matrices", "let m = mat2x2<f32>(1.0, 0.0, 0.0, 1.0);", /outside the emulated subset/],
  ])("%s", (_name, body, message) => {
    expect(() => evaluate(body)).toThrow(WgslError);
    expect(() => evaluate(body)).toThrow(message);
  });

  it.each<[string, string, string, RegExp]>([
    ["a missing barrier", "partial[lane] = s;\n  workgroupBarrier();", "partial[lane] = s;", /depends on the order in which the invocations run/],
    ["a barrier that some skip", "if (lane < half) {", "if (lane < half) { workgroupBarrier();", /only some invocations of the workgroup reach this barrier/],
    ["a binding that is missing", "@binding(3)", "@binding(4)", /nothing is bound to dims \(binding 4\)/],
    ["too large a workgroup", "const LANES = 64u", "const LANES = 512u", /WebGPU promises 256/],
  ])("%s", (_name, from, to, message) => {
    const { bind } = softmaxCase(2, 70);
    expect(softmaxBackward).toContain(from);
    expect(() => emulate(softmaxBackward.replace(from, to)).dispatch(bind(new Float32Array(140)))).toThrow(message);
  });
});

describe("the same text on a GPU", () => {
  gpuIt("gives the emulation's numbers", async () => {
    await webgpu();
    const { bind } = softmaxCase(5, 190);
    const [here, there] = [new Float32Array(950), new Float32Array(950)];
    emulate(softmaxBackward).dispatch(bind(here));
    await runShader(softmaxBackward, bind(there));
    const largest = Math.max(...here.map(Math.abs));
    expect(Math.max(...here.map((v, i) => Math.abs(v - there[i])))).toBeLessThan(1e-5 * largest);
  });

  gpuIt("refuses the same names", async () => {
    await webgpu();
    const { device } = gpu();
    const taken = (await Promise.all([...RESERVED].map(async (name) => {
      device.pushErrorScope("validation");
      const module = device.createShaderModule({ code: `fn f() { let ${name} = 1; }` });
      const { messages } = await module.getCompilationInfo();
      await device.popErrorScope();
      return messages.some(({ type }) => type === "error") ? undefined : name;
    }))).filter(Boolean);
    expect(taken).toEqual([]);
  });

  gpuIt("and the GPU's compiler agrees on the kernels used above", async () => {
    await webgpu();
    for (const body of ["var v = vec3f(in0[0], in0[1], in0[2]); v.y += 10.0; let w = v.zyx * 2.0; out[0] = w.x + dot(v, vec3(1.0));",
      "var i = 0u; while (i < 4u) { switch (i) { case 1u, 2u: { out[i] = 7.0; } default: { out[i] = in0[i]; } } i += 1u; }",
      "out[0] = f32((1u << 4u) | (3u & 6u)) + f32(-16 >> 2u);"]) {
      const out = new Float32Array(4);
      await runShader(single(body), { groups: [1], bindings: { 0: Float32Array.of(1, 2, 3, 4), 1: out } }).catch((error: Error) => {
        throw new Error(`${body}: ${error.message}`);
      });
      expect(Array.from(out)).toEqual(evaluate(body));
    }
  });
});
