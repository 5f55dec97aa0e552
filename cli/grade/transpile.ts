/** JavaScript of TypeScript; types are left out, not checked. */
import ts from "typescript";

const options: ts.CompilerOptions = {
  ...{ target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext, isolatedModules: true },
  ...{ removeComments: true, experimentalDecorators: true },
  // One source is no part of another, and none needs a library.
  ...{ noLib: true, noResolve: true, noCheck: true, types: [] },
};

/**
 * Several sources in one program: what the compiler sets up costs as much as a source does. Undefined where a source is
 * nested too deeply for the compiler.
 */
export function transpile(sources: readonly string[]): (string | undefined)[] {
  try {
    return emit(sources);
  } catch {
    return sources.length > 1 ? sources.flatMap((source) => transpile([source])) : [undefined];
  }
}

function emit(sources: readonly string[]): string[] {
  const files = new Map(
    sources.map((source, i) => {
      const name = `${i}.ts`;
      // A module, so that its names stay its own.
      return [name, ts.createSourceFile(name, `${source}\nexport {};`, ts.ScriptTarget.ES2022)];
    }),
  );
  const found: string[] = [];
  const host: ts.CompilerHost = {
    getSourceFile: (name) => files.get(name),
    writeFile: (name, text) => void (found[Number.parseInt(name, 10)] = text.replace(/^export \{\};?\s*$/gm, "")),
    fileExists: (name) => files.has(name),
    readFile: () => undefined,
    getDefaultLibFileName: () => "lib.d.ts",
    getCurrentDirectory: () => "",
    getCanonicalFileName: (name) => name,
    useCaseSensitiveFileNames: () => true,
    getNewLine: () => "\n",
  };
  ts.createProgram([...files.keys()], options, host).emit();
  return found;
}
