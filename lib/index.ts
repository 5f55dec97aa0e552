/** gradbook's teaching library. */
export * from "./tensor";
export * from "./graph";
export * from "./plots";
