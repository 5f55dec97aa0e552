/**
 * Training on the GPU in a notebook: through the kernel, with its live plot, and stopped half-way.
 * @jest-environment ./test/support/gpu-environment.js
 */

import { TestKernel } from "../../kernel/support/kernel";
import { beforeGpuTests, gpuIt } from "./support";

let kernel: TestKernel;

beforeGpuTests(async () => {
  kernel = await TestKernel.start();
}, 60_000);

afterAll(() => kernel?.stop());

const setup = `
const ids = characters("the cat sat on the mat. ").encode("the cat sat on the mat. ".repeat(20));
const model = gpt({ vocabulary: 12, context: 8, width: 16, heads: 2, blocks: 1 }, rng(1), { dtype: "float32", std: 0.1 });
const plot = livePlot({ title: "Loss", x: "step", y: "nats", rate: 1000 });
let last = NaN;
async function learn(steps: number, device: DeviceName): Promise<void> {
  for await (const { step, loss } of train(model, ids, { steps, batch: 4, optimizer: adamW({ lr: 0.02 }), rng: rng(2), device })) {
    last = loss;
    await plot.add(step, { loss });
    if (step === 3) console.log("under way");
  }
}
const { features } = await webgpu();
features.length > 0`;

gpuIt("one word moves training to the GPU, the plot follows, and Stop leaves a trained model", async () => {
  expect(await kernel.execute(setup)).toMatchObject({ error: undefined, result: "true" });

  const onCpu = await kernel.execute('await learn(20, "cpu"); last');
  expect(onCpu.error).toBeUndefined();
  const onGpu = await kernel.execute('await learn(20, "webgpu"); last');
  expect(onGpu.error).toBeUndefined();
  expect(Number(onGpu.result)).toBeLessThan(Number(onCpu.result));
  // Drawn again and again while the cell ran, not once at its end.
  const drawn = onGpu.messages.filter(({ header }) => header.msg_type === "update_display_data").length;
  expect(drawn).toBeGreaterThan(3);

  const endless = await kernel.startCell('await learn(1e9, "webgpu")');
  await kernel.until(() => kernel.of(endless.id).some(({ content }) => /under way/.test(String(content.text))));
  expect(await kernel.request("interrupt_request", {}, "control")).toEqual({ status: "ok" });
  expect((await kernel.finish(endless)).error!.ename).toBe("KernelInterrupt");

  // As soon as the step that was under way has ended, the model is the cpu's again, trained; and the GPU goes on.
  await kernel.execute("while (model.parameters.tokens instanceof GpuTensor) await new Promise((r) => setTimeout(r, 10))");
  const after = await kernel.execute("[evaluate(model, ids) < 2, (await GpuTensor.from(tensor([1, 2])).mul(3).read()).toArray()]");
  expect(after.error).toBeUndefined();
  expect(after.result!.replace(/\s/g, "")).toBe("[true,[3,6]]");
}, 60_000);
