import { ATOMICS } from "./builtins";
import { builtin } from "./calls";
import { repeat, sequence, Signal, type Step } from "./flow";
import { WgslError, type Place } from "./lexer";
import type { Declaration, Expression, FunctionSyntax, ModuleSyntax, Statement, TypeName } from "./syntax";
import {
  access, alignment, BOOL, F32, I32, memory, roundUp, same, type Scalar, scalar, type ScalarName, spell, stride, type Struct,
  type Type, U32, type Value, vector, words,
} from "./types";
import {
  binary, type Code, concrete, construct, convert, dereference, element, type Frame, index, type Invocation, isScalar, member,
  numeric, reference, settle, unify, zip,
} from "./values";

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
        const done = builtin(name, args, e, () => typeOf(e.callee.arguments[0] as TypeName, scopes));
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

  const block = (list: Statement[], scopes: Scope[], body: Body): Step => {
    const inner = [...scopes, new Map()];
    return sequence(list.map((s) => statement(s, inner, body)));
  };

  const boolean = (e: Expression, scopes: Scope[]): Code => convert(expression(e, scopes), BOOL, "the condition");

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
