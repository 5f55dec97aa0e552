/** JupyterLab's settings: schemas come with the plugins, what the user changed lies in our state folder, as JSON5 like everywhere. */
import fs from "node:fs/promises";
import path from "node:path";
import JSON5 from "json5";
import { writeAtomic } from "./atomic.js";
import { explain, HttpError } from "./errors.js";

interface Schema {
  version: string;
  schema: Record<string, unknown>;
}

export class Settings {
  #schemas: Promise<Map<string, Schema>> | undefined;

  /** `schemaDirs` hold <package>/<plugin>.json; `userDir` holds what the user changed. */
  constructor(readonly schemaDirs: string[], readonly userDir: string) {}

  /** Read once: a plugin's schema changes only with a build. */
  async #all(): Promise<Map<string, Schema>> {
    return (this.#schemas ??= readSchemas(this.schemaDirs));
  }

  async list(idsOnly: boolean): Promise<object[]> {
    const ids = [...(await this.#all()).keys()];
    return idsOnly ? ids.map((id) => ({ id })) : Promise.all(ids.map((id) => this.get(id)));
  }

  async get(id: string): Promise<object> {
    const found = (await this.#all()).get(id);
    if (!found) throw new HttpError(404, `no plugin has the settings ${JSON.stringify(id)}`);
    const file = this.#file(id);
    let raw = "{}";
    let times: { created?: string; last_modified?: string } = {};
    try {
      raw = await fs.readFile(file, "utf8");
      const stats = await fs.stat(file);
      times = { created: stats.birthtime.toISOString(), last_modified: stats.mtime.toISOString() };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw explain(error, `the settings ${JSON.stringify(id)}`);
    }
    let settings: object = {};
    let warning: string | undefined;
    try {
      settings = parse(raw);
    } catch (error) {
      warning = `the settings ${JSON.stringify(id)} are not JSON5 and were left out: ${(error as Error).message}`;
    }
    return { id, ...found, raw, settings, ...times, ...(warning ? { warning } : {}) };
  }

  async save(id: string, raw: unknown): Promise<void> {
    if (!(await this.#all()).has(id)) throw new HttpError(404, `no plugin has the settings ${JSON.stringify(id)}`);
    if (typeof raw !== "string") throw new HttpError(400, "raw is missing; it is the text of the settings");
    try {
      parse(raw);
    } catch (error) {
      throw new HttpError(400, `the settings ${JSON.stringify(id)} are not JSON5: ${(error as Error).message}`);
    }
    const file = this.#file(id);
    try {
      await fs.mkdir(path.dirname(file), { recursive: true });
      await writeAtomic(file, raw);
    } catch (error) {
      throw explain(error, `the settings ${JSON.stringify(id)}`);
    }
  }

  /** Only ids of known plugins come here, so the name is safe. */
  #file(id: string): string {
    const [name, plugin] = id.split(":");
    return path.join(this.userDir, name, `${plugin}.jupyterlab-settings`);
  }
}

function parse(raw: string): object {
  const value: unknown = raw.trim() === "" ? {} : JSON5.parse(raw);
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new Error("the top level is not an object");
  return value;
}

async function readSchemas(dirs: string[]): Promise<Map<string, Schema>> {
  const schemas = new Map<string, Schema>();
  for (const dir of dirs) {
    const files = await fs.readdir(dir, { recursive: true }).catch(() => []);
    for (const file of files.filter((f) => f.endsWith(".json") && !f.endsWith("package.json"))) {
      const name = path.dirname(file).split(path.sep).join("/");
      const id = `${name}:${path.basename(file, ".json")}`;
      const schema = JSON.parse(await fs.readFile(path.join(dir, file), "utf8")) as Record<string, unknown>;
      const { version } = await fs.readFile(path.join(dir, path.dirname(file), "package.json.orig"), "utf8").then((text) => JSON.parse(text) as { version: string }, () => ({ version: "" }));
      schemas.set(id, { version, schema });
    }
  }
  return schemas;
}
