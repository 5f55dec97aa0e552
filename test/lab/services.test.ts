/** JupyterLab's own client library, from npm, as a peer: what it can ask, our server must answer. */
import fs from "node:fs";
import path from "node:path";
import { WebSocket } from "ws";
import type { Lab } from "./support";
import { BUILD_TIMEOUT, home, startLab, temporaryFolder, TOKEN } from "./support";

/** The part of @jupyterlab/services that is used here; the package itself lives in lab/node_modules. */
interface Services {
  ServerConnection: { makeSettings(options: object): object };
  ServiceManager: new (options: object) => Manager;
}
interface Future {
  done: Promise<{ content: { status: string } }>;
  onIOPub: (message: { header: { msg_type: string }; content: Record<string, never> }) => void;
}
interface KernelConnection {
  id: string;
  name: string;
  status: string;
  connectionStatus: string;
  info: Promise<{ language_info: { name: string } }>;
  statusChanged: { connect(slot: (_: unknown, status: string) => void): void };
  requestExecute(content: object): Future;
  requestComplete(content: object): Promise<{ content: { matches: string[] } }>;
  interrupt(): Promise<void>;
  restart(): Promise<void>;
  shutdown(): Promise<void>;
}
interface Session {
  id: string;
  path: string;
  kernel: KernelConnection | null;
  setPath(path: string): Promise<void>;
  setName(name: string): Promise<void>;
  changeKernel(options: object): Promise<KernelConnection | null>;
  shutdown(): Promise<void>;
}
interface Manager {
  ready: Promise<void>;
  dispose(): void;
  contents: Record<string, (...args: unknown[]) => Promise<never>>;
  kernels: { startNew(options: object): Promise<KernelConnection>; connectTo(options: object): KernelConnection; refreshRunning(): Promise<void>; running(): Iterable<{ id: string }>; shutdownAll(): Promise<void> };
  sessions: { startNew(options: object): Promise<Session>; findByPath(path: string): Promise<{ id: string } | undefined>; refreshRunning(): Promise<void>; running(): Iterable<{ id: string; path: string }>; shutdownAll(): Promise<void> };
  kernelspecs: { specs: { default: string; kernelspecs: Record<string, { display_name: string }> } };
  settings: { fetch(id: string): Promise<{ raw: string; schema: object }>; save(id: string, raw: string): Promise<void>; list(): Promise<{ ids: string[] }> };
  workspaces: { fetch(id: string): Promise<{ data: object }>; save(id: string, workspace: object): Promise<void>; list(): Promise<{ ids: string[] }>; remove(id: string): Promise<void> };
}

let lab: Lab;
let manager: Manager;
const specs = temporaryFolder("specs");
const havePython = fs.existsSync("/usr/share/jupyter/kernels/python3/kernel.json");

function writeSpec(name: string, argv: string[]): void {
  fs.mkdirSync(path.join(specs, "kernels", name), { recursive: true });
  fs.writeFileSync(path.join(specs, "kernels", name, "kernel.json"), JSON.stringify({ argv, display_name: `The ${name} kernel`, language: "none" }));
}

beforeAll(async () => {
  // The library tells of every connection.
  jest.spyOn(console, "debug").mockImplementation();
  jest.spyOn(console, "warn").mockImplementation();
  writeSpec("dies", [process.execPath, "-e", "console.error('Error: the model file is missing'); process.exit(3)"]);
  writeSpec("missing", ["/no/such/program", "{connection_file}"]);
  lab = await startLab(temporaryFolder("services"), { env: { JUPYTER_PATH: specs } });
  const services = require(path.join(home, "lab", "node_modules", "@jupyterlab", "services")) as Services;
  const serverSettings = services.ServerConnection.makeSettings({ baseUrl: `${lab.url}/`, wsUrl: `${lab.url.replace("http", "ws")}/`, appUrl: "/lab", token: TOKEN, appendToken: true, WebSocket });
  manager = new services.ServiceManager({ serverSettings });
  await manager.ready;
}, BUILD_TIMEOUT);

afterAll(async () => {
  manager?.dispose();
  await lab?.stop();
  fs.rmSync(specs, { recursive: true });
});

/** Runs a cell; what it printed, and how it ended. `printed` is called whenever it prints. */
async function execute(kernel: KernelConnection, code: string, printed: () => void = () => {}): Promise<{ text: string; status: string }> {
  const future = kernel.requestExecute({ code });
  let text = "";
  future.onIOPub = ({ header, content }) => {
    if (header.msg_type === "stream") {
      text += content["text"] as string;
      printed();
    }
    if (header.msg_type === "execute_result") text += (content["data"] as Record<string, string>)["text/plain"];
    if (header.msg_type === "error") text += content["ename"] as string;
  };
  const reply = await future.done;
  return { text, status: reply.content.status };
}

const until = async (test: () => boolean | Promise<boolean>) => {
  while (!(await test())) await new Promise((resolve) => setTimeout(resolve, 50));
};

