import { connect } from "./connect";
import { WgslError, emulate, type ShaderDispatch, type Words } from "./emulate";

// WebGPU's constants, which Node does not have as globals.
const [MAP_READ, COPY_SRC, COPY_DST, UNIFORM, STORAGE] = [0x1, 0x4, 0x8, 0x40, 0x80];
const [READ, COMPUTE] = [0x1, 0x4];

/**
 * Runs a compute shader of your own on the GPU that `webgpu()` finds; its results are then in the buffers of `run.bindings`.
 * The text is read by `emulate` first, so it must lie in the emulated subset, and which buffer is written is known from it.
 *
 * @throws WgslError when the text is wrong, for the emulation or for the GPU's own compiler; Error when there is no GPU.
 */
export async function runShader(source: string, run: ShaderDispatch): Promise<void> {
  const { entryPoints, bindings } = emulate(source);
  const { device } = await connect();
  const module = device.createShaderModule({ code: source });
  const { messages } = await module.getCompilationInfo();
  const wrong = messages.find((message) => message.type === "error");
  if (wrong) throw new WgslError(wrong.message, { line: wrong.lineNum, column: wrong.linePos });

  // Not "auto": that would leave out bindings which the text declares and does not use.
  const layout = await validated(device, () => device.createBindGroupLayout({
    entries: bindings.map(({ binding, writable, uniform }) => ({
      binding, visibility: COMPUTE, buffer: { type: uniform ? "uniform" : writable ? "storage" : "read-only-storage" },
    })),
  }));
  const pipeline = await device.createComputePipelineAsync({
    layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }),
    compute: { module, entryPoint: run.entryPoint ?? entryPoints[0].name },
  }).catch((error: Error) => {
    throw new WgslError(error.message);
  });
  const { bound, results } = await validated(device, () => {
    const bound = bindings.map(({ name, binding, writable, uniform }) => {
      const words = run.bindings[binding];
      if (words === undefined) throw new WgslError(`nothing is bound to ${name} (binding ${binding})`);
      const size = Math.ceil(words.byteLength / 16) * 16;
      const buffer = device.createBuffer({ size, usage: (uniform ? UNIFORM : STORAGE | COPY_SRC) | COPY_DST });
      device.queue.writeBuffer(buffer, 0, words as BufferSource);
      return { binding, writable, words, buffer, size };
    });
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, device.createBindGroup({
      layout,
      // The buffer may be padded; a runtime-sized array must see its own length.
      entries: bound.map(({ binding, buffer, words }) => ({ binding, resource: { buffer, size: words.byteLength } })),
    }));
    pass.dispatchWorkgroups(...run.groups);
    pass.end();
    const results = bound.filter(({ writable }) => writable).map((b) => {
      const copy = device.createBuffer({ size: b.size, usage: MAP_READ | COPY_DST });
      encoder.copyBufferToBuffer(b.buffer, 0, copy, 0, b.size);
      return { words: b.words, copy };
    });
    device.queue.submit([encoder.finish()]);
    return { bound, results };
  });
  for (const { words, copy } of results) {
    await copy.mapAsync(READ);
    bytes(words).set(new Uint8Array(copy.getMappedRange(0, words.byteLength)));
    copy.destroy();
  }
  for (const { buffer } of bound) buffer.destroy();
}

/** What `body` makes on the device, all at once, so that errors of others do not get mixed in. */
async function validated<T>(device: GPUDevice, body: () => T): Promise<T> {
  device.pushErrorScope("validation");
  let failure: Promise<GPUError | null>;
  let made: T;
  try {
    made = body();
  } finally {
    failure = device.popErrorScope();
  }
  const error = await failure;
  if (error) throw new WgslError(error.message);
  return made;
}

const bytes = (words: Words): Uint8Array => new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
