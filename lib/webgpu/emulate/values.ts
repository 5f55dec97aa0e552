/**
 * Expressions of WGSL once their types are checked: closures that give a value, and where they are variables, a place.
 */

import { WgslError, type Place } from "./lexer";
import {
  access, arithmetic, BOOL, COMPARISONS, F32, I32, type Memory, same, type Scalar, scalar, type ScalarName, spell,
  stride, type Type, U32, type Value, vector, words,
} from "./types";

/** What one invocation sees besides its own variables. */
export interface Invocation {
  builtins: Record<string, Value>;
  workgroup: Memory;
  private: Memory;
  /** By index into `Module.bindings`. */
  buffers: Memory[];
  /** Reads of storage buffers so far. */
  loads: number;
  /** Rounds of loops so far. */
  rounds: number;
}

/** One call of one function. */
export interface Frame {
  invocation: Invocation;
  locals: Memory;
  lets: unknown[];
  result: unknown;
}

/** Where a reference points: a pointer's value. */
export interface Address {
  memory: Memory;
  at: number;
}

/** A checked expression, ready to run. References (variables and their parts) also say where they lie. */
export interface Code {
  type: Type;
  place: Place;
  get(f: Frame): unknown;
  constant?: Value;
  address?(f: Frame): Address;
  space?: string;
  writable?: boolean;
}

export const isScalar = (t: Type): t is Scalar => t.kind === "scalar";
export const isAbstract = (t: Type): boolean => (t.kind === "scalar" || t.kind === "vector") && /^a/.test(element(t).name);
export const element = (t: Type): Scalar => (t.kind === "vector" ? t.of : (t as Scalar));
export const numeric = (t: Type): boolean => (t.kind === "scalar" || t.kind === "vector") && element(t).name !== "bool";
export const withElement = (t: Type, of: Scalar): Type => (t.kind === "vector" ? vector(t.size, of) : of);

/** Can a literal of type `from` become a `to`? */
function literalFits(from: ScalarName, to: ScalarName): boolean {
  if (from === to) return true;
  if (from === "aint") return to === "i32" || to === "u32" || to === "f32" || to === "afloat";
  return from === "afloat" && to === "f32";
}

export const fold = (code: Code, parts: Code[]): Code => {
  if (parts.every((p) => p.constant !== undefined)) code.constant = code.get(undefined as unknown as Frame) as Value;
  return code;
};

/** The value as type `to`, which only literals may change into. */
export function convert(code: Code, to: Type, what: string): Code {
  if (same(code.type, to)) return code;
  if (isAbstract(code.type) && code.type.kind === to.kind && literalFits(element(code.type).name, element(to).name)) {
    const target = element(to).name;
    const change = (x: number): number => {
      if (target === "f32") return Math.fround(x);
      if (target === "u32" && (x < 0 || x > 0xffffffff)) throw new WgslError(`${x} does not fit into u32`, code.place);
      if (target === "i32" && (x < -0x80000000 || x > 0x7fffffff)) throw new WgslError(`${x} does not fit into i32`, code.place);
      return x;
    };
    const get = (f: Frame): Value => {
      const v = code.get(f) as Value;
      return typeof v === "number" ? change(v) : v.map(change);
    };
    return fold({ type: to, place: code.place, get }, [code]);
  }
  throw new WgslError(`${what} must be ${spell(to)}, this is ${spell(code.type)}`, code.place);
}
export const concrete = (type: Type): Type =>
  isAbstract(type) ? withElement(type, element(type).name === "aint" ? I32 : F32) : type;
export const settle = (code: Code): Code => convert(code, concrete(code.type), "the value");

/** Brings operands to one element type, spreading scalars over vectors. */
export function unify(list: Code[], op: string, place: Place): { codes: Code[]; type: Type } {
  for (const c of list) {
    if (c.type.kind !== "scalar" && c.type.kind !== "vector") throw new WgslError(`${op} does not take ${spell(c.type)}`, place);
  }
  const shape = list.find((c) => c.type.kind === "vector")?.type ?? list[0].type;
  const names = list.map((c) => element(c.type).name);
  const target = names.find((n) => !n.startsWith("a")) ?? (names.includes("afloat") ? "afloat" : "aint");
  const type = withElement(shape, scalar(names[0] === "bool" ? "bool" : target));
  const codes = list.map((c) => {
    if (c.type.kind === "scalar" && type.kind === "vector") {
      const one = convert(c, element(type), `an operand of ${op}`);
      return fold({ type, place: c.place, get: (f) => Array<number>(type.size).fill(one.get(f) as number) }, [one]);
    }
    if (!literalFits(element(c.type).name, element(type).name) || (c.type.kind === "vector" && (c.type.size !== (type as { size: number }).size))) {
      throw new WgslError(`${op} of ${list.map((x) => spell(x.type)).join(" and ")}: convert one side first`, place);
    }
    return convert(c, type, `an operand of ${op}`);
  });
  return { codes, type };
}

