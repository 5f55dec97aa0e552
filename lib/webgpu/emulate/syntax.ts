import { RESERVED, WgslError, tokens, type Place, type Token } from "./lexer";

/** A type as written: `f32`, `array<vec4f, 64>`, `Dims`. */
export interface TypeName extends Place {
  name: string;
  arguments: (TypeName | Expression)[];
}

export type Expression = Place & { grouped?: boolean } &
  (
    | { kind: "literal"; type: "aint" | "afloat" | "i32" | "u32" | "f32" | "bool"; value: number }
    | { kind: "name"; name: string }
    | { kind: "unary"; op: string; operand: Expression }
    | { kind: "binary"; op: string; left: Expression; right: Expression }
    | { kind: "index"; base: Expression; index: Expression }
    | { kind: "member"; base: Expression; member: string }
    | { kind: "call"; callee: TypeName; arguments: Expression[] }
  );

export interface Declaration extends Place {
  kind: "var" | "let" | "const" | "override";
  space?: string;
  access?: string;
  name: string;
  type?: TypeName;
  value?: Expression;
  attributes: Attribute[];
}

export type Statement = Place &
  (
    | { kind: "declare"; declaration: Declaration }
    | { kind: "assign"; op: string; target: Expression; value: Expression }
    | { kind: "discardValue"; value: Expression }
    | { kind: "call"; call: Expression }
    | { kind: "if"; condition: Expression; then: Statement[]; otherwise?: Statement[] }
    | { kind: "for"; init?: Statement; condition?: Expression; update?: Statement; body: Statement[] }
    | { kind: "while"; condition: Expression; body: Statement[] }
    | { kind: "loop"; body: Statement[]; continuing?: Statement[]; breakIf?: Expression }
    | { kind: "switch"; value: Expression; cases: { selectors: (Expression | "default")[]; body: Statement[] }[] }
    | { kind: "block"; body: Statement[] }
    | { kind: "return"; value?: Expression }
    | { kind: "break" | "continue" }
  );

export interface Attribute extends Place {
  name: string;
  arguments: Expression[];
}
export interface Parameter extends Place {
  name: string;
  type: TypeName;
  attributes: Attribute[];
}
export interface FunctionSyntax extends Place {
  name: string;
  parameters: Parameter[];
  returns?: TypeName;
  body: Statement[];
  attributes: Attribute[];
}
export interface StructSyntax extends Place {
  name: string;
  members: Parameter[];
}
export interface ModuleSyntax {
  structs: StructSyntax[];
  aliases: { name: string; type: TypeName }[];
  globals: Declaration[];
  functions: FunctionSyntax[];
}

