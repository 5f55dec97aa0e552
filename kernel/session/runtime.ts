/** The global scope that cells run in: what a cell declares becomes a property of the global object. */
import { globalName } from "./names";
import { RUNTIME } from "./transform";
import { Interrupted } from "../../lib/interrupt";

type Globals = Record<string, unknown>;
const globals = globalThis as unknown as Globals;

export class Scope {
  private readonly preloaded = new Map<string, () => unknown>();
  private readonly declared = new Set<string>();

  /** A name every cell starts with; its value is fetched when it is first used. */
  preload(name: string, get: () => unknown): void {
    this.preloaded.set(name, get);
    this.offer(name, get);
  }

  /** Makes `name` assignable in strict code. It keeps its value when it has one. */
  declare(name: string): void {
    const key = globalName(name);
    const present = Object.getOwnPropertyDescriptor(globals, key);
    if (!present || present.get) {
      Object.defineProperty(globals, key, { value: undefined, writable: true, configurable: true, enumerable: true });
    }
    this.declared.add(name);
  }

  assign(name: string, value: unknown): void {
    this.declare(name);
    globals[globalName(name)] = value;
  }

  lookup(name: string): unknown {
    return this.isDefined(name) ? globals[globalName(name)] : undefined;
  }

  isDefined(name: string): boolean {
    return this.declared.has(name);
  }

  reset(): void {
    for (const name of this.declared) delete globals[globalName(name)];
    this.declared.clear();
    for (const [name, get] of this.preloaded) this.offer(name, get);
  }

  private offer(name: string, get: () => unknown): void {
    Object.defineProperty(globals, name, {
      configurable: true,
      enumerable: false,
      get: () => {
        const value = get();
        Object.defineProperty(globals, name, { value, writable: true, configurable: true, enumerable: false });
        return value;
      },
      set: (value: unknown) => {
        Object.defineProperty(globals, name, { value, writable: true, configurable: true, enumerable: true });
      },
    });
  }
}

export interface SessionRuntime {
  module(name: string): unknown;
  import(name: string): Promise<unknown>;
  /** import.meta */
  meta: object;
  await(value: unknown): unknown;
  /** `export * from "m"` */
  exportAll(module: object): void;
  iterate(iterable: AsyncIterable<unknown> | Iterable<unknown>): AsyncIterable<unknown>;
}

/** Defines what transformed code calls: the interrupt flag, and `session`. */
export function installRuntime(flags: Int32Array, session: SessionRuntime): void {
  const stop = (): never => {
    flags[1] = 0;
    throw new Interrupted();
  };
  const hidden = { writable: false, configurable: true, enumerable: false };
  Object.defineProperty(globals, RUNTIME.flags, { value: flags, ...hidden });
  Object.defineProperty(globals, RUNTIME.stop, { value: stop, ...hidden });
  Object.defineProperty(globals, RUNTIME.session, { value: session, ...hidden });
  (globalThis as Record<symbol, unknown>)[Symbol.for("gradbook.interrupt")] = flags.subarray(1);
}
