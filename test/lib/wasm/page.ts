/** What the browser runs: every case of the table on wasm against plain TypeScript, and training, in the page itself. */

import {
  adamW, gpt, rng, tensor, tidy, useRelaxedSimd, useThreads, useWideSimd, WasmTensor, 
} from "../../../lib";
import { withDevice } from "../../../lib/layers/device";
import { wasm } from "../../../lib/wasm/module";
import { onBoth } from "../layers/both";
import { layerCases, type LayerCase } from "../layers/cases";
import { expectClose } from "../layers/close";

export interface PageReport {
  readonly layers: number;
  readonly failures: readonly string[];
  readonly build: string;
  readonly wide: boolean;
  readonly threads: number;
  /** What a second thread is refused with. */
  readonly refusal: string;
  readonly losses: readonly number[];
}

function compare({ layer, inputs, options }: LayerCase): void {
  for (const { name, found, expected } of onBoth("wasm", layer, inputs(), options)) expectClose(found, expected, 2e-4, name);
}

function train(): number[] {
  const model = gpt({ vocabulary: 5, context: 4, width: 8, heads: 2, blocks: 1 }, rng(1), { dtype: "float32" });
  for (const [name, t] of Object.entries(model.parameters)) model.parameters[name] = WasmTensor.from(t);
  const optimizer = adamW({ lr: 0.05 });
  const [ids, targets] = [tensor(Int32Array.of(0, 1, 2, 3), [1, 4]), tensor(Int32Array.of(1, 2, 3, 4), [1, 4])];
  return Array.from({ length: 10 }, () => withDevice("wasm", () => tidy(() => {
    const { loss, cache } = model.forward(ids, targets);
    optimizer.step(model.trainable, model.backward(cache));
    return loss;
  })));
}

function messageOf(body: () => unknown): string {
  try {
    body();
    return "";
  } catch (error) {
    return (error as Error).message;
  }
}

export function run(): PageReport {
  const wide = useWideSimd();
  useRelaxedSimd();
  const failures = layerCases.flatMap((entry) => {
    const message = messageOf(() => compare(entry));
    return message ? [`${entry.name}: ${message}`] : [];
  });
  return {
    layers: layerCases.length, failures, build: wasm().build, wide, threads: useThreads(), refusal: messageOf(() => useThreads(2)), losses: train(),
  };
}

/** What a page that is not cross-origin isolated is told. */
export const refusal = (): string => messageOf(() => wasm());
