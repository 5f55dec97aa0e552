/**
 * The WebGPU tier: `await webgpu()`, then `device("webgpu")`. Layers take plain tensors or tensors on the GPU, compute in
 * float32, and return tensors on the GPU; `await t.read()` brings one back.
 */

import { registerDevice } from "../layers/device";
import { connect } from "./connect";
import { adapt, layers } from "./layers";

export { adamwOnGpu, type AdamwOptions } from "./adamw";
export { GpuTensor, gpuScope } from "./tensor";
export { emulate, WgslError, type EmulatedShader, type ShaderDispatch } from "./emulate";
export { runShader } from "./shader";

/** What is known of the GPU that was found. */
export interface GpuInfo {
  readonly description: string;
  /** Software that emulates a GPU: right, but slow. */
  readonly emulated: boolean;
  /** The most bytes one tensor may have. */
  readonly maxTensorBytes: number;
  readonly features: readonly string[];
}

/**
 * Connects to a GPU, once, and makes device "webgpu" known.
 * @throws one sentence that says what was tried and how to get a GPU; device "cpu" goes on working
 */
export async function webgpu(): Promise<GpuInfo> {
  const { description, adapter, device } = await connect();
  registerDevice("webgpu", { layers, adapt });
  return {
    description,
    emulated: /swiftshader|llvmpipe|lavapipe/i.test(description),
    maxTensorBytes: Math.min(device.limits.maxStorageBufferBindingSize, device.limits.maxBufferSize),
    features: [...adapter.features].sort(),
  };
}
