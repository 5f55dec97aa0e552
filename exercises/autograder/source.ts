/** Where the package lies, and how a module of it becomes a notebook cell. */
import { existsSync } from "node:fs";
import path from "node:path";

let root: string | undefined;

/** The folder of gradbook's package.json; the same for the sources and for dist/. */
export function packageRoot(): string {
  if (root === undefined) {
    let folder = __dirname;
    while (!existsSync(path.join(folder, "package.json"))) folder = path.dirname(folder);
    root = folder;
  }
  return root;
}

/** A module as a notebook cell: without its import from "gradbook" and without `export`. */
export function cellSource(module: string): string {
  return module
    .replace(/^import\b[^;]*?\bfrom\s+"gradbook";\s*?\n/gm, "")
    .replace(/^export\s+(?=(abstract |async )?(function|class|const|let|type|interface|enum)\b)/gm, "")
    .trim();
}
