/** PyTorch's tensors (test/golden/layers.json, made by layers.py) as cases. */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import * as lib from "../../../lib";
import { Tensor, type AnyLayer } from "../../../lib";

interface Packed { readonly shape: number[]; readonly data: (number | string)[]; readonly int?: boolean }
interface Stored {
  readonly layer: string;
  readonly name: string;
  readonly inputs: Record<string, Packed>;
  readonly options: Record<string, unknown>;
  readonly dy: Packed;
  readonly y: Packed;
  readonly gradients: Record<string, Packed>;
}

export interface GoldenCase {
  readonly name: string;
  readonly layer: AnyLayer;
  inputs(dtype?: "float64" | "float32"): Record<string, Tensor>;
  readonly options: Record<string, unknown>;
  readonly dy: Tensor;
  readonly y: Tensor;
  readonly gradients: Record<string, Tensor>;
}

function unpack({ shape, data, int }: Packed): Tensor {
  return new Tensor(int ? Int32Array.from(data, Number) : Float64Array.from(data, Number), shape);
}

const mapped = (packed: Record<string, Packed>): Record<string, Tensor> =>
  Object.fromEntries(Object.entries(packed).map(([name, t]) => [name, unpack(t)]));

const stored = JSON.parse(readFileSync(join(__dirname, "../../golden/layers.json"), "utf8")) as { cases: Stored[] };

export const goldenCases: readonly GoldenCase[] = stored.cases.map((entry) => ({
  name: `${entry.layer} (${entry.name})`,
  layer: (lib as unknown as Record<string, AnyLayer>)[entry.layer],
  inputs: (dtype = "float64") => Object.fromEntries(Object.entries(mapped(entry.inputs))
    .map(([name, t]) => [name, t.dtype === "int32" ? t : t.astype(dtype)])),
  options: entry.options,
  dy: unpack(entry.dy),
  y: unpack(entry.y),
  gradients: mapped(entry.gradients),
}));
