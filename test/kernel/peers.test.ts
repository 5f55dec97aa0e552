/** The kernel under Debian's own Jupyter: installed with `gradbook install`, started in a folder that is not the project. */
import { spawnSync, type SpawnSyncReturns } from "node:child_process";
import fs from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";

jest.setTimeout(120_000);

const root = path.join(__dirname, "..", "..");
const python = "/usr/bin/python3";
const has = (module: string): boolean => spawnSync(python, ["-c", `import ${module}`]).status === 0;
const haveKernelTest = has("jupyter_kernel_test");
const haveNbclient = has("nbclient");
const haveNbconvert = has("nbconvert");
const haveServer = has("jupyter_server");
const haveClient = has("jupyter_client");

const folder = fs.mkdtempSync(path.join(os.tmpdir(), "gradbook peers "));
const prefix = path.join(folder, "prefix");
const work = path.join(folder, "work");
const environment = {
  ...process.env, JUPYTER_PATH: path.join(prefix, "share", "jupyter"), HOME: path.join(folder, "home"), PYTHONWARNINGS: "ignore",
  JUPYTER_PLATFORM_DIRS: "1",
};

function gradbook(...args: string[]): SpawnSyncReturns<string> {
  const main = `require(${JSON.stringify(path.join(root, "dist", "cli", "main.js"))}).main(process.argv.slice(1))`;
  return spawnSync(process.execPath, ["-e", main, "--", ...args], { cwd: work, encoding: "utf8", env: environment });
}

function py(...args: string[]): SpawnSyncReturns<string> {
  return spawnSync(python, args, { cwd: work, encoding: "utf8", env: environment });
}

interface Cell { cell_type: "code"; source: string; metadata: object; outputs: Record<string, unknown>[]; execution_count: number | null; id: string }

function notebook(name: string, sources: string[]): string {
  const cells = sources.map((source, i): Cell => ({ cell_type: "code", source, metadata: {}, outputs: [], execution_count: null, id: `cell-${i}` }));
  const metadata = { kernelspec: { name: "gradbook", display_name: "TypeScript (gradbook)", language: "typescript" } };
  const file = path.join(work, name);
  fs.writeFileSync(file, JSON.stringify({ cells, metadata, nbformat: 4, nbformat_minor: 5 }));
  return file;
}

function outputsOf(file: string): Record<string, unknown>[][] {
  return (JSON.parse(fs.readFileSync(file, "utf8")) as { cells: Cell[] }).cells.map(({ outputs }) => outputs);
}

const SOURCES = [
  "const t = tensor([[1, 2], [3, 4]]); t.sum().item()",
  "console.log('printed'); display(html`<b>shown</b>`)",
  "throw new TypeError('on purpose')",
  "'after the error'",
];

beforeAll(() => {
  for (const dir of [work, environment.HOME]) fs.mkdirSync(dir, { recursive: true });
  const installed = gradbook("install", "--prefix", prefix);
  if (installed.status !== 0) throw new Error(installed.stderr);
});

afterAll(() => fs.rmSync(folder, { recursive: true, force: true }));

test("install writes absolute paths and logos, says where, can be run twice and taken back", () => {
  const elsewhere = path.join(folder, "other");
  const first = gradbook("install", "--prefix", elsewhere);
  expect([first.status, first.stderr]).toEqual([0, ""]);
  const kernel = path.join(elsewhere, "share", "jupyter", "kernels", "gradbook");
  expect(first.stdout).toContain(kernel);
  expect(gradbook("install", "--prefix", elsewhere).status).toBe(0);
  expect(fs.readdirSync(kernel).sort()).toEqual(["kernel.json", "logo-32x32.png", "logo-64x64.png", "logo-svg.svg"]);
  const spec = JSON.parse(fs.readFileSync(path.join(kernel, "kernel.json"), "utf8")) as Record<string, unknown>;
  expect(spec).toMatchObject({ display_name: "TypeScript (gradbook)", language: "typescript", interrupt_mode: "message" });
  const [node, main, connection] = spec.argv as string[];
  expect([path.isAbsolute(node), path.isAbsolute(main), fs.existsSync(main), connection]).toEqual([true, true, true, "{connection_file}"]);
  const removed = gradbook("install", "--prefix", elsewhere, "--uninstall");
  expect(removed.stdout).toContain(`removed ${kernel}`);
  expect(fs.existsSync(kernel)).toBe(false);
});

test("install refuses two places at once and a folder that cannot be written", () => {
  const both = gradbook("install", "--user", "--prefix", prefix);
  expect([both.status, both.stderr]).toEqual([2, "gradbook: give one of --user, --sys-prefix and --prefix DIR, not several\n"]);
  const file = path.join(folder, "a-file");
  fs.writeFileSync(file, "");
  expect(gradbook("install", "--prefix", path.join(file, "below")).status).toBe(1);
});

