/** What can be said about a cell from its syntax alone. */
import type ts from "typescript";

type TypeScript = typeof ts;

export interface Declared {
  /** let and var can be assigned from later cells; const, class, function, enum and import cannot. */
  assignable: boolean;
  /** Interfaces and type aliases have no value. */
  value: boolean;
}

export interface CellFacts {
  /** Names the cell declares at its top level, a `var` inside a block included. */
  declared: Map<string, Declared>;
  /** Declared names without an `export` of their own. */
  unexported: string[];
  /** Every identifier the cell mentions, wherever it stands. */
  mentioned: Set<string>;
  /** Module names in import and export declarations, import() and require() of a literal. */
  imports: string[];
  /** Those of them whose types the checker will ask for. */
  typedImports: string[];
  /** An `await` outside any function. */
  awaits: boolean;
  /** `declare global` or `declare module "m"`. */
  augments: boolean;
  /** Each such "m". */
  augmented: string[];
}

/** A cell is a module: in a script, `await (x)` would be a call. */
export function parseCell(ts: TypeScript, code: string): ts.SourceFile {
  return ts.createSourceFile("cell.ts", code, {
    languageVersion: ts.ScriptTarget.Latest,
    setExternalModuleIndicator: (file) => {
      (file as { externalModuleIndicator?: unknown }).externalModuleIndicator = true;
    },
  }, false, ts.ScriptKind.TS);
}

