/**
 * Turns a cell's emitted JavaScript into code for one function call: top-level names become properties of the global
 * object, so that every later cell (and every function of an earlier one) sees them by their bare name, at the speed of
 * any global. Loops get a guard that an interrupt can reach, import declarations become calls.
 */
import type ts from "typescript";

type TypeScript = typeof ts;

/** Global names that the transformed code uses; runtime.ts defines them. */
export const RUNTIME = { flags: "$gradbookFlags", stop: "$gradbookStop", session: "$gradbook" } as const;
/** The property of `exports` that takes the value of a cell's last expression. */
export const RESULT = "$result";

export interface CellRange {
  /** The student's text within the file: what stands before it and after it was added for the type checker. */
  start: number;
  end: number;
}

/** Which identifiers stand for a cell's top-level name that must be called differently at run time, and how. */
export interface Renaming {
  names: ReadonlySet<string>;
  isTopLevel(identifier: ts.Identifier): boolean;
  rename(name: string): string;
  /** Whether the cell declares the name at its top level; what TypeScript adds on the way to JavaScript it does not. */
  isDeclared(name: string): boolean;
}

export function cellTransformer(ts: TypeScript, range: CellRange, renaming: Renaming): ts.TransformerFactory<ts.SourceFile> {
  return (context) => (file) => new CellTransformer(ts, context, range, renaming).transform(file);
}

class CellTransformer {
  private readonly f: ts.NodeFactory;
  private readonly lastToken: ts.SyntaxKind;

  constructor(private readonly ts: TypeScript, private readonly context: ts.TransformationContext,
    private readonly range: CellRange, private readonly renaming: Renaming) {
    this.f = context.factory;
    this.lastToken = ts.SyntaxKind.LastToken;
  }

  transform(file: ts.SourceFile): ts.SourceFile {
    const { f } = this;
    const hoisted: ts.Statement[] = [];
    const body: ts.Statement[] = [];
    let last: ts.Statement | undefined;
    for (const statement of file.statements) {
      if (this.isAdded(statement)) continue;
      const imported = this.importOf(statement);
      if (imported) hoisted.push(...imported);
      else if (this.ts.isFunctionDeclaration(statement) && statement.name) hoisted.push(this.functionOf(statement));
      else body.push(...this.topLevel(statement));
      last = statement;
    }
    if (last && body.length > 0) body.push(this.keepResult(last, body.pop()!));
    const strict = f.createExpressionStatement(f.createStringLiteral("use strict"));
    const statements = [strict, ...hoisted, ...body];
    // Nobody reads comments, and looking for them costs a sixth of the emit. setEmitFlags would replace what TypeScript's
    // own transformers have set; its addEmitFlags is not in its declarations.
    const { addEmitFlags } = this.ts as unknown as { addEmitFlags(node: ts.Node, flags: ts.EmitFlags): void };
    const { NoComments, NoNestedComments } = this.ts.EmitFlags;
    for (const statement of statements) addEmitFlags(statement, NoComments | NoNestedComments);
    return f.updateSourceFile(file, f.createNodeArray(statements));
  }

  /** Statements that were written around the cell: imports of earlier names before it, the export list after it. */
  private isAdded(statement: ts.Statement): boolean {
    const original = this.ts.getOriginalNode(statement);
    return original.pos >= 0 && (original.end <= this.range.start || original.end > this.range.end);
  }

  private isResult(statement: ts.Statement): boolean {
    const original = this.ts.getOriginalNode(statement);
    if (this.ts.isNotEmittedStatement(statement)) return false;
    return this.ts.isExpressionStatement(statement) && this.ts.isExpressionStatement(original)
      || this.ts.isExportAssignment(statement);
  }

  /** @param transformed what became of the cell's last statement */
  private keepResult(last: ts.Statement, transformed: ts.Statement): ts.Statement {
    const { ts, f } = this;
    if (this.isResult(last)) return this.keep(transformed as ts.ExpressionStatement);
    // Where a cell has a `using`, TypeScript puts its statements into a try block.
    if (ts.isTryStatement(transformed) && ts.getOriginalNode(transformed).pos < 0) {
      const { tryBlock, catchClause, finallyBlock } = transformed;
      const inner = tryBlock.statements.at(-1);
      if (!inner || !this.isResult(inner)) return transformed;
      const statements = [...tryBlock.statements.slice(0, -1), this.keep(inner as ts.ExpressionStatement)];
      return f.updateTryStatement(transformed, f.updateBlock(tryBlock, statements), catchClause, finallyBlock);
    }
    return transformed;
  }