test("install --user writes into the user's data folder", () => {
  const data = path.join(environment.HOME, ".local", "share");
  const main = `require(${JSON.stringify(path.join(root, "dist", "cli", "main.js"))}).main(["install", "--user"])`;
  const { status } = spawnSync(process.execPath, ["-e", main], { env: { ...environment, XDG_DATA_HOME: data, JUPYTER_DATA_DIR: "" } });
  expect(status).toBe(0);
  expect(fs.existsSync(path.join(data, "jupyter", "kernels", "gradbook", "kernel.json"))).toBe(true);
});

test("gradbook run executes a notebook, writes its outputs and fails with the cell", () => {
  const file = notebook("run.ipynb", SOURCES);
  const { status, stderr } = gradbook("run", file, "--output", path.join(work, "ran.ipynb"));
  expect([status, stderr]).toEqual([1, "cell 3 failed: TypeError: on purpose\n"]);
  const [first, second, third, fourth] = outputsOf(path.join(work, "ran.ipynb"));
  expect(first).toMatchObject([{ output_type: "execute_result", data: { "text/plain": ["10"] } }]);
  expect(second.map(({ output_type }) => output_type)).toEqual(["stream", "display_data"]);
  expect(third).toMatchObject([{ output_type: "error", ename: "TypeError", evalue: "on purpose" }]);
  expect(fourth).toEqual([]);
});

test("gradbook run says what is wrong with a file that is no notebook", () => {
  fs.writeFileSync(path.join(work, "no.ipynb"), "{");
  expect(gradbook("run", "no.ipynb").stderr).toBe("gradbook: no.ipynb is not a notebook: it is not JSON\n");
  expect(gradbook("run", "missing.ipynb").stderr).toBe("gradbook: missing.ipynb cannot be read (ENOENT)\n");
  expect(gradbook("run").status).toBe(2);
});

(haveKernelTest ? test : test.skip)("jupyter_kernel_test with every sample set (needs python3-jupyter-kernel-test)", () => {
  const { status, stderr } = py(path.join(__dirname, "peers", "kernel_test.py"), "-v");
  expect(stderr).toMatch(/^OK$/m);
  expect(stderr).not.toMatch(/skipped/);
  expect(status).toBe(0);
});

(haveNbclient ? describe : describe.skip)("nbclient (needs python3-nbclient)", () => {
  test("stops at an error", () => {
    const file = notebook("stop.ipynb", SOURCES);
    const { status, stdout } = py(path.join(__dirname, "peers", "nbclient_run.py"), file, path.join(work, "stopped.ipynb"));
    expect([status, stdout]).toEqual([3, "TypeError on purpose\n"]);
    expect(outputsOf(path.join(work, "stopped.ipynb"))[3]).toEqual([]);
  });

  test("goes on with allow_errors, and misses no cell", () => {
    const file = notebook("allow.ipynb", SOURCES);
    const { status, stderr } = py(path.join(__dirname, "peers", "nbclient_run.py"), file, path.join(work, "allowed.ipynb"), "allow");
    expect([status, stderr]).toEqual([0, ""]);
    const outputs = outputsOf(path.join(work, "allowed.ipynb"));
    expect(outputs[0]).toMatchObject([{ data: { "text/plain": ["10"] } }]);
    expect(outputs[2]).toMatchObject([{ output_type: "error", ename: "TypeError" }]);
    expect(outputs[3]).toMatchObject([{ data: { "text/plain": ["'after the error'"] } }]);
  });
});

(haveNbconvert ? test : test.skip)("nbconvert --execute, as notebook and as script (needs jupyter-nbconvert)", () => {
  const file = notebook("convert.ipynb", SOURCES);
  const run = py("-m", "nbconvert", "--to", "notebook", "--execute", "--allow-errors", "--output", "converted.ipynb", file);
  expect(run.stderr).toContain("Writing");
  expect(outputsOf(path.join(work, "converted.ipynb"))[3]).toMatchObject([{ data: { "text/plain": ["'after the error'"] } }]);
  const script = py("-m", "nbconvert", "--to", "script", "--output", "as-script", path.join(work, "converted.ipynb"));
  expect(script.status).toBe(0);
  expect(fs.readFileSync(path.join(work, "as-script.ts"), "utf8")).toContain("on purpose");
});

(haveClient ? test : test.skip)("jupyter_client over ipc instead of tcp (needs python3-jupyter-client)", () => {
  const { stdout } = py(path.join(__dirname, "peers", "ipc_run.py"), work);
  expect(stdout.trim().split("\n")).toEqual(["result 'Ada!'", "alive True", "interrupted KernelInterrupt", "ended True"]);
});

(haveServer ? test : test.skip)("Debian's jupyter server starts it in another folder (needs jupyter-server)", async () => {
  const port = await new Promise<number>((resolve) => {
    const server = net.createServer().listen(0, "127.0.0.1", () => {
      const { port: free } = server.address() as net.AddressInfo;
      server.close(() => resolve(free));
    });
  });
  const { stdout, stderr } = py(path.join(__dirname, "peers", "server_run.py"), work, String(port));
  expect(stderr).toBe("");
  expect(stdout.trim().split("\n")).toEqual([
    "spec TypeScript (gradbook) ['logo-32x32', 'logo-64x64', 'logo-svg']", "result '7,10,15,22'", "deleted 204",
  ]);
});
