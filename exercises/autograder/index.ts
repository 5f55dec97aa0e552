/** `gradbook/autograder`: the engine that grades what `spec.ts` describes. */
export * from "./spec";
export { cellSource, packageRoot } from "./source";
export { plan, type Call, type Plan } from "./plan";
export { entriesOf, gradeHere, judge, tasksOf, type JudgeOptions } from "./grade";
export { overall, Report, type CheckReport, type ExerciseResult, type Status, type TensorReport } from "./report";
export { nbgraderMetadata, type NbgraderMetadata } from "./nbgrader";
export { notebookCommands } from "./notebook";
