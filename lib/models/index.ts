export {
  blockShapes, countParameters, Gpt, gpt, gptShapes, loraShapes, type GptCache, type GptConfig, type LoraConfig, type Named,
} from "./gpt";
export { bigramLoss, evaluate, normsByLayer, sampleBatch, train, type TrainOptions, type TrainStep } from "./train";
