/** Jupyter's contents service over one folder: what /api/contents answers with. */
import { createHash } from "node:crypto";
import fs from "node:fs/promises";
import type { Stats } from "node:fs";
import path from "node:path";
import mime from "mime-types";
import { temporaryName, writeAtomic } from "./atomic.js";
import { explain, HttpError } from "./errors.js";
import { checkNotebook, emptyNotebook, ensureIds, formatNotebook, parseNotebook } from "./notebook.js";
import { Root } from "./root.js";
import type { Notary } from "./trust.js";

/** Larger files can be downloaded, not opened: the whole of an open file is in memory, here and in the page. */
const LARGEST_OPEN = 256 * 2 ** 20;

export interface Model {
  name: string;
  path: string;
  type: "notebook" | "file" | "directory";
  writable: boolean;
  created: string;
  last_modified: string;
  size: number | null;
  mimetype: string | null;
  content: unknown;
  format: "json" | "text" | "base64" | null;
  hash?: string;
  hash_algorithm?: string;
}

export interface SaveRequest {
  type?: string;
  format?: string | null;
  content?: unknown;
  /** Uploads come in parts 1, 2, ..., -1. */
  chunk?: number;
}

export class Contents {
  /** Uploads under way: the hidden file that each grows in. */
  readonly #uploads = new Map<string, { temporary: string; next: number }>();

  constructor(readonly root: Root, readonly notary: Notary) {}

  async get(apiPath: string, options: { content: boolean; type?: string; format?: string; hash?: boolean }): Promise<Model> {
    const file = this.root.resolve(apiPath);
    const name = quoted(apiPath);
    try {
      const model = await this.#stat(apiPath, file);
      if (options.type === "directory" && model.type !== "directory") throw new HttpError(400, `${name} is not a folder`);
      if (options.type !== undefined && options.type !== "directory" && model.type === "directory") throw new HttpError(400, `${name} is a folder`);
      if (options.type === "file") model.type = "file";
      if (options.hash && model.type !== "directory") Object.assign(model, await fileHash(file));
      if (!options.content) return model;
      if (model.type === "directory") {
        model.content = await this.#list(apiPath, file);
        model.format = "json";
        return model;
      }
      if ((model.size ?? 0) > LARGEST_OPEN) throw new HttpError(413, `${name} is ${Math.round((model.size ?? 0) / 2 ** 20)} MiB; files over ${LARGEST_OPEN / 2 ** 20} MiB can be downloaded but not opened`);
      const data = await fs.readFile(file);
      if (model.type === "notebook") {
        const notebook = parseNotebook(utf8(data, name), name);
        this.notary.mark(notebook);
        return { ...model, content: notebook, format: "json", mimetype: null };
      }
      return { ...model, ...encode(data, options.format, model.name) };
    } catch (error) {
      throw explain(error, name);
    }
  }

  async save(apiPath: string, request: SaveRequest): Promise<Model> {
    const normal = Root.normal(apiPath);
    if (normal === "") throw new HttpError(400, "the root folder cannot be saved over");
    const file = this.root.resolve(apiPath);
    const name = quoted(apiPath);
    try {
      if (request.type === "directory") {
        await fs.mkdir(file).catch(async (error: NodeJS.ErrnoException) => {
          if (error.code !== "EEXIST" || !(await fs.stat(file)).isDirectory()) throw error;
        });
      } else if (request.chunk !== undefined) {
        if (!(await this.#saveChunk(normal, file, request, name))) return unfinished(normal);
      } else if (request.type === "notebook") {
        const notebook: unknown = request.content;
        checkNotebook(notebook, name);
        ensureIds(notebook);
        await writeAtomic(await followLink(file), formatNotebook(notebook));
        this.notary.signIfTrusted(notebook);
      } else {
        await writeAtomic(await followLink(file), decode(request, name));
      }
      return await this.#stat(normal, file);
    } catch (error) {
      throw explain(error, name);
    }
  }

  /** True with the last chunk, which puts the file in its place. */
  async #saveChunk(normal: string, file: string, request: SaveRequest, name: string): Promise<boolean> {
    const { chunk } = request;
    if (!Number.isInteger(chunk) || chunk === 0 || chunk! < -1) throw new HttpError(400, `${name}: chunk is ${String(chunk)}; it counts 1, 2, ... and ends with -1`);
    if (request.type === "notebook") throw new HttpError(400, `${name}: a notebook is uploaded as type "file" when it comes in chunks`);
    const data = decode(request, name);
    if (chunk === 1) {
      await this.#dropUpload(normal);
      this.#uploads.set(normal, { temporary: temporaryName(file), next: 1 });
    }
    const upload = this.#uploads.get(normal);
    if (!upload || (chunk !== -1 && chunk !== upload.next)) {
      throw new HttpError(400, `${name}: chunk ${chunk} came when chunk ${upload?.next ?? 1} was due; start the upload again`);
    }
    upload.next += 1;
    try {
      await fs.appendFile(upload.temporary, data);
      if (chunk !== -1) return false;
      const handle = await fs.open(upload.temporary, "r+");
      await handle.sync();
      await handle.close();
      await fs.rename(upload.temporary, file);
      this.#uploads.delete(normal);
      return true;
    } catch (error) {
      await this.#dropUpload(normal);
      throw error;
    }
  }

  async #dropUpload(normal: string): Promise<void> {
    const upload = this.#uploads.get(normal);
    this.#uploads.delete(normal);
    if (upload) await fs.rm(upload.temporary, { force: true });
  }

