export { ringAllReduce, runRing, type Ring, type RingReport } from "./ring";
export { zeroTraining, type ZeroOptions, type ZeroReport } from "./zero";