const ASSIGNMENTS = ["=", "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "<<=", ">>="];
const LEVELS = [["||"], ["&&"], ["|"], ["^"], ["&"], ["==", "!="], ["<", ">", "<=", ">="], ["<<", ">>"], ["+", "-"], ["*", "/", "%"]];
/** Type generators: a `<` after one of these opens a template, not a comparison. */
const TEMPLATES = [...[2, 3, 4].flatMap((c) => [2, 3, 4].map((r) => `mat${c}x${r}`)), "array", "vec2", "vec3", "vec4", "ptr", "atomic", "bitcast"];

/** Reads a WGSL text into its syntax tree. Throws {@link WgslError} at the first thing that is not WGSL. */
export function parse(source: string): ModuleSyntax {
  const list = tokens(source);
  let at = 0;

  const peek = (ahead = 0): Token => list[Math.min(at + ahead, list.length - 1)];
  const is = (text: string, ahead = 0): boolean => peek(ahead).kind !== "end" && peek(ahead).text === text;
  const fail = (wanted: string): never => {
    throw new WgslError(`expected ${wanted}, found ${JSON.stringify(peek().text)}`, peek());
  };
  const next = (): Token => list[at++];
  const take = (text: string): boolean => is(text) && (at++, true);
  const expect = (text: string): Token => (is(text) ? next() : fail(JSON.stringify(text)));
  const word = (what: string): Token => (peek().kind === "name" ? next() : fail(what));
  /** A name that the text gives to something. */
  const newName = (what: string): Token => {
    if (RESERVED.has(peek().text)) throw new WgslError(`${peek().text} is a reserved word of WGSL: choose another name`, peek());
    if (peek().text === "_" || peek().text.startsWith("__")) throw new WgslError(`${peek().text} is no name: names do not begin with two underscores`, peek());
    return word(what);
  };
  const where = (): Place => ({ line: peek().line, column: peek().column });

  /** `>>` and `>=` at the end of nested templates are one token to the lexer: give back what belongs after the `>`. */
  const closeTemplate = (): void => {
    const token = peek();
    if (token.kind === "symbol" && token.text.length > 1 && token.text.startsWith(">")) {
      list[at] = { ...token, text: token.text.slice(1), column: token.column + 1 };
    } else {
      expect(">");
    }
  };

  const type = (): TypeName => {
    const place = where();
    const name = word("a type").text;
    const args: (TypeName | Expression)[] = [];
    if (take("<")) {
      do {
        if (is(">")) break;
        args.push(peek().kind === "name" ? type() : additive());
      } while (take(","));
      closeTemplate();
    }
    return { ...place, name, arguments: args };
  };

  const callArguments = (): Expression[] => {
    expect("(");
    const args: Expression[] = [];
    while (!is(")")) {
      args.push(expression());
      if (!take(",")) break;
    }
    expect(")");
    return args;
  };

  const primary = (): Expression => {
    const place = where();
    const token = peek();
    if (take("(")) {
      const inner = expression();
      expect(")");
      return { ...inner, grouped: true };
    }
    if (token.kind === "integer" || token.kind === "float") {
      next();
      const suffix = /^0[xX]/.test(token.text) ? token.text.match(/[iu]$/)?.[0] : token.text.match(/[iufh]$/)?.[0];
      if (suffix === "h") throw new WgslError("f16 is outside the emulated subset", place);
      const value = Number(suffix ? token.text.slice(0, -1) : token.text);
      const literal = suffix === "u" ? "u32" : suffix === "i" ? "i32" : suffix === "f" ? "f32" : token.kind === "float" ? "afloat" : "aint";
      return { ...place, kind: "literal", type: literal, value };
    }
    if (token.text === "true" || token.text === "false") {
      next();
      return { ...place, kind: "literal", type: "bool", value: token.text === "true" ? 1 : 0 };
    }
    if (token.kind !== "name") return fail("an expression");
    if ((TEMPLATES.includes(token.text) && is("<", 1)) || is("(", 1)) {
      const callee = type();
      return { ...place, kind: "call", callee, arguments: callArguments() };
    }
    next();
    return { ...place, kind: "name", name: token.text };
  };

  const postfix = (): Expression => {
    let base = primary();
    for (;;) {
      const place = where();
      if (take("[")) {
        const index = expression();
        expect("]");
        base = { ...place, kind: "index", base, index };
      } else if (take(".")) {
        base = { ...place, kind: "member", base, member: word("a member's name").text };
      } else {
        return base;
      }
    }
  };

  const unary = (): Expression => {
    const place = where();
    for (const op of ["-", "!", "~", "*", "&"]) {
      if (take(op)) return { ...place, kind: "unary", op, operand: unary() };
    }
    return postfix();
  };

  const level = (n: number): Expression => {
    if (n === LEVELS.length) return unary();
    let left = level(n + 1);
    for (;;) {
      const op = LEVELS[n].find((o) => is(o));
      if (op === undefined) return left;
      const place = where();
      next();
      const right = level(n + 1);
      mayMix(op, left, true, place);
      mayMix(op, right, false, place);
      left = { ...place, kind: "binary", op, left, right };
    }
  };

  /** WGSL has no order among these operators: it wants parentheses. */
  const mayMix = (op: string, operand: Expression, leftSide: boolean, place: Place): void => {
    if (operand.kind !== "binary" || operand.grouped) return;
    const inner = operand.op;
    const chained = leftSide && inner === op;
    const bits = ["&", "|", "^"];
    const allowed =
      op === "<<" || op === ">>" ? false
      : bits.includes(op) ? chained
      : op === "&&" || op === "||" ? chained || !(bits.includes(inner) || inner === "&&" || inner === "||")
      : LEVELS[5].includes(op) || LEVELS[6].includes(op) ? !(LEVELS[5].includes(inner) || LEVELS[6].includes(inner))
      : true;
    if (!allowed) throw new WgslError(`mixing ${inner} and ${op} needs parentheses`, place);
  };
  const additive = (): Expression => level(LEVELS.findIndex((ops) => ops.includes("+")));
  const expression = (): Expression => level(0);

  const attributes = (): Attribute[] => {
    const out: Attribute[] = [];
    while (is("@")) {
      next();
      const name = word("an attribute's name");
      out.push({ line: name.line, column: name.column, name: name.text, arguments: is("(") ? callArguments() : [] });
    }
    return out;
  };

  const declaration = (marks: Attribute[]): Declaration => {
    const place = where();
    const kind = next().text as Declaration["kind"];
    let space: string | undefined;
    let access: string | undefined;
    if (kind === "var" && take("<")) {
      space = word("an address space").text;
      if (take(",")) access = word("an access mode").text;
      closeTemplate();
    }
    const name = newName("a name").text;
    const declared = take(":") ? type() : undefined;
    const value = take("=") ? expression() : undefined;
    return { ...place, kind, space, access, name, type: declared, value, attributes: marks };
  };

  const block = (): Statement[] => {
    expect("{");
    const body: Statement[] = [];
    while (!is("}")) {
      if (peek().kind === "end") fail('"}"');
      if (!take(";")) body.push(statement());
    }
    expect("}");
    return body;
  };

  /** A statement that may also stand in the head of a `for`, without its semicolon. */
  const simple = (): Statement => {
    const place = where();
    if (is("var") || is("let") || is("const")) return { ...place, kind: "declare", declaration: declaration([]) };
    if (is("_") && is("=", 1)) {
      at += 2;
      return { ...place, kind: "discardValue", value: expression() };
    }
    const target = unary();
    if (is("++") || is("--")) {
      const op = next().text === "++" ? "+=" : "-=";
      return { ...place, kind: "assign", op, target, value: { ...place, kind: "literal", type: "aint", value: 1 } };
    }
    const op = ASSIGNMENTS.find((o) => is(o));
    if (op !== undefined) {
      next();
      return { ...place, kind: "assign", op, target, value: expression() };
    }
    if (target.kind === "call") return { ...place, kind: "call", call: target };
    return fail("an assignment or a call");
  };

  const ifStatement = (): Statement => {
    const place = where();
    expect("if");
    const condition = expression();
    const then = block();
    const otherwise = take("else") ? (is("if") ? [ifStatement()] : block()) : undefined;
    return { ...place, kind: "if", condition, then, otherwise };
  };

  const statement = (): Statement => {
    const place = where();
    if (is("{")) return { ...place, kind: "block", body: block() };
    if (is("if")) return ifStatement();
    if (take("for")) {
      expect("(");
      const init = is(";") ? undefined : simple();
      expect(";");
      const condition = is(";") ? undefined : expression();
      expect(";");
      const update = is(")") ? undefined : simple();
      expect(")");
      return { ...place, kind: "for", init, condition, update, body: block() };
    }
    if (take("while")) return { ...place, kind: "while", condition: expression(), body: block() };
    if (take("loop")) {
      expect("{");
      const body: Statement[] = [];
      let continuing: Statement[] | undefined;
      let breakIf: Expression | undefined;
      while (!is("}")) {
        if (peek().kind === "end") fail('"}"');
        if (take(";")) continue;
        if (!take("continuing")) {
          body.push(statement());
          continue;
        }
        expect("{");
        continuing = [];
        while (!is("}")) {
          if (is("break") && is("if", 1)) {
            at += 2;
            breakIf = expression();
            expect(";");
          } else {
            continuing.push(statement());
          }
        }
        expect("}");
      }
      expect("}");
      return { ...place, kind: "loop", body, continuing, breakIf };
    }
    if (take("switch")) {
      const value = expression();
      expect("{");
      const cases: { selectors: (Expression | "default")[]; body: Statement[] }[] = [];
      while (!is("}")) {
        const selectors: (Expression | "default")[] = [];
        if (take("default")) {
          selectors.push("default");
        } else {
          expect("case");
          do {
            if (is(":") || is("{")) break;
            selectors.push(take("default") ? "default" : expression());
          } while (take(","));
        }
        take(":");
        cases.push({ selectors, body: block() });
      }
      expect("}");
      return { ...place, kind: "switch", value, cases };
    }
    let result: Statement;
    if (take("return")) result = { ...place, kind: "return", value: is(";") ? undefined : expression() };
    else if (take("break")) result = { ...place, kind: "break" };
    else if (take("continue")) result = { ...place, kind: "continue" };
    else result = simple();
    expect(";");
    return result;
  };

  const parameter = (): Parameter => {
    const marks = attributes();
    const place = where();
    const name = newName("a name").text;
    expect(":");
    return { ...place, name, type: type(), attributes: marks };
  };

  const module: ModuleSyntax = { structs: [], aliases: [], globals: [], functions: [] };
  while (peek().kind !== "end") {
    if (take(";")) continue;
    if (is("enable") || is("requires") || is("diagnostic")) {
      throw new WgslError(`"${peek().text}" directives are outside the emulated subset`, peek());
    }
    const marks = attributes();
    const place = where();
    if (take("struct")) {
      const name = newName("the struct's name").text;
      expect("{");
      const members: Parameter[] = [];
      while (!is("}")) {
        members.push(parameter());
        if (!take(",")) break;
      }
      expect("}");
      module.structs.push({ ...place, name, members });
    } else if (take("alias")) {
      const name = newName("a name").text;
      expect("=");
      module.aliases.push({ name, type: type() });
      expect(";");
    } else if (take("fn")) {
      const name = newName("the function's name").text;
      expect("(");
      const parameters: Parameter[] = [];
      while (!is(")")) {
        parameters.push(parameter());
        if (!take(",")) break;
      }
      expect(")");
      let returns: TypeName | undefined;
      if (take("->")) {
        attributes();
        returns = type();
      }
      module.functions.push({ ...place, name, parameters, returns, body: block(), attributes: marks });
    } else if (is("var") || is("const") || is("override")) {
      module.globals.push(declaration(marks));
      expect(";");
    } else {
      fail("a declaration (var, const, struct, fn)");
    }
  }
  return module;
}
