export {
  blockShapes, countParameters, Gpt, gpt, gptShapes, loraShapes, type GptCache, type GptConfig, type LoraConfig, type Named,
} from "./gpt";
export { paperBackward, paperForward, paperParameters, type PaperCache, type PaperOptions } from "./paper";
export { deepNet, Mlp, mlp, type MlpActivation, type MlpCache, type MlpConfig } from "./mlp";
export { gradientReach, RecurrentModel, type RecurrentCache, type RecurrentConfig } from "./recurrent";
export { gradientsAlongLine } from "./shattered";
export { bigramLoss, evaluate, normsByLayer, sampleBatch, train, type TrainOptions, type TrainStep } from "./train";
