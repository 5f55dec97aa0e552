/** The kernels that this machine offers, found the way every Jupyter program finds them: <data folder>/kernels/<name>/kernel.json. */
import fs from "node:fs/promises";
import path from "node:path";

export interface KernelSpec {
  name: string;
  /** The folder that kernel.json lies in, with its logos. */
  dir: string;
  argv: string[];
  display_name: string;
  language: string;
  interrupt_mode: "signal" | "message";
  env: Record<string, string>;
  metadata: Record<string, unknown>;
}

/** Folders are searched in order; the first kernelspec of a name counts. One that cannot be read is left out. */
export async function findKernelSpecs(dataDirs: string[]): Promise<Map<string, KernelSpec>> {
  const found = new Map<string, KernelSpec>();
  for (const dataDir of dataDirs) {
    const kernels = path.join(dataDir, "kernels");
    for (const name of await fs.readdir(kernels).catch(() => [])) {
      const id = name.toLowerCase();
      if (found.has(id) || !/^[a-z0-9._-]+$/.test(id)) continue;
      const spec = await readSpec(id, path.join(kernels, name));
      if (spec) found.set(id, spec);
    }
  }
  return found;
}

async function readSpec(name: string, dir: string): Promise<KernelSpec | undefined> {
  try {
    const json = JSON.parse(await fs.readFile(path.join(dir, "kernel.json"), "utf8")) as Partial<KernelSpec>;
    if (!Array.isArray(json.argv) || json.argv.length === 0) return undefined;
    return {
      name,
      dir,
      argv: json.argv,
      display_name: json.display_name ?? name,
      language: json.language ?? "",
      interrupt_mode: json.interrupt_mode ?? "signal",
      env: json.env ?? {},
      metadata: json.metadata ?? {},
    };
  } catch {
    return undefined;
  }
}

/** /api/kernelspecs: the logos are the files of the folder that are named so. */
export async function specModel(spec: KernelSpec): Promise<object> {
  const { name, dir, ...json } = spec;
  const files = await fs.readdir(dir).catch(() => []);
  const resources: Record<string, string> = {};
  for (const file of files) {
    if (/^logo-.*\.(png|svg)$/.test(file)) resources[path.parse(file).name] = `/kernelspecs/${name}/${file}`;
    if (file === "kernel.js" || file === "kernel.css") resources[file] = `/kernelspecs/${name}/${file}`;
  }
  return { name, spec: json, resources };
}
