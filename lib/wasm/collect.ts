/** How dead objects are found without waiting for the event loop, as far as the engine lets us. */

import type * as V8 from "node:v8";
import type * as Vm from "node:vm";

let found: (() => void) | undefined;

/**
 * A function after which `WeakRef.deref()` gives undefined for everything that nothing holds any more.
 *
 * A WeakRef keeps its object alive to the end of the job that made it, and a training loop in a notebook is one job of
 * minutes. In Node a script in a context with a microtask queue of its own ends a job in between, without running
 * anybody's promises; then a collection that V8 is asked for does the rest. Elsewhere (a browser) nothing can be done:
 * what the engine has collected by itself, between jobs, is all there is.
 */
export function deadFinder(): () => void {
  return (found ??= inNode() ?? (() => undefined));
}

function inNode(): (() => void) | undefined {
  if (typeof process === "undefined" || !process.versions?.node) return undefined;
  const { createContext, Script } = require("vm") as typeof Vm;
  const { setFlagsFromString } = require("v8") as typeof V8;
  const exposed = "gc" in globalThis;
  if (!exposed) setFlagsFromString("--expose-gc");
  const context = createContext({}, { microtaskMode: "afterEvaluate" });
  const gc = new Script("gc").runInContext(context) as () => void;
  if (!exposed) setFlagsFromString("--no-expose-gc");
  const endJob = new Script("0");
  return () => {
    endJob.runInContext(context);
    gc();
  };
}
