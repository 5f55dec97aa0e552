/** Buffers that tensors share, and when each is given back. */

import { onBreak } from "../interrupt";
import type { Gpu } from "./gpu";

/** A buffer, given back when the last handle on it is released, collected, or its scope ends. */
export class Storage {
  private freed = false;
  private handles = 0;
  /** Tensors that read this buffer in an order of their own and have made no copy yet. */
  private views: WeakRef<View>[] = [];

  constructor(readonly owner: Gpu, readonly buffer: GPUBuffer) {}

  /** A share in the buffer, for a tensor and those reshaped from it. */
  handle(): Handle {
    this.handles++;
    const share = new Share(() => {
      if (--this.handles === 0) this.free();
    });
    const handle = { storage: this, share };
    collected.register(handle, share);
    return handle;
  }

  /** A view must make its copy before the numbers below it change. */
  watch(view: View): void {
    this.views.push(new WeakRef(view));
  }

  /** Called before a kernel changes the numbers where they lie. */
  settle(): void {
    const views = this.views;
    this.views = [];
    if (!this.owner.lost) for (const view of views) view.deref()?.pack();
  }

  free(): void {
    if (this.freed) return;
    this.freed = true;
    this.owner.release(this.buffer);
  }
}

export interface View {
  pack(): unknown;
}

class Share {
  private released = false;

  constructor(private readonly last: () => void) {}

  release(): void {
    if (this.released) return;
    this.released = true;
    this.last();
  }
}

/** What tensors hold; the share is released when no tensor holds the handle any more. */
export interface Handle {
  readonly storage: Storage;
  readonly share: { release(): void };
}

const collected = new FinalizationRegistry<Share>((share) => share.release());
export type Scope = Storage[];
const scopes: Scope[] = [];
// What they made is then freed when it is collected.
onBreak(() => { scopes.length = 0; });

/** The scope that frees what is made now, if there is one. */
export const currentScope = (): Scope | undefined => scopes.at(-1);

/** Makes what an earlier scope is to free; undefined was none. */
export function inScope<T>(scope: Scope | undefined, body: () => T): T {
  scopes.push(scope ?? []);
  try {
    return body();
  } finally {
    scopes.pop();
  }
}

/** A new buffer, which the innermost scope frees at its end. */
export function store(owner: Gpu, bytes: number): Storage {
  const storage = new Storage(owner, owner.allocate(bytes));
  scopes.at(-1)?.push(storage);
  return storage;
}

/** Runs `body` and frees every buffer it made, but those that `kept` finds in its result. */
export function scoped<T>(body: () => T, kept: (result: T) => Set<Storage>): T {
  const made: Scope = [];
  scopes.push(made);
  try {
    const result = body();
    const own = kept(result);
    for (const storage of made) {
      if (!own.has(storage)) storage.free();
      else scopes.at(-2)?.push(storage);
    }
    return result;
  } catch (error) {
    for (const storage of made) storage.free();
    throw error;
  } finally {
    scopes.pop();
  }
}

/** Makes tensors that outlive every scope around it: an optimiser's state. */
export function outsideScopes<T>(body: () => T): T {
  const around = scopes.splice(0);
  try {
    return body();
  } finally {
    scopes.push(...around);
  }
}
