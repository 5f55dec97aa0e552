/** Bind groups are made once for what is bound, and again when all were forgotten. No GPU is needed for it. */
import { BindGroups } from "../../../lib/webgpu/bindGroups";

const buffer = (): GPUBuffer => ({}) as GPUBuffer;
const [one, other] = [{}, {}] as GPUBindGroupLayout[];

function made(): { groups: BindGroups; createBindGroup: jest.Mock<object, [GPUBindGroupDescriptor]> } {
  const createBindGroup = jest.fn((_: GPUBindGroupDescriptor) => ({}));
  return { groups: new BindGroups({ createBindGroup } as unknown as GPUDevice), createBindGroup };
}

it("gives the same group for the same parts of the same buffers in the same order, and for nothing else", () => {
  const { groups, createBindGroup } = made();
  const [a, b] = [buffer(), buffer()];
  const asked: [GPUBindGroupLayout, GPUBufferBinding[]][] = [
    [one, [{ buffer: a }, { buffer: b }]],
    [one, [{ buffer: b }, { buffer: a }]],
    [one, [{ buffer: a }, { buffer: b, offset: 256 }]],
    [one, [{ buffer: a }, { buffer: b, offset: 256, size: 16 }]],
    [one, [{ buffer: a }]],
    [other, [{ buffer: a }, { buffer: b }]],
  ];
  const first = asked.map(([layout, bound]) => groups.of(layout, bound));
  expect(new Set(first).size).toBe(asked.length);
  expect(asked.map(([layout, bound]) => groups.of(layout, bound.map((part) => ({ ...part }))))).toEqual(first);
  expect(createBindGroup).toHaveBeenCalledTimes(asked.length);
  expect(createBindGroup.mock.calls[3][0]).toEqual({ layout: one, entries: [{ binding: 0, resource: { buffer: a } }, { binding: 1, resource: { buffer: b, offset: 256, size: 16 } }] });
});

it("keeps a limited number, and none once told to forget", () => {
  const { groups, createBindGroup } = made();
  const [kept, rest] = [buffer(), Array.from({ length: 4096 }, buffer)];
  groups.of(one, [{ buffer: kept }]);
  for (const each of rest) groups.of(one, [{ buffer: each }]);
  expect(createBindGroup).toHaveBeenCalledTimes(4097);
  groups.of(one, [{ buffer: kept }]);
  groups.of(one, [{ buffer: kept }]);
  expect(createBindGroup).toHaveBeenCalledTimes(4098);
  groups.forget();
  groups.of(one, [{ buffer: kept }]);
  expect(createBindGroup).toHaveBeenCalledTimes(4099);
});
