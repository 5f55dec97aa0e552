/**
 * What is asked of every layer on every device: the table's cases and PyTorch's tensors. A device's own test file calls
 * `proveDevice("wasm", { dtype: "float32", tolerance: ... })`.
 */

import { randn, rng, Tensor, type DeviceName } from "../../../lib";
import { layerCases, type LayerCase } from "./cases";
import { expectClose } from "./close";
import { goldenCases } from "./golden";

export interface DeviceProof {
  readonly dtype: "float64" | "float32";
  /** Allowed difference from the plain float64 implementation, relative to the tensor's greatest element. */
  readonly tolerance: number;
  /** Leaves out cases that the device says it has no code for. */
  readonly covers?: (layer: string) => boolean;
}

/** A random dy of y's shape. */
export const upstream = (y: Tensor): Tensor => randn(y.shape, rng(99)).astype(y.dtype);

export function smoothInputs({ layer }: LayerCase, inputs: Record<string, Tensor>): [string, Tensor][] {
  return Object.entries(inputs).filter(([name]) => layer.differentiable.includes(name));
}

/** Forward and backward of every case on a device against plain TypeScript in float64, and against PyTorch. */
export function proveDevice(device: DeviceName, { dtype, tolerance, covers = () => true }: DeviceProof): void {
  describe.each(layerCases.filter(({ layer }) => covers(layer.name)))(`$name on ${device} in ${dtype}`, (entry) => {
    it("equals plain TypeScript", () => {
      const { layer, inputs, options } = entry;
      const plain = layer.forward(inputs(), { ...options(), device: "cpu" });
      const there = layer.forward(inputs(dtype), { ...options(), device });
      expectClose(there.y, plain.y, tolerance, "y");
      expect(there.y.dtype).toBe(dtype);
      const dy = upstream(plain.y);
      const expected = layer.backward(dy, plain.cache);
      const found = layer.backward(dy.astype(dtype), there.cache);
      expect(Object.keys(found).sort()).toEqual(Object.keys(expected).sort());
      for (const [name, gradient] of Object.entries(expected)) expectClose(found[name], gradient as Tensor, tolerance, name);
    });
  });

  describe.each(goldenCases.filter(({ layer }) => covers(layer.name)))(`$name on ${device} in ${dtype}`, (golden) => {
    it("equals PyTorch", () => {
      const { y, cache } = golden.layer.forward(golden.inputs(dtype), { ...golden.options, device });
      expectClose(y, golden.y, tolerance, "y");
      const found = golden.layer.backward(golden.dy.astype(dtype), cache);
      for (const [name, gradient] of Object.entries(golden.gradients)) expectClose(found[name], gradient, tolerance, name);
      for (const name of Object.keys(found)) expect(Object.keys(golden.gradients)).toContain(name);
    });
  });
}

