/** Optimisers' kernels against the rules in plain TypeScript. */

import { adam, adamW, device, randn, rng, sgd, tidy, WasmTensor, type Optimizer, type Tensor } from "../../../lib";
import { expectClose } from "../layers/close";

const optimizers: Record<string, () => Optimizer> = {
  "sgd": () => sgd({ lr: 0.1, weightDecay: 0.05 }),
  "momentum": () => sgd({ lr: 0.1, momentum: 0.9, dampening: 0.3, weightDecay: 0.01 }),
  "nesterov": () => sgd({ lr: 0.1, momentum: 0.9, nesterov: true }),
  "adam": () => adam({ lr: 0.1, betas: [0.8, 0.95], weightDecay: 0.05 }),
  "adamW": () => adamW({ lr: 0.1, weightDecay: 0.3 }),
};

const slope = (w: Tensor): Tensor => w.sin().neg().add(w.mul(0.2));
const start = (): Tensor => randn([5, 7], rng(3)).astype("float32");

/** Weights after ten steps from the same start. */
function trained(optimizer: Optimizer, w: Tensor): Tensor {
  for (let i = 0; i < 10; i++) tidy(() => optimizer.step({ w }, { w: slope(w) }));
  return w;
}

afterEach(() => void device("cpu"));

describe.each(Object.entries(optimizers))("%s on wasm", (_, make) => {
  const expected = trained(make(), start());

  it.each<[string, (w: Tensor) => Tensor]>([["in WebAssembly's memory", WasmTensor.from], ["elsewhere", (w) => w]])("updates weights %s", (__, place) => {
    device("wasm");
    const optimizer = make();
    expectClose(trained(optimizer, place(start())), expected, 1e-5, "w");
    expect(optimizer.stateBytes).toBe(4 * 35 * Object.keys(optimizer.state.get("w")!).length);
  });

  it("goes on from steps taken on the cpu, and back", () => {
    const [optimizer, reference] = [make(), make()];
    const [w, u] = [start(), start()];
    for (const where of ["cpu", "wasm", "cpu"] as const) {
      device(where);
      trained(optimizer, w);
      device("cpu");
      trained(reference, u);
    }
    expectClose(w, u, 1e-5, "w");
  });
});

it("leaves float64 weights, and rules it has no kernel for, to plain TypeScript", () => {
  device("wasm");
  const optimizer = adam({ amsgrad: true });
  trained(optimizer, start());
  expect(optimizer.state.get("w")!.vMax).toBeInstanceOf(Float64Array);
  const double = adamW();
  trained(double, start().astype("float64"));
  expect(double.state.get("w")!.m).toBeInstanceOf(Float64Array);
});
