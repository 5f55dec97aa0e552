export * from "./draw";
export { noGrad } from "./recording";
export * from "./order";
export * from "./value";
