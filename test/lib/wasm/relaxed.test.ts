/** The kernels built with relaxed SIMD answer to the same table. */

import { useRelaxedSimd } from "../../../lib";
import { wasm } from "../../../lib/wasm/module";
import { proveDevice } from "../layers/suite";
import { proveSizes } from "./sizes";

if (useRelaxedSimd()) {
  it("is what runs", () => expect(wasm().build).toBe("relaxed"));
  proveDevice("wasm", { dtype: "float32", tolerance: 2e-4 });
  proveSizes();
} else {
  it.skip("relaxed SIMD, which this engine does not have", () => undefined);
}
