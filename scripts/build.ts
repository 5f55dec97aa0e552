/** `npm run build`: compiles the TypeScript sources to dist/. */
import { spawnSync } from "node:child_process";
import path from "node:path";

const { writeStamp } = require("../bin/stamp.js") as { writeStamp(): void };

const root = path.join(__dirname, "..");

function step(name: string, script: string, args: string[]): void {
  const started = Date.now();
  const { status } = spawnSync(process.execPath, [script, ...args], { cwd: root, stdio: "inherit" });
  if (status !== 0) {
    console.error(`build: ${name} failed; the messages above say where.`);
    process.exit(1);
  }
  console.log(`build: ${name} (${((Date.now() - started) / 1000).toFixed(1)} s)`);
}

step("WebAssembly kernels", path.join(root, "node_modules", "ts-node", "dist", "bin.js"), ["-T", "scripts/wasm.ts"]);
step("TypeScript to dist/", require.resolve("typescript/bin/tsc"), ["-p", "tsconfig.build.json"]);
step("the kernel's declarations", path.join(root, "node_modules", "ts-node", "dist", "bin.js"), ["-T", path.join(__dirname, "kernel-assets.ts")]);
writeStamp();
