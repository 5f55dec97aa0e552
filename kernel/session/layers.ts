/** How a layer of the library is explained: by its inputs, its options and its formula, since its generic type fills a screen. */
import type ts from "typescript";

export interface Inspection {
  signature: string;
  documentation: string;
}

interface Field {
  name: string;
  optional: boolean;
  /** A shape, or the type of an option. */
  text: string;
}

interface Layer {
  name: string;
  documentation: string;
  inputs: Field[];
  options: Field[];
  /** `dx` for each input x that has a gradient unless a caller says otherwise. */
  gradients: Field[];
}

/** Characters of a row of inputs or options: a completion's documentation is not much wider. */
const WIDTH = 43;

function braces(names: readonly string[]): string {
  return `{ ${names.join(", ")} }`;
}

function withMark({ name, optional }: Field): string {
  return optional ? `${name}?` : name;
}

/** `heading  item, item, ...` over as many lines as it takes. */
function row(heading: string, items: readonly string[]): string {
  const lines = [""];
  for (const item of items) {
    if (lines.at(-1) !== "" && lines.at(-1)!.length + item.length > WIDTH) lines.push("");
    lines[lines.length - 1] += `${lines.at(-1) === "" ? "" : " "}${item}${item === items.at(-1) ? "" : ","}`;
  }
  return lines.map((line, i) => `  ${(i === 0 ? heading : "").padEnd(8)} ${line}`).join("\n");
}

function signatures({ inputs, options, gradients }: Layer): { calls: Record<string, string>; rows: Record<string, string> } {
  const chosen = options.some(({ optional }) => !optional) ? "options" : "options?";
  return {
    calls: {
      forward: `forward(inputs, ${chosen}): { y, cache }`,
      backward: `backward(dy, cache): ${braces(gradients.map(withMark))}`,
      jvp: `jvp(inputs, tangents, ${chosen}): { y, dy }`,
    },
    rows: {
      inputs: row("inputs", inputs.map((field) => `${withMark(field)} ${field.text}`)),
      options: row("options", [...options.map((field) => `${withMark(field)}: ${field.text}`), "frozen?", "device?"]),
    },
  };
}

/** What the checker knows of the layers that one cell mentions. */
export class LayerExplainer {
  private readonly checker: ts.TypeChecker;

  constructor(private readonly ts: typeof import("typescript"), program: ts.Program, private readonly file: ts.SourceFile) {
    this.checker = program.getTypeChecker();
  }

  /** The layer, or the member of a layer, whose name stands at `position`. */
  at(position: number): Inspection | undefined {
    const node = this.nodeAt(position);
    if (!this.ts.isIdentifier(node)) return undefined;
    const layer = this.layerOf(node);
    if (layer) return this.explain(layer);
    return this.ts.isPropertyAccessExpression(node.parent) ? this.member(node.parent, node.text) : undefined;
  }

  /** A name that could stand at `position`, right behind a dot or not. */
  candidate(position: number, name: string): Inspection | undefined {
    const node = this.nodeAt(position);
    const access = this.ts.isPropertyAccessExpression(node) ? node : node.parent;
    if (access && this.ts.isPropertyAccessExpression(access) && access.expression.end < position) return this.member(access, name);
    const symbol = this.checker.getSymbolsInScope(this.file, this.ts.SymbolFlags.Value | this.ts.SymbolFlags.Alias)
      .find((known) => known.name === name);
    const layer = symbol && this.read(this.checker.getTypeOfSymbol(this.original(symbol)), symbol);
    return layer && this.explain(layer);
  }

  private member({ expression }: ts.PropertyAccessExpression, name: string): Inspection | undefined {
    const layer = this.layerOf(expression);
    const symbol = layer && this.checker.getTypeAtLocation(expression).getProperty(name);
    if (!symbol) return undefined;
    const { calls, rows } = signatures(layer);
    const own = this.documentationOf(symbol);
    const call = Object.hasOwn(calls, name) ? calls[name] : undefined;
    if (call === undefined) return { signature: `${layer.name}.${name}: ${this.text(this.checker.getTypeOfSymbol(symbol))}`, documentation: own };
    const signature = [`${layer.name}.${call}`, ...name === "backward" ? [] : [rows.inputs, rows.options]].join("\n");
    return { signature, documentation: [own, layer.documentation].filter(Boolean).join("\n\n") };
  }

  private explain(layer: Layer): Inspection {
    const { calls, rows } = signatures(layer);
    const signature = [`const ${layer.name}: Layer`, `  ${calls.forward}`, `  ${calls.backward}`, rows.inputs, rows.options].join("\n");
    return { signature, documentation: layer.documentation };
  }

  private layerOf(node: ts.Node): Layer | undefined {
    return this.read(this.checker.getTypeAtLocation(node), this.checker.getSymbolAtLocation(node));
  }

  /** The layer that a value of this type is; undefined when it is none, or not known which. */
  private read(type: ts.Type, symbol: ts.Symbol | undefined): Layer | undefined {
    const [declaration] = type.symbol?.declarations ?? [];
    if (type.symbol?.name !== "Layer" || !declaration?.getSourceFile().fileName.endsWith("/dist/lib/layers/layer.d.ts")) return undefined;
    const [name, inputs, options, , frozen] = this.checker.getTypeArguments(type as ts.TypeReference);
    if (!name?.isStringLiteral()) return undefined;
    const shapes = this.fields(inputs).map(([input, shape]): Field => {
      const text = shape.isStringLiteral() ? shape.value : this.text(shape);
      return { name: input, optional: text.endsWith("?"), text: text.replace(/\?$/, "") };
    });
    const without = new Set((frozen.isUnion() ? frozen.types : [frozen]).flatMap((one) => one.isStringLiteral() ? [one.value] : []));
    return {
      name: name.value,
      documentation: symbol ? this.documentationOf(symbol) : "",
      inputs: shapes,
      options: this.fields(options).map(([option, spec]): Field => {
        const [value, required] = this.checker.getTypeArguments(spec as ts.TypeReference);
        const optional = this.text(required) !== "true";
        return { name: option, optional, text: optional ? this.text(value).replace(/ \| undefined$/, "") : this.text(value) };
      }),
      gradients: shapes.filter(({ name: input, text }) => !text.startsWith("int ") && !without.has(input))
        .map((field) => ({ ...field, name: `d${field.name}` })),
    };
  }

  private fields(type: ts.Type): [name: string, type: ts.Type][] {
    return type.getProperties().map((property) => [property.name, this.checker.getTypeOfSymbol(property)]);
  }

  private original(symbol: ts.Symbol): ts.Symbol {
    return symbol.flags & this.ts.SymbolFlags.Alias ? this.checker.getAliasedSymbol(symbol) : symbol;
  }

  private documentationOf(symbol: ts.Symbol): string {
    return this.ts.displayPartsToString(this.original(symbol).getDocumentationComment(this.checker));
  }

  private text(type: ts.Type): string {
    return this.checker.typeToString(type, undefined, this.ts.TypeFormatFlags.NoTruncation);
  }

  /** The innermost node around a position. */
  private nodeAt(position: number): ts.Node {
    const within = (node: ts.Node): ts.Node =>
      this.ts.forEachChild(node, (child) => child.getStart(this.file) <= position && position <= child.end ? within(child) : undefined) ?? node;
    return within(this.file);
  }
}
