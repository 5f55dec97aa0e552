/** A scalar of WGSL, or the type of a literal that has not become one yet ("aint", "afloat"). */
export type ScalarName = "f32" | "i32" | "u32" | "bool" | "aint" | "afloat";

export interface Scalar {
  kind: "scalar";
  name: ScalarName;
}
export interface Vector {
  kind: "vector";
  size: number;
  of: Scalar;
}
export interface ArrayType {
  kind: "array";
  of: Type;
  /** Absent in a runtime-sized array: the buffer decides. */
  length?: number;
}
export interface Struct {
  kind: "struct";
  name: string;
  members: { name: string; type: Type; offset: number }[];
  words: number;
  alignment: number;
}
export interface Atomic {
  kind: "atomic";
  of: Scalar;
}
export interface Pointer {
  kind: "pointer";
  space: string;
  of: Type;
}
export type Type = Scalar | Vector | ArrayType | Struct | Atomic | Pointer;

export const scalar = (name: ScalarName): Scalar => ({ kind: "scalar", name });
export const vector = (size: number, of: Scalar): Vector => ({ kind: "vector", size, of });
export const F32 = scalar("f32");
export const I32 = scalar("i32");
export const U32 = scalar("u32");
export const BOOL = scalar("bool");

/** How a type is written in WGSL, which is also what tells two types apart. */
export function spell(type: Type): string {
  switch (type.kind) {
    case "scalar":
      return type.name === "aint" ? "an integer literal" : type.name === "afloat" ? "a float literal" : type.name;
    case "vector":
      return `vec${type.size}<${type.of.name}>`;
    case "array":
      return `array<${spell(type.of)}${type.length === undefined ? "" : `, ${type.length}`}>`;
    case "struct":
      return type.name;
    case "atomic":
      return `atomic<${type.of.name}>`;
    case "pointer":
      return `ptr<${type.space}, ${spell(type.of)}>`;
  }
}

export const same = (a: Type, b: Type): boolean => spell(a) === spell(b);
export const roundUp = (n: number, multiple: number): number => Math.ceil(n / multiple) * multiple;

/** Alignment in 4-byte words (WGSL specification, section "Alignment and size"). */
export function alignment(type: Type): number {
  if (type.kind === "vector") return type.size === 2 ? 2 : 4;
  if (type.kind === "array") return alignment(type.of);
  if (type.kind === "struct") return type.alignment;
  return 1;
}

/** Distance between two elements of an array, in 4-byte words. */
export const stride = (type: ArrayType): number => roundUp(words(type.of), alignment(type.of));

/** Size in 4-byte words; a runtime-sized array counts as empty. */
export function words(type: Type): number {
  if (type.kind === "vector") return type.size;
  if (type.kind === "array") return (type.length ?? 0) * stride(type);
  if (type.kind === "struct") return type.words;
  return 1;
}

/** One memory seen as each of the three word types; locals and workgroup memory need only one array for all. */
export interface Memory {
  name: string;
  f32: { [at: number]: number; readonly length: number };
  i32: { [at: number]: number };
  u32: { [at: number]: number };
}
export const memory = (name: string, size: number): Memory => {
  const cells = new Float64Array(size);
  return { name, f32: cells, i32: cells, u32: cells };
};

/** A number (scalars; bool is 0 or 1), the components of a vector, or the words of a composite. */
export type Value = number | number[];

/** Where the scalars of a composite lie. */
function leaves(type: Type, at: number, out: { at: number; view: "f32" | "i32" | "u32" }[]): typeof out {
  if (type.kind === "array") for (let i = 0; i < (type.length ?? 0); i++) leaves(type.of, at + i * stride(type), out);
  else if (type.kind === "struct") for (const m of type.members) leaves(m.type, at + m.offset, out);
  else if (type.kind === "vector") for (let i = 0; i < type.size; i++) out.push({ at: at + i, view: view(type.of) });
  else out.push({ at, view: type.kind === "pointer" ? "u32" : view(type.kind === "atomic" ? type.of : type) });
  return out;
}
const view = (s: Scalar): "f32" | "i32" | "u32" => (s.name === "f32" ? "f32" : s.name === "i32" ? "i32" : "u32");

/** Functions that read and write a value of this type at a word offset. */
export function access(type: Type): { load(m: Memory, at: number): Value; store(m: Memory, at: number, v: Value): void } {
  if (type.kind === "scalar" || type.kind === "atomic") {
    const key = view(type.kind === "atomic" ? type.of : type);
    return { load: (m, at) => m[key][at], store: (m, at, v) => void (m[key][at] = v as number) };
  }
  if (type.kind === "vector") {
    const key = view(type.of);
    const n = type.size;
    return {
      load: (m, at) => Array.from({ length: n }, (_, i) => m[key][at + i]),
      store: (m, at, v) => {
        for (let i = 0; i < n; i++) m[key][at + i] = (v as number[])[i];
      },
    };
  }
  const cells = leaves(type, 0, []);
  const size = words(type);
  return {
    load: (m, at) => {
      const out = new Array<number>(size).fill(0);
      for (const c of cells) out[c.at] = m[c.view][at + c.at];
      return out;
    },
    store: (m, at, v) => {
      for (const c of cells) m[c.view][at + c.at] = (v as number[])[c.at];
    },
  };
}

/** Arithmetic of one scalar type, rounded as WGSL rounds it. Division by zero of integers gives the dividend, as the specification says. */
export function arithmetic(op: string, type: ScalarName): ((a: number, b: number) => number) | undefined {
  const f = Math.fround;
  if (type === "f32" || type === "afloat" || type === "aint") {
    const round = type === "f32" ? f : (x: number) => x;
    const divide = type === "aint" ? (a: number, b: number) => Math.trunc(a / b) : (a: number, b: number) => a / b;
    switch (op) {
      case "+":
        return (a, b) => round(a + b);
      case "-":
        return (a, b) => round(a - b);
      case "*":
        return (a, b) => round(a * b);
      case "/":
        return (a, b) => round(divide(a, b));
      case "%":
        return (a, b) => round(a % b);
    }
    if (type !== "aint") return undefined;
  }
  if (type === "bool") {
    if (op === "&") return (a, b) => a & b;
    if (op === "|") return (a, b) => a | b;
    return undefined;
  }
  const wrap = type === "u32" ? (x: number) => x >>> 0 : (x: number) => x | 0;
  switch (op) {
    case "+":
      return (a, b) => wrap(a + b);
    case "-":
      return (a, b) => wrap(a - b);
    case "*":
      return (a, b) => wrap(Math.imul(a, b));
    case "/":
      return (a, b) => (b === 0 ? a : wrap(Math.trunc(a / b)));
    case "%":
      return (a, b) => (b === 0 ? 0 : wrap(a % b));
    case "&":
      return (a, b) => wrap(a & b);
    case "|":
      return (a, b) => wrap(a | b);
    case "^":
      return (a, b) => wrap(a ^ b);
    case "<<":
      return (a, b) => wrap(a << b);
    case ">>":
      return type === "u32" ? (a, b) => a >>> b : (a, b) => a >> b;
  }
  return undefined;
}

export const COMPARISONS: Record<string, (a: number, b: number) => number> = {
  "==": (a, b) => Number(a === b),
  "!=": (a, b) => Number(a !== b),
  "<": (a, b) => Number(a < b),
  ">": (a, b) => Number(a > b),
  "<=": (a, b) => Number(a <= b),
  ">=": (a, b) => Number(a >= b),
};
