const FLAG = Symbol.for("gradbook.interrupt");

/** Called in long loops: throws when the kernel has asked the running cell to stop. Outside a kernel it does nothing. */
export function checkInterrupt(): void {
  const flag = (globalThis as Record<symbol, unknown>)[FLAG];
  if (flag instanceof Int32Array && Atomics.load(flag, 0) !== 0) throw new Error("interrupted");
}
