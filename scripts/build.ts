/** `npm run build`: compiles the TypeScript sources to dist/. */
import { spawnSync } from "node:child_process";
import path from "node:path";
import { writeStamp } from "../bin/stamp.js";

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

step("TypeScript to dist/", require.resolve("typescript/bin/tsc"), ["-p", "tsconfig.build.json"]);
writeStamp();
