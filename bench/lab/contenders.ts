/** The servers that are compared: ours with our kernel, and Debian's jupyter_server with ipykernel, both with the same front end. */
import type { ChildProcess } from "node:child_process";
import { spawn } from "node:child_process";
import fs from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";

const home = path.join(__dirname, "..", "..");
export const TOKEN = "a-token-for-benches";

export interface Contender {
  name: string;
  kernel: string;
  /** A cell that takes 3 s and draws one curve anew with every step of 5 ms, at most 60 times a second. */
  training: string;
  start(root: string, port: number, state: string): ChildProcess;
}

export const contenders: Contender[] = [
  {
    name: "gradbook lab, gradbook",
    kernel: "gradbook",
    training: `const plot = livePlot({ rate: 60 }); const start = Date.now();
for (let i = 0; Date.now() - start < 3000; i++) { await plot.add(i, { loss: 1 / (i + 1) }); await new Promise((resolve) => setTimeout(resolve, 5)); }`,
    start: (root, port, state) => spawn(process.execPath, [path.join(home, "bin", "gradbook.js"), "lab", "--no-browser", "--port", String(port), "--token", TOKEN, root], {
      env: { ...process.env, GRADBOOK_STATE_DIR: state, JUPYTER_RUNTIME_DIR: state, GRADBOOK_PAGE_CONFIG: '{"exposeAppInBrowser":"true"}' }, stdio: "ignore",
    }),
  },
  {
    name: "jupyter_server, ipykernel",
    kernel: "python3",
    training: `import time
from IPython.display import display, update_display
def plot(n):
    return {"application/vnd.plotly.v1+json": {"data": [{"type": "scatter", "mode": "lines", "x": list(range(n)), "y": [1 / (i + 1) for i in range(n)]}], "layout": {}}, "text/plain": "plot"}
display(plot(1), raw=True, display_id="plot")
start, drawn, i = time.time(), 0, 1
while time.time() - start < 3:
    i += 1
    if time.time() - drawn > 1 / 60:
        update_display(plot(i), raw=True, display_id="plot")
        drawn = time.time()
    time.sleep(0.005)`,
    start: (root, port, state) => spawn("/usr/bin/python3", [path.join(home, "test", "lab", "jupyter_peer.py"), path.join(home, "lab", "build"), root, String(port), TOKEN], {
      env: { ...process.env, JUPYTER_RUNTIME_DIR: state, JUPYTER_CONFIG_DIR: state }, stdio: "ignore",
    }),
  },
];

export interface Running {
  url: string;
  /** The folder that is served. */
  root: string;
  /** Milliseconds from the start of the process to the first page. */
  served: number;
  /** Of the server alone, without its kernels. */
  residentMiB(): number;
  stop(): Promise<void>;
}

export async function startContender({ kernel, start }: Contender): Promise<Running> {
  const state = fs.mkdtempSync(path.join(os.tmpdir(), "gradbook-bench-"));
  const root = path.join(state, "served");
  fs.mkdirSync(root);
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const started = performance.now();
  const server = start(root, port, state);
  while ((await fetch(`${url}/lab?token=${TOKEN}`, { redirect: "manual" }).catch(() => undefined)) === undefined) {
    if (server.exitCode !== null) throw new Error(`the server of "${kernel}" ended before it served; start it by hand to see why`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return {
    url,
    root,
    served: performance.now() - started,
    residentMiB: () => Number(/VmRSS:\s+(\d+)/.exec(fs.readFileSync(`/proc/${server.pid}/status`, "utf8"))![1]) / 1024,
    async stop() {
      const ended = new Promise((resolve) => server.once("exit", resolve));
      server.kill("SIGTERM");
      await ended;
      fs.rmSync(state, { recursive: true, force: true });
    },
  };
}

async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address() as net.AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

export function median(values: number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
}

/** One line a figure, ours beside the peer's. */
export function report(rows: { what: string; ours: number; peer: number }[]): void {
  console.log("| | gradbook lab, gradbook | jupyter_server, ipykernel | ratio |\n|---|---|---|---|");
  for (const { what, ours, peer } of rows) console.log(`| ${what} | ${round(ours)} | ${round(peer)} | ${(ours / peer).toFixed(2)} |`);
}

function round(value: number): string {
  return value < 100 ? value.toFixed(1) : value.toFixed(0);
}
