/** Prebuilt JupyterLab extensions: ours, and whatever else is installed on this machine. */
import fs from "node:fs/promises";
import path from "node:path";

export interface LabExtension {
  name: string;
  dir: string;
  load: string;
  extension?: string;
  mimeExtension?: string;
  style?: string;
}

/** `dirs` hold <name>/package.json or @scope/<name>/package.json; the first of a name counts. */
export async function findLabExtensions(dirs: string[]): Promise<LabExtension[]> {
  const found = new Map<string, LabExtension>();
  for (const dir of dirs) {
    for (const entry of await fs.readdir(dir).catch(() => [])) {
      const names = entry.startsWith("@") ? (await fs.readdir(path.join(dir, entry)).catch(() => [])).map((name) => `${entry}/${name}`) : [entry];
      for (const name of names) {
        if (found.has(name)) continue;
        try {
          const { jupyterlab } = JSON.parse(await fs.readFile(path.join(dir, name, "package.json"), "utf8")) as { jupyterlab?: { _build?: Omit<LabExtension, "name" | "dir"> } };
          if (jupyterlab?._build) found.set(name, { name, dir: path.join(dir, name), ...jupyterlab._build });
        } catch {
          // A folder without a package.json is no extension.
        }
      }
    }
  }
  return [...found.values()];
}
