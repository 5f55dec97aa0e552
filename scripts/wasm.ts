/** Compiles lib/wasm/assembly to WebAssembly, plain and relaxed SIMD, and writes both into one TypeScript module. */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

const root = path.join(__dirname, "..");
const asc = path.join(root, "node_modules", "assemblyscript", "bin", "asc.js");
const sources = path.join(root, "lib", "wasm", "assembly");
const target = path.join(root, "lib", "wasm", "kernels.generated.ts");

// The compiler takes some seconds: what was made from the same sources is kept.
const hash = createHash("sha256").update(readFileSync(__filename));
for (const file of readdirSync(sources).sort()) hash.update(readFileSync(path.join(sources, file)));
const made = `/** Made from assembly/ by scripts/wasm.ts, in base64. Sources: ${hash.digest("hex").slice(0, 16)} */\n`;
if (existsSync(target) && readFileSync(target, "utf8").startsWith(made)) process.exit(0);

const scratch = mkdtempSync(path.join(tmpdir(), "gradbook-wasm-"));

function compile(name: string, features: string): string {
  const out = path.join(scratch, `${name}.wasm`);
  const { status } = spawnSync(process.execPath, [
    asc, "lib/wasm/assembly/index.ts", "-O3", "--noAssert", "--runtime", "stub", "--importMemory", "--sharedMemory",
    "--initialMemory", "2", "--maximumMemory", "65536", "--enable", features, "--disableWarning", "112", "-o", out,
  ], { cwd: root, stdio: "inherit" });
  if (status !== 0) process.exit(1);
  return readFileSync(out).toString("base64");
}

writeFileSync(
  target,
  made +
    `export const simd = "${compile("simd", "simd,threads")}";\n` +
    `export const relaxed = "${compile("relaxed", "simd,threads,relaxed-simd")}";\n`,
);
rmSync(scratch, { recursive: true });
