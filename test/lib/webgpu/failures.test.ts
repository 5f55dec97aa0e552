/**
 * What can go wrong on a GPU: one clear sentence each, and the process lives.
 * @jest-environment ./test/support/gpu-environment.js
 */

import { execFileSync } from "node:child_process";
import path from "node:path";
import { device, relu, tensor } from "../../../lib";
import { recover } from "../../../lib/interrupt";
import { GpuTensor, gpuScope, runShader, webgpu, WgslError } from "../../../lib/webgpu";
import { gpu } from "../../../lib/webgpu/connect";
import { expectClose } from "../layers/close";
import { connectFirst, draw, gpuIt } from "./support";

connectFirst();

describe("what can go wrong", () => {
  const lives = async (): Promise<void> => expectClose(await GpuTensor.from(tensor([1, 2])).mul(2).read(), tensor([2, 4]), 0, "afterwards");

  gpuIt("a tensor larger than the device allows", async () => {
    expect(() => GpuTensor.allocate([2 ** 31])).toThrow(/^webgpu: a tensor of 8192 MiB is larger than this device's limit of \d+ MiB; use a smaller batch or device "cpu"$/);
    await lives();
  });

  gpuIt("a cell that a signal has ended in the midst of a gpuScope", async () => {
    let made: GpuTensor;
    gpuScope(() => {
      recover();
      made = GpuTensor.from(tensor([1, 2])).mul(3) as GpuTensor;
    });
    // Had its buffer been given back, these would lie in it.
    const later: GpuTensor[] = [];
    for (let i = 0; i < 3; i++) {
      await lives();
      later.push(GpuTensor.from(tensor([7, 8])));
    }
    expectClose(await made!.read(), tensor([3, 6]), 0, "made");
  });

  gpuIt("no memory left; what was there before stays", async () => {
    const kept = GpuTensor.from(tensor([3, 5]));
    const { maxTensorBytes } = await webgpu();
    const held: GpuTensor[] = [];
    const fill = async (): Promise<void> => {
      // Nothing is written, so an emulated GPU takes no memory either.
      for (let i = 0; i < 64; i++) {
        held.push(GpuTensor.allocate([Math.floor(maxTensorBytes / 4 * 0.9)]));
        await gpu().finish();
      }
    };
    await expect(fill()).rejects.toThrow(/^webgpu: the GPU has no memory for a tensor of \d+ MiB beside the \d+ MiB in use; use a smaller batch, free tensors with gpuScope or dispose\(\), or use device "cpu"$/);
    for (const t of held) t.dispose();
    await lives();
    expectClose(await kept.read(), tensor([3, 5]), 0, "kept");
  });

  gpuIt("a step that runs out of memory is dropped, and read says so", async () => {
    const { device: real } = gpu();
    jest.spyOn(real, "popErrorScope").mockResolvedValueOnce({ message: "Out of memory\n  in detail" } as GPUError);
    const y = GpuTensor.allocate([5_000_000]);
    await expect(y.read()).rejects.toThrow(/^webgpu: the GPU has no memory for a tensor of 20 MiB/);
    jest.restoreAllMocks();
    y.dispose();
    // The buffer that the GPU had no memory for is not used again.
    const create = jest.spyOn(real, "createBuffer");
    GpuTensor.allocate([5_000_000]).dispose();
    expect(create).toHaveBeenCalledTimes(1);
    create.mockRestore();
    await lives();
  });

  gpuIt("a kernel that the GPU's compiler refuses is named", async () => {
    const y = GpuTensor.allocate([4]);
    gpu().run({ name: "broken", code: "@compute @workgroup_size(1) fn main() { let x: f32 = 1u; }" }, { buffers: [y.binding], params: [], groups: [1] });
    await expect(y.read()).rejects.toThrow(/^webgpu: the GPU's compiler refuses the kernel "broken": ./);
    await lives();
  });

  gpuIt("a shader of one's own that is bound or started wrongly", async () => {
    const source = "@group(0) @binding(0) var<storage, read_write> y: array<f32>;\n@compute @workgroup_size(1) fn main() { y[0] = 1.0; }";
    await expect(runShader(source, { groups: [1], bindings: {} })).rejects.toThrow(/^nothing is bound to y \(binding 0\)/);
    await expect(runShader(source, { groups: [1], bindings: { 0: new Float32Array(4) }, entryPoint: "other" })).rejects.toThrow(WgslError);
    await expect(runShader(source, { groups: [70_000], bindings: { 0: new Float32Array(4) } })).rejects.toThrow(WgslError);
    // No error scope is left open: the next error still arrives where it belongs.
    const y = new Float32Array(4);
    await runShader(source, { groups: [1], bindings: { 0: y } });
    expect(y[0]).toBe(1);
    await lives();
  });

  gpuIt("more axes or workgroups than a dispatch can have", async () => {
    const uneven = GpuTensor.from(draw(...Array<number>(8).fill(2)).astype("float32"));
    const turned = [7, 6, 5, 4, 3, 2, 1, 0];
    expect(() => uneven.transpose(turned)).toThrow(/^webgpu: copy over 8 uneven axes, at most 7 are possible; use device "cpu"$/);
    const seven = draw(...Array<number>(7).fill(2)).astype("float32");
    expectClose(await GpuTensor.from(seven).transpose(turned.slice(1)).read(), seven.transpose(turned.slice(1)), 0, "seven axes");
    expect(() => gpu().run({ name: "huge", code: "" }, { buffers: [], params: [], groups: [70_000] })).toThrow(/^webgpu: huge needs 70000 workgroups along one axis, a device runs 65535$/);
    await lives();
  });

  gpuIt("two calls of webgpu() share a device", async () => {
    gpu().device.destroy();
    await gpu().device.lost;
    const requests = jest.spyOn((navigator as unknown as { gpu: GPU }).gpu, "requestAdapter");
    await Promise.all([webgpu(), webgpu()]);
    expect(requests).toHaveBeenCalledTimes(1);
    requests.mockRestore();
    await lives();
  });

  gpuIt("an adapter that gives no device", async () => {
    gpu().device.destroy();
    await gpu().device.lost;
    const { gpu: source } = navigator as unknown as { gpu: GPU };
    const adapter = (await source.requestAdapter())!;
    jest.spyOn(adapter, "requestDevice").mockRejectedValueOnce(new Error("no more devices\n at a place"));
    const requests = jest.spyOn(source, "requestAdapter").mockResolvedValueOnce(adapter).mockResolvedValueOnce(null);
    await expect(webgpu()).rejects.toThrow(/^webgpu: the browser found .+, which gives no device \(no more devices\); use device "cpu"$/);
    await expect(webgpu()).rejects.toThrow(/^webgpu: the browser found no graphics adapter; turn on its hardware acceleration or try another browser, or use device "cpu"$/);
    requests.mockRestore();
    await webgpu();
    await lives();
  });

  gpuIt("a device that is lost while a result is on its way", async () => {
    const result = GpuTensor.from(draw(64, 64).astype("float32")).exp().read();
    gpu().device.destroy();
    await expect(result).rejects.toThrow(/^webgpu: /);
    await webgpu();
    await lives();
  });

  gpuIt("a lost device is one clear sentence, and a new one can be had", async () => {
    const x = GpuTensor.from(draw(3));
    gpu().device.destroy();
    await gpu().device.lost;
    expect(() => x.add(1)).toThrow(/^webgpu: (the device was lost \(destroyed.*call await webgpu\(\) for a new one|no device is connected)/);
    expect(() => device("webgpu")).not.toThrow();
    device("cpu");
    await webgpu();
    expectClose(await relu.forward({ x: draw(3).astype("float32").abs() }, { device: "webgpu" }).y.mul(0).read(), tensor([0, 0, 0]), 0, "y");
  });

  it("without an adapter one sentence says what was tried, and the cpu goes on", () => {
    const script = `
      const { webgpu } = require("./lib/webgpu");
      const { relu, tensor } = require("./lib");
      webgpu().catch((e) => console.log(e.message)).finally(() => console.log(relu.forward({ x: tensor([-1, 2]) }).y.toArray()));`;
    const out = execFileSync(process.execPath, ["-r", "ts-node/register/transpile-only", "-e", script], {
      encoding: "utf8", cwd: path.join(__dirname, "../../.."), stdio: ["ignore", "pipe", "ignore"],
      env: { ...process.env, VK_ICD_FILENAMES: "/nonexistent.json", VK_DRIVER_FILES: "/nonexistent.json" },
    });
    expect(out).toMatch(/^webgpu: Dawn \(the npm package webgpu\) found no graphics adapter; install .* or use device "cpu"\n\[ 0, 2 \]\n$/);
  });
});
