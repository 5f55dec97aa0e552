/** /api/contents over a real server: nothing is lost, nothing is half written, and every refusal is one sentence. */
import { execFileSync, spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import type { Lab } from "./support";
import { BUILD_TIMEOUT, haveStudent, home, startLab, temporaryFolder } from "./support";

interface Model {
  name: string;
  path: string;
  type: string;
  content: never;
  format: string;
  mimetype: string;
  size: number;
  last_modified: string;
  writable: boolean;
  hash?: string;
}

let lab: Lab;
const notebook = (source: string, minor = 5) => ({
  nbformat: 4, nbformat_minor: minor, metadata: {},
  cells: [{ cell_type: "code", ...(minor >= 5 ? { id: "one" } : {}), metadata: {}, source, outputs: [], execution_count: null }],
});
const file = (...parts: string[]) => path.join(lab.root, ...parts);
const put = (name: string, body: object) => lab.json<Model>(`/api/contents/${name}`, "PUT", body);
const get = (name: string) => lab.json<Model>(`/api/contents/${name}`);
/** The sentence of a call that must be refused. */
async function refusal(pathname: string, method = "GET", body?: unknown, server = lab): Promise<[number, string]> {
  const response = await server.fetch(pathname, { method, body: body === undefined ? undefined : JSON.stringify(body) });
  const { message } = await response.json() as { message: string };
  return [response.status, message];
}

beforeAll(async () => {
  lab = await startLab(temporaryFolder("contents"));
}, BUILD_TIMEOUT);
afterAll(async () => {
  await lab.stop();
  fs.rmSync(lab.root, { recursive: true, force: true });
});

describe("notebooks", () => {
  it.each([0, 1, 2, 3, 4, 5])("of format 4.%d come back as they were saved", async (minor) => {
    const saved = notebook("const x = 1;\nx * 2;", minor);
    await put(`minor${minor}.ipynb`, { type: "notebook", format: "json", content: saved });
    const model = await get(`minor${minor}.ipynb`);
    expect(model).toMatchObject({ type: "notebook", format: "json", writable: true });
    expect(model.content).toMatchObject({ nbformat_minor: minor, cells: [{ source: "const x = 1;\nx * 2;" }] });
  });

  it("are written the way Jupyter writes them: sorted keys, one blank of indent, lists of lines", async () => {
    await put("form.ipynb", { type: "notebook", format: "json", content: notebook("a\nb") });
    const text = fs.readFileSync(file("form.ipynb"), "utf8");
    expect(text).toBe(`{
 "cells": [
  {
   "cell_type": "code",
   "execution_count": null,
   "id": "one",
   "metadata": {},
   "outputs": [],
   "source": [
    "a\\n",
    "b"
   ]
  }
 ],
 "metadata": {},
 "nbformat": 4,
 "nbformat_minor": 5
}
`);
  });

  it("with fifty megabytes of outputs come back whole", async () => {
    const line = `${"y".repeat(99)}\n`;
    const cells = Array.from({ length: 50 }, (_, i) => ({ ...notebook("x").cells[0], id: `big${i}`, outputs: [{ output_type: "stream", name: "stdout", text: line.repeat(10_000) }] }));
    await put("big.ipynb", { type: "notebook", format: "json", content: { ...notebook("x"), cells } });
    const { cells: back } = (await get("big.ipynb")).content as { cells: { outputs: { text: string }[] }[] };
    expect(back.every(({ outputs: [{ text }] }) => text === line.repeat(10_000))).toBe(true);
  }, 60_000);

  it("that are not notebooks are refused with what is wrong and where", async () => {
    fs.writeFileSync(file("broken.ipynb"), '{\n "cells": [\n  oops\n');
    fs.writeFileSync(file("empty.ipynb"), "");
    fs.writeFileSync(file("old.ipynb"), '{"nbformat": 3, "worksheets": []}');
    fs.writeFileSync(file("binary.ipynb"), Buffer.from([0xff, 0xfe, 0]));
    expect(await refusal("/api/contents/broken.ipynb")).toEqual([400, '"broken.ipynb" is not a notebook: its JSON breaks at line 3; open it with the text editor to repair it']);
    expect(await refusal("/api/contents/empty.ipynb")).toEqual([400, '"empty.ipynb" is not a notebook: the file is empty']);
    expect((await refusal("/api/contents/old.ipynb"))[1]).toMatch(/it has format 3; only format 4/);
    expect(await refusal("/api/contents/binary.ipynb")).toEqual([400, '"binary.ipynb" is not UTF-8 text']);
    // As a plain file each can be opened and repaired.
    await expect(lab.json("/api/contents/broken.ipynb?type=file")).resolves.toMatchObject({ format: "text" });
  });

  it.each([
    [{ ...notebook("x"), cells: "none" }, "cells is a string, not a list"],
    [{ ...notebook("x"), cells: [{ cell_type: "poem", metadata: {}, source: "" }] }, 'cell 1 has cell_type "poem"'],
    [{ ...notebook("x"), cells: [{ cell_type: "markdown", metadata: {}, source: 7 }] }, "cell 1 has a source that is a number"],
    [{ ...notebook("x"), cells: [{ ...notebook("x").cells[0], outputs: [{ output_type: "smell" }] }] }, 'output 1 of cell 1 has output_type "smell"'],
    [[], "its top level is a list"],
  ])("that are malformed are refused on save, and the file stays: %#", async (content, sentence) => {
    await put("kept.ipynb", { type: "notebook", format: "json", content: notebook("kept") });
    const before = fs.readFileSync(file("kept.ipynb"), "utf8");
    const [status, message] = await refusal("/api/contents/kept.ipynb", "PUT", { type: "notebook", format: "json", content });
    expect(status).toBe(400);
    expect(message).toContain(sentence);
    expect(fs.readFileSync(file("kept.ipynb"), "utf8")).toBe(before);
  });
});

describe("files and folders", () => {
  it("text and base64 come back as they were, whatever the name", async () => {
    const name = "Übung 1 & 2 #final?.txt";
    const encoded = encodeURIComponent(name);
    await put(encoded, { type: "file", format: "text", content: "∇L\r\nsecond\n" });
    expect(await get(encoded)).toMatchObject({ name, format: "text", content: "∇L\r\nsecond\n", mimetype: "text/plain" });
    const bytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
    await put("bytes.bin", { type: "file", format: "base64", content: bytes.toString("base64") });
    expect(fs.readFileSync(file("bytes.bin"))).toEqual(bytes);
    expect(await get("bytes.bin")).toMatchObject({ format: "base64", content: bytes.toString("base64") });
    expect(await refusal("/api/contents/bytes.bin?format=text")).toEqual([400, '"bytes.bin" is not UTF-8 text']);
  });

  it.each(["100% ünï 😀 עברית.txt", " a b ", "back\\slash.txt", "line\nbreak.txt", "学".repeat(83) + ".txt", "x".repeat(251) + ".txt"])("keep the name that they have: %j", async (name) => {
    const encoded = encodeURIComponent(name);
    await put(encoded, { type: "file", format: "text", content: name });
    expect(fs.readFileSync(file(name), "utf8")).toBe(name);
    expect(await get(encoded)).toMatchObject({ name, content: name });
    expect(await (await lab.fetch(`/files/${encoded}`)).text()).toBe(name);
  });

  it("that no disk could name are one sentence", async () => {
    const long = "x".repeat(300);
    const sentence = `"${"x".repeat(39)}...: the name is too long for this disk`;
    expect(await refusal(`/api/contents/${long}`, "PUT", { type: "file", format: "text", content: "" })).toEqual([400, sentence]);
    expect(await refusal("/api/contents/course.txt", "PATCH", { path: long })).toEqual([400, sentence]);
    expect(await refusal("/api/contents/course.txt", "PATCH", { path: "x/".repeat(100_000) })).toEqual([400, `"${"x/".repeat(19)}x...: the name is too long for this disk`]);
    fs.symlinkSync("loop2", file("loop1"));
    fs.symlinkSync("loop1", file("loop2"));
    expect(await refusal("/api/contents/loop1")).toEqual([404, '"loop1" is a link that leads to itself']);
  });

  it("five thousand in a folder, and fifty folders deep", async () => {
    fs.mkdirSync(file("many"));
    for (let i = 0; i < 5_000; i++) fs.writeFileSync(file("many", `${i}.txt`), "");
    expect((await get("many") as unknown as { content: Model[] }).content).toHaveLength(5_000);
    const deep = Array.from({ length: 50 }, (_, i) => `level ${i}`).join("/");
    fs.mkdirSync(file(deep), { recursive: true });
    expect(await put(`${deep}/a.txt`, { type: "file", format: "text", content: "deep" })).toMatchObject({ path: `${deep}/a.txt` });
  });

  it("new ones get a free name, copies a number, and a folder lists all but hidden files", async () => {
    await put("things", { type: "directory" });
    const names = [];
    for (const body of [{ type: "notebook" }, { type: "notebook" }, { ext: ".ts" }, { type: "directory" }, { type: "directory" }]) {
      names.push((await lab.json<Model>("/api/contents/things", "POST", body)).name);
    }
    expect(names).toEqual(["Untitled.ipynb", "Untitled1.ipynb", "untitled.ts", "Untitled Folder", "Untitled Folder 1"]);
    expect((await lab.json<Model>("/api/contents/things", "POST", { copy_from: "things/Untitled.ipynb" })).name).toBe("Untitled-Copy1.ipynb");
    expect((await lab.json<Model>("/api/contents/things/Untitled Folder", "POST", { copy_from: "things/Untitled.ipynb" })).name).toBe("Untitled.ipynb");
    fs.writeFileSync(file("things", ".secret"), "");
    const { content } = await get("things") as unknown as { content: Model[] };
    expect(content.map((m) => m.name).sort()).toEqual([...names, "Untitled-Copy1.ipynb"].sort());
  });

  it("are renamed and moved, but never over another", async () => {
    await put("a.txt", { type: "file", format: "text", content: "a" });
    await put("b.txt", { type: "file", format: "text", content: "b" });
    await put("sub", { type: "directory" });
    expect(await refusal("/api/contents/a.txt", "PATCH", { path: "b.txt" })).toEqual([409, '"b.txt" already exists']);
    await lab.json("/api/contents/a.txt", "PATCH", { path: "sub/c.txt" });
    expect(fs.readFileSync(file("sub", "c.txt"), "utf8")).toBe("a");
    expect(fs.readFileSync(file("b.txt"), "utf8")).toBe("b");
  });

  it("go to the trash when they are deleted", async () => {
    await put("gone.txt", { type: "file", format: "text", content: "last words" });
    await lab.json("/api/contents/gone.txt", "DELETE");
    expect(fs.existsSync(file("gone.txt"))).toBe(false);
    const trash = path.join(lab.state, "data", "Trash", "files");
    expect(fs.readdirSync(trash).map((name) => fs.readFileSync(path.join(trash, name), "utf8"))).toEqual(["last words"]);
    expect(await refusal("/api/contents/gone.txt", "DELETE")).toEqual([404, '"gone.txt" does not exist']);
  });

  it("tell their hash when asked, so that a page sees a change on the disk", async () => {
    await put("h.txt", { type: "file", format: "text", content: "one" });
    const hash = async () => (await lab.json<Model>("/api/contents/h.txt?content=0&hash=1")).hash;
    const before = await hash();
    fs.writeFileSync(file("h.txt"), "two");
    expect(before).toMatch(/^[0-9a-f]{64}$/);
    expect(await hash()).not.toBe(before);
  });
});

describe("checkpoints", () => {
  it("bring back what a notebook was", async () => {
    await put("c.ipynb", { type: "notebook", format: "json", content: notebook("first") });
    await lab.json("/api/contents/c.ipynb/checkpoints", "POST");
    await put("c.ipynb", { type: "notebook", format: "json", content: notebook("second") });
    const list = await lab.json<{ id: string }[]>("/api/contents/c.ipynb/checkpoints");
    expect(list).toHaveLength(1);
    await lab.json(`/api/contents/c.ipynb/checkpoints/${list[0].id}`, "POST");
    expect(await get("c.ipynb")).toMatchObject({ content: { cells: [{ source: "first" }] } });
    await lab.json("/api/contents/c.ipynb", "PATCH", { path: "d.ipynb" });
    await expect(lab.json("/api/contents/d.ipynb/checkpoints")).resolves.toHaveLength(1);
    await lab.json(`/api/contents/d.ipynb/checkpoints/${list[0].id}`, "DELETE");
    await expect(lab.json("/api/contents/d.ipynb/checkpoints")).resolves.toEqual([]);
    expect((await refusal("/api/contents/d.ipynb/checkpoints/other", "POST"))[0]).toBe(404);
  });
});

describe("uploads in chunks", () => {
  const chunk = (n: number, text: string) => ({ type: "file", format: "base64", chunk: n, content: Buffer.from(text).toString("base64") });

  it("appear whole, with the last chunk", async () => {
    fs.writeFileSync(file("up.bin"), "old");
    await put("up.bin", chunk(1, "one "));
    await put("up.bin", chunk(2, "two "));
    expect(fs.readFileSync(file("up.bin"), "utf8")).toBe("old");
    await put("up.bin", chunk(-1, "three"));
    expect(fs.readFileSync(file("up.bin"), "utf8")).toBe("one two three");
    expect(fs.readdirSync(lab.root).filter((name) => name.endsWith(".tmp"))).toEqual([]);
  });

  it("that skip a chunk are refused", async () => {
    await put("skip.bin", chunk(1, "a"));
    expect(await refusal("/api/contents/skip.bin", "PUT", chunk(3, "c"))).toEqual([400, '"skip.bin": chunk 3 came when chunk 2 was due; start the upload again']);
    expect((await refusal("/api/contents/never.bin", "PUT", chunk(2, "c")))[1]).toMatch(/chunk 2 came when chunk 1 was due/);
  });
});

describe("what a killed server left beside a file", () => {
  it("is removed by the next save there, once it is a day old and nobody writes it any more", async () => {
    fs.mkdirSync(file("left"));
    const [old, young] = ["11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"].map((id) => file("left", `.gradbook-${id}.tmp`));
    for (const name of [old, young, file("left", ".gradbook-mine.tmp")]) fs.writeFileSync(name, "half a notebook");
    const yesterday = Date.now() / 1000 - 25 * 3600;
    for (const name of [old, file("left", ".gradbook-mine.tmp")]) fs.utimesSync(name, yesterday, yesterday);
    await put("left/a.ipynb", { type: "notebook", content: notebook("1") });
    expect(fs.readdirSync(file("left")).sort()).toEqual([path.basename(young), ".gradbook-mine.tmp", "a.ipynb"]);
  });
});

describe("when the disk says no", () => {
  // A real small disk needs the right to mount one.
  const canMount = process.getuid?.() === 0 && spawnSync("mount", ["--version"]).status === 0;

  (canMount ? it : it.skip)("a full disk leaves the old file and says so (needs root to mount a small disk)", async () => {
    const small = file("small");
    fs.mkdirSync(small);
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=64k", "tmpfs", small]);
    try {
      await put("small/n.ipynb", { type: "notebook", format: "json", content: notebook("fits") });
      const before = fs.readFileSync(file("small", "n.ipynb"), "utf8");
      const [status, message] = await refusal("/api/contents/small/n.ipynb", "PUT", { type: "notebook", format: "json", content: notebook("x".repeat(200_000)) });
      expect([status, message]).toEqual([507, '"small/n.ipynb" was not saved because the disk is full; the version on the disk is unchanged, so free some space and save again']);
      expect(fs.readFileSync(file("small", "n.ipynb"), "utf8")).toBe(before);
      expect(fs.readdirSync(small)).toEqual(["n.ipynb"]);
    } finally {
      execFileSync("umount", [small]);
    }
  });

  (haveStudent ? it : it.skip)("what this account may not do is one sentence, and nothing changes (needs an account that is not root, and may read this checkout)", async () => {
    const root = temporaryFolder("permission");
    const theirs = await startLab(root, { asStudent: true });
    const refused = async (pathname: string, method = "GET", body?: unknown) => refusal(pathname, method, body, theirs);
    const text = { type: "file", format: "text", content: "new" };
    const permission = (name: string) => [403, `"${name}": this account has no permission for it`];
    // In a folder that is root's, or that its owner has locked, even a file of one's own cannot be deleted.
    fs.mkdirSync(path.join(root, "locked"));
    fs.writeFileSync(path.join(root, "locked", "mine.txt"), "old");
    fs.chmodSync(path.join(root, "locked"), 0o555);
    fs.writeFileSync(path.join(root, "readonly.txt"), "old", { mode: 0o444 });
    fs.mkdirSync(path.join(root, "closed"), { mode: 0 });
    try {
      expect(await refused("/api/contents/locked/a.txt", "PUT", text)).toEqual(permission("locked/a.txt"));
      expect(await refused("/api/contents/locked", "POST", { type: "notebook" })).toEqual(permission("locked/Untitled.ipynb"));
      expect(await refused("/api/contents/locked/mine.txt", "PATCH", { path: "away.txt" })).toEqual(permission("locked/mine.txt"));
      expect((await refused("/api/contents/locked/mine.txt", "DELETE"))[1]).toMatch(/^"locked\/mine.txt" was not deleted, because it could not be moved to the trash: /);
      expect(await refused("/api/contents/readonly.txt", "PUT", text)).toEqual(permission("readonly.txt"));
      expect(await refused("/api/contents/closed")).toEqual(permission("closed"));
      expect(await theirs.json("/api/contents/readonly.txt")).toMatchObject({ content: "old", writable: false });
      expect(fs.readFileSync(path.join(root, "locked", "mine.txt"), "utf8")).toBe("old");
      // The rest of the folder can be worked in.
      await theirs.json("/api/contents/free.txt", "PUT", text);
    } finally {
      await theirs.stop();
      for (const name of ["locked", "closed"]) fs.chmodSync(path.join(root, name), 0o755);
      fs.rmSync(root, { recursive: true });
    }
  }, 60_000);
});

it("a kill at any moment of a save leaves the old file or the new one", () => {
  const folder = temporaryFolder("kill");
  const target = path.join(folder, "n.txt");
  const [a, b] = ["a".repeat(3_000_000), "b".repeat(3_000_000)];
  fs.writeFileSync(target, a);
  const writer = `const { writeAtomic } = require(${JSON.stringify(path.join(home, "dist", "lab", "server", "atomic.js"))});
    (async () => { for (;;) { await writeAtomic(process.argv[1], "b".repeat(3e6)); await writeAtomic(process.argv[1], "a".repeat(3e6)); } })();`;
  // Killed by the clock, each time after a little longer, so that the moment is another one.
  for (let i = 0; i < 12; i++) {
    spawnSync(process.execPath, ["-e", writer, target], { timeout: 150 + 17 * i, killSignal: "SIGKILL" });
    const text = fs.readFileSync(target, "utf8");
    expect(text === a || text === b).toBe(true);
  }
  fs.rmSync(folder, { recursive: true });
}, 60_000);
