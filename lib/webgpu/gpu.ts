/**
 * One GPU: its buffers, its pipelines, and the list of kernels to run. Kernels are recorded into one command encoder and
 * submitted together; nothing comes back from the GPU until a tensor is read.
 */

import { BindGroups, numberOf } from "./bindGroups";

/** A compute shader: its storage buffers are bound first, in order, then one uniform of parameters. */
export interface Kernel {
  readonly name: string;
  readonly code: string;
}

/** What a dispatch binds: buffers or parts of them in the order of the shader's bindings, and the parameters' 32-bit words. */
export interface Dispatch {
  readonly buffers: readonly GPUBufferBinding[];
  /** Whole numbers go in as u32, the rest through `floatBits`. */
  readonly params: readonly number[];
  readonly groups: readonly [number, number?];
}

/** A family of kernels, each written once: pipelines are found by the kernel's identity. */
export function family<A extends readonly unknown[]>(write: (...traits: A) => Kernel): (...traits: A) => Kernel {
  const known = new Map<string, Kernel>();
  return (...traits) => {
    const key = JSON.stringify(traits);
    let kernel = known.get(key);
    if (!kernel) known.set(key, (kernel = write(...traits)));
    return kernel;
  };
}

/** Uniform offsets must be multiples of this on every GPU. */
const PARAMS_ALIGNMENT = 256;
/** Parameters of this many dispatches are collected before they are submitted. */
const PARAMS_SIZE = 1024 * PARAMS_ALIGNMENT;
/** More bytes than this do not wait for a submission that somebody else asks for: they are needed again. */
const MOST_RETIRED = 2 ** 28;
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

interface Pipeline {
  readonly pipeline: GPUComputePipeline;
  readonly layout: GPUBindGroupLayout;
}

export class Gpu {
  private readonly pipelines = new Map<Kernel, Pipeline>();
  private readonly pool = new Map<number, GPUBuffer[]>();
  private readonly params = new Uint32Array(PARAMS_SIZE / 4);
  private readonly paramsBuffer: GPUBuffer;
  private paramsUsed = 0;
  private readonly groups: BindGroups;
  private encoder?: GPUCommandEncoder;
  private pass?: GPUComputePassEncoder;
  /** The dispatch recorded last, not encoded yet: see `replaceLast`. */
  private latest?: { kernel: Kernel; dispatch: Dispatch };
  /** Why the device is gone for good. */
  private gone?: string;
  /** What went wrong since the last check; the device goes on. */
  private fault?: string;
  /** Answers of the GPU about its memory and compilers that are still to come. */
  private readonly awaited = new Set<Promise<void>>();
  /** Buffers that the GPU had no memory for. */
  private readonly invalid = new WeakSet<GPUBuffer>();
  /** Buffers that are free again once what is recorded has been submitted. */
  private retired: GPUBuffer[] = [];
  private retiredBytes = 0;
  /** Bytes in buffers that some tensor holds. */
  used = 0;
  /** Kernels recorded since the start. */
  dispatches = 0;
  /** Bytes of the buffers bound to them, each once a kernel: what is moved where a kernel touches each number once. */
  bytes = 0;
  /** Command buffers submitted since the start. */
  submissions = 0;

  /** `instance` is only held: Dawn's objects must not be collected while the device is in use. */
  constructor(readonly instance: unknown, readonly adapter: GPUAdapter, readonly device: GPUDevice) {
    this.groups = new BindGroups(device);
    this.paramsBuffer = device.createBuffer({ size: PARAMS_SIZE, usage: BufferUsage.UNIFORM | BufferUsage.COPY_DST });
    device.addEventListener("uncapturederror", (event) => {
      this.fault ??= firstLine((event as GPUUncapturedErrorEvent).error.message);
    });
    void device.lost.then(({ reason, message }) => {
      this.gone = `the device was lost (${reason || "unknown reason"}${message ? `: ${firstLine(message)}` : ""}); call await webgpu() for a new one`;
    });
  }

  /** Adapter name, for people. */
  get description(): string {
    const { vendor, architecture, device, description } = this.adapter.info;
    return [description || device, vendor, architecture].filter(Boolean).join(", ");
  }

