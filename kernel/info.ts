/** What the kernel says about itself; also answered while TypeScript still loads, so it is read from files only. */
import { readFileSync } from "node:fs";
import path from "node:path";
import { PROTOCOL_VERSION, type Json } from "./wire";

function versionOf(manifest: string): string {
  return (JSON.parse(readFileSync(manifest, "utf8")) as { version: string }).version;
}

/** Content of kernel_info_reply. */
export function kernelInfo(): Json {
  const version = versionOf(path.join(__dirname, "..", "..", "package.json"));
  const typescript = versionOf(require.resolve("typescript/package.json"));
  return {
    status: "ok",
    protocol_version: PROTOCOL_VERSION,
    implementation: "gradbook",
    implementation_version: version,
    language_info: {
      name: "typescript",
      version: typescript,
      mimetype: "text/typescript",
      file_extension: ".ts",
      pygments_lexer: "typescript",
      codemirror_mode: { name: "javascript", typescript: true, mode: "typescript" },
      nbconvert_exporter: "script",
    },
    banner: `gradbook ${version}: TypeScript ${typescript} on Node ${process.versions.node}. %help lists what is here.`,
    debugger: false,
    supported_features: [],
    help_links: [
      { text: "TypeScript", url: "https://www.typescriptlang.org/docs/" },
      { text: "Node.js", url: "https://nodejs.org/docs/latest-v20.x/api/" },
    ],
  };
}
