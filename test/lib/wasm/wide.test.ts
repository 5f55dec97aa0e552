/** The kernels for engines that join vectors answer to the same table, joined or not. test/newerNode.test.ts has them joined. */

import { useRelaxedSimd, useWideSimd } from "../../../lib";
import { chooseBuild, wasm } from "../../../lib/wasm/module";
import { proveDevice } from "../layers/suite";
import { proveSizes } from "./sizes";

if (useWideSimd() || chooseBuild("wide", useRelaxedSimd())) {
  it("are what runs", () => expect(wasm().build).toBe("wide"));
  proveDevice("wasm", { dtype: "float32", tolerance: 2e-4 });
  proveSizes();
} else {
  it.skip("relaxed SIMD, which this engine does not have", () => undefined);
}