it("contents: the manager does everything that it can", async () => {
  const { contents } = manager;
  const folder: { path: string } = await contents.newUntitled({ path: "", type: "directory" });
  const file: { path: string } = await contents.newUntitled({ path: folder.path, type: "file", ext: ".md" });
  await contents.save(file.path, { type: "file", format: "text", content: "# one" });
  expect(await contents.get(file.path)).toMatchObject({ content: "# one", format: "text", type: "file" });
  const { id }: { id: string } = await contents.createCheckpoint(file.path);
  await contents.save(file.path, { type: "file", format: "text", content: "# two" });
  expect(await contents.listCheckpoints(file.path)).toHaveLength(1);
  await contents.restoreCheckpoint(file.path, id);
  expect(await contents.get(file.path)).toMatchObject({ content: "# one" });
  await contents.deleteCheckpoint(file.path, id);
  const copy: { path: string } = await contents.copy(file.path, folder.path);
  await contents.rename(copy.path, `${folder.path}/moved.md`);
  expect((await contents.get(folder.path) as { content: { name: string }[] }).content.map((m) => m.name).sort()).toEqual(["moved.md", "untitled.md"]);
  await contents.delete(`${folder.path}/moved.md`);
  await expect(contents.get(`${folder.path}/moved.md`)).rejects.toThrow('"Untitled Folder/moved.md" does not exist');
  const url = new URL(await contents.getDownloadUrl(file.path));
  expect(await (await lab.fetch(url.pathname)).text()).toBe("# one");
});

it("kernelspecs: ours is the default, and those of the machine stand beside it", () => {
  const { specs: found } = manager.kernelspecs;
  expect(found.default).toBe("gradbook");
  expect(found.kernelspecs.gradbook.display_name).toBe("TypeScript (gradbook)");
  expect(Object.keys(found.kernelspecs)).toEqual(expect.arrayContaining(["gradbook", "dies", "missing"]));
});

it("a session starts, moves, changes its kernel, and ends", async () => {
  const session = await manager.sessions.startNew({ path: "n.ipynb", name: "n.ipynb", type: "notebook", kernel: { name: "gradbook" } });
  expect((await session.kernel!.info).language_info.name).toBe("typescript");
  expect(await execute(session.kernel!, "const a = 20; a * 2 + 2")).toEqual({ text: "42", status: "ok" });
  await session.setPath("moved.ipynb");
  expect((await manager.sessions.findByPath("moved.ipynb"))?.id).toBe(session.id);
  const before = session.kernel!.id;
  await session.changeKernel({ name: "gradbook" });
  expect(session.kernel!.id).not.toBe(before);
  expect((await lab.json<{ id: string }[]>("/api/kernels")).map(({ id }) => id)).toEqual([session.kernel!.id]);
  await session.shutdown();
  expect(await lab.json("/api/kernels")).toEqual([]);
  expect(await lab.json("/api/sessions")).toEqual([]);
}, 60_000);

describe("a kernel", () => {
  let kernel: KernelConnection;
  beforeAll(async () => {
    kernel = await manager.kernels.startNew({ name: "gradbook" });
    await kernel.info;
  }, 60_000);
  afterAll(() => kernel.shutdown());

  it("loses no line of a thousand", async () => {
    const { text } = await execute(kernel, "for (let i = 0; i < 1000; i++) console.log(i)");
    expect(text.trim().split("\n")).toHaveLength(1000);
  }, 30_000);

  it("completes", async () => {
    const { content } = await kernel.requestComplete({ code: "Math.sq", cursor_pos: 7 });
    expect(content.matches.join()).toContain("sqrt");
  }, 30_000);

  it("is interrupted, and keeps its state", async () => {
    await execute(kernel, "const kept = 7");
    const running = execute(kernel, "while (true) {}");
    await until(async () => (await lab.json<{ execution_state: string }>(`/api/kernels/${kernel.id}`)).execution_state === "busy");
    await kernel.interrupt();
    expect((await running).status).toBe("error");
    expect((await execute(kernel, "kept")).text).toBe("7");
  }, 30_000);

  it("is restarted, and has forgotten", async () => {
    await execute(kernel, "const forgotten = 1");
    await kernel.restart();
    expect((await execute(kernel, "forgotten")).status).toBe("error");
  }, 60_000);

  it("comes back after a crash, with the standard message", async () => {
    const seen: string[] = [];
    kernel.statusChanged.connect((_, status) => seen.push(status));
    const pid = Number((await execute(kernel, "process.pid")).text);
    process.kill(pid, "SIGKILL");
    await until(() => seen.includes("autorestarting"));
    await until(() => kernel.status === "idle" && seen.at(-1) === "idle");
    expect(Number((await execute(kernel, "process.pid")).text)).not.toBe(pid);
  }, 60_000);

  it("that dies each time it starts is left dead, and says so", async () => {
    const doomed = await manager.kernels.startNew({ name: "gradbook" });
    await doomed.info;
    const seen: string[] = [];
    doomed.statusChanged.connect((_, status) => seen.push(status));
    for (let i = 0; i < 6 && !seen.includes("dead"); i++) {
      const pid = Number((await execute(doomed, "process.pid")).text);
      const restarts = seen.filter((status) => status === "autorestarting").length;
      process.kill(pid, "SIGKILL");
      await until(() => seen.includes("dead") || (seen.filter((status) => status === "autorestarting").length > restarts && doomed.status === "idle"));
    }
    expect(seen).toContain("dead");
  }, 90_000);
});