export function analyze(ts: TypeScript, code: string): CellFacts {
  const source = parseCell(ts, code);
  const declared = new Map<string, Declared>();
  const exported = new Set<string>();
  const mentioned = new Set<string>();
  const imports: string[] = [];
  const typedImports: string[] = [];
  let awaits = false;
  let augments = false;
  const augmented: string[] = [];

  const declare = (name: string, fact: Declared): void => {
    const known = declared.get(name);
    declared.set(name, {
      assignable: known && known.value ? known.assignable && fact.assignable : fact.assignable,
      value: fact.value || Boolean(known?.value),
    });
  };
  const bind = (name: ts.BindingName, assignable: boolean, isExported: boolean): void => {
    if (ts.isIdentifier(name)) {
      declare(name.text, { assignable, value: true });
      if (isExported) exported.add(name.text);
    } else {
      for (const element of name.elements) if (ts.isBindingElement(element)) bind(element.name, assignable, isExported);
    }
  };
  // `export default function f` exports no name f.
  const isExport = (node: ts.Node): boolean => {
    const kinds = ts.canHaveModifiers(node) ? ts.getModifiers(node)?.map(({ kind }) => kind) ?? [] : [];
    return kinds.includes(ts.SyntaxKind.ExportKeyword) && !kinds.includes(ts.SyntaxKind.DefaultKeyword);
  };
  const bindList = (list: ts.VariableDeclarationList, exportedHere: boolean): void => {
    const assignable = (list.flags & ts.NodeFlags.Const) === 0;
    for (const { name } of list.declarations) bind(name, assignable, exportedHere);
  };
  const isVar = (list: ts.VariableDeclarationList): boolean => (list.flags & ts.NodeFlags.BlockScoped) === 0;

  const topLevel = (statement: ts.Statement): void => {
    if (ts.isVariableStatement(statement)) bindList(statement.declarationList, isExport(statement));
    else if (ts.isFunctionDeclaration(statement) || ts.isClassDeclaration(statement) || ts.isEnumDeclaration(statement)
      || ts.isModuleDeclaration(statement)) {
      if (ts.isModuleDeclaration(statement) && (ts.isStringLiteral(statement.name) || statement.flags & ts.NodeFlags.GlobalAugmentation)) {
        augments = true;
        if (ts.isStringLiteral(statement.name)) augmented.push(statement.name.text);
      } else if (statement.name && ts.isIdentifier(statement.name)) {
        declare(statement.name.text, { assignable: false, value: true });
        if (isExport(statement)) exported.add(statement.name.text);
      }
    } else if (ts.isInterfaceDeclaration(statement) || ts.isTypeAliasDeclaration(statement)) {
      declare(statement.name.text, { assignable: false, value: false });
      if (isExport(statement)) exported.add(statement.name.text);
    } else if (ts.isImportEqualsDeclaration(statement)) {
      declare(statement.name.text, { assignable: false, value: !statement.isTypeOnly });
      if (isExport(statement)) exported.add(statement.name.text);
    } else if (ts.isImportDeclaration(statement) && statement.importClause) {
      const { name, namedBindings, isTypeOnly } = statement.importClause;
      const fact = { assignable: false, value: !isTypeOnly };
      if (name) declare(name.text, fact);
      if (namedBindings && ts.isNamespaceImport(namedBindings)) declare(namedBindings.name.text, fact);
      else if (namedBindings) {
        for (const element of namedBindings.elements) declare(element.name.text, { ...fact, value: fact.value && !element.isTypeOnly });
      }
    } else if (ts.isExportDeclaration(statement) && statement.exportClause && ts.isNamedExports(statement.exportClause)) {
      for (const element of statement.exportClause.elements) {
        exported.add(element.name.text);
        if (statement.moduleSpecifier) declare(element.name.text, { assignable: false, value: !statement.isTypeOnly });
      }
    } else if (ts.isExportDeclaration(statement) && statement.exportClause && ts.isNamespaceExport(statement.exportClause)) {
      exported.add(statement.exportClause.name.text);
      declare(statement.exportClause.name.text, { assignable: false, value: true });
    }
  };

  /** The list of the top-level statement at hand, which `topLevel` has seen to. */
  let bound: ts.VariableDeclarationList | undefined;
  const lastToken = ts.SyntaxKind.LastToken;
  const visit = (node: ts.Node, inFunction: boolean): void => {
    if (ts.isIdentifier(node)) mentioned.add(node.text);
    // Names, literals and keywords are most of a cell's nodes, and nothing below asks about them.
    if (node.kind <= lastToken) return;
    if (!inFunction) {
      if (ts.isAwaitExpression(node)) awaits = true;
      else if (ts.isForOfStatement(node) && node.awaitModifier) awaits = true;
      else if (ts.isVariableDeclarationList(node)) {
        if ((node.flags & ts.NodeFlags.AwaitUsing) === ts.NodeFlags.AwaitUsing) awaits = true;
        if (isVar(node) && node !== bound) bindList(node, false);
      }
    }
    if ((ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) && node.moduleSpecifier) {
      const typesOnly = ts.isImportDeclaration(node) ? node.importClause?.isTypeOnly : node.isTypeOnly;
      if (ts.isStringLiteral(node.moduleSpecifier)) {
        typedImports.push(node.moduleSpecifier.text);
        if (!typesOnly) imports.push(node.moduleSpecifier.text);
      }
    } else if (ts.isExternalModuleReference(node) && ts.isStringLiteral(node.expression)) {
      typedImports.push(node.expression.text);
      imports.push(node.expression.text);
    }
    if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument) && ts.isStringLiteral(node.argument.literal)) {
      typedImports.push(node.argument.literal.text);
    }
    if (ts.isCallExpression(node) && node.arguments.length === 1 && ts.isStringLiteralLike(node.arguments[0])
      && (node.expression.kind === ts.SyntaxKind.ImportKeyword
        || ts.isIdentifier(node.expression) && node.expression.text === "require")) {
      imports.push(node.arguments[0].text);
      if (node.expression.kind === ts.SyntaxKind.ImportKeyword) typedImports.push(node.arguments[0].text);
    }
    const inside = inFunction || ts.isFunctionLike(node) || ts.isClassStaticBlockDeclaration(node) || ts.isModuleBlock(node);
    ts.forEachChild(node, (child) => visit(child, inside));
  };

  for (const statement of source.statements) {
    topLevel(statement);
    bound = ts.isVariableStatement(statement) ? statement.declarationList : undefined;
    visit(statement, false);
  }
  const unexported = [...declared.keys()].filter((name) => !exported.has(name));
  return { declared, unexported, mentioned, imports, typedImports: [...typedImports, ...augmented], awaits, augments, augmented };
}
