import { onBreak } from "../interrupt";
import type { Tensor } from "../tensor";
import type { DeviceName } from "./device";

/** One pass of one layer, just done. */
export interface Observation {
  readonly layer: string;
  readonly pass: "forward" | "backward";
  readonly device: DeviceName;
  /** What went in: the inputs, or dy. */
  readonly given: Readonly<Record<string, Tensor | undefined>>;
  /** What came out: y, or the gradients. */
  readonly made: Readonly<Record<string, Tensor>>;
  /** The model's names for where this ran, outermost first. */
  readonly scope: string;
}

let listener: ((seen: Observation) => void) | undefined;
const scopes: string[] = [];
onBreak(() => {
  listener = undefined;
  scopes.length = 0;
});

/** Runs `body` with `listen` called after every pass of every layer, inner layers first. */
export function observeLayers<T>(listen: (seen: Observation) => void, body: () => T): T {
  const before = listener;
  listener = listen;
  try {
    return body();
  } finally {
    listener = before;
  }
}

/** Names the place in a model where `body` runs its layers: "block0.attention". Scopes nest. */
export function layerScope<T>(name: string, body: () => T): T {
  scopes.push(name);
  try {
    return body();
  } finally {
    scopes.pop();
  }
}

/** Tells whoever listens; nothing is worked out when nobody does. */
export function tell(seen: () => Omit<Observation, "scope">): void {
  listener?.({ ...seen(), scope: scopes.join("/") });
}
