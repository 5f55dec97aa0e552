/** Debian's own Jupyter as a peer: our kernel and labextensions under its servers, its tools on our notebooks, its client on our server. */
import type { ChildProcess } from "node:child_process";
import { execFileSync, spawn, spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import type { Browser, Page } from "playwright-core";
import { BUILD_TIMEOUT, freePort, gradbook, haveChromium, home, kernelIdle, openBrowser, openPage, run, screenshot, startLab, temporaryFolder, TOKEN } from "./support";

const PYTHON = "/usr/bin/python3";
const havePackages = (...modules: string[]) => spawnSync(PYTHON, ["-c", `import ${modules.join(", ")}`]).status === 0;
const root = temporaryFolder("peer");
const prefix = path.join(root, ".prefix");
let browser: Browser | undefined;
const servers: ChildProcess[] = [];

beforeAll(async () => {
  fs.writeFileSync(path.join(root, "peer.ipynb"), JSON.stringify({
    nbformat: 4, nbformat_minor: 5, metadata: { kernelspec: { name: "gradbook", display_name: "TypeScript (gradbook)", language: "typescript" } },
    cells: [
      { cell_type: "code", id: "a", metadata: {}, source: "tensor([[1, 2], [3, 4]]).T.toArray()", outputs: [], execution_count: null },
      { cell_type: "code", id: "b", metadata: {}, source: 'lossCurve([3, 2, 1])', outputs: [], execution_count: null },
    ],
  }));
  // Builds the front end when it is missing.
  await (await startLab(root)).stop();
  execFileSync(gradbook[0], [...gradbook.slice(1), "install", "--prefix", prefix]);
  if (haveChromium) browser = await openBrowser();
}, BUILD_TIMEOUT);

afterAll(async () => {
  await browser?.close();
  for (const server of servers.filter(({ exitCode }) => exitCode === null)) {
    const ended = new Promise((resolve) => server.once("exit", resolve));
    server.kill("SIGTERM");
    await ended;
  }
  fs.rmSync(root, { recursive: true, force: true });
});

/** One of Debian's servers on `root`, with what `gradbook install` put into the prefix; resolves to its address once it answers. */
async function startPeer(args: (port: number) => string[]): Promise<string> {
  const port = await freePort();
  servers.push(spawn(PYTHON, args(port), {
    env: { ...process.env, JUPYTER_PATH: path.join(prefix, "share", "jupyter"), JUPYTER_RUNTIME_DIR: path.join(root, ".runtime"), JUPYTER_CONFIG_DIR: path.join(root, ".config") },
    stdio: "ignore",
  }));
  const url = `http://127.0.0.1:${port}`;
  while ((await fetch(`${url}/api/status?token=${TOKEN}`).catch(() => undefined))?.status !== 200) await new Promise((resolve) => setTimeout(resolve, 200));
  return url;
}

(haveChromium && havePackages("jupyter_server") ? it : it.skip)("under jupyter_server, with what gradbook install wrote, our kernel runs cells, our renderer draws and the course is known (needs chromium and jupyter-server)", async () => {
  const url = await startPeer((port) => [path.join(__dirname, "jupyter_peer.py"), path.join(home, "lab", "build"), root, String(port), TOKEN, path.join(prefix, "share", "jupyter", "labextensions")]);
  const { page } = await openPage(browser!, `${url}/lab/tree/peer.ipynb?token=${TOKEN}`);
  await kernelIdle(page);
  await run(page, "notebook:run-all-cells");
  const outputs = page.locator(".jp-Notebook .jp-Cell .jp-OutputArea-output");
  await outputs.first().waitFor();
  expect((await outputs.first().innerText()).replace(/\s/g, "")).toBe("[[1,3],[2,4]]");
  await kernelIdle(page);
  await page.locator(".js-plotly-plot .scatterlayer path.js-line").first().waitFor({ state: "attached" });
  expect(await page.evaluate(() => (window as unknown as { jupyterapp: { hasPlugin(id: string): boolean } }).jupyterapp.hasPlugin("gradbook-course:plugin"))).toBe(true);
  await screenshot(page, "peer");
  await page.close();
}, 90_000);

/** The pictures that stand in for plots, once they are drawn: their widths in pixels. */
async function pictures(page: Page): Promise<number[]> {
  const images = page.locator('img[src^="data:image/svg"]');
  await images.first().waitFor();
  return images.evaluateAll((nodes) => Promise.all(nodes.map((node) => (node as HTMLImageElement).decode().then(() => (node as HTMLImageElement).naturalWidth))));
}

(haveChromium && havePackages("notebook") ? it : it.skip)("in the classic Notebook 6 a plot is a picture (needs chromium and jupyter-notebook)", async () => {
  const url = await startPeer((port) => ["-m", "notebook", `--NotebookApp.token=${TOKEN}`, `--NotebookApp.port=${port}`, "--NotebookApp.port_retries=0", "--no-browser", "--allow-root", `--NotebookApp.notebook_dir=${root}`]);
  const page = await browser!.newPage();
  await page.goto(`${url}/notebooks/peer.ipynb?token=${TOKEN}`);
  await page.waitForFunction(() => (window as unknown as { Jupyter?: { notebook?: { kernel?: { is_connected(): boolean } } } }).Jupyter?.notebook?.kernel?.is_connected());
  await page.evaluate(() => (window as unknown as { Jupyter: { notebook: { execute_all_cells(): void } } }).Jupyter.notebook.execute_all_cells());
  expect(await pictures(page)).toEqual([700]);
  await screenshot(page, "classic");
  await page.close();
}, 90_000);

const theory = path.join(home, "notebooks", "theory");
function plotsOf(notebook: string): Record<string, unknown>[] {
  const { cells } = JSON.parse(fs.readFileSync(path.join(theory, notebook), "utf8")) as { cells: { outputs?: { data?: Record<string, unknown> }[] }[] };
  return cells.flatMap(({ outputs = [] }) => outputs.flatMap(({ data = {} }) => ("application/vnd.plotly.v1+json" in data ? [data] : [])));
}

(haveChromium && havePackages("nbconvert") ? it : it.skip)("nbconvert's page shows every plot as a picture, without a script from elsewhere (needs chromium and jupyter-nbconvert)", async () => {
  execFileSync(PYTHON, ["-m", "nbconvert", "--to", "html", "--output-dir", root, path.join(theory, "01-chain-rule.ipynb")], { stdio: "ignore" });
  const page = await browser!.newPage();
  await page.goto(`file://${path.join(root, "01-chain-rule.html")}`);
  expect(await pictures(page)).toHaveLength(plotsOf("01-chain-rule.ipynb").length);
  await screenshot(page, "nbconvert");
  await page.close();
}, 60_000);

it("each plot of the shipped notebooks has a picture beside it, for a code host", () => {
  const plots = fs.readdirSync(theory).flatMap(plotsOf);
  expect(plots.length).toBeGreaterThan(50);
  expect(plots.filter((data) => !("image/svg+xml" in data))).toEqual([]);
});

(havePackages("jupyter_server", "nbclient") ? it : it.skip)("nbclient runs a notebook on our server's kernels, through jupyter_server's gateway client (needs jupyter-server and python3-nbclient)", async () => {
  const lab = await startLab(root);
  const ran = JSON.parse(execFileSync(PYTHON, [path.join(__dirname, "gateway_peer.py"), lab.url, TOKEN, path.join(root, "peer.ipynb")], { encoding: "utf8" })) as { outputs: { data: Record<string, string> }[] }[];
  expect(ran[0].outputs[0].data["text/plain"].replace(/\s/g, "")).toBe("[[1,3],[2,4]]");
  expect(Object.keys(ran[1].outputs[0].data)).toEqual(expect.arrayContaining(["application/vnd.plotly.v1+json", "text/html", "image/svg+xml"]));
  expect(await lab.json("/api/kernels")).toEqual([]);
  await lab.stop();
}, 60_000);
