/** What the browser runs: every kernel at least once, each layer against plain TypeScript, in the page itself. */

import { adamW, adamwOnGpu, device, gpt, GpuTensor, gpuScope, randn, rng, runShader, SparseRows, tensor, webgpu, type Tensor } from "../../../lib";
import { gpu } from "../../../lib/webgpu/connect";
import { sumsOfSquares } from "../../../lib/webgpu/norms";
import { onBoth } from "../layers/both";
import { layerCases, type LayerCase } from "../layers/cases";
import { expectClose } from "../layers/close";

export interface PageReport {
  readonly description: string;
  readonly layers: readonly string[];
  readonly kernels: readonly string[];
  readonly failures: readonly string[];
}

const read = async (t: Tensor): Promise<Tensor> =>
  t instanceof GpuTensor ? t.read() : t instanceof SparseRows ? new SparseRows(t.rows, await read(t.values), t.shape) : t;

async function compare({ layer, inputs, options }: LayerCase): Promise<void> {
  for (const { name, found, expected } of onBoth("webgpu", layer, inputs(), options)) expectClose(await read(found), expected, 2e-4, name);
}

async function train(): Promise<void> {
  const config = { vocabulary: 11, context: 8, width: 8, heads: 2, blocks: 1 };
  const ids = tensor(Int32Array.from({ length: 16 }, (_, i) => (i * 7) % 11), [2, 8]);
  const plain = gpt(config, rng(3), { std: 0.3 });
  const there = gpt(config, rng(3), { std: 0.3, dtype: "float32" });
  for (const [name, t] of Object.entries(there.parameters)) there.parameters[name] = GpuTensor.from(t);
  const [here, onGpu] = [adamW({ eps: 1e-4 }), adamwOnGpu({ eps: 1e-4 })];
  for (let i = 0; i < 3; i++) {
    here.step(plain.trainable, plain.backward(plain.forward(ids, ids).cache));
    const before = device();
    device("webgpu");
    gpuScope(() => onGpu.step(there.trainable, there.backward(there.forward(ids, ids).cache)));
    device(before);
  }
  for (const [name, w] of Object.entries(plain.parameters)) expectClose(await read(there.parameters[name]), w, 1e-3, name);
}

async function shader(): Promise<void> {
  const y = new Float32Array(3);
  await runShader(`@group(0) @binding(0) var<storage, read> x: array<f32>;
    @group(0) @binding(1) var<storage, read_write> y: array<f32>;
    @compute @workgroup_size(3) fn main(@builtin(local_invocation_index) i: u32) { y[i] = 2.0 * x[i]; }`, { groups: [1], bindings: { 0: Float32Array.of(1, 2, 3), 1: y } });
  expectClose(tensor(y), tensor([2, 4, 6]), 0, "y");
}

export async function run(): Promise<PageReport> {
  const { description } = await webgpu();
  const kernels = new Set<string>();
  const record = gpu().run.bind(gpu());
  gpu().run = (kernel, dispatch) => {
    kernels.add(kernel.name);
    record(kernel, dispatch);
  };
  const replace = gpu().replaceLast.bind(gpu());
  gpu().replaceLast = (kernel, dispatch) => {
    kernels.add(kernel.name);
    replace(kernel, dispatch);
  };
  const failures: string[] = [];
  const attempt = (name: string, body: () => Promise<void>): Promise<void> => body().catch((error: Error) => void failures.push(`${name}: ${error.message}`));

  // Of each layer the case with the largest inputs.
  const largest = new Map<string, (typeof layerCases)[number]>();
  const size = (entry: (typeof layerCases)[number]): number => Object.values(entry.inputs()).reduce((n, t) => n + t.size, 0);
  for (const entry of layerCases) {
    const known = largest.get(entry.layer.name);
    if (!known || size(entry) > size(known)) largest.set(entry.layer.name, entry);
  }
  for (const entry of largest.values()) await attempt(entry.name, () => compare(entry));
  await attempt("training", train);
  await attempt("a shader of one's own", shader);
  await attempt("norms", async () => {
    const x = randn([70], rng(1)).astype("float32");
    expectClose(await read(sumsOfSquares([GpuTensor.from(x)])), x.square().sum().reshape(1), 1e-5, "squares");
  });
  await attempt("a tile of 128", async () => {
    const [a, b] = [randn([1500, 8], rng(1)), randn([8, 1500], rng(2))].map((t) => t.astype("float32"));
    expectClose(await read(GpuTensor.from(a).matmul(b).sum(0)), a.matmul(b).sum(0), 1e-4, "sum");
  });
  return { description, layers: [...largest.keys()], kernels: [...kernels].sort(), failures };
}
