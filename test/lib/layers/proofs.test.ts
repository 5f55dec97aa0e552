/** Each case of the table: its backward by differences, by the exact forward mode, and by reverse mode of its forward. */

import { gradcheck, hvp, jvp, randn, rng, Tensor, vjp } from "../../../lib";
import { Dual, tangentOf } from "../../../lib/check/dual";
import { layerCases } from "./cases";
import { expectClose } from "./close";
import { upstream } from "./both";
import { smoothInputs } from "./suite";

it("has two hundred cases and more", () => {
  expect(layerCases.length).toBeGreaterThanOrEqual(200);
});

const truncated = (options: Record<string, unknown>, T: number): boolean => (options.truncate as number) < T;

describe.each(layerCases)("$name", (entry) => {
  const { layer } = entry;
  const cut = truncated(entry.options(), entry.inputs().x?.shape[1] ?? 0);

  // Truncated backpropagation leaves part of the gradient out on purpose: PyTorch's tensors and the jvp prove it instead.
  if (!cut) it("has the gradients that differences give", () => {
    const result = gradcheck(layer, entry.inputs(), { options: entry.options, tolerance: 1e-8, elements: 24 });
    if (!result.passed) throw new Error(String(result));
    expect(Object.values(result.inputs).every((check) => check.undecided === 0)).toBe(true);
  });

  it("satisfies <dy, jvp> = <vjp, v> for each input and all together", () => {
    const inputs = entry.inputs();
    const { y, cache } = layer.forward(inputs, { ...entry.options(), frozen: [] });
    const dy = upstream(y);
    const gradients = layer.backward(dy, cache);
    const generator = rng(5);
    const tangents = Object.fromEntries(smoothInputs(entry, inputs).map(([name, t]) => [name, randn(t.shape, generator)]));
    for (const moving of [...Object.keys(tangents).map((name) => [name]), Object.keys(tangents)]) {
      const v = Object.fromEntries(moving.map((name) => [name, tangents[name]]));
      const forward = layer.jvp(inputs, v, entry.options());
      expectClose(forward.y, y, 1e-14, "y");
      const left = dy.dot(forward.dy);
      const parts = moving.map((name) => (gradients[`d${name}`] as Tensor).dot(tangents[name]));
      const right = parts.reduce((a, b) => a + b, 0);
      const scale = dy.norm() * forward.dy.norm() + parts.reduce((a, b) => a + Math.abs(b), 1e-3);
      expect(Math.abs(left - right) / scale).toBeLessThan(1e-12);
    }
  });

  if (!cut) it("has the derivatives that automatic differentiation of its forward gives", () => {
    const inputs = entry.inputs();
    const smooth = Object.fromEntries(smoothInputs(entry, inputs));
    const run = (x: Record<string, Tensor>): Tensor => layer.forward({ ...inputs, ...x }, entry.options()).y;
    const { y, cache } = layer.forward(inputs, { ...entry.options(), frozen: [] });
    const dy = upstream(y);
    const expected = layer.backward(dy, cache);
    const reverse = vjp(run, smooth, dy).dx as Record<string, Tensor>;
    for (const name of Object.keys(smooth)) expectClose(reverse[name], expected[`d${name}`], 1e-10, `d${name}`);

    const tangents = Object.fromEntries(Object.entries(smooth).map(([name, t]) => [name, randn(t.shape, rng(6))]));
    expectClose(jvp(run, smooth, tangents).dy, layer.jvp(inputs, tangents, entry.options()).dy, 1e-10, "dy");
  });

  // The tangent of the hand-written backward is the Hessian-vector product of L = <y, dy>. Sparse rows carry no tangent.
  if (!cut && !entry.options().sparse) it("has a backward that can itself be differentiated", () => {
    const inputs = entry.inputs();
    const smooth = Object.fromEntries(smoothInputs(entry, inputs));
    const tangents = Object.fromEntries(Object.entries(smooth).map(([name, t]) => [name, randn(t.shape, rng(8))]));
    const moving = Object.fromEntries(Object.entries(smooth).map(([name, t]) => [name, new Dual(t, tangents[name])]));
    const { y, cache } = layer.forward({ ...inputs, ...moving }, { ...entry.options(), frozen: [] });
    const dy = randn(y.shape, rng(99));
    const found = layer.backward(dy, cache);
    const loss = (x: Record<string, Tensor>): Tensor => layer.forward({ ...inputs, ...x }, entry.options()).y.mul(dy).sum();
    const expected = hvp(loss, smooth, tangents).hv as Record<string, Tensor>;
    for (const name of Object.keys(smooth)) expectClose(tangentOf(found[`d${name}`]), expected[name], 1e-9, `H v in ${name}`);
  });
});
