/** gradbook's teaching library. */
export * from "./tensor";
