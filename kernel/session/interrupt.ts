/** What an interrupt does on the main thread: pending awaits of the running cell are rejected, its timers cleared. */
import { AsyncLocalStorage } from "node:async_hooks";
import { Interrupted } from "../../lib/interrupt";

/** One execution of a cell, as long as anything it started is alive. */
export class Run {
  readonly pending = new Set<(error: Error) => void>();
  readonly timers = new Set<NodeJS.Timeout>();
  cancelled = false;
}

const current = new AsyncLocalStorage<Run>();
const runs = new Set<WeakRef<Run>>();

export function withRun<T>(run: Run, body: () => T): T {
  return current.run(run, body);
}

/** Ends what `run` waits for. Its finally blocks run; its timers do not. */
export function cancel(run: Run): void {
  run.cancelled = true;
  for (const timer of run.timers) clearTimeout(timer);
  run.timers.clear();
  for (const reject of run.pending) reject(new Interrupted());
  run.pending.clear();
}

/** Ends the timers that finished cells have left behind. */
export function cancelBackground(): void {
  for (const ref of runs) {
    const run = ref.deref();
    if (run) cancel(run);
  }
  runs.clear();
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null && typeof (value as { then?: unknown }).then === "function";
}

/** What `await value` waits for in a cell: the value, or the interrupt. */
export function interruptible(value: unknown): unknown {
  const run = current.getStore();
  if (!run || !isThenable(value)) return value;
  return new Promise((resolve, reject) => {
    run.pending.add(reject);
    value.then((result) => {
      run.pending.delete(reject);
      resolve(result);
    }, (error: unknown) => {
      run.pending.delete(reject);
      reject(error as Error);
    });
  });
}

/** The iterable of a `for await`, each step of which can be interrupted. */
export function interruptibleIterable(iterable: Partial<AsyncIterable<unknown> & Iterable<unknown>>): AsyncIterable<unknown> {
  return {
    [Symbol.asyncIterator]() {
      const iterator = iterable[Symbol.asyncIterator]?.();
      if (iterator) {
        return {
          next: () => (interruptible(iterator.next()) as Promise<IteratorResult<unknown>>).catch((error: unknown) => {
            // The loop takes a failed step for the iterable's end; ours goes on, and its finally blocks must run.
            if (error instanceof Interrupted) iterator.return?.().catch(() => undefined);
            throw error;
          }),
          return: iterator.return ? () => iterator.return!() : undefined,
        };
      }
      const plain = iterable[Symbol.iterator]!();
      return {
        next: async () => {
          const step = plain.next();
          return step.done ? step : { done: false, value: await interruptible(step.value) };
        },
        return: async () => plain.return?.() ?? { done: true, value: undefined },
      };
    },
  };
}

/** Remembers which cell started a timer, so that an interrupt can end it. */
export function trackTimers(): void {
  for (const name of ["setTimeout", "setInterval"] as const) {
    const original = globalThis[name] as (callback: (...args: unknown[]) => void, ms?: number, ...args: unknown[]) => NodeJS.Timeout;
    const tracked = (callback: (...args: unknown[]) => void, ms?: number, ...args: unknown[]): NodeJS.Timeout => {
      const run = current.getStore();
      if (!run || typeof callback !== "function") return original(callback, ms, ...args);
      const timer: NodeJS.Timeout = original((...given) => {
        if (name === "setTimeout") run.timers.delete(timer);
        callback(...given);
      }, ms, ...args);
      if (run.timers.size === 0) runs.add(new WeakRef(run));
      run.timers.add(timer);
      return timer;
    };
    Object.defineProperties(tracked, Object.getOwnPropertyDescriptors(original));
    Object.defineProperty(globalThis, name, { value: tracked, writable: true, configurable: true, enumerable: true });
  }
}
