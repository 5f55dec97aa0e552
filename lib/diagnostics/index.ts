export * from "./clip";
export * from "./neurons";
export * from "./norms";
export * from "./spectral";
