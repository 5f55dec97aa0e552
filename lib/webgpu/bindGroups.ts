/** What kernels bind, kept: a training step binds the same again and again, and making a group is a third of recording a kernel. */

/** Beyond this many all are forgotten, and made again as they are needed. */
const MOST = 4096;

const numbers = new WeakMap<GPUBuffer, number>();
let numbered = 0;

/** A number for each buffer. */
export function numberOf(buffer: GPUBuffer): number {
  let number = numbers.get(buffer);
  if (number === undefined) numbers.set(buffer, (number = numbered++));
  return number;
}

export class BindGroups {
  private readonly known = new Map<GPUBindGroupLayout, Map<string, GPUBindGroup>>();
  private size = 0;

  constructor(private readonly device: GPUDevice) {}

  /** The group of a layout whose bindings are `bound`, in order. */
  of(layout: GPUBindGroupLayout, bound: readonly GPUBufferBinding[]): GPUBindGroup {
    let own = this.known.get(layout);
    if (!own) this.known.set(layout, (own = new Map()));
    const key = this.keyOf(bound);
    let group = own.get(key);
    if (!group) {
      if (this.size === MOST) this.forget();
      group = this.device.createBindGroup({ layout, entries: bound.map((resource, binding) => ({ binding, resource })) });
      own.set(key, group);
      this.size++;
    }
    return group;
  }

  /** Groups hold their buffers: to be called when buffers are destroyed. */
  forget(): void {
    for (const groups of this.known.values()) groups.clear();
    this.size = 0;
  }

  private keyOf(bound: readonly GPUBufferBinding[]): string {
    let key = "";
    for (const { buffer, offset = 0, size = 0 } of bound) {
      key += `${numberOf(buffer)} ${offset} ${size},`;
    }
    return key;
  }
}
