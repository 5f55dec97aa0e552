/** gradbook's teaching library. */
export * from "./tensor";
export * from "./layers";
export * from "./check";
export * from "./wasm";
export * from "./graph";
export * from "./plots";
export { checkInterrupt } from "./interrupt";
export * from "./init";
export * from "./diagnostics";
export * from "./optim";
export * from "./schedules";
export * from "./memory";
export * from "./estimators";
export * from "./models";
export * from "./text";
export * from "./distributed";
export * from "./webgpu";
