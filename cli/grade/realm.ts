/**
 * The engine as several answers of one student may share it: Node freezes JavaScript's own objects (--frozen-intrinsics),
 * and this freezes or removes the rest, so that no answer can change what a later one meets. An answer that needs more than
 * is left here stops with an error, and is graded again in a child of its own.
 */

import { runInNewContext } from "node:vm";

/** Names beside ECMAScript's own that answers use and that hold nothing which could be changed. */
const kept = new Set(["structuredClone", "TextEncoder", "TextDecoder", "queueMicrotask"]);

/** Parts of the library that keep a choice for all later calls. */
const lasting = ["device", "registerDevice", "useRelaxedSimd", "useThreads", "useWideSimd", "webgpu"];

function deepFreeze(root: object): void {
  const open: object[] = [root];
  const seen = new Set<object>();
  while (open.length > 0) {
    const value = open.pop()!;
    if (seen.has(value)) continue;
    seen.add(value);
    const prototype = Object.getPrototypeOf(value) as object | null;
    if (prototype !== null) open.push(prototype);
    if (ArrayBuffer.isView(value)) {
      // Its numbers cannot be frozen, and nothing else hangs on it.
      Object.preventExtensions(value);
      continue;
    }
    Object.freeze(value);
    for (const key of Reflect.ownKeys(value)) {
      const { value: member, get, set } = Object.getOwnPropertyDescriptor(value, key)!;
      for (const next of [member, get, set] as unknown[]) {
        if ((typeof next === "object" && next !== null) || typeof next === "function") open.push(next);
      }
    }
  }
}

/** Timers by number, so that those that an answer leaves behind can be ended. */
function timers(): { names: Record<string, unknown>; clear(): void } {
  const { setTimeout, setInterval, setImmediate, clearTimeout } = globalThis;
  const open = new Set<number>();
  const start = (begin: (run: () => void, ms?: number) => NodeJS.Timeout) => (run: () => void, ms?: number) => {
    const id = Number(begin(() => run(), ms));
    open.add(id);
    return id;
  };
  const end = (id: number): void => clearTimeout(id);
  const names = {
    ...{ setTimeout: start(setTimeout), setInterval: start(setInterval), clearTimeout: end, clearInterval: end },
    setImmediate: (run: () => void) => void setImmediate(() => run()),
  };
  return {
    names,
    clear() {
      for (const id of open) clearTimeout(id);
      open.clear();
    },
  };
}

/** Hardens this process and `library`. Returns what ends an answer's timers. */
export function harden(library: Record<string, unknown>): () => void {
  const own = new Set(runInNewContext("Object.getOwnPropertyNames(globalThis)") as string[]);
  const { console, performance } = globalThis;
  const printing = (["log", "info", "warn", "error", "debug", "table", "dir"] as const).map((name) => [
    name,
    (...values: unknown[]) => (console[name] as (...all: unknown[]) => void)(...values),
  ]);
  const { names, clear } = timers();
  const replaced: Record<string, unknown> = {
    ...names,
    console: Object.fromEntries(printing) as Console,
    performance: { now: () => performance.now() },
  };
  for (const name of Reflect.ownKeys(globalThis)) {
    if (typeof name === "string" && (own.has(name) || kept.has(name))) continue;
    if (!Reflect.deleteProperty(globalThis, name)) throw new Error(`${String(name)} cannot be taken away`);
  }
  for (const name of lasting) {
    library[name] = () => {
      throw new TypeError(`${name} lasts beyond this answer`);
    };
  }
  Object.assign(globalThis, replaced);
  deepFreeze(library);
  deepFreeze(globalThis);
  return clear;
}