  /** The fewest and the most invocations of a subgroup, where kernels use them: from 4 on, and no more than share a row. */
  get subgroups(): readonly [number, number] | undefined {
    const { subgroupMinSize = 0, subgroupMaxSize = 0 } = this.adapter.info;
    return this.device.features.has("subgroups") && subgroupMinSize >= 4 && subgroupMaxSize <= 64 ? [subgroupMinSize, subgroupMaxSize] : undefined;
  }

  /** What kernels choose their sizes by: invocations and bytes of memory of a workgroup, storage buffers of a kernel. */
  get limits(): { readonly invocations: number; readonly workgroupBytes: number; readonly buffers: number } {
    const { maxComputeInvocationsPerWorkgroup, maxComputeWorkgroupSizeX, maxComputeWorkgroupStorageSize, maxStorageBuffersPerShaderStage } = this.device.limits;
    return {
      invocations: Math.min(maxComputeInvocationsPerWorkgroup, maxComputeWorkgroupSizeX),
      workgroupBytes: maxComputeWorkgroupStorageSize,
      buffers: maxStorageBuffersPerShaderStage,
    };
  }

  /** Whether the device can no longer be used. */
  get lost(): boolean {
    return this.gone !== undefined;
  }

  /** The dispatch that `replaceLast` would replace. */
  get last(): Dispatch | undefined {
    return this.latest?.dispatch;
  }

  /**
   * Throws what the GPU reported. After an error that the device survives, what was recorded and not submitted is dropped:
   * it may build on what failed.
   */
  private check(): void {
    if (this.gone !== undefined) throw new Error(`webgpu: ${this.gone}`);
    if (this.fault === undefined) return;
    const message = `webgpu: ${this.fault}`;
    this.fault = this.latest = this.encoder = this.pass = undefined;
    this.paramsUsed = 0;
    this.recycle();
    throw new Error(message);
  }

  /** Runs `body`, and turns an error of that kind into a fault that the next check throws. */
  private guarded<T>(kind: GPUErrorFilter, body: () => T, sentence: (message: string, made: T) => string): T {
    this.device.pushErrorScope(kind);
    const made = body();
    const answer = this.device.popErrorScope().then(
      (error) => {
        if (error) this.fault = sentence(firstLine(error.message), made);
      },
      () => undefined, // the device was lost, which is known by itself
    ).finally(() => this.awaited.delete(answer));
    this.awaited.add(answer);
    return made;
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
    return this.guarded(
      "out-of-memory",
      () => this.device.createBuffer({ size, usage: BufferUsage.STORAGE | BufferUsage.COPY_SRC | BufferUsage.COPY_DST }),
      (_, buffer) => {
        this.invalid.add(buffer);
        this.emptyPool();
        return `the GPU has no memory for a tensor of ${mebibytes(bytes)} MiB beside the ${mebibytes(this.used)} MiB in use; ` +
          'use a smaller batch, free tensors with gpuScope or dispose(), or use device "cpu"';
      });
  }

  /** Gives a buffer back; it is used again only after what is recorded now. */
  release(buffer: GPUBuffer): void {
    this.used -= buffer.size;
    this.retired.push(buffer);
    this.retiredBytes += buffer.size;
    if (!this.encoder && !this.latest) this.recycle();
    else if (this.retiredBytes > MOST_RETIRED) this.submit();
  }

  private recycle(): void {
    for (const buffer of this.retired) {
      if (this.invalid.has(buffer)) continue;
      const list = this.pool.get(buffer.size);
      if (list) list.push(buffer);
      else this.pool.set(buffer.size, [buffer]);
    }
    // Whatever order they came back in, the next step gets those that the last one got, and binds the same groups.
    for (const list of this.pool.values()) list.sort((a, b) => numberOf(b) - numberOf(a));
    this.retired = [];
    this.retiredBytes = 0;
  }

  private emptyPool(): void {
    this.groups.forget();
    for (const list of this.pool.values()) for (const buffer of list) buffer.destroy();
    this.pool.clear();
  }

  /** Fills a buffer that was just allocated: nothing recorded reads it yet, since buffers are reused only after a submission. */
  upload(buffer: GPUBuffer, words: Float32Array | Int32Array | Uint32Array): void {
    this.device.queue.writeBuffer(buffer, 0, words as BufferSource);
  }

