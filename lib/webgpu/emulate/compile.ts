import { ATOMICS, componentwise } from "./builtins";
import { Place, WgslError } from "./lexer";
import { Declaration, Expression, FunctionSyntax, ModuleSyntax, Statement, TypeName } from "./syntax";
import {
  BOOL, COMPARISONS, F32, I32, Memory, Scalar, ScalarName, Struct, Type, U32, Value, access, alignment, arithmetic, memory,
  roundUp, same, scalar, spell, stride, vector, words,
} from "./types";

/** Loops that run longer than this, in one invocation, are taken for endless. */
const MAX_ROUNDS = 1_000_000;

/** What one invocation sees besides its own variables. */
export interface Invocation {
  builtins: Record<string, Value>;
  workgroup: Memory;
  private: Memory;
  /** By index into {@link Module.bindings}. */
  buffers: Memory[];
  /** Reads of storage buffers so far. */
  loads: number;
  /** Rounds of loops so far. */
  rounds: number;
}

/** One call of one function. */
interface Frame {
  invocation: Invocation;
  locals: Memory;
  lets: unknown[];
  result: unknown;
}

/** Where a reference points: a pointer's value. */
interface Address {
  memory: Memory;
  at: number;
}

/** A checked expression, ready to run. References (variables and their parts) also say where they lie. */
interface Code {
  type: Type;
  place: Place;
  get(f: Frame): unknown;
  constant?: Value;
  address?(f: Frame): Address;
  space?: string;
  writable?: boolean;
}

const enum Signal {
  next,
  break,
  continue,
  return,
}
/** A checked statement. `steps` exists where a barrier may be inside: it yields the barrier's place. */
interface Step {
  run(f: Frame): Signal;
  steps?(f: Frame): Generator<Place, Signal>;
}

export interface Binding {
  name: string;
  group: number;
  binding: number;
  type: Type;
  writable: boolean;
  uniform: boolean;
}
export interface EntryPoint {
  name: string;
  size: [number, number, number];
  /** Runs one invocation; yields at each barrier. */
  start(invocation: Invocation): Generator<Place, void>;
}
export interface Module {
  bindings: Binding[];
  entries: EntryPoint[];
  workgroupWords: number;
  privateWords: number;
  initialisePrivate(invocation: Invocation): void;
}

interface Named {
  kind: "value";
  make(place: Place): Code;
}
type Scope = Map<string, Named>;

interface FunctionCode {
  name: string;
  parameters: Type[];
  returns?: Type;
  barriers: boolean;
  call(invocation: Invocation, args: unknown[]): Frame;
  body: Step;
}

const BUILTIN_TYPES: Record<string, Type> = {
  global_invocation_id: vector(3, U32),
  local_invocation_id: vector(3, U32),
  local_invocation_index: U32,
  workgroup_id: vector(3, U32),
  num_workgroups: vector(3, U32),
};
const isScalar = (t: Type): t is Scalar => t.kind === "scalar";
const isAbstract = (t: Type): boolean => (t.kind === "scalar" || t.kind === "vector") && /^a/.test(element(t).name);
const element = (t: Type): Scalar => (t.kind === "vector" ? t.of : (t as Scalar));
const numeric = (t: Type): boolean => (t.kind === "scalar" || t.kind === "vector") && element(t).name !== "bool";
const withElement = (t: Type, of: Scalar): Type => (t.kind === "vector" ? vector(t.size, of) : of);

/** Can a literal of type `from` become a `to`? */
function literalFits(from: ScalarName, to: ScalarName): boolean {
  if (from === to) return true;
  if (from === "aint") return to === "i32" || to === "u32" || to === "f32" || to === "afloat";
  return from === "afloat" && to === "f32";
}

/**
 * Checks a module's types and turns it into closures. The subset: scalars, vectors, arrays, structs, atomics and pointers;
 * all control flow; storage, uniform, workgroup and private variables; compute entry points. Not in it: matrices, textures,
 * f16, subgroups, runtime overrides. Whatever is outside is refused with its place, never guessed.
 */
