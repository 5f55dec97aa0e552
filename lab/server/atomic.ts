/** Saving so that a kill at any moment leaves the old file or the new one, never half of one. */
import { randomUUID } from "node:crypto";
import fs from "node:fs/promises";
import path from "node:path";

const hidden = /^\.gradbook-[0-9a-f-]{36}\.tmp$/;
const day = 24 * 3600 * 1000;
const swept = new Set<string>();

/** Removes, once a folder, what a server that was killed left there. A file that is still written to is younger. */
async function sweep(folder: string): Promise<void> {
  if (swept.has(folder)) return;
  swept.add(folder);
  for (const name of (await fs.readdir(folder)).filter((name) => hidden.test(name))) {
    const file = path.join(folder, name);
    const stats = await fs.lstat(file);
    if (stats.isFile() && Date.now() - stats.mtimeMs > day) await fs.rm(file);
  }
}

/** Writes beside `file`, flushes to the disk, and renames over it. Keeps the file's mode; refuses a read-only file. */
export async function writeAtomic(file: string, data: string | Uint8Array): Promise<void> {
  let mode: number | undefined;
  try {
    mode = (await fs.stat(file)).mode & 0o777;
    // A rename would replace even a file that may not be written.
    await fs.access(file, fs.constants.W_OK);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
  const temporary = temporaryName(file);
  try {
    const handle = await fs.open(temporary, "wx", mode ?? 0o666);
    try {
      await handle.writeFile(data);
      if (mode !== undefined) await handle.chmod(mode);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await fs.rename(temporary, file);
  } catch (error) {
    await fs.rm(temporary, { force: true });
    throw error;
  }
  await syncFolder(path.dirname(file));
  // What cannot be tidied there is no reason to fail a save that is done.
  await sweep(path.dirname(file)).catch(() => {});
}

/** A hidden name in the same folder, so that the rename stays on one disk; short, so that it fits wherever the file's own does. */
export function temporaryName(file: string): string {
  return path.join(path.dirname(file), `.gradbook-${randomUUID()}.tmp`);
}

/** The rename itself is on the disk only once its folder is. Windows cannot open a folder, and needs no such call. */
async function syncFolder(folder: string): Promise<void> {
  if (process.platform === "win32") return;
  const handle = await fs.open(folder, "r");
  try {
    await handle.sync();
  } catch {
    // Some network disks refuse to flush a folder; the file's own data is flushed already.
  } finally {
    await handle.close();
  }
}