  /** exports.$result = [expression]; a property would give its name to an anonymous function. */
  private keep(statement: ts.ExpressionStatement): ts.Statement {
    const { f } = this;
    const box = f.createArrayLiteralExpression([statement.expression]);
    const target = f.createPropertyAccessExpression(f.createIdentifier("exports"), RESULT);
    return this.ts.setTextRange(f.createExpressionStatement(f.createAssignment(target, box)), statement);
  }

  /** The identifier by which a top-level name goes at run time. */
  private global(name: ts.Identifier | string): ts.Identifier {
    const text = typeof name === "string" ? name : name.text;
    if (this.renaming.names.has(text)) return this.f.createIdentifier(this.renaming.rename(text));
    return typeof name === "string" ? this.f.createIdentifier(name) : name;
  }

  /** A reference, renamed when it is to a top-level name that must be. */
  private reference(identifier: ts.Identifier): ts.Identifier {
    if (!this.renaming.names.has(identifier.text)) return identifier;
    const original = this.ts.getParseTreeNode(identifier, this.ts.isIdentifier);
    return original && this.renaming.isTopLevel(original) ? this.ts.setTextRange(this.global(identifier), identifier) : identifier;
  }

  private runtimeCall(name: "module" | "await" | "iterate" | "exportAll", argument: ts.Expression): ts.Expression {
    const callee = this.f.createPropertyAccessExpression(this.f.createIdentifier(RUNTIME.session), name);
    return this.f.createCallExpression(callee, undefined, [argument]);
  }

  /** require("m") through the module loader, which gives CommonJS modules a default export. */
  private load(specifier: ts.Expression): ts.Expression {
    return this.runtimeCall("module", specifier);
  }

  private assign(target: ts.Expression, value: ts.Expression, from?: ts.Node): ts.ExpressionStatement {
    const assignment = this.f.createAssignment(target, value);
    const isPattern = this.ts.isObjectLiteralExpression(target);
    const statement = this.f.createExpressionStatement(isPattern ? this.f.createParenthesizedExpression(assignment) : assignment);
    return from ? this.ts.setTextRange(statement, from) : statement;
  }

  private importOf(statement: ts.Statement): ts.Statement[] | undefined {
    const { ts, f } = this;
    if (ts.isImportDeclaration(statement)) {
      const module = this.load(statement.moduleSpecifier);
      const clause = statement.importClause;
      if (!clause) return [f.createExpressionStatement(module)];
      const properties: ts.ObjectLiteralElementLike[] = [];
      if (clause.name) properties.push(f.createPropertyAssignment("default", this.global(clause.name)));
      if (clause.namedBindings && ts.isNamespaceImport(clause.namedBindings)) {
        const all = this.assign(this.global(clause.namedBindings.name), module, statement);
        return properties.length === 0 ? [all]
          : [all, this.assign(f.createObjectLiteralExpression(properties), this.load(statement.moduleSpecifier), statement)];
      }
      for (const element of clause.namedBindings?.elements ?? []) {
        properties.push(f.createPropertyAssignment(this.propertyName(element.propertyName ?? element.name), this.global(element.name)));
      }
      return [this.assign(f.createObjectLiteralExpression(properties), module, statement)];
    }
    if (ts.isExportDeclaration(statement)) {
      if (!statement.moduleSpecifier) return [];
      const module = this.load(statement.moduleSpecifier);
      if (!statement.exportClause) {
        return [f.createExpressionStatement(this.runtimeCall("exportAll", module))];
      }
      if (ts.isNamespaceExport(statement.exportClause)) return [this.assign(this.global(statement.exportClause.name.text), module)];
      const properties = statement.exportClause.elements.map((element) =>
        f.createPropertyAssignment(this.propertyName(element.propertyName ?? element.name), this.global(element.name.text)));
      return [this.assign(f.createObjectLiteralExpression(properties), module)];
    }
    return undefined;
  }

  private propertyName(name: ts.ModuleExportName): ts.PropertyName {
    return this.ts.isStringLiteral(name) ? name : this.f.createIdentifier(name.text);
  }

