export * from "./create";
export { rng, type Rng, type RngState } from "./random";
export { broadcastShapes, formatShape, sameShape, sizeOf, type Shape } from "./shape";
export { SparseRows } from "./sparse";
export { concat, stack, Tensor, unbroadcast, type Data, type DType, type Nested } from "./tensor";
