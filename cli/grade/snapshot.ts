/**
 * The child's process with the library loaded, as a file that Node starts from (its user-land startup snapshot): read in
 * milliseconds, where loading the library anew would cost as much as Node itself. It holds what the child's script holds and
 * nothing else: no reference, no solution and no submission.
 */
import { spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { bundle } from "./bundle";

/** Of one child, in MB. */
export const heap = 256;

/**
 * An answer runs for a tenth of a second, and its tensors are many and short-lived: room for young objects, no threads beside
 * the answer's own, and less eagerness to optimise save a third of a child's work. Hashes of names keep the snapshot's seed:
 * drawing another costs a quarter of Node's start, and a student whose names collide slows down nobody else. V8 takes a
 * snapshot only where these are as they were when it was made.
 */
export const engine = [
  ...[`--max-old-space-size=${heap}`, "--min-semi-space-size=32", "--single-threaded-gc", "--v8-pool-size=0", "--no-rehash-snapshot"],
  // Later engines call it otherwise, and Node refuses to start with a name that it does not know.
  ...(Number.parseInt(process.versions.v8) < 12 ? ["--interrupt-budget=300000"] : []),
];

const prefix = "gradbook-child-";
const day = 24 * 3600 * 1000;

/** Removes what runs that were killed have left; one that still goes on is younger. */
function removeOld(): void {
  for (const name of readdirSync(tmpdir())) {
    if (!name.startsWith(prefix)) continue;
    const folder = path.join(tmpdir(), name);
    try {
      const { uid, mtimeMs } = statSync(folder);
      if (uid === process.getuid?.() && Date.now() - mtimeMs > day) rmSync(folder, { recursive: true, force: true });
    } catch {
      // Gone, or not ours.
    }
  }
}

let made: string | undefined;

/** The snapshot's file. It is there until this process ends. */
export function snapshot(): string {
  if (made) return made;
  removeOld();
  const folder = mkdtempSync(path.join(tmpdir(), prefix));
  process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
  const [script, blob] = [path.join(folder, "child.js"), path.join(folder, "child.blob")];
  writeFileSync(script, bundle(path.join(__dirname, "child.js")));
  const { status, stderr, error } = spawnSync(process.execPath, [...engine, "--snapshot-blob", blob, "--build-snapshot", script], { encoding: "utf8", env: {} });
  if (status !== 0) {
    const why = error?.message ?? /^\w*Error: .*$/m.exec(stderr)?.[0] ?? stderr.slice(-500);
    throw new Error(`the grader's child cannot be prepared (${why})`);
  }
  // The child runs as somebody else.
  chmodSync(folder, 0o755);
  chmodSync(blob, 0o644);
  return (made = blob);
}
