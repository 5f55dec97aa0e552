/** What the lab's tests share: a server of their own, started the way a student starts it, and a browser to look at it with. */
import type { ChildProcess } from "node:child_process";
import { spawn, spawnSync } from "node:child_process";
import fs from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import type { Browser, ConsoleMessage, Page } from "playwright-core";
import { chromium } from "playwright-core";

export const home = path.join(__dirname, "..", "..");
const artifacts = path.join(home, "test", "artifacts");
const chromiumPath = "/usr/bin/chromium";
export const haveChromium = fs.existsSync(chromiumPath);

const main = path.join(home, "dist", "cli", "main.js");
/** `gradbook` as a command line, without the shell script that compiles first. */
export const gradbook = [process.execPath, "-e", `require(${JSON.stringify(main)}).main(process.argv.slice(1))`, "--"];

/** What runs a command as an account that permissions hold for, which root's is not. */
const NOBODY = 65534;
const asStudent = process.getuid?.() === 0 ? ["setpriv", `--reuid=${NOBODY}`, `--regid=${NOBODY}`, "--clear-groups"] : [];
/** Root's files are not always readable by others: a checkout in /root is not. */
export const haveStudent = process.platform !== "win32" && (asStudent.length === 0 || spawnSync(asStudent[0], [...asStudent.slice(1), process.execPath, "-e", `require(${JSON.stringify(main)})`]).status === 0);

/** A command line as that account; the folders become its own. */
export function student(command: string[], ...folders: string[]): string[] {
  if (asStudent.length > 0) for (const folder of folders) fs.chownSync(folder, NOBODY, NOBODY);
  return [...asStudent, ...command];
}

/** The front end is built by the first test that needs it; that alone may take two minutes. */
export const BUILD_TIMEOUT = 400_000;
export const TOKEN = "a-token-for-tests";

export interface Lab {
  readonly url: string;
  readonly port: number;
  /** The folder that is served. */
  readonly root: string;
  /** The server's own settings, trash and connection files. */
  readonly state: string;
  readonly process: ChildProcess;
  /** All that the command printed. */
  output(): string;
  /** With the token, as a program would call it. */
  fetch(pathname: string, init?: RequestInit): Promise<Response>;
  /** A call that must succeed; its JSON. */
  json<T = Record<string, unknown>>(pathname: string, method?: string, body?: unknown): Promise<T>;
  stop(): Promise<void>;
}

export function temporaryFolder(name: string): string {
  return fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), `gradbook-${name}-`)));
}

/** A port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const probe = net.createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => probe.once("listening", resolve));
  const { port } = probe.address() as net.AddressInfo;
  await new Promise((resolve) => probe.close(resolve));
  return port;
}

/** `gradbook lab` on `root`, with a state of its own. */
export async function startLab(root: string, { args = [], env = {}, asStudent = false }: { args?: string[]; env?: NodeJS.ProcessEnv; asStudent?: boolean } = {}): Promise<Lab> {
  const state = temporaryFolder("state");
  const line = [...gradbook, "lab", "--no-browser", "--port", "0", "--token", TOKEN, ...args, root];
  const [command, ...rest] = asStudent ? student(line, root, state) : line;
  const child = spawn(command, rest, {
    stdio: ["ignore", "pipe", "pipe"],
    env: {
      ...process.env,
      GRADBOOK_STATE_DIR: state,
      JUPYTER_RUNTIME_DIR: path.join(state, "runtime"),
      XDG_DATA_HOME: path.join(state, "data"),
      GRADBOOK_PAGE_CONFIG: JSON.stringify({ exposeAppInBrowser: "true" }),
      ...env,
    },
  });
  let output = "";
  child.stdout.on("data", (data: Buffer) => (output += data.toString()));
  child.stderr.on("data", (data: Buffer) => (output += data.toString()));
  const url = await new Promise<string>((resolve, reject) => {
    child.stdout.on("data", () => {
      const found = /http:\/\/127\.0\.0\.1:\d+/.exec(output);
      if (found && output.includes("Ctrl-C")) resolve(found[0]);
    });
    child.once("exit", (code) => reject(new Error(`gradbook lab ended with ${code}: ${output}`)));
  });
  const call = (pathname: string, init: RequestInit = {}) =>
    fetch(url + pathname, { redirect: "manual", ...init, headers: { authorization: `token ${TOKEN}`, ...init.headers } });
  return {
    url,
    port: Number(new URL(url).port),
    root,
    state,
    process: child,
    output: () => output,
    fetch: call,
    async json<T>(pathname: string, method = "GET", body?: unknown): Promise<T> {
      const response = await call(pathname, { method, body: body === undefined ? undefined : JSON.stringify(body) });
      const text = await response.text();
      if (!response.ok) throw new Error(`${method} ${pathname}: ${response.status} ${text}`);
      return (text === "" ? undefined : JSON.parse(text)) as T;
    },
    async stop() {
      if (child.exitCode === null && child.signalCode === null) {
        const ended = new Promise((resolve) => child.once("exit", resolve));
        child.kill("SIGTERM");
        await ended;
      }
      fs.rmSync(state, { recursive: true, force: true });
    },
  };
}

