/** The running kernels, and the sessions that tie each to a notebook. */
import { randomUUID } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { HttpError } from "./errors.js";
import { Kernel } from "./kernel.js";
import type { KernelSpec } from "./kernelspecs.js";
import { findKernelSpecs } from "./kernelspecs.js";
import { Root } from "./root.js";

export class Kernels {
  readonly #running = new Map<string, Kernel>();
  readonly #cull: NodeJS.Timeout | undefined;

  /** `cullIdleSeconds`: kernels that no page is connected to end after so long without work; 0 keeps them. */
  constructor(readonly root: Root, readonly dataDirs: string[], readonly defaultName: string, cullIdleSeconds: number) {
    if (cullIdleSeconds > 0) {
      this.#cull = setInterval(() => this.#cullIdle(cullIdleSeconds * 1000), Math.min(60_000, cullIdleSeconds * 250)).unref();
    }
  }

  async specs(): Promise<Map<string, KernelSpec>> {
    return findKernelSpecs(this.dataDirs);
  }

  /** `near`: the notebook's path; the kernel runs in its folder. */
  async start(name: string | undefined, near: string): Promise<Kernel> {
    const specs = await this.specs();
    const wanted = name || (specs.has(this.defaultName) ? this.defaultName : [...specs.keys()][0]);
    const spec = specs.get(wanted?.toLowerCase() ?? "");
    if (!spec) throw new HttpError(501, `there is no kernel "${wanted}" on this machine; there is ${[...specs.keys()].join(", ") || "none"}`);
    const kernel = await Kernel.start(spec, this.#cwd(near), { ...process.env, JPY_SESSION_NAME: near });
    this.#running.set(kernel.id, kernel);
    kernel.once("dead", () => this.#running.delete(kernel.id));
    return kernel;
  }

  #cwd(near: string): string {
    try {
      const file = this.root.resolve(near);
      return fs.statSync(file).isDirectory() ? file : path.dirname(file);
    } catch {
      return this.root.dir;
    }
  }

  get(id: string): Kernel {
    const kernel = this.#running.get(id);
    if (!kernel) throw new HttpError(404, `the kernel ${JSON.stringify(id.slice(0, 60))} does not exist (any more)`);
    return kernel;
  }

  list(): Kernel[] {
    return [...this.#running.values()];
  }

  #cullIdle(ms: number): void {
    for (const kernel of this.list()) {
      if (kernel.connections === 0 && kernel.state === "idle" && Date.now() - kernel.lastActivity.getTime() > ms) void kernel.shutdown();
    }
  }

  async close(): Promise<void> {
    clearInterval(this.#cull);
    await Promise.all(this.list().map((kernel) => kernel.shutdown()));
  }

  abandon(): void {
    for (const kernel of this.list()) kernel.abandon();
  }
}

export interface SessionRequest {
  path?: string;
  name?: string;
  type?: string;
  kernel?: { id?: string | null; name?: string | null } | null;
}

interface Session {
  id: string;
  path: string;
  name: string;
  type: string;
  kernel: Kernel;
}

export class Sessions {
  readonly #sessions = new Map<string, Session>();
  /** A page that asks twice while the kernel starts gets one session. */
  readonly #starting = new Map<string, Promise<Session>>();

  constructor(readonly kernels: Kernels) {}

  model({ kernel, ...session }: Session): object {
    return { ...session, kernel: kernel.model(), notebook: { path: session.path, name: session.name } };
  }

  /** A session whose kernel is dead is gone with it. */
  list(): Session[] {
    for (const session of this.#sessions.values()) if (session.kernel.state === "dead") this.#sessions.delete(session.id);
    return [...this.#sessions.values()];
  }

  get(id: string): Session {
    const session = this.list().find((s) => s.id === id);
    if (!session) throw new HttpError(404, `the session ${JSON.stringify(id.slice(0, 60))} does not exist (any more)`);
    return session;
  }

  async create(request: SessionRequest): Promise<Session> {
    const { path: notebook, type = "notebook", name = "" } = request;
    if (typeof notebook !== "string" || notebook === "") throw new HttpError(400, "path is missing; it names what the session is for");
    const existing = this.list().find((session) => session.path === notebook);
    if (existing) return existing;
    const starting = this.#starting.get(notebook);
    if (starting) return starting;
    const created = this.#kernelFor(request, notebook).then((kernel) => {
      const session = { id: randomUUID(), path: notebook, name, type, kernel };
      this.#sessions.set(session.id, session);
      return session;
    }).finally(() => this.#starting.delete(notebook));
    this.#starting.set(notebook, created);
    return created;
  }

  async #kernelFor({ kernel }: SessionRequest, near: string): Promise<Kernel> {
    if (kernel?.id) return this.kernels.get(kernel.id);
    return this.kernels.start(kernel?.name ?? undefined, near);
  }

  /** Renames it, or gives it another kernel; the one that it had ends when no other session has it. */
  async update(id: string, request: SessionRequest): Promise<Session> {
    const session = this.get(id);
    if (request.kernel && request.kernel.id !== session.kernel.id) {
      const before = session.kernel;
      session.kernel = await this.#kernelFor(request, session.path);
      await this.#endUnused(before);
    }
    if (typeof request.path === "string") session.path = request.path;
    if (typeof request.name === "string") session.name = request.name;
    if (typeof request.type === "string") session.type = request.type;
    return session;
  }

  async delete(id: string): Promise<void> {
    const session = this.get(id);
    this.#sessions.delete(id);
    await this.#endUnused(session.kernel);
  }

  async #endUnused(kernel: Kernel): Promise<void> {
    if (kernel.state === "dead" || this.list().some((session) => session.kernel === kernel)) return;
    await kernel.shutdown();
  }
}
