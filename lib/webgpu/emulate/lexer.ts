/** Where a piece of WGSL stands in its text, both counted from 1. */
export interface Place {
  line: number;
  column: number;
}

/** What is wrong with a WGSL text, or with a run of it; the message carries the line and the column. */
export class WgslError extends Error {
  override name = "WgslError";
  constructor(
    message: string,
    readonly place?: Place,
  ) {
    super(place ? `line ${place.line}, column ${place.column}: ${message}` : message);
  }
}

export interface Token extends Place {
  kind: "name" | "integer" | "float" | "symbol" | "end";
  text: string;
}

const SYMBOLS = [
  ">>=", "<<=", "->", "++", "--", "&&", "||", "==", "!=", "<=", ">=", "<<", ">>", "+=", "-=", "*=", "/=", "%=", "&=",
  "|=", "^=", "+", "-", "*", "/", "%", "&", "|", "^", "!", "~", "<", ">", "=", "(", ")", "[", "]", "{", "}", ",", ";",
  ":", ".", "@",
];
/** WGSL's keywords and the words it reserves: none may name anything (WGSL specification, "Keyword summary" and "Reserved words"). */
export const RESERVED: ReadonlySet<string> = new Set((
  "alias break case const const_assert continue continuing default diagnostic discard else enable false fn for if let " +
  "loop override requires return struct switch true var while " +
  "NULL Self abstract active alignas alignof as asm asm_fragment async attribute auto await become cast catch class " +
  "co_await co_return co_yield coherent column_major common compile compile_fragment concept const_cast consteval " +
  "constexpr constinit crate debugger decltype delete demote demote_to_helper do dynamic_cast enum explicit export " +
  "extends extern external fallthrough filter final finally friend from fxgroup get goto groupshared highp impl " +
  "implements import inline instanceof interface layout lowp macro macro_rules match mediump meta mod module move mut " +
  "mutable namespace new nil noexcept noinline nointerpolation non_coherent noncoherent noperspective null nullptr of " +
  "operator package packoffset partition pass patch pixelfragment precise precision premerge priv protected pub public " +
  "readonly ref regardless register reinterpret_cast require resource restrict self set shared sizeof smooth snorm static " +
  "static_assert static_cast std subroutine super target template this thread_local throw trait try type typedef typeid " +
  "typename typeof union unless unorm unsafe unsized use using varying virtual volatile wgsl where with writeonly yield"
).split(" "));
const NAME = /[A-Za-z_][A-Za-z0-9_]*/y;
const FLOAT = /(?:\d+\.\d*|\.\d+)(?:[eE][+-]?\d+)?[fh]?|\d+[eE][+-]?\d+[fh]?|\d+[fh]/y;
const INTEGER = /0[xX][0-9a-fA-F]+[iu]?|\d+[iu]?/y;

/** Splits a WGSL text into tokens; comments (line, and block ones that nest) are left out. */
export function tokens(source: string): Token[] {
  const out: Token[] = [];
  let at = 0;
  let line = 1;
  let lineStart = 0;
  const place = (): Place => ({ line, column: at - lineStart + 1 });
  const match = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at;
    return pattern.exec(source)?.[0];
  };
  const newline = () => {
    line++;
    lineStart = at + 1;
  };

  while (at < source.length) {
    const c = source[at];
    if (c === "\n") newline();
    if (/\s/.test(c)) {
      at++;
      continue;
    }
    if (source.startsWith("//", at)) {
      while (at < source.length && source[at] !== "\n") at++;
      continue;
    }
    if (source.startsWith("/*", at)) {
      const start = place();
      let depth = 0;
      do {
        if (at >= source.length) throw new WgslError("this comment is never closed", start);
        if (source.startsWith("/*", at)) {
          depth++;
          at += 2;
        } else if (source.startsWith("*/", at)) {
          depth--;
          at += 2;
        } else {
          if (source[at] === "\n") newline();
          at++;
        }
      } while (depth > 0);
      continue;
    }
    const add = (kind: Token["kind"], text: string) => {
      out.push({ kind, text, ...place() });
      at += text.length;
    };
    const name = match(NAME);
    if (name !== undefined) {
      add("name", name);
      continue;
    }
    const hex = source.startsWith("0x", at) || source.startsWith("0X", at);
    const float = hex ? undefined : match(FLOAT);
    if (float !== undefined) {
      add("float", float);
      continue;
    }
    const integer = match(INTEGER);
    if (integer !== undefined) {
      add("integer", integer);
      continue;
    }
    const symbol = SYMBOLS.find((s) => source.startsWith(s, at));
    if (symbol === undefined) throw new WgslError(`unexpected character ${JSON.stringify(c)}`, place());
    add("symbol", symbol);
  }
  out.push({ kind: "end", text: "the end of the text", ...place() });
  return out;
}