export async function openBrowser(): Promise<Browser> {
  return chromium.launch({
    executablePath: chromiumPath,
    args: ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
}

/** A page that keeps what the console said; `errors` must stay empty. */
export async function openPage(browser: Browser, url: string, size = { width: 1366, height: 768 }): Promise<{ page: Page; errors: string[] }> {
  const page = await browser.newPage({ viewport: size });
  const errors: string[] = [];
  page.on("console", (message: ConsoleMessage) => {
    if (message.type() === "error") errors.push(`${message.text()} ${message.location().url}`);
  });
  page.on("pageerror", (error) => errors.push(String(error.stack ?? error)));
  await page.goto(url);
  await page.waitForFunction(() => "jupyterapp" in window, undefined, { timeout: 60_000 });
  await page.evaluate(() => (window as unknown as LabWindow).jupyterapp.restored);
  return { page, errors };
}

/** The part of JupyterLab's own objects that tests ask about. */
export interface LabWindow {
  jupyterapp: {
    restored: Promise<void>;
    commands: { execute(id: string, args?: object): Promise<unknown> };
    shell: { currentWidget: NotebookPanel | null };
  };
}

interface NotebookPanel {
  context: { path: string; model: { dirty: boolean; cells: { length: number; get(i: number): CellModel } } };
  content: { activeCellIndex: number };
  sessionContext: { session: { kernel: { status: string; connectionStatus: string } | null } | null };
}

interface CellModel {
  id: string;
  trusted: boolean;
  sharedModel: { source: string; setSource(text: string): void };
  toJSON(): { outputs?: { output_type: string; data?: Record<string, unknown>; text?: string }[]; execution_count?: number | null };
}

/** The kernel of the notebook in front is connected and has nothing to do. */
export async function kernelIdle(page: Page): Promise<void> {
  await page.waitForFunction(() => {
    const kernel = (window as unknown as LabWindow).jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel;
    return kernel?.connectionStatus === "connected" && kernel.status === "idle";
  }, undefined, { timeout: 60_000 });
}

export async function run(page: Page, command: string, args: object = {}): Promise<void> {
  await page.evaluate(([id, given]) => (window as unknown as LabWindow).jupyterapp.commands.execute(id, given).then(() => undefined), [command, args] as const);
}

export async function setSource(page: Page, id: string, source: string): Promise<void> {
  await page.evaluate(([cellId, text]) => {
    const { cells } = (window as unknown as LabWindow).jupyterapp.shell.currentWidget!.context.model;
    for (let i = 0; i < cells.length; i++) if (cells.get(i).id === cellId) cells.get(i).sharedModel.setSource(text);
  }, [id, source] as const);
}

/** For a person to look at afterwards. */
export async function screenshot(page: Page, name: string): Promise<void> {
  fs.mkdirSync(artifacts, { recursive: true });
  await page.screenshot({ path: path.join(artifacts, `${name}.png`) });
}