  /** Removes the half of every upload that never ended. */
  async close(): Promise<void> {
    for (const normal of [...this.#uploads.keys()]) await this.#dropUpload(normal);
  }

  /** "Untitled.ipynb", "untitled.txt", "Untitled Folder", with a number when the name is taken. */
  async createUntitled(folder: string, request: { type?: string; ext?: string }): Promise<Model> {
    const type = request.type ?? (request.ext === ".ipynb" ? "notebook" : "file");
    if (!["notebook", "file", "directory"].includes(type)) throw new HttpError(400, `type is ${JSON.stringify(type)}; it must be notebook, file or directory`);
    const extension = type === "notebook" ? ".ipynb" : type === "directory" ? "" : request.ext ?? ".txt";
    if (!/^(\.[\w.-]+)?$/.test(extension)) throw new HttpError(400, `ext is ${JSON.stringify(extension)}; it must be like ".txt"`);
    const stem = type === "notebook" ? "Untitled" : type === "directory" ? "Untitled Folder" : "untitled";
    return this.#createFree(folder, (n) => `${stem}${n === 0 ? "" : type === "directory" ? ` ${n}` : n}${extension}`, async (file) => {
      if (type === "directory") await fs.mkdir(file);
      else await fs.writeFile(file, type === "notebook" ? formatNotebook(emptyNotebook()) : "", { flag: "wx" });
    });
  }

  /** A copy beside the others in `folder`: "a-Copy1.ipynb". */
  async copy(from: string, folder: string): Promise<Model> {
    const source = this.root.resolve(from);
    const stats = await fs.stat(source).catch((error: Error) => Promise.reject(explain(error, quoted(from))));
    if (stats.isDirectory()) throw new HttpError(400, `${quoted(from)} is a folder; only files can be copied`);
    const { name, ext } = path.parse(Root.segments(from).at(-1) ?? "");
    const stem = name.replace(/-Copy\d+$/, "");
    const sameFolder = Root.segments(from).slice(0, -1).join("/") === Root.normal(folder);
    return this.#createFree(folder, (n) => (n === 0 && !sameFolder ? `${name}${ext}` : `${stem}-Copy${Math.max(1, n)}${ext}`), (file) => fs.copyFile(source, file, fs.constants.COPYFILE_EXCL));
  }

