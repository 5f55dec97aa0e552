/** The WebAssembly tier: float32 layers on SIMD kernels, chosen by `device("wasm")` or `{ device: "wasm" }`. */

import { registerDevice } from "../layers/device";
import { layers } from "./layers";

export { useRelaxedSimd } from "./module";

registerDevice("wasm", { layers });
