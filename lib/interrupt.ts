/**
 * How a long loop of the library can be stopped from a notebook. The kernel registers shared memory as
 * globalThis[Symbol.for("gradbook.interrupt")], an Int32Array whose first element turns 1 when the user presses Stop.
 * Without a kernel nothing is registered, and the check costs one property read.
 */

const HOOK = Symbol.for("gradbook.interrupt");

/** What a stopped loop throws. */
export class Interrupted extends Error {
  override name = "KernelInterrupt";

  constructor() {
    super("the cell was interrupted");
  }
}

/**
 * Call it in loops that may run for more than a tenth of a second.
 * @throws Interrupted once for each time that the user asked to stop
 */
export function checkInterrupt(): void {
  const flag = (globalThis as Record<symbol, unknown>)[HOOK] as Int32Array | undefined;
  if (flag !== undefined && flag[0] !== 0) {
    flag[0] = 0;
    throw new Interrupted();
  }
}
