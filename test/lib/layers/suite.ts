/**
 * What is asked of every layer on every device: the table's cases and PyTorch's tensors. A device's own test file calls
 * `proveDevice("wasm", { dtype: "float32", tolerance: ... })`.
 */

import { Tensor, type DeviceName } from "../../../lib";
import { onBoth } from "./both";
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

export function smoothInputs({ layer }: LayerCase, inputs: Record<string, Tensor>): [string, Tensor][] {
  return Object.entries(inputs).filter(([name]) => layer.differentiable.includes(name));
}

/** Forward and backward of every case on a device against plain TypeScript in float64, and against PyTorch. */
export function proveDevice(device: DeviceName, { dtype, tolerance, covers = () => true }: DeviceProof): void {
  describe.each(layerCases.filter(({ layer }) => covers(layer.name)))(`$name on ${device} in ${dtype}`, (entry) => {
    it("equals plain TypeScript", () => {
      const pairs = onBoth(device, entry.layer, entry.inputs(), entry.options, dtype);
      for (const { name, found, expected } of pairs) expectClose(found, expected, tolerance, name);
      expect(pairs[0].found.dtype).toBe(dtype);
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

