/** Finds a GPU, in Node through the npm package webgpu (Dawn) and in a browser through navigator.gpu. */

import { Gpu } from "./gpu";

let current: Gpu | undefined;
let connecting: Promise<Gpu> | undefined;

/** The GPU that `webgpu()` found. */
export function gpu(): Gpu {
  if (!current || current.lost) throw new Error("webgpu: no device is connected; call await webgpu() first");
  return current;
}

/** Connects to a GPU, once; a lost device is replaced. Throws one sentence that says what was tried. */
export async function connect(): Promise<Gpu> {
  if (current && !current.lost) return current;
  connecting ??= open().finally(() => (connecting = undefined));
  return (current = await connecting);
}

async function open(): Promise<Gpu> {
  const { instance, tried, advice } = await findInstance();
  const adapter = await instance.requestAdapter({ powerPreference: "high-performance" });
  if (!adapter) throw new Error(`webgpu: ${tried} found no graphics adapter; ${advice}, or use device "cpu"`);
  const { maxStorageBufferBindingSize, maxBufferSize, maxComputeWorkgroupStorageSize, maxStorageBuffersPerShaderStage } = adapter.limits;
  try {
    const device = await adapter.requestDevice({
      requiredLimits: { maxStorageBufferBindingSize, maxBufferSize, maxComputeWorkgroupStorageSize, maxStorageBuffersPerShaderStage },
      requiredFeatures: adapter.features.has("subgroups") ? ["subgroups"] : [],
    });
    return new Gpu(instance, adapter, device);
  } catch (error) {
    const { description, vendor } = adapter.info;
    throw new Error(`webgpu: ${tried} found ${description || vendor || "an adapter"}, which gives no device (${(error as Error).message.split("\n")[0]}); use device "cpu"`);
  }
}

async function findInstance(): Promise<{ instance: GPU; tried: string; advice: string }> {
  const browser = (globalThis as { navigator?: { gpu?: GPU } }).navigator?.gpu;
  if (browser) return { instance: browser, tried: "the browser", advice: "turn on its hardware acceleration or try another browser" };
  // An optional dependency, so its types are not counted on. In a bundle for browsers it is an empty module: package.json says so.
  const { create }: { create?(options: string[]): GPU } = await import("webgpu" as string).catch((error: Error) => {
    if (/Cannot find (module|package)|Failed to resolve/.test(String(error))) return {};
    throw new Error(`webgpu: the npm package webgpu does not start here (${error.message.split("\n")[0]}); use device "cpu"`);
  });
  if (!create) throw new Error('webgpu: this browser or Node has no WebGPU; in Node run "npm install webgpu", or use device "cpu"');
  return {
    instance: create([]),
    tried: "Dawn (the npm package webgpu)",
    advice: "install a graphics driver (on Debian without a GPU: the package chromium, and set VK_ICD_FILENAMES=/usr/lib/chromium/vk_swiftshader_icd.json for an emulated one)",
  };
}
