export { fisherInformation, naturalGradient, softmaxFisher, softmaxScore } from "./fisher";
export { gumbelSoftmax, type GumbelCache, type GumbelOptions } from "./gumbel";
export { exactPolicyGradient, reinforce, type ReinforceOptions, type ReinforceResult } from "./reinforce";
export { roundStraightThrough, signStraightThrough, vectorQuantize, type QuantizeCache } from "./straightThrough";
