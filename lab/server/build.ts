/** Builds the front end when it is missing or its sources changed: npm ci, then frontend/build.cjs, into lab/build. */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import fs from "node:fs";
import path from "node:path";

/** Output that a build makes inside the source tree, which its key must not see. */
const GENERATED = new Set(["node_modules", "labextension"]);

/** How the folder of an unfinished build is called. */
const FRESH = "build.new-";

/** A hash over everything that the front end is built from. */
function key(lab: string): string {
  const hash = createHash("sha256");
  const visit = (file: string) => {
    if (fs.statSync(file).isDirectory()) {
      for (const name of fs.readdirSync(file).sort()) if (!GENERATED.has(name) && !name.startsWith(".")) visit(path.join(file, name));
    } else {
      hash.update(path.relative(lab, file).split(path.sep).join("/")).update("\0").update(fs.readFileSync(file)).update("\0");
    }
  };
  for (const name of ["package.json", "package-lock.json", "frontend", "extensions"]) if (fs.existsSync(path.join(lab, name))) visit(path.join(lab, name));
  return hash.digest("hex");
}

/** `lab` is the package's folder, the one with package-lock.json in it. */
export function frontendIsBuilt(lab: string): boolean {
  const stamp = path.join(lab, "build", ".key");
  return fs.existsSync(stamp) && fs.readFileSync(stamp, "utf8") === key(lab);
}

/**
 * Installs and builds; `say` gets one line for each step. A build that fails leaves the earlier one as it was and throws one
 * sentence that says what to do.
 */
export async function buildFrontend(lab: string, say: (line: string) => void): Promise<void> {
  const lock = path.join(lab, "build.lock");
  if (!take(lock)) {
    say("Another gradbook is building JupyterLab; waiting for it ...");
    while (!take(lock)) await new Promise((resolve) => setTimeout(resolve, 500));
  }
  try {
    if (!frontendIsBuilt(lab)) await build(lab, say);
  } finally {
    fs.rmSync(lock, { force: true });
  }
}

/** Makes the lock file, with our process id in it. One whose process is gone is left over from a build that was killed. */
function take(lock: string): boolean {
  try {
    fs.writeFileSync(lock, String(process.pid), { flag: "wx" });
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== "EEXIST") throw new Error(`JupyterLab has to be built in ${path.dirname(lock)}, where this account may not write (${code}); run \`gradbook lab\` once as the owner of that folder`);
  }
  try {
    process.kill(Number(fs.readFileSync(lock, "utf8")), 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ESRCH") fs.rmSync(lock, { force: true });
  }
  return false;
}

async function build(lab: string, say: (line: string) => void): Promise<void> {
  const wanted = key(lab);
  const packages = createHash("sha256").update(fs.readFileSync(path.join(lab, "package-lock.json"))).digest("hex");
  const installed = path.join(lab, "node_modules", ".gradbook-lock");
  const log = path.join(lab, "build.log");
  fs.writeFileSync(log, "");
  if (!fs.existsSync(installed) || fs.readFileSync(installed, "utf8") !== packages) {
    say("Installing JupyterLab's packages from npm (about 40 s, once) ...");
    const npm = process.env.npm_execpath?.endsWith(".js") ? [process.execPath, process.env.npm_execpath] : [process.platform === "win32" ? "npm.cmd" : "npm"];
    await run(npm, ["ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"], lab, log, "JupyterLab's packages could not be installed: check that the npm registry can be reached");
    fs.writeFileSync(installed, packages);
  }
  say("Building JupyterLab (about 20 s, once) ...");
  // What is left of a build whose command was killed; its compiler may still be writing there, so each has a folder of its own.
  for (const name of fs.readdirSync(lab)) if (name.startsWith(FRESH)) fs.rmSync(path.join(lab, name), { recursive: true, force: true });
  const fresh = path.join(lab, `${FRESH}${process.pid}`);
  await run([process.execPath], [path.join("frontend", "build.cjs"), fresh], lab, log, "JupyterLab could not be built: delete lab/node_modules");
  fs.writeFileSync(path.join(fresh, ".key"), wanted);
  const target = path.join(lab, "build");
  fs.rmSync(target, { recursive: true, force: true });
  fs.renameSync(fresh, target);
  fs.rmSync(log, { force: true });
}

function run([command, ...first]: string[], args: string[], cwd: string, log: string, remedy: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const output = fs.openSync(log, "a");
    // A command file (npm.cmd) runs only through Windows' shell.
    const child = spawn(command, [...first, ...args], { cwd, stdio: ["ignore", output, output], shell: command.endsWith(".cmd") });
    fs.closeSync(output);
    const fail = (why: string) => reject(new Error(`${remedy}, and run the command again (${why}; its messages are in ${log})`));
    child.once("error", (error) => fail(error.message));
    child.once("exit", (code, signal) => (code === 0 ? resolve() : fail(signal ?? `exit code ${code}`)));
  });
}
