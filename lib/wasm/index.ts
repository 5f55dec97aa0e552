/** The WebAssembly tier: float32 layers on SIMD kernels, chosen by `device("wasm")` or `{ device: "wasm" }`. */

import { registerDevice } from "../layers/device";
import { layers } from "./layers";
import { wasm } from "./module";
import { updates } from "./updates";

export { useRelaxedSimd, useThreads, useWideSimd } from "./module";
export { WasmTensor } from "./tensor";

registerDevice("wasm", { layers, updates, tidy: (body) => wasm().memory.scope(body) });