  /** Not a declaration but an assignment of a function expression: it then has no inner name that a later cell could not replace. */
  private functionOf(node: ts.FunctionDeclaration): ts.Statement {
    const { f } = this;
    const modifiers = node.modifiers?.filter((modifier): modifier is ts.Modifier => modifier.kind === this.ts.SyntaxKind.AsyncKeyword);
    const inner = this.visitChildren(node, true);
    const expression = f.createFunctionExpression(modifiers, inner.asteriskToken, undefined, undefined, inner.parameters, undefined, inner.body!);
    this.ts.setTextRange(expression, node);
    return this.assign(this.global(node.name!.text), expression, node);
  }

  private topLevel(statement: ts.Statement): ts.Statement[] {
    const { ts, f } = this;
    if (ts.isVariableStatement(statement)) return this.variables(statement.declarationList, statement);
    if (ts.isClassDeclaration(statement)) {
      const inner = this.visitChildren(statement, true);
      const modifiers = inner.modifiers?.filter(({ kind }) => kind !== ts.SyntaxKind.ExportKeyword && kind !== ts.SyntaxKind.DefaultKeyword);
      const expression = ts.setTextRange(f.createClassExpression(modifiers, inner.name, undefined, inner.heritageClauses, inner.members), statement);
      if (!statement.name) return [f.createExpressionStatement(f.createParenthesizedExpression(expression))];
      return [this.assign(this.global(statement.name.text), expression, statement)];
    }
    if (ts.isFunctionDeclaration(statement)) {
      const inner = this.visitChildren(statement, true);
      const expression = f.createFunctionExpression(
        inner.modifiers?.filter((modifier): modifier is ts.Modifier => modifier.kind === ts.SyntaxKind.AsyncKeyword),
        inner.asteriskToken, undefined, undefined, inner.parameters, undefined, inner.body!);
      return [f.createExpressionStatement(f.createParenthesizedExpression(expression))];
    }
    if (ts.isExportAssignment(statement)) {
      return [ts.setTextRange(f.createExpressionStatement(f.createParenthesizedExpression(this.expression(statement.expression))), statement)];
    }
    return [this.visit(statement, false) as ts.Statement];
  }

  private isVar(list: ts.VariableDeclarationList): boolean {
    return (list.flags & this.ts.NodeFlags.BlockScoped) === 0;
  }

  /** `let a = 1, { b } = o` as `a = 1, { b } = o`. */
  private variables(list: ts.VariableDeclarationList, from: ts.Node): ts.Statement[] {
    const { ts, f } = this;
    const kind = ts.getOriginalNode(from).kind;
    // Enums and namespaces come out as `var E; (function (E) { ... })(E || (E = {}))`, which must not extend an older E.
    const fresh = !this.isVar(list) || kind === ts.SyntaxKind.EnumDeclaration || kind === ts.SyntaxKind.ModuleDeclaration;
    return list.declarations.flatMap((declaration): ts.Statement[] => {
      if (ts.isIdentifier(declaration.name) && !this.renaming.isDeclared(declaration.name.text)) {
        const inner = this.visitChildren(declaration, false);
        return [f.createVariableStatement(undefined, f.createVariableDeclarationList([inner], list.flags))];
      }
      if (declaration.initializer) {
        const value = this.expression(declaration.initializer);
        return [this.assign(this.target(declaration.name), value, declaration)];
      }
      return fresh ? [this.assign(this.target(declaration.name), f.createVoidZero())] : [];
    });
  }

  /** A binding pattern as an assignment pattern. */
  private target(name: ts.BindingName): ts.Expression {
    const { ts, f } = this;
    if (ts.isIdentifier(name)) return this.global(name);
    const withDefault = (element: ts.BindingElement): ts.Expression => {
      const target = this.target(element.name);
      return element.initializer ? f.createAssignment(target, this.expression(element.initializer)) : target;
    };
    if (ts.isArrayBindingPattern(name)) {
      return f.createArrayLiteralExpression(name.elements.map((element) =>
        ts.isOmittedExpression(element) ? element
          : element.dotDotDotToken ? f.createSpreadElement(this.target(element.name)) : withDefault(element)));
    }
    return f.createObjectLiteralExpression(name.elements.map((element) => {
      if (element.dotDotDotToken) return f.createSpreadAssignment(this.target(element.name));
      const property = element.propertyName ?? f.createIdentifier((element.name as ts.Identifier).text);
      return f.createPropertyAssignment(ts.visitNode(property, (node) => this.visit(node, false)) as ts.PropertyName, withDefault(element));
    }));
  }

  private expression(node: ts.Expression): ts.Expression {
    return this.ts.visitNode(node, (child) => this.visit(child, false)) as ts.Expression;
  }

