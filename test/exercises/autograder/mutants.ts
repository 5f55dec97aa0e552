/** Wrong submissions by the hundred: one small edit to a solution each, as a slip of the pen would make it. */
import ts from "typescript";

export interface Mutant {
  /** What was edited, with its line. */
  name: string;
  source: string;
}

const arithmetic = new Map<ts.SyntaxKind, string>([
  [ts.SyntaxKind.PlusToken, "-"],
  [ts.SyntaxKind.MinusToken, "+"],
  [ts.SyntaxKind.AsteriskToken, "/"],
  [ts.SyntaxKind.SlashToken, "*"],
  [ts.SyntaxKind.PlusEqualsToken, "="],
  [ts.SyntaxKind.MinusEqualsToken, "+="],
  [ts.SyntaxKind.AsteriskEqualsToken, "="],
]);

const methods: Record<string, string> = { add: "sub", sub: "add", mul: "div", div: "mul", sum: "mean", mean: "sum", max: "min", gt: "lt" };
const droppable = new Set(["neg", "square", "sqrt", "exp", "log", "tanh", "sigmoid", "mul", "div", "round", "clip"]);

/** Every edit that this knows, at every place of a module where it applies; loop headers are left alone, for they would not end. */
export function mutantsOf(source: string): Mutant[] {
  const file = ts.createSourceFile("solution.ts", source, ts.ScriptTarget.ES2022, true);
  const found: Mutant[] = [];
  const edit = (what: string, start: number, end: number, text: string): void => {
    const { line } = file.getLineAndCharacterOfPosition(start);
    found.push({ name: `line ${line + 1}: ${what}`, source: source.slice(0, start) + text + source.slice(end) });
  };
  const text = (node: ts.Node): string => node.getText(file);
  const visit = (node: ts.Node): void => {
    if (ts.isBinaryExpression(node)) {
      const { operatorToken: token, left, right } = node;
      const other = arithmetic.get(token.kind);
      if (other) edit(`${text(token)} becomes ${other} in ${text(node)}`, token.getStart(file), token.getEnd(), other);
      if (token.kind === ts.SyntaxKind.AsteriskToken) edit(`${text(node)} loses a factor`, node.getStart(file), node.getEnd(), text(left));
      if (token.kind === ts.SyntaxKind.MinusToken) edit(`${text(node)} turned round`, node.getStart(file), node.getEnd(), `(${text(right)} - ${text(left)})`);
    }
    if (ts.isCallExpression(node) && ts.isPropertyAccessExpression(node.expression)) {
      const { name, expression: target } = node.expression;
      const other = Object.hasOwn(methods, name.text) ? methods[name.text] : undefined;
      if (other) edit(`${name.text} becomes ${other} in ${text(node)}`, name.getStart(file), name.getEnd(), other);
      if (droppable.has(name.text)) edit(`${name.text} dropped from ${text(node)}`, node.getStart(file), node.getEnd(), text(target));
      const [argument] = node.arguments;
      if (name.text === "matmul" && argument) {
        edit(`operands of ${text(node)} swapped`, node.getStart(file), node.getEnd(), `${text(argument)}.matmul(${text(target)})`);
      }
      if ((name.text === "sum" || name.text === "mean") && argument && ts.isNumericLiteral(argument)) {
        edit(`the axis of ${text(node)}`, argument.getStart(file), argument.getEnd(), argument.text === "0" ? "1" : "0");
      }
    }
    if (ts.isPropertyAccessExpression(node) && node.name.text === "T") {
      edit(`${text(node)} not transposed`, node.getStart(file), node.getEnd(), text(node.expression));
    }
    if (ts.isNumericLiteral(node) && ["1", "2", "3", "0.5"].includes(node.text)) {
      edit(`${node.text} in ${text(node.parent)}`, node.getStart(file), node.getEnd(), node.text === "1" ? "2" : "1");
    }
    if (ts.isConditionalExpression(node)) {
      edit(`branches of ${text(node)} swapped`, node.getStart(file), node.getEnd(), `${text(node.condition)} ? ${text(node.whenFalse)} : ${text(node.whenTrue)}`);
    }
    if (ts.isForStatement(node)) visit(node.statement);
    else ts.forEachChild(node, visit);
  };
  visit(file);
  return found;
}
