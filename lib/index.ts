/** gradbook's teaching library. */
export * from "./tensor";
export * from "./layers";
export * from "./graph";
export * from "./plots";
export { checkInterrupt } from "./interrupt";
