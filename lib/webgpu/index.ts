/**
 * The WebGPU tier: `await webgpu()`, then `device("webgpu")`. Layers take plain tensors or tensors on the GPU, compute in
 * float32, and return tensors on the GPU; `await t.read()` brings one back.
 */

import { registerDevice } from "../layers/device";
import { connect } from "./connect";
import { adapt, layers } from "./layers";
import { gpuScope } from "./tensor";

export { adamwOnGpu, type AdamwOptions } from "./adamw";
export { GpuTensor, gpuScope } from "./tensor";
export { emulate, WgslError, type EmulatedShader, type ShaderDispatch } from "./emulate";
export { runShader } from "./shader";

/** What is known of the GPU that was found. */
export interface GpuInfo {
  readonly description: string;
  readonly vendor: string;
  readonly architecture: string;
  /** Software that emulates a GPU: right, but slow. */
  readonly emulated: boolean;
  /** The most bytes one tensor may have. */
  readonly maxTensorBytes: number;
  /** Bytes of memory that a workgroup shares. */
  readonly workgroupBytes: number;
  /** The fewest and the most invocations of a subgroup, where kernels use them. */
  readonly subgroups: readonly [number, number] | undefined;
  readonly features: readonly string[];
}

/**
 * Connects to a GPU, once, and makes device "webgpu" known.
 *
 * NaN and infinity: a NaN that an elementwise operation, a sum, a maximum or a product is given comes out again, as on the
 * cpu. WGSL allows a compiler to assume that there are none, so what a shader makes of an overflow in the middle of a
 * kernel (an infinite score in attention, say) may differ from the cpu's, and from one GPU to the next.
 *
 * @throws one sentence that says what was tried and how to get a GPU; device "cpu" goes on working
 */
export async function webgpu(): Promise<GpuInfo> {
  const { description, adapter, device, subgroups } = await connect();
  registerDevice("webgpu", { layers, adapt, tidy: gpuScope });
  return {
    description,
    vendor: adapter.info.vendor,
    architecture: adapter.info.architecture,
    emulated: /swiftshader|llvmpipe|lavapipe/i.test(description),
    maxTensorBytes: Math.min(device.limits.maxStorageBufferBindingSize, device.limits.maxBufferSize),
    workgroupBytes: device.limits.maxComputeWorkgroupStorageSize,
    subgroups,
    features: [...adapter.features].sort(),
  };
}