/** Applies g to each component of its operands. */
export function zip(g: (...x: number[]) => number, codes: Code[], type: Type, place: Place): Code {
  const [a, b] = codes;
  let get: Code["get"];
  if (codes[0].type.kind === "vector") {
    get = (f) => {
      const values = codes.map((c) => c.get(f) as number[]);
      return values[0].map((_, i) => g(...values.map((v) => v[i])));
    };
  } else if (codes.length === 1) {
    get = (f) => g(a.get(f) as number);
  } else if (codes.length === 2) {
    get = (f) => g(a.get(f) as number, b.get(f) as number);
  } else {
    get = (f) => g(...codes.map((c) => c.get(f) as number));
  }
  return fold({ type, place, get }, codes);
}

const vectorOrScalar = (t: Type, of: Scalar): Type => (t.kind === "vector" ? vector(t.size, of) : of);

export function binary(op: string, left: Code, right: Code, place: Place): Code {
  if (op === "&&" || op === "||") {
    for (const c of [left, right]) if (!same(c.type, BOOL)) throw new WgslError(`${op} needs bool, this is ${spell(c.type)}`, c.place);
    const stop = op === "||" ? 1 : 0;
    return fold({ type: BOOL, place, get: (f) => (left.get(f) === stop ? stop : right.get(f)) }, [left, right]);
  }
  if (op === "<<" || op === ">>") {
    const l = settle(left);
    const r = convert(right, withElement(l.type, U32), "the number of bits to shift by");
    const g = arithmetic(op, element(l.type).name);
    if (!g) throw new WgslError(`${op} does not take ${spell(l.type)}`, place);
    return zip(g, [l, r], l.type, place);
  }
  const { codes, type } = unify([left, right], op, place);
  const comparison = COMPARISONS[op];
  if (comparison) {
    if (left.type.kind !== right.type.kind) throw new WgslError(`${op} of ${spell(left.type)} and ${spell(right.type)}`, place);
    return zip(comparison, codes, vectorOrScalar(type, BOOL), place);
  }
  const g = arithmetic(op, element(type).name);
  if (!g) throw new WgslError(`${op} does not take ${spell(type)}`, place);
  return zip(g, codes, type, place);
}

/** A variable's value or a part of it, read through its address. */
export function reference(type: Type, place: Place, space: string, writable: boolean, address: (f: Frame) => Address): Code {
  const { load } = access(type);
  return {
    type, place, space, writable, address,
    get: (f) => {
      if (type.kind === "atomic") throw new WgslError("an atomic is read by atomicLoad", place);
      const a = address(f);
      if (space === "storage") f.invocation.loads++;
      return load(a.memory, a.at);
    },
  };
}

export function index(base: Code, position: Code, place: Place): Code {
  if (!same(position.type, I32) && !same(position.type, U32) && !(isScalar(position.type) && position.type.name === "aint")) {
    throw new WgslError(`an index must be i32 or u32, this is ${spell(position.type)}`, position.place);
  }
  const type = base.type;
  if (type.kind !== "array" && type.kind !== "vector") throw new WgslError(`${spell(type)} has no elements to index`, place);
  const of = type.of;
  const step = type.kind === "vector" ? 1 : stride(type);
  const fixed = type.kind === "vector" ? type.size : type.length;
  const check = (i: number, length: number, name: string): void => {
    if (!(i >= 0 && i < length)) throw new WgslError(`index ${i} is outside ${name}, which has ${length} elements`, place);
  };
  if (base.address) {
    const from = base.address;
    return reference(of, place, base.space!, base.writable!, (f) => {
      const a = from(f);
      const i = position.get(f) as number;
      check(i, fixed ?? Math.floor((a.memory.f32.length - a.at) / step), a.memory.name);
      return { memory: a.memory, at: a.at + i * step };
    });
  }
  const part = type.kind === "vector" || step === 1;
  if (!part) throw new WgslError("put this value into a var before indexing it", place);
  return fold({
    type: of, place,
    get: (f) => {
      const i = position.get(f) as number;
      check(i, fixed!, spell(type));
      return (base.get(f) as number[])[i];
    },
  }, [base, position]);
}

