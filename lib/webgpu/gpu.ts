/**
 * One GPU: its buffers, its pipelines, and the list of kernels to run. Kernels are recorded into one command encoder and
 * submitted together; nothing comes back from the GPU until a tensor is read.
 */

/** A compute shader and how its buffers are bound: the storage buffers first, in order, then one uniform of parameters. */
export interface Kernel {
  readonly name: string;
  readonly code: string;
}

/** What a dispatch binds: buffers in the order of the shader's bindings, and the parameters' 32-bit words. */
export interface Dispatch {
  readonly buffers: readonly GPUBuffer[];
  /** Whole numbers go in as u32, the rest through `floatBits`. */
  readonly params: readonly number[];
  readonly groups: readonly [number, number?, number?];
}

/** Uniform offsets must be multiples of this on every GPU. */
const PARAMS_ALIGNMENT = 256;
/** Parameters of this many dispatches are collected before they are submitted. */
const PARAMS_SIZE = 1024 * PARAMS_ALIGNMENT;
/** WebGPU's limit on workgroups along one axis, the same on every device. */
const MAX_GROUPS = 65535;

const scratch = new DataView(new ArrayBuffer(4));

/** A float's bits, as a word of parameters. */
export function floatBits(x: number): number {
  scratch.setFloat32(0, x);
  return scratch.getUint32(0);
}

/** n workgroups as a grid no axis of which is too long; the shader counts them as `x + y * num_workgroups.x`. */
export function grid(n: number): [number, number] {
  if (n <= MAX_GROUPS) return [n, 1];
  const y = Math.ceil(n / MAX_GROUPS);
  return [Math.ceil(n / y), y];
}

export class Gpu {
  private readonly pipelines = new Map<string, GPUComputePipeline>();
  private readonly pool = new Map<number, GPUBuffer[]>();
  private readonly params = new Uint32Array(PARAMS_SIZE / 4);
  private readonly paramsBuffer: GPUBuffer;
  private paramsUsed = 0;
  private encoder?: GPUCommandEncoder;
  private pass?: GPUComputePassEncoder;
  private failure?: string;
  /** Buffers that are free again once what is recorded has been submitted. */
  private retired: { buffer: GPUBuffer; size: number }[] = [];
  /** Bytes in buffers that some tensor holds. */
  used = 0;
  /** Kernels recorded since the start. */
  dispatches = 0;

  /** `instance` is only held: Dawn's objects must not be collected while the device is in use. */
  constructor(readonly instance: unknown, readonly adapter: GPUAdapter, readonly device: GPUDevice) {
    this.paramsBuffer = device.createBuffer({ size: PARAMS_SIZE, usage: BufferUsage.UNIFORM | BufferUsage.COPY_DST });
    device.addEventListener("uncapturederror", (event) => {
      this.failure ??= (event as GPUUncapturedErrorEvent).error.message.split("\n")[0];
    });
    void device.lost.then(({ reason, message }) => {
      this.failure = `the device was lost (${reason || "unknown reason"}${message ? `: ${message.split("\n")[0]}` : ""}); call await webgpu() for a new one`;
    });
  }

  /** Adapter name, for people. */
  get description(): string {
    const { vendor, architecture, device, description } = this.adapter.info;
    return [description || device, vendor, architecture].filter(Boolean).join(", ");
  }

  /** Whether kernels may use subgroups: from 4 invocations on, and no more than the 64 that share a row. */
  get subgroups(): boolean {
    const { subgroupMinSize = 0, subgroupMaxSize = 0 } = this.adapter.info;
    return this.device.features.has("subgroups") && subgroupMinSize >= 4 && subgroupMaxSize <= 64;
  }

  /** Whether the device can still be used. */
  get lost(): boolean {
    return this.failure !== undefined;
  }

  private check(): void {
    if (this.failure !== undefined) throw new Error(`webgpu: ${this.failure}`);
  }

  /** A storage buffer of at least `bytes`, from the pool where one is free. */
  allocate(bytes: number): GPUBuffer {
    this.check();
    const size = pooledSize(bytes);
    const { maxStorageBufferBindingSize, maxBufferSize } = this.device.limits;
    const most = Math.min(maxStorageBufferBindingSize, maxBufferSize);
    if (size > most) {
      throw new Error(`webgpu: a tensor of ${mebibytes(bytes)} MiB is larger than this device's limit of ${mebibytes(most)} MiB; use a smaller batch or device "cpu"`);
    }
    this.used += size;
    const free = this.pool.get(size)?.pop();
    if (free) return free;
    return this.device.createBuffer({ size, usage: BufferUsage.STORAGE | BufferUsage.COPY_SRC | BufferUsage.COPY_DST });
  }

