/** Puts the kernelspec, and the plotly renderer when it is built, into a Jupyter data directory, and takes them out again. */
import fs from "node:fs";
import path from "node:path";

export const KERNEL_NAME = "gradbook";
export const DISPLAY_NAME = "TypeScript (gradbook)";

const packageRoot = path.join(__dirname, "..", "..");
const logos = path.join(packageRoot, "kernel", "logos");
/** Where lab/ leaves the labextensions that it builds, each with the package.json that JupyterLab reads. */
const builtExtensions = path.join(packageRoot, "lab", "build", "labextensions");

function kernelFolder(dataDir: string): string {
  return path.join(dataDir, "kernels", KERNEL_NAME);
}

/**
 * Writes the kernelspec into `dataDir`/kernels/gradbook, with absolute paths, and replaces what was there.
 * @param dataDir a Jupyter data directory, e.g. ~/.local/share/jupyter
 * @returns the folder written
 */
export function installKernelspec(dataDir: string): string {
  const folder = kernelFolder(dataDir);
  fs.mkdirSync(folder, { recursive: true });
  const spec = {
    argv: [process.execPath, path.join(packageRoot, "dist", "kernel", "main.js"), "{connection_file}"],
    display_name: DISPLAY_NAME,
    language: "typescript",
    interrupt_mode: "message",
    metadata: { debugger: false },
  };
  fs.writeFileSync(path.join(folder, "kernel.json"), `${JSON.stringify(spec, undefined, 2)}\n`);
  for (const name of ["logo-32x32.png", "logo-64x64.png", "logo-svg.svg"]) fs.copyFileSync(path.join(logos, name), path.join(folder, name));
  return folder;
}

/** Folders below `root` that hold a built labextension, by the extension's name; scoped names have a folder of their own. */
function extensionsIn(root: string): [name: string, folder: string][] {
  if (!fs.existsSync(root)) return [];
  return fs.readdirSync(root, { withFileTypes: true }).filter((entry) => entry.isDirectory()).flatMap(({ name }): [string, string][] => {
    const folder = path.join(root, name);
    if (name.startsWith("@")) return extensionsIn(folder).map(([inner, where]) => [`${name}/${inner}`, where]);
    return fs.existsSync(path.join(folder, "package.json")) ? [[name, folder]] : [];
  });
}

/** Copies the built labextensions; returns the folders written, none when nothing is built. */
export function installLabExtensions(dataDir: string): string[] {
  return extensionsIn(builtExtensions).map(([name, folder]) => {
    const target = path.join(dataDir, "labextensions", name);
    fs.rmSync(target, { recursive: true, force: true });
    fs.cpSync(folder, target, { recursive: true, dereference: true });
    return target;
  });
}

/** Takes back what `installKernelspec` and `installLabExtensions` wrote; returns the folders removed. */
export function uninstall(dataDir: string): string[] {
  const folders = [kernelFolder(dataDir), ...extensionsIn(builtExtensions).map(([name]) => path.join(dataDir, "labextensions", name))];
  return folders.filter((folder) => {
    if (!fs.existsSync(folder)) return false;
    fs.rmSync(folder, { recursive: true });
    return true;
  });
}