export function member(base: Code, name: string, place: Place): Code {
  const type = base.type;
  if (type.kind === "pointer") return member(dereference(base, place), name, place);
  if (type.kind === "struct") {
    const m = type.members.find((x) => x.name === name);
    if (!m) throw new WgslError(`${type.name} has no member ${name}`, place);
    if (base.address) {
      const from = base.address;
      return reference(m.type, place, base.space!, base.writable!, (f) => {
        const a = from(f);
        return { memory: a.memory, at: a.at + m.offset };
      });
    }
    const { load } = access(m.type);
    return {
      type: m.type, place,
      get: (f) => {
        const cells = base.get(f) as number[];
        return load({ name: type.name, f32: cells, i32: cells, u32: cells }, m.offset);
      },
    };
  }
  if (type.kind === "vector" && (/^[xyzw]{1,4}$/.test(name) || /^[rgba]{1,4}$/.test(name))) {
    const at = [...name].map((c) => Math.max("xyzw".indexOf(c), "rgba".indexOf(c)));
    if (at.some((i) => i >= type.size)) throw new WgslError(`${spell(type)} has no component .${name}`, place);
    if (at.length > 1) {
      return fold({ type: vector(at.length, type.of), place, get: (f) => { const v = base.get(f) as number[]; return at.map((i) => v[i]); } }, [base]);
    }
    if (base.address) {
      const from = base.address;
      return reference(type.of, place, base.space!, base.writable!, (f) => {
        const a = from(f);
        return { memory: a.memory, at: a.at + at[0] };
      });
    }
    return fold({ type: type.of, place, get: (f) => (base.get(f) as number[])[at[0]] }, [base]);
  }
  throw new WgslError(`${spell(type)} has no member ${name}`, place);
}

export function dereference(code: Code, place: Place): Code {
  if (code.type.kind !== "pointer") throw new WgslError(`* needs a pointer, this is ${spell(code.type)}`, place);
  return reference(code.type.of, place, code.type.space, true, (f) => code.get(f) as Address);
}

export function construct(type: Type, args: Code[], place: Place): Code {
  if (args.length === 0) {
    const zero: Value = type.kind === "scalar" ? 0 : Array<number>(words(type)).fill(0);
    return { type, place, constant: zero, get: () => zero };
  }
  if (type.kind === "scalar") {
    const [a] = args;
    if (args.length !== 1 || !isScalar(a.type)) throw new WgslError(`${spell(type)}(...) converts one scalar`, place);
    const clampTo = (lo: number, hi: number) => (x: number) => Math.min(Math.max(Math.trunc(x), lo), hi);
    const fromFloat = a.type.name === "f32" || a.type.name === "afloat";
    const change =
      type.name === "f32" ? Math.fround
      : type.name === "bool" ? (x: number) => Number(x !== 0)
      : type.name === "u32" ? (fromFloat ? clampTo(0, 0xffffffff) : (x: number) => x >>> 0)
      : fromFloat ? clampTo(-0x80000000, 0x7fffffff) : (x: number) => x | 0;
    return fold({ type, place, get: (f) => change(a.get(f) as number) }, args);
  }
  if (type.kind === "vector") {
    if (args.length === 1 && args[0].type.kind === "vector" && args[0].type.size === type.size) {
      const [a] = args;
      const one = { ...a, type: element(a.type), constant: undefined };
      let current = 0;
      const change = construct(type.of, [{ ...one, get: () => current }], place);
      return fold({ type, place, get: (f) => (a.get(f) as number[]).map((x) => { current = x; return change.get(f) as number; }) }, args);
    }
    const parts = args.map((a) => convert(a, withElement(a.type, type.of), `a component of ${spell(type)}`));
    const count = parts.reduce((n, p) => n + (p.type.kind === "vector" ? p.type.size : 1), 0);
    if (parts.length === 1 && count === 1) return fold({ type, place, get: (f) => Array<number>(type.size).fill(parts[0].get(f) as number) }, parts);
    if (count !== type.size) throw new WgslError(`${spell(type)} needs ${type.size} components, got ${count}`, place);
    return fold({ type, place, get: (f) => parts.flatMap((p) => p.get(f) as Value) }, parts);
  }
  if (type.kind === "array" || type.kind === "struct") {
    const slots = type.kind === "array"
      ? Array.from({ length: type.length ?? 0 }, (_, i) => ({ type: type.of, offset: i * stride(type) }))
      : type.members;
    if (slots.length !== args.length) throw new WgslError(`${spell(type)} needs ${slots.length} values, got ${args.length}`, place);
    const parts = args.map((a, i) => ({ code: convert(a, slots[i].type, "the value"), at: slots[i].offset, store: access(slots[i].type).store }));
    return fold({
      type, place,
      get: (f) => {
        const cells = Array<number>(words(type)).fill(0);
        for (const p of parts) p.store({ name: "", f32: cells, i32: cells, u32: cells }, p.at, p.code.get(f) as Value);
        return cells;
      },
    }, parts.map((p) => p.code));
  }
  throw new WgslError(`${spell(type)} cannot be constructed`, place);
}
