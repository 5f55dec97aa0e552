export {
  blockShapes, countParameters, Gpt, gpt, gptShapes, loraShapes, type GptCache, type GptConfig, type LoraConfig, type Named,
} from "./gpt";
export { paperBackward, paperForward, paperParameters, type PaperCache, type PaperOptions } from "./paper";
export { bigramLoss, evaluate, normsByLayer, sampleBatch, train, type TrainOptions, type TrainStep } from "./train";