  private visitChildren<T extends ts.Node>(node: T, inFunction: boolean): T {
    return this.ts.visitEachChild(node, (child) => this.visit(child, inFunction), this.context);
  }

  private visit(node: ts.Node, inFunction: boolean): ts.Node {
    const { ts, f } = this;
    if (ts.isIdentifier(node)) return this.reference(node);
    if (node.kind <= this.lastToken) return node;
    if (ts.isShorthandPropertyAssignment(node) && this.renaming.names.has(node.name.text)) {
      const value = this.reference(node.name);
      const initial = node.objectAssignmentInitializer && this.visit(node.objectAssignmentInitializer, inFunction) as ts.Expression;
      return f.createPropertyAssignment(f.createIdentifier(node.name.text), initial ? f.createAssignment(value, initial) : value);
    }
    if (!inFunction && ts.isVariableStatement(node) && this.isVar(node.declarationList)) {
      const statements = this.variables(node.declarationList, node);
      return statements.length === 1 ? statements[0] : f.createBlock(statements);
    }
    const inside = inFunction || ts.isFunctionLike(node) || ts.isClassStaticBlockDeclaration(node);
    if (!inside && ts.isForStatement(node) && node.initializer && ts.isVariableDeclarationList(node.initializer) && this.isVar(node.initializer)) {
      const parts = this.variables(node.initializer, node.initializer).map((statement) => (statement as ts.ExpressionStatement).expression);
      const initializer = parts.length > 0 ? parts.reduce((left, right) => f.createComma(left, right)) : undefined;
      node = f.updateForStatement(node, initializer, node.condition, node.incrementor, node.statement);
    } else if (!inside && ts.isForInStatement(node) && this.isVarList(node.initializer)) {
      node = f.updateForInStatement(node, this.target(node.initializer.declarations[0].name), node.expression, node.statement);
    } else if (!inside && ts.isForOfStatement(node) && this.isVarList(node.initializer)) {
      node = f.updateForOfStatement(node, node.awaitModifier, this.target(node.initializer.declarations[0].name), node.expression, node.statement);
    }
    if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
      const runtime = f.createPropertyAccessExpression(f.createIdentifier(RUNTIME.session), "import");
      return f.updateCallExpression(this.visitChildren(node, inside), runtime, undefined, node.arguments.map((argument) => this.visit(argument, inside) as ts.Expression));
    }
    if (ts.isMetaProperty(node) && node.keywordToken === ts.SyntaxKind.ImportKeyword) {
      return f.createPropertyAccessExpression(f.createIdentifier(RUNTIME.session), "meta");
    }
    const visited = this.visitChildren(node, inside);
    if (ts.isAwaitExpression(visited)) return f.updateAwaitExpression(visited, this.runtimeCall("await", visited.expression));
    if (ts.isForOfStatement(visited) && visited.awaitModifier) {
      return f.updateForOfStatement(visited, visited.awaitModifier, visited.initializer, this.runtimeCall("iterate", visited.expression), this.guard(visited.statement));
    }
    if (ts.isForStatement(visited)) return f.updateForStatement(visited, visited.initializer, visited.condition, visited.incrementor, this.guard(visited.statement));
    if (ts.isForInStatement(visited)) return f.updateForInStatement(visited, visited.initializer, visited.expression, this.guard(visited.statement));
    if (ts.isForOfStatement(visited)) return f.updateForOfStatement(visited, visited.awaitModifier, visited.initializer, visited.expression, this.guard(visited.statement));
    if (ts.isWhileStatement(visited)) return f.updateWhileStatement(visited, visited.expression, this.guard(visited.statement));
    if (ts.isDoStatement(visited)) return f.updateDoStatement(visited, this.guard(visited.statement), visited.expression);
    return visited;
  }

  private isVarList(node: ts.ForInitializer): node is ts.VariableDeclarationList {
    return this.ts.isVariableDeclarationList(node) && this.isVar(node);
  }

  /** { if ($gradbookFlags[1]) $gradbookStop(); ...body } */
  private guard(body: ts.Statement): ts.Block {
    const { f } = this;
    const flag = f.createElementAccessExpression(f.createIdentifier(RUNTIME.flags), 1);
    const stop = f.createExpressionStatement(f.createCallExpression(f.createIdentifier(RUNTIME.stop), undefined, []));
    const check = f.createIfStatement(flag, stop);
    const statements = this.ts.isBlock(body) ? body.statements : [body];
    return this.ts.setTextRange(f.createBlock([check, ...statements], true), body);
  }
}
