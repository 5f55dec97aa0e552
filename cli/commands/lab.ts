/** `gradbook lab`: builds what is missing, serves JupyterLab with our kernel, and opens the browser. */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { parseArgs } from "node:util";
import type { Command } from "../main.js";
import { UsageError } from "../main.js";
import { progressFile } from "../../exercises/autograder/progress.js";
import { installKernelspec } from "../../kernel/install.js";
import type { LabOptions, LabServer } from "../../lab/server/index.js";

const home = path.join(__dirname, "..", "..", "..");
/** This same build as a command of its own. */
const gradbook = [process.execPath, "-e", `require(${JSON.stringify(path.join(__dirname, "..", "main.js"))}).main(process.argv.slice(1))`, "--"];
const FIRST_PORT = 8888;
const PORTS_TRIED = 20;

export const command: Command = {
  usage: "[--port N] [--no-browser] [--token T] [--cull-idle MINUTES] [DIR]",
  summary: "Opens JupyterLab on a folder (the course's notebooks, unless told otherwise).",
  options: [
    ["--port N", `the port to serve at; the first free one from ${FIRST_PORT} on when left out`],
    ["--no-browser", "prints the address and opens no browser"],
    ["--token T", "the token in the address; a random one when left out"],
    ["--cull-idle MINUTES", "stops kernels that have done nothing for so long; never when left out"],
  ],
  run,
};

async function run(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      port: { type: "string" },
      "no-browser": { type: "boolean" },
      token: { type: "string" },
      "cull-idle": { type: "string" },
    },
  });
  if (positionals.length > 1) throw new UsageError(`lab takes one folder, and got ${positionals.length}`);
  const root = path.resolve(positionals[0] ?? path.join(home, "notebooks"));
  checkFolder(root);
  const port = values.port === undefined ? undefined : number("--port", values.port, 0, 65535);
  const cull = values["cull-idle"] === undefined ? 0 : number("--cull-idle", values["cull-idle"], 1, 100_000);
  if (values.token !== undefined && !/^[\w.~-]{8,}$/.test(values.token)) {
    throw new UsageError("--token must be 8 or more letters, digits, or . _ ~ -; leave it out to get a good one");
  }

  // Loaded only now: the socket library takes a while.
  const { buildFrontend, frontendIsBuilt, stateDir } = await import("../../lab/server/index.js");
  const lab = path.join(home, "lab");
  if (!frontendIsBuilt(lab)) await buildFrontend(lab, (line) => console.log(line));
  // Not in the package, which may lie where this account cannot write. Two installations have two kernels.
  const data = path.join(stateDir(), "kernels", createHash("sha256").update(home).digest("hex").slice(0, 16));
  installKernelspec(data);

  let stop: (reason: string) => void = () => undefined;
  const options: LabOptions = {
    root,
    build: path.join(lab, "build"),
    dataDirs: [data],
    port: 0,
    token: values.token,
    defaultKernel: "gradbook",
    cullIdleSeconds: process.env.GRADBOOK_CULL_SECONDS ? Number(process.env.GRADBOOK_CULL_SECONDS) : cull * 60,
    course: { progressFile: progressFile(), grader: [...gradbook, "grade"] },
    pageConfig: process.env.GRADBOOK_PAGE_CONFIG ? (JSON.parse(process.env.GRADBOOK_PAGE_CONFIG) as Record<string, unknown>) : undefined,
    onShutdown: () => stop("asked by the page"),
  };
  const server = await serve(options, port);
  const url = `http://127.0.0.1:${server.port}/lab?token=${server.token}`;
  console.log(`JupyterLab serves ${root} at\n\n    ${url}\n\nCtrl-C stops it and its kernels.`);
  if (!values["no-browser"]) openBrowser(url);
  return new Promise((resolve) => {
    stop = stopper(server, resolve);
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => stop(signal));
  });
}

function checkFolder(root: string): void {
  const stats = fs.statSync(root, { throwIfNoEntry: false });
  if (!stats) throw new UsageError(`the folder ${root} does not exist`);
  if (!stats.isDirectory()) throw new UsageError(`${root} is not a folder; give the folder that it is in`);
  try {
    fs.readdirSync(root);
  } catch {
    throw new UsageError(`the folder ${root} cannot be read by this account`);
  }
}

function number(name: string, value: string, least: number, most: number): number {
  const parsed = Number(value);
  if (value.trim() === "" || !Number.isInteger(parsed) || parsed < least || parsed > most) {
    throw new UsageError(`${name} is "${value}"; it must be a whole number from ${least} to ${most}`);
  }
  return parsed;
}

/** On the port that was asked for, or on the first free one. */
async function serve(options: LabOptions, asked: number | undefined): Promise<LabServer> {
  const { startServer } = await import("../../lab/server/index.js");
  for (let port = asked ?? FIRST_PORT; ; port++) {
    try {
      return await startServer({ ...options, port });
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === "EACCES") throw new Error(`port ${port} is reserved for the system; choose one above 1023 with --port`);
      if (code !== "EADDRINUSE") throw error;
      if (asked !== undefined) throw new Error(`port ${asked} is taken by another program; stop it, or choose another port with --port`);
      if (port >= FIRST_PORT + PORTS_TRIED) throw new Error(`the ports ${FIRST_PORT} to ${port} are all taken; choose a free one with --port`);
    }
  }
}

/** The first call ends the kernels in good order; the second ends them at once. */
function stopper(server: LabServer, done: (code: number) => void): (reason: string) => void {
  let stopping = false;
  return (reason) => {
    if (stopping) {
      server.abandon();
      process.exit(1);
    }
    stopping = true;
    const kernels = server.kernels.list().length;
    console.log(`\nStopping (${reason}): ending ${kernels === 1 ? "1 kernel" : `${kernels} kernels`} ...`);
    void server.close().then(() => {
      console.log("Stopped.");
      done(0);
      // Idle sockets must not hold the process.
      setImmediate(() => process.exit(0));
    });
  };
}

function openBrowser(url: string): void {
  const [opener, ...first] = process.platform === "darwin" ? ["open"] : process.platform === "win32" ? ["cmd", "/c", "start", ""] : ["xdg-open"];
  const child = spawn(opener, [...first, url], { stdio: "ignore", detached: true });
  child.once("error", () => console.log("No browser was found here; open the link yourself."));
  child.unref();
}
