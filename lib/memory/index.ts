export { accumulate, splitBatch } from "./accumulate";
export {
  adamStates, activationMemory, documentFigures, formatBytes, loraParameters, trainingMemory, zeroMemory,
  type DocumentFigure, type TransformerShape, type TrainingMemory,
} from "./calculator";
export {
  checkpointEvery, checkpointedBackward, checkpointRevolve, checkpointSqrt, revolveForwards, stageOf, storeAll,
  type CheckpointReport, type CheckpointSchedule, type Stage,
} from "./checkpoint";
export {
  bfloat16, castThrough, float16, formats, lossScaler, masterWeights, roundTo, type FloatFormat, type LossScaler, type MasterWeights,
} from "./precision";
