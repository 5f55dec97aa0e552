import { existsSync, readFileSync, statSync } from "node:fs";
import { createServer, type Server } from "node:http";
import path from "node:path";
import ts from "typescript";

const root = path.join(__dirname, "../..");

/**
 * Hands the repository's sources to a browser as ES modules, compiled one by one; / is an empty page. A name without
 * extension, as imports have it, is redirected to its file: relative imports start from there.
 */
export function serveSources(headers: Record<string, string> = {}): Server {
  return createServer((request, response) => {
    for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
    const { pathname } = new URL(request.url!, "http://localhost");
    if (pathname === "/") {
      response.setHeader("content-type", "text/html").end("<!doctype html><title>gradbook</title>");
      return;
    }
    const file = path.join(root, pathname);
    if (pathname.endsWith(".ts")) {
      const { outputText } = ts.transpileModule(readFileSync(file, "utf8"), {
        fileName: file, compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ES2022 },
      });
      response.setHeader("content-type", "text/javascript").end(outputText);
      return;
    }
    const found = [`${file}.ts`, path.join(file, "index.ts")].find((candidate) => existsSync(candidate) && statSync(candidate).isFile());
    if (found) response.writeHead(302, { location: `/${path.relative(root, found)}` }).end();
    else response.writeHead(404).end();
  });
}
