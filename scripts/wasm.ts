/**
 * Compiles lib/wasm/assembly to WebAssembly: plain SIMD, relaxed SIMD, and relaxed SIMD for engines that join vectors; and
 * writes the three into one TypeScript module.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
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

async function compile(name: string, features: string, wide: 0 | 1 = 0): Promise<string> {
  const out = path.join(scratch, `${name}.wasm`);
  const compiler = spawn(process.execPath, [
    asc, "lib/wasm/assembly/index.ts", "-O3", "--noAssert", "--runtime", "stub", "--importMemory", "--sharedMemory",
    "--initialMemory", "2", "--maximumMemory", "65536", "--enable", features, "--use", `WIDE=${wide}`, "--disableWarning", "112", "-o", out,
  ], { cwd: root, stdio: "inherit" });
  const [status] = await once(compiler, "exit");
  if (status !== 0) process.exit(1);
  return readFileSync(out).toString("base64");
}

async function main(): Promise<void> {
  const [simd, relaxed, wide] = await Promise.all([
    compile("simd", "simd,threads"), compile("relaxed", "simd,threads,relaxed-simd"), compile("wide", "simd,threads,relaxed-simd", 1),
  ]);
  writeFileSync(target, `${made}export const simd = "${simd}";\nexport const relaxed = "${relaxed}";\nexport const wide = "${wide}";\n`);
  rmSync(scratch, { recursive: true });
}

void main();
