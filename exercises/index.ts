/** The course: every exercise, in order. */
import type { Exercise } from "./autograder/spec";
import jacobianComposition from "./02-jacobian-composition";

export const exercises: readonly Exercise[] = [
  jacobianComposition,
];

/** Finds an exercise by its id ("attention"), its folder ("16-attention") or its number; undefined when there is none. */
export function findExercise(name: string | number): Exercise | undefined {
  return exercises.find(({ id, folder, number }) => name === id || name === folder || Number(name) === number);
}