it("a kernel that dies at start is one sentence with its last words", async () => {
  await expect(manager.kernels.startNew({ name: "dies" })).rejects.toThrow('the kernel "The dies kernel" stopped while it started (exit code 3): Error: the model file is missing');
  await expect(manager.kernels.startNew({ name: "missing" })).rejects.toThrow('the kernel "The missing kernel" could not be started: /no/such/program was not found');
  await expect(manager.kernels.startNew({ name: "nothing" })).rejects.toThrow(/there is no kernel "nothing" on this machine; there is .*gradbook/);
}, 30_000);

it("a connection that broke gets what it missed", async () => {
  const { id } = await lab.json<{ id: string }>("/api/kernels", "POST", { name: "gradbook" });
  const connect = (session: string) => {
    const ws = new WebSocket(`ws://127.0.0.1:${lab.port}/api/kernels/${id}/channels?session_id=${session}&token=${TOKEN}`);
    const text: string[] = [];
    // No subprotocol: every message is one JSON text.
    ws.on("message", (data: Buffer) => {
      const { header, content } = JSON.parse(data.toString()) as { header: { msg_type: string }; content: { text?: string; execution_state?: string } };
      if (header.msg_type === "stream") text.push(content.text!);
      if (header.msg_type === "execute_reply") text.push("done");
    });
    return { ws, text, open: new Promise((resolve) => ws.once("open", resolve)) };
  };
  const first = connect("page-1");
  await first.open;
  const code = 'for (let i = 0; i < 8; i++) { console.log(i); await new Promise((r) => setTimeout(r, 150)); }';
  first.ws.send(JSON.stringify({ channel: "shell", header: { msg_id: "m1", msg_type: "execute_request", session: "page-1", username: "", date: new Date().toISOString(), version: "5.3" }, parent_header: {}, metadata: {}, content: { code, silent: false, store_history: true, user_expressions: {}, allow_stdin: false, stop_on_error: true } }));
  await until(() => first.text.length > 0);
  first.ws.terminate();
  await new Promise((resolve) => setTimeout(resolve, 2_000));
  const second = connect("page-1");
  await until(() => second.text.includes("done"));
  expect([...first.text, ...second.text].join("").replace("done", "").trim().split("\n")).toEqual(["0", "1", "2", "3", "4", "5", "6", "7"]);
  second.ws.close();
  await lab.json(`/api/kernels/${id}`, "DELETE");
}, 60_000);

(havePython ? it : it.skip)("a Python kernel runs beside ours, and is interrupted by signal (needs python3-ipykernel)", async () => {
  const kernel = await manager.kernels.startNew({ name: "python3" });
  expect(await execute(kernel, "6 * 7")).toEqual({ text: "42", status: "ok" });
  // ipykernel ignores a signal outside a cell, and "busy" is said before the cell begins: what it prints is proof that it runs.
  let goes = false;
  const running = execute(kernel, "import time\nprint('go')\ntime.sleep(60)", () => void (goes = true));
  await until(() => goes);
  await kernel.interrupt();
  expect(await running).toMatchObject({ status: "error", text: expect.stringContaining("KeyboardInterrupt") as string });
  await kernel.shutdown();
}, 60_000);

it("settings and workspaces are kept", async () => {
  const { ids } = await manager.settings.list();
  expect(ids.length).toBeGreaterThan(30);
  const id = "@jupyterlab/apputils-extension:themes";
  await manager.settings.save(id, '{ theme: "JupyterLab Dark", /* at night */ }');
  expect(await manager.settings.fetch(id)).toMatchObject({ raw: '{ theme: "JupyterLab Dark", /* at night */ }', settings: { theme: "JupyterLab Dark" } });
  await expect(lab.json(`/lab/api/settings/${id}`, "PUT", { raw: "{ theme" })).rejects.toThrow(/400.*are not JSON5/);
  await manager.workspaces.save("evening", { data: { open: ["a"] }, metadata: { id: "evening" } });
  expect(await manager.workspaces.fetch("evening")).toMatchObject({ data: { open: ["a"] } });
  expect((await manager.workspaces.list()).ids).toContain("evening");
  await manager.workspaces.remove("evening");
  expect(await manager.workspaces.fetch("evening")).toMatchObject({ data: {} });
  expect(await lab.json("/api/me")).toMatchObject({ identity: { username: "student" } });
});

it("idle kernels end by themselves when that was asked for", async () => {
  const culling = await startLab(temporaryFolder("cull"), { env: { GRADBOOK_CULL_SECONDS: "1" } });
  await culling.json("/api/kernels", "POST", { name: "gradbook" });
  await until(async () => (await culling.json<unknown[]>("/api/kernels")).length === 0);
  await culling.stop();
}, 60_000);
