/** The memory that the main thread and the socket thread share, so that an interrupt reaches code that never yields. */

/** Number of the cell that is running; 0 when none is. */
export const RUNNING = 0;
/** 1 when the running cell is to stop at its next loop turn. */
export const STOP = 1;

export function createFlags(): Int32Array {
  return new Int32Array(new SharedArrayBuffer(8));
}
