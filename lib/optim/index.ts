export { adam, adam8bit, adamW, type AdamOptions } from "./adam";
export { adaGrad, rmsprop, sgd, type AdaGradOptions, type RmspropOptions, type SgdOptions } from "./descent";
export { lars, muon, orthogonalize, type LarsOptions, type MuonOptions } from "./layerwise";
export { defineOptimizer, type Gradients, type Optimizer, type OptimizerState, type Parameters, type Update } from "./optimizer";