  async #createFree(folder: string, name: (n: number) => string, create: (file: string) => Promise<void>): Promise<Model> {
    for (let n = 0; ; n++) {
      const apiPath = [...Root.segments(folder), name(n)].join("/");
      const file = this.root.resolve(apiPath);
      try {
        await create(file);
        return await this.#stat(apiPath, file);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw explain(error, quoted(apiPath));
      }
    }
  }

  async rename(from: string, to: string): Promise<Model> {
    const oldFile = this.root.resolve(from);
    const newFile = this.root.resolve(to);
    if (Root.normal(from) === "" || Root.normal(to) === "") throw new HttpError(400, "the root folder cannot be renamed");
    try {
      if (oldFile !== newFile) {
        const before = await fs.lstat(oldFile);
        const taken = await fs.lstat(newFile).catch(() => undefined);
        // On a disk that ignores case, a name that differs only in case is the same file, and may be renamed.
        if (taken && !(taken.ino === before.ino && taken.dev === before.dev)) throw new HttpError(409, `${quoted(to)} already exists`);
        await fs.rename(oldFile, newFile);
        await this.#moveCheckpoint(oldFile, newFile);
      }
      return await this.#stat(to, newFile);
    } catch (error) {
      throw explain(error, quoted(from));
    }
  }

  async #moveCheckpoint(oldFile: string, newFile: string): Promise<void> {
    const old = checkpointFile(oldFile);
    const moved = checkpointFile(newFile);
    try {
      await fs.access(old);
      await fs.mkdir(path.dirname(moved), { recursive: true });
      await fs.rename(old, moved);
    } catch {
      // Without a checkpoint there is nothing to move, and a folder takes its own along.
    }
  }

  /** To the trash, so that it can be had back; where there is none, the file stays. */
  async delete(apiPath: string): Promise<void> {
    const file = this.root.resolve(apiPath);
    const name = quoted(apiPath);
    if (Root.normal(apiPath) === "") throw new HttpError(400, "the root folder cannot be deleted");
    try {
      await fs.lstat(file);
    } catch (error) {
      throw explain(error, name);
    }
    const { default: trash } = await import("trash");
    try {
      await trash(file, { glob: false });
    } catch (error) {
      throw new HttpError(500, `${name} was not deleted, because it could not be moved to the trash: ${(error as Error).message}`);
    }
  }

  async checkpoints(apiPath: string): Promise<{ id: string; last_modified: string }[]> {
    const file = this.root.resolve(apiPath);
    try {
      await fs.stat(file);
    } catch (error) {
      throw explain(error, quoted(apiPath));
    }
    try {
      return [{ id: "checkpoint", last_modified: (await fs.stat(checkpointFile(file))).mtime.toISOString() }];
    } catch {
      return [];
    }
  }

  async createCheckpoint(apiPath: string): Promise<{ id: string; last_modified: string }> {
    const file = this.root.resolve(apiPath);
    const checkpoint = checkpointFile(file);
    try {
      const data = await fs.readFile(file);
      await fs.mkdir(path.dirname(checkpoint), { recursive: true });
      await writeAtomic(checkpoint, data);
      return { id: "checkpoint", last_modified: (await fs.stat(checkpoint)).mtime.toISOString() };
    } catch (error) {
      throw explain(error, `the checkpoint of ${quoted(apiPath)}`);
    }
  }

  async restoreCheckpoint(apiPath: string, id: string): Promise<void> {
    const file = this.root.resolve(apiPath);
    try {
      await writeAtomic(await followLink(file), await fs.readFile(this.#checkpoint(file, id)));
    } catch (error) {
      throw explain(error, `the checkpoint ${JSON.stringify(id)} of ${quoted(apiPath)}`);
    }
  }

  async deleteCheckpoint(apiPath: string, id: string): Promise<void> {
    try {
      await fs.unlink(this.#checkpoint(this.root.resolve(apiPath), id));
    } catch (error) {
      throw explain(error, `the checkpoint ${JSON.stringify(id)} of ${quoted(apiPath)}`);
    }
  }

  #checkpoint(file: string, id: string): string {
    if (id !== "checkpoint") throw new HttpError(404, `there is no checkpoint ${JSON.stringify(id)}; the one that is kept is "checkpoint"`);
    return checkpointFile(file);
  }

  /** Marks a notebook as trusted, whoever made its outputs. */
  async trust(apiPath: string): Promise<void> {
    const name = quoted(apiPath);
    try {
      this.notary.sign(parseNotebook(utf8(await fs.readFile(this.root.resolve(apiPath)), name), name));
    } catch (error) {
      throw explain(error, name);
    }
  }

  async #list(apiPath: string, folder: string): Promise<Model[]> {
    const names = (await fs.readdir(folder)).filter((name) => !name.startsWith("."));
    const models = await Promise.all(names.map(async (name) => {
      const child = [...Root.segments(apiPath), name].join("/");
      try {
        return await this.#stat(child, this.root.resolve(child));
      } catch {
        // A link that leads out of the root, a socket, a file that just went: not for the page.
        return undefined;
      }
    }));
    return models.filter((model) => model !== undefined);
  }

  async #stat(apiPath: string, file: string): Promise<Model> {
    const stats = await fs.stat(file);
    if (!stats.isFile() && !stats.isDirectory()) throw new HttpError(400, `${quoted(apiPath)} is neither a file nor a folder`);
    const normal = Root.normal(apiPath);
    const name = normal.split("/").at(-1)!;
    return {
      name,
      path: normal,
      type: stats.isDirectory() ? "directory" : name.endsWith(".ipynb") ? "notebook" : "file",
      writable: await isWritable(file),
      created: created(stats),
      last_modified: stats.mtime.toISOString(),
      size: stats.isDirectory() ? null : stats.size,
      mimetype: stats.isDirectory() || name.endsWith(".ipynb") ? null : mimetype(name),
      content: null,
      format: null,
    };
  }
}

