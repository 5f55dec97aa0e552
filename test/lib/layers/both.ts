/** A layer on a device and in plain TypeScript, for tests in Node and in a browser's page: nothing here needs jest. */

import { randn, rng, type AnyLayer, type DeviceName, type Tensor } from "../../../lib";

/** A random dy of y's shape. */
export const upstream = (y: Tensor): Tensor => randn(y.shape, rng(99)).astype(y.dtype);

export interface Pair {
  readonly name: string;
  readonly found: Tensor;
  readonly expected: Tensor;
}

/**
 * y and every gradient: on `device` in `dtype`, and in plain TypeScript on the same numbers in float64.
 * @param options made anew for each, where they hold a generator. @throws when one has gradients that the other has not
 */
export function onBoth(
  device: DeviceName, layer: AnyLayer, inputs: Record<string, Tensor>, options: () => object = () => ({}), dtype: "float64" | "float32" = "float32",
): Pair[] {
  const there = Object.fromEntries(Object.entries(inputs).map(([name, t]) => [name, t.dtype === "int32" ? t : t.astype(dtype)]));
  const plain = layer.forward(inputs, { ...options(), device: "cpu" });
  const other = layer.forward(there, { ...options(), device });
  const dy = upstream(plain.y);
  const expected = layer.backward(dy, plain.cache) as Record<string, Tensor>;
  const found = layer.backward(dy.astype(dtype), other.cache) as Record<string, Tensor>;
  const [names, others] = [expected, found].map((gradients) => Object.keys(gradients).sort().join(", "));
  if (names !== others) throw new Error(`${layer.name} on ${device} has the gradients ${others}, expected ${names}`);
  return [
    { name: "y", found: other.y, expected: plain.y },
    ...Object.entries(expected).map(([name, gradient]) => ({ name, found: found[name], expected: gradient })),
  ];
}
