/**
 * What the tests of the WebGPU tier share. A file that uses it starts with `@jest-environment ./test/support/gpu-environment.js`,
 * which looks for an adapter before the tests are named: without one they are skipped, each by name, and the reporter lists them.
 */

import { randn, rng, SparseRows, type AnyLayer, type Tensor } from "../../../lib";
import { GpuTensor, webgpu } from "../../../lib/webgpu";
import { onBoth } from "../layers/both";
import { expectClose } from "../layers/close";

declare const haveGpu: boolean;

const needs = "(needs a Vulkan driver, or Debian's chromium)";
const run = haveGpu ? it : it.skip;

/** A test that needs a GPU. */
export const gpuIt = Object.assign(
  (name: string, body: jest.ProvidesCallback, timeout?: number): void => run(`${name} ${needs}`, body, timeout),
  { each: ((table: readonly unknown[]) => (name: string, body: (...row: any[]) => Promise<void>, timeout?: number): void => run.each(table)(`${name} ${needs}`, body, timeout)) as jest.Each },
);

/** Before the tests of a file, where there is a GPU. */
export function beforeGpuTests(body: () => Promise<unknown>, timeout?: number): void {
  beforeAll(async () => {
    if (haveGpu) await body();
  }, timeout);
}

/** Before the tests of a file, connects to the GPU. */
export const connectFirst = (): void => beforeGpuTests(webgpu);

const random = rng(11);
export const draw = (...shape: number[]): Tensor => randn(shape, random);

/** What lib/webgpu promises beside plain TypeScript in float64, relative to a tensor's greatest element. */
export const TOLERANCE = 2e-4;

/** What no kernel made is not on the GPU; a sparse gradient keeps its rows there. */
export async function read(t: Tensor): Promise<Tensor> {
  if (t instanceof SparseRows) return new SparseRows(t.rows, await read(t.values), t.shape);
  return t instanceof GpuTensor ? t.read() : t;
}

/** y and every gradient of a layer on the GPU against plain TypeScript in float64. Options are made anew where they hold a generator. */
export async function expectSame(
  layer: AnyLayer, inputs: Record<string, Tensor>, options: object | (() => object) = {}, tolerance = TOLERANCE,
): Promise<void> {
  const chosen = typeof options === "function" ? (options as () => object) : () => options;
  const pairs = onBoth("webgpu", layer, inputs, chosen);
  const [y] = pairs;
  if (y.expected.size > 0) expect(y.found).toBeInstanceOf(GpuTensor);
  for (const { name, found, expected } of pairs) expectClose(await read(found), expected, tolerance, name);
}