  /** Records one kernel. */
  run(kernel: Kernel, dispatch: Dispatch): void {
    this.check();
    const [x, y = 1] = dispatch.groups;
    if (x === 0 || y === 0) return;
    if (Math.max(x, y) > MAX_GROUPS) throw new Error(`webgpu: ${kernel.name} needs ${Math.max(x, y)} workgroups along one axis, a device runs ${MAX_GROUPS}`);
    if (4 * dispatch.params.length > PARAMS_ALIGNMENT) throw new Error(`webgpu: ${kernel.name} has ${dispatch.params.length} parameters, at most ${PARAMS_ALIGNMENT / 4} fit`);
    this.encodeLast();
    this.latest = { kernel, dispatch };
    this.dispatches++;
  }

  /** Replaces the dispatch recorded last by one that does its work and the next step's: see `takenIn`. */
  replaceLast(kernel: Kernel, dispatch: Dispatch): void {
    this.latest = { kernel, dispatch };
  }

  private encodeLast(): void {
    if (!this.latest) return;
    const { kernel, dispatch: { buffers, params, groups: [x, y = 1] } } = this.latest;
    this.latest = undefined;
    if (this.paramsUsed + PARAMS_ALIGNMENT > PARAMS_SIZE) this.submit();
    const offset = this.paramsUsed;
    this.paramsUsed += PARAMS_ALIGNMENT;
    this.params.set(params, offset / 4);
    for (const buffer of new Set(buffers.map((bound) => bound.buffer))) this.bytes += buffer.size;

    const { pipeline, layout } = this.pipeline(kernel);
    const group = this.groups.of(layout, [...buffers, { buffer: this.paramsBuffer, offset, size: PARAMS_ALIGNMENT }]);
    this.encoder ??= this.device.createCommandEncoder();
    this.pass ??= this.encoder.beginComputePass();
    this.pass.setPipeline(pipeline);
    this.pass.setBindGroup(0, group);
    this.pass.dispatchWorkgroups(x, y);
  }

  private pipeline(kernel: Kernel): Pipeline {
    let known = this.pipelines.get(kernel);
    if (!known) {
      const pipeline = this.guarded(
        "validation",
        () => this.device.createComputePipeline({
          label: kernel.name, layout: "auto", compute: { module: this.device.createShaderModule({ label: kernel.name, code: kernel.code }) },
        }),
        (message) => `the GPU's compiler refuses the kernel "${kernel.name}": ${message}`);
      known = { pipeline, layout: pipeline.getBindGroupLayout(0) };
      this.pipelines.set(kernel, known);
    }
    return known;
  }

  /** Hands everything recorded to the GPU. Returns at once. */
  submit(): void {
    this.encodeLast();
    if (!this.encoder) return;
    this.pass?.end();
    this.device.queue.writeBuffer(this.paramsBuffer, 0, this.params, 0, this.paramsUsed / 4);
    this.device.queue.submit([this.encoder.finish()]);
    this.submissions++;
    this.encoder = this.pass = undefined;
    this.paramsUsed = 0;
    this.recycle();
  }

  /** Waits until the GPU has done everything recorded. */
  async finish(): Promise<void> {
    this.check();
    this.submit();
    await this.device.queue.onSubmittedWorkDone();
    await this.settle();
  }

  /** Waits for the answers that are due, and throws when one is an error. */
  private async settle(): Promise<void> {
    await Promise.all(this.awaited);
    this.check();
  }

  /** The first `bytes` of what is bound, once everything recorded has run. */
  async read({ buffer, offset = 0 }: GPUBufferBinding, bytes: number): Promise<ArrayBuffer> {
    this.check();
    this.submit();
    const staging = this.device.createBuffer({ size: Math.max(bytes, 4), usage: BufferUsage.MAP_READ | BufferUsage.COPY_DST });
    try {
      const encoder = this.device.createCommandEncoder();
      encoder.copyBufferToBuffer(buffer, offset, staging, 0, bytes);
      this.device.queue.submit([encoder.finish()]);
      try {
        await staging.mapAsync(MAP_READ);
      } catch (error) {
        await this.settle();
        throw new Error(`webgpu: the result could not be read: ${firstLine((error as Error).message)}`);
      }
      await this.settle();
      return staging.getMappedRange().slice(0);
    } finally {
      staging.destroy();
    }
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
const firstLine = (message: string): string => message.split("\n")[0];
