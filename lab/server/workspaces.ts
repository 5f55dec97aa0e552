/** Which tabs are open where: JupyterLab's workspaces, one file each, kept apart for each folder that is served. */
import { createHash } from "node:crypto";
import fs from "node:fs/promises";
import path from "node:path";
import { writeAtomic } from "./atomic.js";
import { explain, HttpError } from "./errors.js";

interface Workspace {
  data: Record<string, unknown>;
  metadata: { id: string; last_modified?: string; created?: string };
}

export class Workspaces {
  readonly #dir: string;

  constructor(stateDir: string, root: string) {
    this.#dir = path.join(stateDir, "workspaces", createHash("sha256").update(root).digest("hex").slice(0, 16));
  }

  #file(id: string): string {
    return path.join(this.#dir, `${createHash("sha256").update(id).digest("hex").slice(0, 32)}.json`);
  }

  async list(): Promise<Workspace[]> {
    const files = await fs.readdir(this.#dir).catch(() => []);
    const read = files.filter((f) => f.endsWith(".json")).map((f) => this.#read(path.join(this.#dir, f)).catch(() => undefined));
    return (await Promise.all(read)).filter((w) => w !== undefined);
  }

  /** One that does not exist yet is empty. */
  async get(id: string): Promise<Workspace> {
    return this.#read(this.#file(id)).catch(() => ({ data: {}, metadata: { id } }));
  }

  async #read(file: string): Promise<Workspace> {
    const workspace = JSON.parse(await fs.readFile(file, "utf8")) as Workspace;
    const stats = await fs.stat(file);
    return { data: workspace.data, metadata: { ...workspace.metadata, last_modified: stats.mtime.toISOString(), created: stats.birthtime.toISOString() } };
  }

  async save(id: string, workspace: Partial<Workspace>): Promise<void> {
    if (typeof workspace.data !== "object" || workspace.data === null) throw new HttpError(400, "data is missing; a workspace has data and metadata");
    if (workspace.metadata?.id !== id) throw new HttpError(400, `metadata.id is ${JSON.stringify(workspace.metadata?.id)}; it must be the workspace's own, ${JSON.stringify(id)}`);
    try {
      await fs.mkdir(this.#dir, { recursive: true });
      await writeAtomic(this.#file(id), JSON.stringify({ data: workspace.data, metadata: { id } }));
    } catch (error) {
      throw explain(error, `the workspace ${JSON.stringify(id)}`);
    }
  }

  async delete(id: string): Promise<void> {
    await fs.rm(this.#file(id), { force: true });
  }
}