export function compile(syntax: ModuleSyntax): Module {
  const structs = new Map<string, Struct>();
  const aliases = new Map<string, TypeName>(syntax.aliases.map((a) => [a.name, a.type]));
  const functions = new Map<string, FunctionCode>();
  const compiling = new Set<string>();
  const globals: Scope = new Map();
  const bindings: Binding[] = [];
  let workgroupWords = 0;
  let privateWords = 0;
  const privateInits: ((f: Frame) => void)[] = [];

  // Types

  function typeOf(name: TypeName, scopes: Scope[]): Type {
    const arg = (i: number): Type => {
      const a = name.arguments[i];
      if (a === undefined || "kind" in a) throw new WgslError(`${name.name} needs a type between < and >`, name);
      return typeOf(a, scopes);
    };
    const scalarArg = (i: number): Scalar => {
      const t = arg(i);
      if (!isScalar(t)) throw new WgslError(`${name.name}<${spell(t)}>: the element must be a scalar`, name);
      return t;
    };
    if (/^(f32|i32|u32|bool)$/.test(name.name)) return scalar(name.name as ScalarName);
    const short = /^vec([234])([fiu])$/.exec(name.name);
    if (short) return vector(Number(short[1]), { f: F32, i: I32, u: U32 }[short[2] as "f" | "i" | "u"]);
    const long = /^vec([234])$/.exec(name.name);
    if (long) return vector(Number(long[1]), scalarArg(0));
    if (/^mat[234]x[234]/.test(name.name) || name.name === "f16") {
      throw new WgslError(`${name.name} is outside the emulated subset`, name);
    }
    if (name.name === "atomic") return { kind: "atomic", of: scalarArg(0) };
    if (name.name === "ptr") {
      const space = name.arguments[0];
      return { kind: "pointer", space: "name" in space ? space.name : "", of: arg(1) };
    }
    if (name.name === "array") {
      const count = name.arguments[1];
      if (count === undefined) return { kind: "array", of: arg(0) };
      const code = "kind" in count ? expression(count, scopes) : expression({ ...count, kind: "name", name: count.name }, scopes);
      if (typeof code.constant !== "number" || !(code.constant >= 1) || !Number.isInteger(code.constant)) {
        throw new WgslError("an array's length must be a positive constant integer", count);
      }
      return { kind: "array", of: arg(0), length: code.constant };
    }
    const alias = aliases.get(name.name);
    if (alias) return typeOf(alias, scopes);
    const struct = structs.get(name.name);
    if (struct) return struct;
    throw new WgslError(`unknown type ${name.name}`, name);
  }

  for (const s of syntax.structs) {
    let at = 0;
    let align = 1;
    const members = s.members.map((m) => {
      const type = typeOf(m.type, [globals]);
      align = Math.max(align, alignment(type));
      at = roundUp(at, alignment(type));
      const member = { name: m.name, type, offset: at };
      at += words(type);
      return member;
    });
    structs.set(s.name, { kind: "struct", name: s.name, members, words: roundUp(at, align), alignment: align });
  }

  // Expressions

  const fold = (code: Code, parts: Code[]): Code => {
    if (parts.every((p) => p.constant !== undefined)) code.constant = code.get(undefined as unknown as Frame) as Value;
    return code;
  };

  /** The value as type `to`, which only literals may change into. */
  function convert(code: Code, to: Type, what: string): Code {
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
  const concrete = (type: Type): Type =>
    isAbstract(type) ? withElement(type, element(type).name === "aint" ? I32 : F32) : type;
  const settle = (code: Code): Code => convert(code, concrete(code.type), "the value");

  /** Brings operands to one element type, spreading scalars over vectors. */
  function unify(list: Code[], op: string, place: Place): { codes: Code[]; type: Type } {
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
  function zip(g: (...x: number[]) => number, codes: Code[], type: Type, place: Place): Code {
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

  function binary(op: string, left: Code, right: Code, place: Place): Code {
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
  function reference(type: Type, place: Place, space: string, writable: boolean, address: (f: Frame) => Address): Code {
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

  function index(base: Code, position: Code, place: Place): Code {
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

  function member(base: Code, name: string, place: Place): Code {
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

  function dereference(code: Code, place: Place): Code {
    if (code.type.kind !== "pointer") throw new WgslError(`* needs a pointer, this is ${spell(code.type)}`, place);
    return reference(code.type.of, place, code.type.space, true, (f) => code.get(f) as Address);
  }

  function construct(type: Type, args: Code[], place: Place): Code {
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

  function builtin(name: string, callee: TypeName, args: Code[], scopes: Scope[], place: Place): Code | undefined {
    const arity = (n: number): void => {
      if (args.length !== n) throw new WgslError(`${name} takes ${n} arguments, got ${args.length}`, place);
    };
    const known = componentwise(name);
    if (known) {
      arity(known.arity);
      let { codes, type } = unify(args, name, place);
      if (!numeric(type)) throw new WgslError(`${name} does not take ${spell(type)}`, place);
      if (known.floatsOnly && element(type).name === "aint") {
        type = withElement(type, scalar("afloat"));
        codes = codes.map((c) => convert(c, type, `${name}'s argument`));
      }
      if (known.floatsOnly && !/^(f32|afloat)$/.test(element(type).name)) {
        throw new WgslError(`${name} takes floats, this is ${spell(type)}`, place);
      }
      return zip(known.make(element(type)), codes, type, place);
    }
    switch (name) {
      case "select": {
        arity(3);
        const { codes: [no, yes], type } = unify(args.slice(0, 2), name, place);
        if (same(args[2].type, BOOL)) return fold({ type, place, get: (f) => (args[2].get(f) ? yes.get(f) : no.get(f)) }, [no, yes, args[2]]);
        if (type.kind !== "vector" || !same(args[2].type, vector(type.size, BOOL))) throw new WgslError("select's third argument must be bool", place);
        return zip((a, b, c) => (c ? b : a), [no, yes, args[2]], type, place);
      }
      case "dot": {
        arity(2);
        const { codes: [a, b], type } = unify(args.map(settle), name, place);
        if (type.kind !== "vector") throw new WgslError("dot takes two vectors", place);
        const add = arithmetic("+", type.of.name)!;
        const multiply = arithmetic("*", type.of.name)!;
        return fold({
          type: type.of, place,
          get: (f) => {
            const y = b.get(f) as number[];
            return (a.get(f) as number[]).reduce((s, x, i) => add(s, multiply(x, y[i])), 0);
          },
        }, [a, b]);
      }
      case "length": {
        arity(1);
        const a = settle(args[0]);
        if (!same(a.type, F32) && !(a.type.kind === "vector" && a.type.of.name === "f32")) throw new WgslError("length takes floats", place);
        return { type: F32, place, get: (f) => { const v = a.get(f) as Value; return Math.fround(Math.hypot(...(typeof v === "number" ? [v] : v))); } };
      }
      case "any":
      case "all": {
        arity(1);
        const [a] = args;
        if (a.type.kind !== "vector" || a.type.of.name !== "bool") throw new WgslError(`${name} takes a vector of bool`, place);
        return { type: BOOL, place, get: (f) => Number((a.get(f) as number[])[name === "any" ? "some" : "every"]((x) => x === 1)) };
      }
      case "arrayLength": {
        arity(1);
        const [a] = args;
        if (a.type.kind !== "pointer" || a.type.of.kind !== "array" || a.type.of.length !== undefined) {
          throw new WgslError("arrayLength takes a pointer to a runtime-sized array: arrayLength(&x)", place);
        }
        const step = stride(a.type.of);
        return { type: U32, place, get: (f) => { const p = a.get(f) as Address; return Math.floor((p.memory.f32.length - p.at) / step); } };
      }
      case "bitcast": {
        arity(1);
        const to = typeOf(callee.arguments[0] as TypeName, scopes);
        const a = settle(args[0]);
        if (!isScalar(to) || !isScalar(a.type)) throw new WgslError("bitcast works on scalars in the emulated subset", place);
        const word = new DataView(new ArrayBuffer(4));
        const put = { f32: "setFloat32", i32: "setInt32", u32: "setUint32" } as const;
        const pick = { f32: "getFloat32", i32: "getInt32", u32: "getUint32" } as const;
        const [from, into] = [a.type.name as keyof typeof put, to.name as keyof typeof pick];
        return { type: to, place, get: (f) => { word[put[from]](0, a.get(f) as number); return word[pick[into]](0); } };
      }
      case "atomicLoad":
      case "atomicStore": {
        arity(name === "atomicLoad" ? 1 : 2);
        const of = atomicTarget(args[0], name);
        const { load, store } = access(of);
        if (name === "atomicLoad") return { type: of, place, get: (f) => { const p = args[0].get(f) as Address; return load(p.memory, p.at); } };
        const value = convert(args[1], of, "atomicStore's value");
        return { type: of, place, get: (f) => { const p = args[0].get(f) as Address; store(p.memory, p.at, value.get(f) as Value); return 0; } };
      }
    }
    if (Object.hasOwn(ATOMICS, name)) {
      arity(2);
      const of = atomicTarget(args[0], name);
      const { load, store } = access(of);
      const value = convert(args[1], of, `${name}'s value`);
      const wrap = of.name === "u32" ? (x: number) => x >>> 0 : (x: number) => x | 0;
      return {
        type: of, place,
        get: (f) => {
          const p = args[0].get(f) as Address;
          const old = load(p.memory, p.at) as number;
          store(p.memory, p.at, wrap(ATOMICS[name](old, value.get(f) as number)));
          return old;
        },
      };
    }
    return undefined;
  }
  function atomicTarget(code: Code, name: string): Scalar {
    if (code.type.kind === "pointer" && code.type.of.kind === "atomic") return code.type.of.of;
    throw new WgslError(`${name} takes a pointer to an atomic: ${name}(&counter)`, code.place);
  }

  function callOf(e: Expression & { kind: "call" }, scopes: Scope[]): { target?: FunctionCode; args: Code[] } {
    const args = e.arguments.map((a) => expression(a, scopes));
    const syntaxOf = syntax.functions.find((x) => x.name === e.callee.name);
    if (!syntaxOf) return { args };
    const target = functionCode(syntaxOf);
    if (target.parameters.length !== args.length) {
      throw new WgslError(`${target.name} takes ${target.parameters.length} arguments, got ${args.length}`, e);
    }
    return { target, args: args.map((a, i) => convert(a, target.parameters[i], `${target.name}'s argument ${i + 1}`)) };
  }

  function expression(e: Expression, scopes: Scope[]): Code {
    switch (e.kind) {
      case "literal": {
        const value = e.type === "f32" ? Math.fround(e.value) : e.value;
        return { type: scalar(e.type), place: e, constant: value, get: () => value };
      }
      case "name": {
        for (let i = scopes.length - 1; i >= 0; i--) {
          const found = scopes[i].get(e.name);
          if (found) return found.make(e);
        }
        throw new WgslError(`unknown name ${e.name}`, e);
      }
      case "unary": {
        const a = expression(e.operand, scopes);
        if (e.op === "&") {
          if (!a.address) throw new WgslError("& needs a variable", e);
          return { type: { kind: "pointer", space: a.space!, of: a.type }, place: e, get: a.address };
        }
        if (e.op === "*") return dereference(a, e);
        if (e.op === "!") {
          if (a.type.kind !== "scalar" && a.type.kind !== "vector" || element(a.type).name !== "bool") throw new WgslError(`! needs bool, this is ${spell(a.type)}`, e);
          return zip((x) => 1 - x, [a], a.type, e);
        }
        if (!numeric(a.type)) throw new WgslError(`${e.op} does not take ${spell(a.type)}`, e);
        const name = element(a.type).name;
        if (e.op === "-") {
          if (name === "u32") throw new WgslError("u32 has no negative: convert to i32 first", e);
          return zip(name === "i32" ? (x) => -x | 0 : (x) => -x, [a], a.type, e);
        }
        const s = settle(a);
        return zip(element(s.type).name === "u32" ? (x) => ~x >>> 0 : (x) => ~x, [s], s.type, e);
      }
      case "binary":
        return binary(e.op, expression(e.left, scopes), expression(e.right, scopes), e);
      case "index": {
        const base = expression(e.base, scopes);
        return index(base.type.kind === "pointer" ? dereference(base, e) : base, expression(e.index, scopes), e);
      }
      case "member":
        return member(expression(e.base, scopes), e.member, e);
      case "call": {
        const name = e.callee.name;
        const { target, args } = callOf(e, scopes);
        if (target) {
          if (!target.returns) throw new WgslError(`${name} returns nothing`, e);
          if (target.barriers) throw new WgslError(`${name} holds a barrier: call it as a statement of its own`, e);
          return {
            type: target.returns, place: e,
            get: (f) => {
              const frame = target.call(f.invocation, args.map((a) => a.get(f)));
              target.body.run(frame);
              return frame.result;
            },
          };
        }
        const done = builtin(name, e.callee, args, scopes, e);
        if (done) return done;
        if (/Barrier$/.test(name)) throw new WgslError(`${name} is a statement of its own`, e);
        if (/^vec[234]$/.test(name) && e.callee.arguments.length === 0) {
          const { type } = unify(args.map((a) => ({ ...a, type: element(a.type) })), name, e);
          return construct(vector(Number(name[3]), type as Scalar), args, e);
        }
        if (name === "array" && e.callee.arguments.length === 0) {
          const { type } = unify(args, name, e);
          return construct({ kind: "array", of: concrete(type), length: args.length }, args, e);
        }
        if (!structs.has(name) && !aliases.has(name) && !/^(f32|i32|u32|bool|array|vec[234][fiu]?|mat.*|f16)$/.test(name)) {
          throw new WgslError(`unknown function ${name}`, e);
        }
        return construct(typeOf(e.callee, scopes), args, e);
      }
    }
  }

  // Statements

  interface Body {
    words: number;
    lets: number;
    returns?: Type;
    loops: number;
  }

  function declare(d: Declaration, scopes: Scope[], body: Body): Step {
    const scope = scopes[scopes.length - 1];
    if (scope.has(d.name)) throw new WgslError(`${d.name} is declared twice`, d);
    let value = d.value && expression(d.value, scopes);
    if (d.kind !== "var" && !value) throw new WgslError(`${d.kind} ${d.name} needs a value`, d);
    if (d.kind === "const") {
      const constant = d.type ? convert(value!, typeOf(d.type, scopes), d.name) : value!;
      if (constant.constant === undefined) throw new WgslError(`const ${d.name}: its value is not a constant; use let`, d);
      scope.set(d.name, { kind: "value", make: (place) => ({ type: constant.type, place, constant: constant.constant, get: () => constant.constant }) });
      return { run: () => Signal.next };
    }
    const type = d.type ? typeOf(d.type, scopes) : concrete(value!.type);
    if (value) value = convert(value, type, d.name);
    if (d.kind === "let") {
      const slot = body.lets++;
      const code = value!;
      scope.set(d.name, { kind: "value", make: (place) => ({ type, place, get: (f) => f.lets[slot] }) });
      return { run: (f) => ((f.lets[slot] = code.get(f)), Signal.next) };
    }
    if (d.space !== undefined && d.space !== "function") throw new WgslError(`var<${d.space}> belongs outside of functions`, d);
    if (!d.type && !value) throw new WgslError(`var ${d.name} needs a type or a value`, d);
    const at = (body.words = roundUp(body.words, alignment(type)));
    const size = words(type);
    body.words += size;
    scope.set(d.name, { kind: "value", make: (place) => reference(type, place, "function", true, (f) => ({ memory: f.locals, at })) });
    const { store } = access(type);
    const zero: Value = type.kind === "scalar" || type.kind === "atomic" ? 0 : Array<number>(size).fill(0);
    return { run: (f) => (store(f.locals, at, value ? (value.get(f) as Value) : zero), Signal.next) };
  }

  function sequence(list: Step[]): Step {
    const run = (f: Frame): Signal => {
      for (const s of list) {
        const signal = s.run(f);
        if (signal !== Signal.next) return signal;
      }
      return Signal.next;
    };
    if (!list.some((s) => s.steps)) return { run };
    return {
      run,
      *steps(f) {
        for (const s of list) {
          const signal = s.steps ? yield* s.steps(f) : s.run(f);
          if (signal !== Signal.next) return signal;
        }
        return Signal.next;
      },
    };
  }

  const block = (list: Statement[], scopes: Scope[], body: Body): Step => {
    const inner = [...scopes, new Map()];
    return sequence(list.map((s) => statement(s, inner, body)));
  };

  const boolean = (e: Expression, scopes: Scope[]): Code => convert(expression(e, scopes), BOOL, "the condition");

  /** Any loop: `before` is asked at the top, `after` runs between rounds and may ask to stop. */
  function repeat(before: Code | undefined, inside: Step, after: Step | undefined, until: Code | undefined, place: Place): Step {
    const count = (f: Frame): void => {
      if (++f.invocation.rounds > MAX_ROUNDS) throw new WgslError(`this loop does not end: ${MAX_ROUNDS} rounds in one invocation`, place);
    };
    const run = (f: Frame): Signal => {
      while (!before || before.get(f)) {
        count(f);
        const signal = inside.run(f);
        if (signal === Signal.break) break;
        if (signal === Signal.return) return signal;
        after?.run(f);
        if (until?.get(f)) break;
      }
      return Signal.next;
    };
    if (!inside.steps && !after?.steps) return { run };
    return {
      run,
      *steps(f) {
        while (!before || before.get(f)) {
          count(f);
          const signal = inside.steps ? yield* inside.steps(f) : inside.run(f);
          if (signal === Signal.break) break;
          if (signal === Signal.return) return signal;
          if (after) {
            if (after.steps) yield* after.steps(f);
            else after.run(f);
          }
          if (until?.get(f)) break;
        }
        return Signal.next;
      },
    };
  }

  function statement(s: Statement, scopes: Scope[], body: Body): Step {
    switch (s.kind) {
      case "declare":
        return declare(s.declaration, scopes, body);
      case "block":
        return block(s.body, scopes, body);
      case "discardValue": {
        const value = expression(s.value, scopes);
        return { run: (f) => (value.get(f), Signal.next) };
      }
      case "assign": {
        const target = expression(s.target, scopes);
        const address = target.address;
        if (!address) throw new WgslError("only a variable can be assigned to; let and const names cannot", s);
        if (!target.writable) throw new WgslError("this variable is read-only: declare it var<storage, read_write>", s);
        const given = expression(s.value, scopes);
        const value = convert(s.op === "=" ? given : binary(s.op.slice(0, -1), target, given, s), target.type, "the assigned value");
        const { store } = access(target.type);
        return {
          run: (f) => {
            const v = value.get(f) as Value;
            const a = address(f);
            store(a.memory, a.at, v);
            return Signal.next;
          },
        };
      }
      case "call": {
        const call = s.call as Expression & { kind: "call" };
        const name = call.callee.name;
        if (name === "workgroupBarrier" || name === "storageBarrier") {
          if (call.arguments.length) throw new WgslError(`${name} takes no arguments`, s);
          const place = { line: s.line, column: s.column };
          return {
            run: () => {
              throw new WgslError(`${name} is not allowed here`, place);
            },
            *steps() {
              yield place;
              return Signal.next;
            },
          };
        }
        const { target, args } = callOf(call, scopes);
        if (!target) {
          if (!Object.hasOwn(ATOMICS, name) && name !== "atomicStore") {
            throw new WgslError(`the value of ${name} is not used`, s);
          }
          const code = expression(call, scopes);
          return { run: (f) => (code.get(f), Signal.next) };
        }
        const enter = (f: Frame): Frame => target.call(f.invocation, args.map((a) => a.get(f)));
        const steps = target.body.steps;
        const run = (f: Frame): Signal => (target.body.run(enter(f)), Signal.next);
        if (!steps) return { run };
        return { run, *steps(f) { yield* steps(enter(f)); return Signal.next; } };
      }
      case "if": {
        const condition = boolean(s.condition, scopes);
        const then = block(s.then, scopes, body);
        const otherwise = s.otherwise ? block(s.otherwise, scopes, body) : sequence([]);
        const run = (f: Frame): Signal => (condition.get(f) ? then.run(f) : otherwise.run(f));
        if (!then.steps && !otherwise.steps) return { run };
        return {
          run,
          *steps(f) {
            const taken = condition.get(f) ? then : otherwise;
            return taken.steps ? yield* taken.steps(f) : taken.run(f);
          },
        };
      }
      case "for": {
        const inner = [...scopes, new Map()];
        const init = s.init ? statement(s.init, inner, body) : sequence([]);
        const condition = s.condition && boolean(s.condition, inner);
        const update = s.update && statement(s.update, inner, body);
        body.loops++;
        const inside = block(s.body, inner, body);
        body.loops--;
        return sequence([init, repeat(condition, inside, update, undefined, s)]);
      }
      case "while": {
        const condition = boolean(s.condition, scopes);
        body.loops++;
        const inside = block(s.body, scopes, body);
        body.loops--;
        return repeat(condition, inside, undefined, undefined, s);
      }
      case "loop": {
        body.loops++;
        const inner = [...scopes, new Map()];
        const inside = sequence(s.body.map((x) => statement(x, inner, body)));
        const continuing = s.continuing && sequence(s.continuing.map((x) => statement(x, inner, body)));
        const until = s.breakIf && boolean(s.breakIf, inner);
        body.loops--;
        return repeat(undefined, inside, continuing, until, s);
      }
      case "switch": {
        const value = settle(expression(s.value, scopes));
        body.loops++;
        const cases = s.cases.map((c) => ({
          selectors: c.selectors.map((x) => (x === "default" ? x : convert(expression(x, scopes), value.type, "the case"))),
          body: block(c.body, scopes, body),
        }));
        body.loops--;
        if (!cases.some((c) => c.selectors.includes("default"))) throw new WgslError("a switch needs a default", s);
        const pick = (f: Frame): Step => {
          const v = value.get(f);
          const hit = cases.find((c) => c.selectors.some((x) => x !== "default" && x.get(f) === v));
          return (hit ?? cases.find((c) => c.selectors.includes("default"))!).body;
        };
        const leave = (signal: Signal): Signal => (signal === Signal.break ? Signal.next : signal);
        const run = (f: Frame): Signal => leave(pick(f).run(f));
        if (!cases.some((c) => c.body.steps)) return { run };
        return {
          run,
          *steps(f) {
            const taken = pick(f);
            return leave(taken.steps ? yield* taken.steps(f) : taken.run(f));
          },
        };
      }
      case "return": {
        if (!s.value) {
          if (body.returns) throw new WgslError(`this function returns ${spell(body.returns)}`, s);
          return { run: () => Signal.return };
        }
        if (!body.returns) throw new WgslError("this function returns nothing", s);
        const value = convert(expression(s.value, scopes), body.returns, "the returned value");
        return { run: (f) => ((f.result = value.get(f)), Signal.return) };
      }
      case "break":
      case "continue":
        if (body.loops === 0) throw new WgslError(`${s.kind} outside of a loop`, s);
        return { run: () => (s.kind === "break" ? Signal.break : Signal.continue) };
    }
  }

  // Functions

  function functionCode(fn: FunctionSyntax): FunctionCode {
    const ready = functions.get(fn.name);
    if (ready) return ready;
    if (compiling.has(fn.name)) throw new WgslError(`${fn.name} calls itself, which WGSL does not allow`, fn);
    compiling.add(fn.name);
    const scope: Scope = new Map();
    const body: Body = { words: 0, lets: 0, loops: 0, returns: fn.returns && typeOf(fn.returns, [globals]) };
    const parameters = fn.parameters.map((p) => {
      const type = typeOf(p.type, [globals]);
      const slot = body.lets++;
      scope.set(p.name, { kind: "value", make: (place) => ({ type, place, get: (f) => f.lets[slot] }) });
      return type;
    });
    const inner = [globals, scope];
    const code = sequence(fn.body.map((s) => statement(s, inner, body)));
    const done: FunctionCode = {
      name: fn.name, parameters, returns: body.returns, barriers: code.steps !== undefined, body: code,
      call: (invocation, args) => ({ invocation, locals: memory(`a local of ${fn.name}`, body.words), lets: [...args], result: undefined }),
    };
    compiling.delete(fn.name);
    functions.set(fn.name, done);
    return done;
  }

  // Globals

  for (const d of syntax.globals) {
    if (globals.has(d.name)) throw new WgslError(`${d.name} is declared twice`, d);
    if (d.kind === "override") throw new WgslError("override is outside the emulated subset: use const", d);
    if (d.kind === "const") {
      declare(d, [globals], { words: 0, lets: 0, loops: 0 });
      continue;
    }
    if (d.kind === "let") throw new WgslError("let belongs inside a function; use const", d);
    if (!d.type) throw new WgslError(`var ${d.name} needs a type`, d);
    const type = typeOf(d.type, [globals]);
    const space = d.space ?? "";
    if (space === "workgroup" || space === "private") {
      const before = space === "workgroup" ? workgroupWords : privateWords;
      const at = roundUp(before, alignment(type));
      if (space === "workgroup") workgroupWords = at + words(type);
      else privateWords = at + words(type);
      if (space === "workgroup" && d.value) throw new WgslError(`var<workgroup> ${d.name} cannot have an initial value`, d);
      globals.set(d.name, { kind: "value", make: (place) => reference(type, place, space, true, (f) => ({ memory: f.invocation[space], at })) });
      if (d.value) {
        const value = convert(expression(d.value, [globals]), type, d.name);
        const { store } = access(type);
        privateInits.push((f) => store(f.invocation.private, at, value.get(f) as Value));
      }
    } else if (space === "storage" || space === "uniform") {
      const number = (name: string): number => {
        const mark = d.attributes.find((a) => a.name === name);
        const value = mark && expression(mark.arguments[0], [globals]).constant;
        if (typeof value !== "number") throw new WgslError(`${d.name} needs @group and @binding`, d);
        return value;
      };
      const uniform = space === "uniform";
      if (uniform && type.kind === "array" && stride(type) % 4 !== 0) {
        throw new WgslError(`${d.name}: an array in a uniform needs elements of 16 bytes (use vec4, or storage)`, d);
      }
      if (uniform && type.kind === "array" && type.length === undefined) throw new WgslError(`${d.name}: a uniform array needs a length`, d);
      const at = bindings.length;
      const writable = d.access === "read_write";
      bindings.push({ name: d.name, group: number("group"), binding: number("binding"), type, writable, uniform });
      globals.set(d.name, { kind: "value", make: (place) => reference(type, place, space, writable, (f) => ({ memory: f.invocation.buffers[at], at: 0 })) });
    } else {
      throw new WgslError(`var ${d.name} needs an address space: storage, uniform, workgroup or private`, d);
    }
  }

  const entries = syntax.functions
    .filter((fn) => fn.attributes.some((a) => a.name === "compute"))
    .map((fn): EntryPoint => {
      const code = functionCode(fn);
      const mark = fn.attributes.find((a) => a.name === "workgroup_size");
      if (!mark) throw new WgslError(`${fn.name} needs @workgroup_size`, fn);
      const size = [0, 1, 2].map((i) => (mark.arguments[i] ? expression(mark.arguments[i], [globals]).constant : 1));
      if (!size.every((n) => typeof n === "number" && n >= 1)) throw new WgslError("@workgroup_size needs positive constants", mark);
      const total = (size as number[]).reduce((a, b) => a * b, 1);
      if (total > 256) throw new WgslError(`@workgroup_size has ${total} invocations, WebGPU promises 256`, mark);
      const names = fn.parameters.flatMap((p, i) => {
        const b = p.attributes.find((a) => a.name === "builtin")?.arguments[0];
        if (b) {
          const name = b.kind === "name" ? b.name : "";
          const wanted = BUILTIN_TYPES[name];
          if (!wanted) throw new WgslError(`@builtin(${name}) is outside the emulated subset`, p);
          if (!same(wanted, code.parameters[i])) throw new WgslError(`@builtin(${name}) is ${spell(wanted)}`, p);
          return [(v: Invocation): unknown => v.builtins[name]];
        }
        const type = code.parameters[i];
        const struct = type.kind === "struct" ? syntax.structs.find((s) => s.name === type.name) : undefined;
        if (!struct) throw new WgslError(`${p.name} needs @builtin`, p);
        throw new WgslError("builtins gathered in a struct are outside the emulated subset: name them as parameters", p);
      });
      return {
        name: fn.name,
        size: size as [number, number, number],
        *start(invocation) {
          const frame = code.call(invocation, names.map((read) => read(invocation)));
          if (code.body.steps) yield* code.body.steps(frame);
          else code.body.run(frame);
        },
      };
    });
  for (const fn of syntax.functions) functionCode(fn);
  if (workgroupWords * 4 > 16384) throw new WgslError(`var<workgroup> takes ${workgroupWords * 4} bytes, WebGPU promises 16384`);
  return {
    bindings, entries, workgroupWords, privateWords,
    initialisePrivate: (invocation) => {
      const f: Frame = { invocation, locals: invocation.private, lets: [], result: undefined };
      for (const init of privateInits) init(f);
    },
  };
}
