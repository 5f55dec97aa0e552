/** The built-in functions that need more than one line: what is not componentwise. */

import { ATOMICS, componentwise } from "./builtins";
import { WgslError, type Place } from "./lexer";
import { access, arithmetic, BOOL, F32, same, type Scalar, scalar, spell, stride, type Type, U32, type Value, vector } from "./types";
import { type Address, type Code, convert, element, fold, isScalar, numeric, settle, unify, withElement, zip } from "./values";

/** A call of a built-in function, undefined where there is none of that name. `typeArgument` reads bitcast's <...>. */
export function builtin(name: string, args: Code[], place: Place, typeArgument: () => Type): Code | undefined {
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
      const to = typeArgument();
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
