/** The grader's child as one script: its own modules and the library, and nothing else. */
import { existsSync, readFileSync, statSync } from "node:fs";
import { isBuiltin } from "node:module";
import path from "node:path";
import { packageRoot } from "gradbook/autograder";

/** The compiled file that `request` means in `from`. */
function resolve(request: string, from: string): string {
  const dist = path.join(packageRoot(), "dist");
  const base = request === "gradbook" ? path.join(dist, "lib") : path.resolve(path.dirname(from), request);
  for (const candidate of [base, `${base}.js`, path.join(base, "index.js")]) {
    if (existsSync(candidate) && statSync(candidate).isFile()) return candidate;
  }
  throw new Error(`the grader's child needs "${request}", which ${path.basename(from)} asks for and dist/ lacks: run npm run build`);
}

/** A script that runs `entry`. */
export function bundle(entry: string): string {
  const modules = new Map<string, string>();
  const add = (file: string): void => {
    if (modules.has(file)) return;
    modules.set(file, "");
    const links: Record<string, string> = {};
    const source = readFileSync(file, "utf8").replace(/^\/\/# sourceMappingURL=.*$/m, "");
    for (const [, request] of source.matchAll(/\brequire\("([^"]+)"\)/g)) {
      const ours = request === "gradbook" || request.startsWith(".");
      if (isBuiltin(request) || !ours) continue;
      // A data file or an optional part that is asked for lazily and does not exist here stays unresolved.
      links[request] = path.relative(packageRoot(), resolve(request, file));
      add(resolve(request, file));
    }
    modules.set(file, `[${JSON.stringify(links)}, function (module, exports, require) {${source}\n}]`);
  };
  add(entry);
  const table = [...modules].map(([file, text]) => `${JSON.stringify(path.relative(packageRoot(), file))}: ${text}`);
  const script = `(function (nodeRequire) {
  const modules = {${table.join(",\n")}};
  const loaded = {};
  const load = (name) => {
    if (loaded[name]) return loaded[name].exports;
    const module = (loaded[name] = { exports: {} });
    const [links, run] = modules[name];
    run(module, module.exports, (request) => (links[request] ? load(links[request]) : nodeRequire(request)));
    return module.exports;
  };
  load(${JSON.stringify(path.relative(packageRoot(), entry))});
})(require);`;
  // V8 keeps a text of Latin letters in half the space.
  return script.replace(/[^\x00-\xff]/g, (letter) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, "0")}`);
}
