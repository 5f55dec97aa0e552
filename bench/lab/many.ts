/**
 * `ts-node -T bench/lab/many.ts [notebooks]`: that many notebooks with running kernels, each with its connection, on one server: how
 * long they take to start, how long a cell takes with one notebook and with all of them open, and what the server holds; beside it
 * Debian's jupyter_server with ipykernel. Needs what bench/lab/open.ts needs, and some 150 MB of memory for each notebook.
 */
import { randomUUID } from "node:crypto";
import os from "node:os";
import { WebSocket } from "ws";
import type { Contender, Running } from "./contenders";
import { contenders, median, report, startContender, TOKEN } from "./contenders";

const notebooks = Number(process.argv[2] ?? 50);
/** Cells whose times make a median. */
const CELLS = 50;

interface Sample {
  /** Seconds. */
  starting: number;
  /** Milliseconds from the page's request to its reply. */
  cellAlone: number;
  cellAmongAll: number;
  /** MiB of the server alone. */
  memory: number;
}

async function open({ url }: Running, kernel: string, name: string): Promise<WebSocket> {
  const response = await fetch(`${url}/api/sessions?token=${TOKEN}`, { method: "POST", body: JSON.stringify({ path: name, name, type: "notebook", kernel: { name: kernel } }) });
  if (!response.ok) throw new Error(`${name}: ${response.status} ${await response.text()}`);
  const session = await response.json() as { kernel: { id: string } };
  const socket = new WebSocket(`${url.replace("http", "ws")}/api/kernels/${session.kernel.id}/channels?session_id=${randomUUID()}&token=${TOKEN}`);
  socket.setMaxListeners(0);
  await new Promise((resolve) => socket.once("open", resolve));
  await cell(socket);
  return socket;
}

/** Runs 1 + 1; how long until its reply. */
async function cell(socket: WebSocket): Promise<number> {
  const id = randomUUID();
  const started = performance.now();
  const replied = new Promise<void>((resolve) => {
    const listen = (data: Buffer) => {
      const { parent_header, msg_type } = JSON.parse(data.toString()) as { parent_header: { msg_id?: string }; msg_type: string };
      if (parent_header.msg_id !== id || msg_type !== "execute_reply") return;
      socket.off("message", listen);
      resolve();
    };
    socket.on("message", listen);
  });
  socket.send(JSON.stringify({
    channel: "shell", header: { msg_id: id, msg_type: "execute_request", session: "bench", username: "", date: new Date().toISOString(), version: "5.3" }, parent_header: {}, metadata: {},
    content: { code: "1 + 1", silent: false, store_history: true, user_expressions: {}, allow_stdin: false, stop_on_error: true },
  }));
  await replied;
  return performance.now() - started;
}

/** One cell after the other. */
async function cells(socket: WebSocket): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < CELLS; i++) times.push(await cell(socket));
  return median(times);
}

async function measure(contender: Contender): Promise<Sample> {
  const server = await startContender(contender);
  try {
    const sockets = [await open(server, contender.kernel, "0.ipynb")];
    const cellAlone = await cells(sockets[0]);
    const started = performance.now();
    while (sockets.length < notebooks) sockets.push(await open(server, contender.kernel, `${sockets.length}.ipynb`));
    const starting = (performance.now() - started) / 1000;
    // In the same notebook, whose kernel is as warm as before: what differs is the server's.
    const cellAmongAll = await cells(sockets[0]);
    const memory = server.residentMiB();
    for (const socket of sockets) socket.close();
    return { starting, cellAlone, cellAmongAll, memory };
  } finally {
    await server.stop();
  }
}

const FIGURES: Record<keyof Sample, string> = {
  starting: `${notebooks - 1} more kernels, one after the other, each with its first cell (s)`,
  cellAlone: "a cell, one notebook open (ms)",
  cellAmongAll: `a cell, ${notebooks} notebooks open (ms)`,
  memory: `server memory, ${notebooks} notebooks open (MiB)`,
};

async function main(): Promise<void> {
  const [ours, peer] = [await measure(contenders[0]), await measure(contenders[1])];
  console.log(`One run; Node ${process.versions.node}, ${os.cpus().length} cores, load ${os.loadavg()[0].toFixed(1)} at the end.\n`);
  report((Object.keys(FIGURES) as (keyof Sample)[]).map((key) => ({ what: FIGURES[key], ours: ours[key], peer: peer[key] })));
}

void main();
