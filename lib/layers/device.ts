/**
 * Which implementation of a layer runs. Every layer has one in plain TypeScript ("cpu"), which is the oracle;
 * other devices register theirs by layer name behind the same signatures.
 */

import { onBreak } from "../interrupt";
import type { Tensor } from "../tensor";

export type DeviceName = "cpu" | "wasm" | "webgpu";

/** A gradient, or a function that works it out, called only when somebody wants that gradient. */
export type Lazy<T> = T | (() => T);

/** One layer on one device. `inputs` are checked, options complete, optional inputs that were not given undefined. */
export interface Implementation {
  forward(inputs: any, options: any): { y: Tensor; saved?: any };
  backward(dy: Tensor, inputs: any, saved: any, options: any): Record<string, Lazy<Tensor> | undefined>;
  /** Where a device has no jvp, the plain TypeScript forward and jvp run. */
  jvp?(tangents: any, inputs: any, saved: any, options: any): Tensor;
  /** False sends this call to the plain TypeScript implementation, for a dtype or an option the device has no code for. */
  supports?(inputs: any, options: any): boolean;
}

export interface Device {
  /** Implementations of the device's own, by layer name. */
  readonly layers: Readonly<Record<string, Implementation>>;
  /** Makes a layer that has none here run from its plain TypeScript definition; left out where that can run as it is. */
  adapt?(cpu: Implementation): Implementation;
  /** Optimisers' updates of the device's own, by name. Each says whether it has done the update it was given. */
  readonly updates?: Readonly<Record<string, (update: any) => boolean>>;
  /** Runs body, and frees at its end what was made on the device inside and is not in body's result. */
  tidy?<T>(body: () => T): T;
}

const devices = new Map<DeviceName, Device>();
let current: DeviceName = "cpu";
/** What was in force around the outermost withDevice that runs. */
let outside: DeviceName | undefined;
onBreak(() => {
  current = outside ?? current;
  outside = undefined;
});

/** Makes a device known. Its code may load later than the layers do, so it registers itself. */
export function registerDevice(name: DeviceName, implementations: Device): void {
  devices.set(name, implementations);
}

/** The device that layers run on when a call names none; given a name, chooses it first. */
export function device(name?: DeviceName): DeviceName {
  if (name !== undefined) {
    checkDevice("device", name);
    current = name;
  }
  return current;
}

/** Runs body with a device in force, so that the layers a layer is composed of run where it does. */
export function withDevice<T>(name: DeviceName, body: () => T): T {
  const [before, around] = [current, outside];
  outside ??= current;
  current = name;
  try {
    return body();
  } finally {
    [current, outside] = [before, around];
  }
}

/** The device in force's own update of an optimiser, if it has one. */
export function updateHere(optimizer: string): ((update: unknown) => boolean) | undefined {
  return devices.get(current)?.updates?.[optimizer];
}

/**
 * Runs `body`, and frees what layers made inside on the device in force, except what body returns, be it in lists or
 * objects. Nothing needs it: without it the same is found out by garbage collections. Around a training step it spares them.
 *
 * ```ts
 * const loss = tidy(() => {
 *   const { loss, cache } = model.forward(inputs, targets);
 *   optimizer.step(model.trainable, model.backward(cache));
 *   return loss;
 * });
 * ```
 */
export function tidy<T>(body: () => T): T {
  const own = devices.get(current)?.tidy;
  return own ? own(body) : body();
}

/** The devices that can be named now. */
export function availableDevices(): DeviceName[] {
  return ["cpu", ...devices.keys()];
}

export function checkDevice(who: string, name: DeviceName): void {
  if (name !== "cpu" && !devices.has(name)) {
    throw new Error(`${who}: the device is ${JSON.stringify(name)}, the devices loaded are ${availableDevices().join(", ")}`);
  }
}

/** The implementation that runs a layer on a device: the device's own, or the plain TypeScript one. */
export function implementationOn(
  name: DeviceName, layer: string, cpu: Implementation, inputs: unknown, options: unknown, pass: "forward" | "jvp" = "forward",
): Implementation {
  if (name === "cpu") return cpu;
  checkDevice(layer, name);
  const { layers, adapt } = devices.get(name)!;
  const own = layers[layer];
  if (own?.[pass] && (own.supports?.(inputs, options) ?? true)) return own;
  return adapt ? adapt(cpu) : cpu;
}