/** The answer to a chunk that is not the last: the file is not there yet. */
function unfinished(normal: string): Model {
  const now = new Date().toISOString();
  return { name: normal.split("/").at(-1)!, path: normal, type: "file", writable: true, created: now, last_modified: now, size: null, mimetype: null, content: null, format: null };
}

/** Jupyter's own place for it, so that either server finds the other's. */
function checkpointFile(file: string): string {
  const { dir, name, ext } = path.parse(file);
  return path.join(dir, ".ipynb_checkpoints", `${name}-checkpoint${ext}`);
}

/** A save through a link writes the file that it names; the root has been checked already. */
async function followLink(file: string): Promise<string> {
  return fs.realpath(file).catch(() => file);
}

async function isWritable(file: string): Promise<boolean> {
  return fs.access(file, fs.constants.W_OK).then(() => true, () => false);
}

function created(stats: Stats): string {
  return (stats.birthtimeMs > 0 ? stats.birthtime : stats.ctime).toISOString();
}

/** TypeScript's extension is also a video format's, which the table of MIME types knows better. */
function mimetype(name: string): string | null {
  return /\.[mc]?ts$/.test(name) ? "text/typescript" : mime.lookup(name) || null;
}

async function fileHash(file: string): Promise<{ hash: string; hash_algorithm: string }> {
  return { hash: createHash("sha256").update(await fs.readFile(file)).digest("hex"), hash_algorithm: "sha256" };
}

function quoted(apiPath: string): string {
  const normal = Root.normal(apiPath);
  return normal === "" ? "the root folder" : JSON.stringify(normal.length > 200 ? `${normal.slice(0, 200)}...` : normal);
}

function utf8(data: Buffer, name: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: false }).decode(data);
  } catch {
    throw new HttpError(400, `${name} is not UTF-8 text`);
  }
}

function encode(data: Buffer, format: string | undefined, name: string): Pick<Model, "content" | "format" | "mimetype"> {
  const type = mimetype(name);
  if (format !== "base64") {
    try {
      const content = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(data);
      return { content, format: "text", mimetype: type ?? "text/plain" };
    } catch {
      if (format === "text") throw new HttpError(400, `${JSON.stringify(name)} is not UTF-8 text`);
    }
  }
  return { content: data.toString("base64"), format: "base64", mimetype: type ?? "application/octet-stream" };
}

function decode({ format, content }: SaveRequest, name: string): Buffer {
  if (typeof content !== "string") throw new HttpError(400, `${name}: content is ${content === undefined ? "missing" : typeof content}; a file's content is text`);
  if (format === "base64") {
    const compact = content.replace(/\s/g, "");
    if (!/^[A-Za-z0-9+/]*={0,2}$/.test(compact)) throw new HttpError(400, `${name}: content is not base64`);
    return Buffer.from(compact, "base64");
  }
  if (format !== "text" && format !== undefined && format !== null) throw new HttpError(400, `${name}: format is ${JSON.stringify(format)}; a file's format is text or base64`);
  return Buffer.from(content, "utf8");
}

