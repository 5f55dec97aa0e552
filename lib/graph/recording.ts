import { onBreak } from "../interrupt";

/** Whether operations on `Value` and `Variable` leave a record for a backward pass. */
let recording = true;
onBreak(() => { recording = true; });

export const isRecording = (): boolean => recording;

/**
 * Runs `body` without recording: what it computes has no parents, costs no memory, and gets no gradient.
 * For inference and for parameter updates.
 */
export function noGrad<T>(body: () => T): T {
  return withRecording(false, body);
}

export function withRecording<T>(on: boolean, body: () => T): T {
  const before = recording;
  recording = on;
  try {
    return body();
  } finally {
    recording = before;
  }
}
