/**
 * The worker thread that owns all five sockets. The main thread runs the student's code and may be busy for minutes;
 * this one keeps answering heartbeats and interrupts, and sends output while a loop still runs.
 */
import { parentPort, workerData } from "node:worker_threads";
import { Publisher, Reply, Router, type MessageLike, type Socket } from "zeromq";
import { address, type Connection } from "./connection";
import { RUNNING, STOP } from "./flags";
import { decode, encode, type Json, type Message } from "./message";
import type { Channel, FromThread, ToThread } from "./index";

const { connection, flags, kernelInfo } = workerData as { connection: Connection; flags: Int32Array; kernelInfo: Json };
const port = parentPort!;
const report = (message: FromThread): void => port.postMessage(message);

const sockets = {
  shell: new Router({ linger: 300 }),
  control: new Router({ linger: 300 }),
  stdin: new Router({ linger: 300 }),
  // Without a limit a fast loop of prints is only ever late, never lost.
  iopub: new Publisher({ linger: 300, sendHighWaterMark: 0 }),
};
const heartbeat = new Reply({ linger: 0 });

// A zeromq.js socket takes one send at a time.
const tails = new Map<Socket, Promise<void>>();
function send(channel: keyof typeof sockets, frames: MessageLike[]): Promise<void> {
  const socket = sockets[channel];
  const tail = (tails.get(socket) ?? Promise.resolve())
    .then(() => socket.send(frames))
    .catch((error: Error) => report({ type: "log", text: `could not send on ${channel}: ${error.message}` }));
  tails.set(socket, tail);
  return tail;
}

function publish(type: string, content: Json, parent?: Message): Promise<void> {
  return send("iopub", encode(connection.key, { identities: [`kernel.${type}`], type, parent: parent?.header, content }));
}

function answer(channel: "shell" | "control", request: Message, content: Json): Promise<void> {
  const type = request.header.msg_type.replace("_request", "_reply");
  void publish("status", { execution_state: "busy" }, request);
  void send(channel, encode(connection.key, { identities: request.identities, type, parent: request.header, content }));
  return publish("status", { execution_state: "idle" }, request);
}

/** What a front end sends in one go, all cells of a notebook for instance, comes in within this time. */
const SETTLE_MS = 10;

/** Set while the main thread has not yet taken notice of an interrupt. */
let unnoticed = false;

/**
 * Stops the running cell in three steps, each tied to its number: a pending await is rejected by the main thread, a loop
 * sees the flag in its guard, and whatever is left of the cell's synchronous part gets SIGINT. Between cells the main
 * thread ends timers; when it takes no notice, a timer's callback loops, and gets the flag.
 */
function interrupt(): void {
  const cell = Atomics.load(flags, RUNNING);
  unnoticed = true;
  report({ type: "interrupt", cell });
  const goesOn = (): boolean => Atomics.load(flags, RUNNING) === cell && (cell !== 0 || unnoticed);
  setTimeout(() => goesOn() && Atomics.store(flags, STOP, 1), 20);
  setTimeout(() => cell !== 0 && goesOn() && process.kill(process.pid, "SIGINT"), 120);
}

/** Leaves even when the main thread is stuck in a loop. */
function shutdown(): void {
  report({ type: "shutdown" });
  // A main thread that only loads something gets longer than one whose cell loops. The sockets keep this thread alive
  // until the main thread has closed them; then the timer is of no use.
  setTimeout(() => process.kill(process.pid, "SIGTERM"), Atomics.load(flags, RUNNING) === 0 ? 4000 : 800).unref();
}

// Until the main thread is ready, kernel_info is answered here: it is the first thing every client waits for.
let attached = false;

async function receive(channel: "shell" | "control" | "stdin"): Promise<void> {
  for await (const frames of sockets[channel]) {
    let message: Message;
    try {
      message = decode(connection.key, frames);
    } catch (error) {
      report({ type: "log", text: `ignored a message on ${channel}: ${(error as Error).message}` });
      continue;
    }
    const type = message.header.msg_type;
    if (type === "kernel_info_request" && channel !== "stdin" && (!attached || channel === "control")) {
      void answer(channel, message, kernelInfo);
    } else if (type === "interrupt_request" && channel === "control") {
      interrupt();
      void answer(channel, message, { status: "ok" });
    } else if (type === "shutdown_request" && channel !== "stdin") {
      await answer(channel, message, { status: "ok", restart: Boolean(message.content.restart) });
      shutdown();
    } else report({ type: "message", channel, message });
  }
}

async function echo(): Promise<void> {
  for await (const frames of heartbeat) await heartbeat.send(frames);
}

port.on("message", (message: ToThread) => {
  if (message.type === "send") void send(message.channel, message.frames);
  else if (message.type === "attached") attached = true;
  else if (message.type === "interrupted") unnoticed = false;
  else if (message.type === "settle") setTimeout(() => report({ type: "settled" }), SETTLE_MS);
  else if (message.type === "close") void close();
});

async function close(): Promise<void> {
  await Promise.race([Promise.all(tails.values()), new Promise((resolve) => setTimeout(resolve, 500))]);
  for (const socket of [...Object.values(sockets), heartbeat]) socket.close();
  port.close();
  clearInterval(orphanWatch);
}

// Jupyter's launchers announce their process id and may die without a goodbye.
const parent = process.ppid;
const orphanWatch = setInterval(() => {
  if (process.env.JPY_PARENT_PID && process.ppid !== parent) process.kill(process.pid, "SIGTERM");
}, 1000);
orphanWatch.unref();

async function main(): Promise<void> {
  const ports: [Socket & { bind(address: string): Promise<void> }, Channel | "hb"][] = [
    [heartbeat, "hb"], [sockets.control, "control"], [sockets.stdin, "stdin"], [sockets.iopub, "iopub"], [sockets.shell, "shell"],
  ];
  for (const [socket, name] of ports) {
    const where = address(connection, connection[`${name}_port`]);
    try {
      await socket.bind(where);
    } catch (error) {
      report({ type: "fatal", text: `cannot listen on ${where} (${name}): ${(error as Error).message}` });
      return;
    }
  }
  void publish("status", { execution_state: "starting" });
  for (const loop of [echo(), receive("control"), receive("shell"), receive("stdin")]) {
    loop.catch((error: Error) => report({ type: "log", text: `a socket failed: ${error.message}` }));
  }
}
void main();
