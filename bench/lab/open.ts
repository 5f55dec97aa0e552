/**
 * `ts-node -T bench/lab/open.ts [rounds]`: how long until a page is served, a notebook is visible and its kernel ready, how much
 * memory the server holds, and how often a plot is redrawn; beside it Debian's jupyter_server with ipykernel, with the same front
 * end in the same browser, in turns. Needs `npm run build`, a built front end (`npm start` once), chromium, jupyter-server and
 * python3-ipykernel.
 */
import type { ChildProcess } from "node:child_process";
import { spawn } from "node:child_process";
import fs from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { chromium } from "playwright-core";
import type { Browser } from "playwright-core";

const rounds = Number(process.argv[2] ?? 5);
const home = path.join(__dirname, "..", "..");
const build = path.join(home, "lab", "build");
const TOKEN = "a-token-for-benches";

interface Contender {
  name: string;
  kernel: string;
  start(root: string, port: number, state: string): ChildProcess;
}

const contenders: Contender[] = [
  {
    name: "gradbook lab, gradbook",
    kernel: "gradbook",
    start: (root, port, state) => spawn(process.execPath, [path.join(home, "bin", "gradbook.js"), "lab", "--no-browser", "--port", String(port), "--token", TOKEN, root], {
      env: { ...process.env, GRADBOOK_STATE_DIR: state, JUPYTER_RUNTIME_DIR: state, GRADBOOK_PAGE_CONFIG: '{"exposeAppInBrowser":"true"}' }, stdio: "ignore",
    }),
  },
  {
    name: "jupyter_server, ipykernel",
    kernel: "python3",
    start: (root, port, state) => spawn("/usr/bin/python3", [path.join(home, "test", "lab", "jupyter_peer.py"), build, root, String(port), TOKEN], {
      env: { ...process.env, JUPYTER_RUNTIME_DIR: state, JUPYTER_CONFIG_DIR: state }, stdio: "ignore",
    }),
  },
];

interface Sample {
  /** Milliseconds. */
  served: number;
  visible: number;
  ready: number;
  /** MiB, before and after the notebook. */
  idle: number;
}

async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address() as net.AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

function residentMiB(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(fs.readFileSync(`/proc/${pid}/status`, "utf8"))![1]) / 1024;
}

async function measure({ kernel, start }: Contender, browser: Browser): Promise<Sample> {
  const root = fs.mkdtempSync(path.join(os.tmpdir(), "gradbook-bench-"));
  fs.mkdirSync(path.join(root, "served"));
  fs.writeFileSync(path.join(root, "served", "n.ipynb"), JSON.stringify({
    nbformat: 4, nbformat_minor: 5, metadata: { kernelspec: { name: kernel, display_name: kernel, language: "x" } },
    cells: [{ cell_type: "code", id: "a", metadata: {}, source: "1 + 1", outputs: [], execution_count: null }],
  }));
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const started = performance.now();
  const server = start(path.join(root, "served"), port, root);
  const context = await browser.newContext();
  try {
    while ((await fetch(`${url}/lab?token=${TOKEN}`, { redirect: "manual" }).catch(() => undefined)) === undefined) {
      if (server.exitCode !== null) throw new Error(`the server of "${kernel}" ended before it served; start it by hand to see why`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    const served = performance.now() - started;
    await new Promise((resolve) => setTimeout(resolve, 1000));
    const idle = residentMiB(server.pid!);
    const page = await context.newPage();
    const opened = performance.now();
    await page.goto(`${url}/lab/tree/n.ipynb?token=${TOKEN}`);
    await page.locator(".jp-Notebook .jp-Cell").first().waitFor({ timeout: 120_000 });
    const visible = performance.now() - opened;
    await page.waitForFunction(() => {
      const { jupyterapp } = window as unknown as { jupyterapp?: { shell: { currentWidget: { sessionContext?: { session?: { kernel?: { connectionStatus: string; status: string } } } } | null } } };
      const running = jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel;
      return running?.connectionStatus === "connected" && running.status === "idle";
    }, undefined, { polling: 20, timeout: 120_000 });
    return { served, visible, ready: performance.now() - opened, idle };
  } finally {
    await context.close();
    const ended = new Promise((resolve) => server.once("exit", resolve));
    server.kill("SIGTERM");
    await ended;
    fs.rmSync(root, { recursive: true, force: true });
  }
}

function median(values: number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}

async function main(): Promise<void> {
  const samples = new Map<string, Sample[]>(contenders.map(({ name }) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    for (const contender of contenders) {
      // A browser of its own each time: nothing is in its cache.
      const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"] });
      samples.get(contender.name)!.push(await measure(contender, browser));
      await browser.close();
    }
  }
  const rows = (["served", "visible", "ready", "idle"] as const).map((what) => {
    const [ours, peer] = contenders.map(({ name }) => median(samples.get(name)!.map((sample) => sample[what])));
    return { what: { served: "page served after (ms)", visible: "notebook visible after (ms)", ready: "kernel ready after (ms)", idle: "server memory, idle (MiB)" }[what], ours: Math.round(ours), peer: Math.round(peer), ratio: (ours / peer).toFixed(2) };
  });
  console.log(`medians of ${rounds} rounds, ${os.cpus().length} cores`);
  console.table(rows);
}

void main();
