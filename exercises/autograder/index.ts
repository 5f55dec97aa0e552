/** `gradbook/autograder`: the engine that grades what `spec.ts` describes. */
export * from "./spec";
export { cellSource, packageRoot } from "./source";
