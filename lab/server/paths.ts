/** Where Jupyter, and we, keep things on this machine. */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";

/** Jupyter's data folders, the first one found wins: $JUPYTER_PATH, the user's, the system's. */
export function jupyterDataDirs(): string[] {
  const fromEnvironment = (process.env.JUPYTER_PATH ?? "").split(path.delimiter).filter(Boolean);
  const system = process.platform === "win32"
    ? [path.join(process.env.PROGRAMDATA ?? "C:\\ProgramData", "jupyter")]
    : ["/usr/local/share/jupyter", "/usr/share/jupyter"];
  return [...fromEnvironment, jupyterUserDataDir(), ...system];
}

/** The user's Jupyter data folder: $JUPYTER_DATA_DIR, or the platform's place for it. */
export function jupyterUserDataDir(): string {
  if (process.env.JUPYTER_DATA_DIR) return process.env.JUPYTER_DATA_DIR;
  if (process.platform === "darwin") return path.join(os.homedir(), "Library", "Jupyter");
  if (process.platform === "win32") return path.join(process.env.APPDATA ?? os.homedir(), "jupyter");
  return path.join(process.env.XDG_DATA_HOME ?? path.join(os.homedir(), ".local", "share"), "jupyter");
}

/** Where connection files go; readable by this user only. */
export function runtimeDir(): string {
  const dir = process.env.JUPYTER_RUNTIME_DIR ?? path.join(jupyterUserDataDir(), "runtime");
  fs.mkdirSync(dir, { recursive: true, mode: 0o700 });
  return dir;
}

/** What we remember between runs: settings, workspaces, which notebooks are trusted. */
export function stateDir(): string {
  const base = process.platform === "win32"
    ? process.env.LOCALAPPDATA ?? os.homedir()
    : process.env.XDG_STATE_HOME ?? path.join(os.homedir(), ".local", "state");
  const dir = process.env.GRADBOOK_STATE_DIR ?? path.join(base, "gradbook");
  try {
    fs.mkdirSync(dir, { recursive: true, mode: 0o700 });
    fs.accessSync(dir, fs.constants.W_OK);
  } catch (error) {
    throw new Error(`${dir}, where gradbook keeps settings and signatures, cannot be written (${(error as NodeJS.ErrnoException).code}); set GRADBOOK_STATE_DIR to a folder that can`);
  }
  return dir;
}
