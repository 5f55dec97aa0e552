/** `gradbook install`: makes the kernel known to a JupyterLab that is there already. */
import { execFileSync } from "node:child_process";
import { accessSync, constants, existsSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";
import { DISPLAY_NAME, installKernelspec, installLabExtensions, uninstall } from "../../kernel/install.js";
import { UsageError, type Command } from "../main.js";

export const command: Command = {
  usage: "[--user | --sys-prefix | --prefix DIR] [--uninstall]",
  summary: "Adds the kernel to an existing Jupyter (for you, for its Python environment, or below DIR), or takes it back.",
  options: [
    ["--user", "for you alone; the default"],
    ["--sys-prefix", "for the Python environment that Jupyter runs in"],
    ["--prefix DIR", "below DIR/share/jupyter"],
    ["--uninstall", "takes back what was added there"],
  ],
  run,
};

/** Where Jupyter looks below a user's home. */
function userDataDir(): string {
  if (process.env.JUPYTER_DATA_DIR) return process.env.JUPYTER_DATA_DIR;
  if (process.platform === "darwin") return path.join(os.homedir(), "Library", "Jupyter");
  return path.join(process.env.XDG_DATA_HOME || path.join(os.homedir(), ".local", "share"), "jupyter");
}

/** The prefix of the Python that is active, as `jupyter` there would see it. */
function pythonPrefix(): string {
  const environment = process.env.VIRTUAL_ENV ?? process.env.CONDA_PREFIX;
  if (environment) return environment;
  try {
    return execFileSync("python3", ["-c", "import sys; print(sys.prefix)"], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
  } catch {
    throw new UsageError("--sys-prefix needs python3, and none was found; use --user or --prefix DIR");
  }
}

/** Says it in one sentence before half of the files are written. */
function checkWritable(dataDir: string): void {
  let folder = path.resolve(dataDir);
  while (!existsSync(folder)) folder = path.dirname(folder);
  try {
    accessSync(folder, constants.W_OK);
  } catch {
    throw new Error(`${folder} is not writable; use --user, or --prefix with a folder of yours`);
  }
}

async function run(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      user: { type: "boolean" }, "sys-prefix": { type: "boolean" }, prefix: { type: "string" }, uninstall: { type: "boolean" },
    },
  });
  const chosen = [values.user, values["sys-prefix"], values.prefix].filter((value) => value !== undefined);
  if (chosen.length > 1) throw new UsageError("give one of --user, --sys-prefix and --prefix DIR, not several");
  const prefix = values.prefix ?? (values["sys-prefix"] ? pythonPrefix() : undefined);
  const dataDir = prefix === undefined ? userDataDir() : path.resolve(prefix, "share", "jupyter");
  checkWritable(dataDir);

  if (values.uninstall) {
    const removed = uninstall(dataDir);
    for (const folder of removed) console.log(`removed ${folder}`);
    if (removed.length === 0) console.log(`nothing of gradbook is in ${dataDir}`);
    return 0;
  }
  console.log(`kernel "${DISPLAY_NAME}": ${installKernelspec(dataDir)}`);
  const extensions = installLabExtensions(dataDir);
  for (const folder of extensions) console.log(`labextension: ${folder}`);
  if (extensions.length === 0) {
    console.log("labextension: not built yet, so plots show as pictures; run `gradbook lab` once, then this again");
  }
  return 0;
}
