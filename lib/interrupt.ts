/**
 * How a long loop of the library can be stopped from a notebook. The kernel registers shared memory as
 * globalThis[Symbol.for("gradbook.interrupt")], an Int32Array whose first element turns 1 when the user presses Stop.
 * Without a kernel nothing is registered, and the check costs one property read.
 */

const HOOK = Symbol.for("gradbook.interrupt");
const RESETS = Symbol.for("gradbook.broken");

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

/**
 * Registers what puts a module's state back after code of the library was broken off in its midst. What runs long without
 * a check is ended by the kernel with a signal, and then not even `finally` runs.
 */
export function onBreak(reset: () => void): void {
  const holder = globalThis as Record<symbol, unknown>;
  ((holder[RESETS] ??= new Set()) as Set<() => void>).add(reset);
}

/** Called by the kernel when a signal has ended a cell. */
export function recover(): void {
  for (const reset of ((globalThis as Record<symbol, unknown>)[RESETS] ?? []) as Iterable<() => void>) reset();
}