  /** Gives a buffer back; it is used again only after what is recorded now. */
  release(buffer: GPUBuffer): void {
    this.used -= buffer.size;
    this.retired.push({ buffer, size: buffer.size });
    if (!this.encoder) this.recycle();
  }

  private recycle(): void {
    for (const { buffer, size } of this.retired) {
      const list = this.pool.get(size);
      if (list) list.push(buffer);
      else this.pool.set(size, [buffer]);
    }
    this.retired = [];
  }

  /** Fills a buffer that was just allocated: nothing recorded reads it yet, since buffers are reused only after a submission. */
  upload(buffer: GPUBuffer, words: Float32Array | Int32Array | Uint32Array): void {
    this.device.queue.writeBuffer(buffer, 0, words as BufferSource);
  }

  /** Records one kernel. */
  run(kernel: Kernel, { buffers, params, groups }: Dispatch): void {
    this.check();
    const [x, y = 1, z = 1] = groups;
    if (x === 0 || y === 0 || z === 0) return;
    if (Math.max(x, y, z) > MAX_GROUPS) throw new Error(`webgpu: ${kernel.name} needs ${Math.max(x, y, z)} workgroups, a device runs ${MAX_GROUPS}`);
    if (this.paramsUsed + PARAMS_ALIGNMENT > PARAMS_SIZE) this.submit();
    const offset = this.paramsUsed;
    this.paramsUsed += PARAMS_ALIGNMENT;
    this.params.set(params, offset / 4);

    const pipeline = this.pipeline(kernel);
    const entries: GPUBindGroupEntry[] = buffers.map((buffer, binding) => ({ binding, resource: { buffer } }));
    entries.push({ binding: buffers.length, resource: { buffer: this.paramsBuffer, offset, size: PARAMS_ALIGNMENT } });
    this.encoder ??= this.device.createCommandEncoder();
    this.pass ??= this.encoder.beginComputePass();
    this.pass.setPipeline(pipeline);
    this.pass.setBindGroup(0, this.device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }));
    this.pass.dispatchWorkgroups(x, y, z);
    this.dispatches++;
  }

  private pipeline({ name, code }: Kernel): GPUComputePipeline {
    let pipeline = this.pipelines.get(code);
    if (!pipeline) {
      const module = this.device.createShaderModule({ label: name, code });
      pipeline = this.device.createComputePipeline({ label: name, layout: "auto", compute: { module } });
      this.pipelines.set(code, pipeline);
    }
    return pipeline;
  }

  /** Hands everything recorded to the GPU. Returns at once. */
  submit(): void {
    if (!this.encoder) return;
    this.pass?.end();
    this.device.queue.writeBuffer(this.paramsBuffer, 0, this.params, 0, this.paramsUsed / 4);
    this.device.queue.submit([this.encoder.finish()]);
    this.encoder = this.pass = undefined;
    this.paramsUsed = 0;
    this.recycle();
  }

  /** Waits until the GPU has done everything recorded. */
  async finish(): Promise<void> {
    this.submit();
    await this.device.queue.onSubmittedWorkDone();
    this.check();
  }

  /** The first `bytes` of a buffer, once everything recorded has run. */
  async read(buffer: GPUBuffer, bytes: number): Promise<ArrayBuffer> {
    this.submit();
    const staging = this.device.createBuffer({ size: Math.max(bytes, 4), usage: BufferUsage.MAP_READ | BufferUsage.COPY_DST });
    const encoder = this.device.createCommandEncoder();
    encoder.copyBufferToBuffer(buffer, 0, staging, 0, bytes);
    this.device.queue.submit([encoder.finish()]);
    try {
      await staging.mapAsync(MAP_READ);
    } catch (error) {
      this.check();
      throw new Error(`webgpu: the result could not be read: ${(error as Error).message.split("\n")[0]}`);
    }
    const copy = staging.getMappedRange().slice(0);
    staging.destroy();
    this.check();
    return copy;
  }
}

/** GPUBufferUsage's numbers: the global of that name exists only where a browser or Dawn has put it. */
const BufferUsage = { COPY_SRC: 4, COPY_DST: 8, UNIFORM: 64, STORAGE: 128, MAP_READ: 1 };
/** GPUMapMode.READ */
const MAP_READ = 1;

/** Few distinct sizes, so that a buffer finds another use: quarters of powers of two. */
function pooledSize(bytes: number): number {
  if (bytes <= 256) return 256;
  const quarter = 2 ** (Math.floor(Math.log2(bytes)) - 2);
  return Math.ceil(bytes / quarter) * quarter;
}

const mebibytes = (bytes: number): number => Math.ceil(bytes / 2 ** 20);
