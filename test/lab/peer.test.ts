/** Debian's own jupyter_server as a peer: our kernel and labextensions under it, with the same front end. */
import type { ChildProcess } from "node:child_process";
import { spawn, spawnSync } from "node:child_process";
import fs from "node:fs";
import net from "node:net";
import path from "node:path";
import type { Browser, Page } from "playwright-core";
import { BUILD_TIMEOUT, haveChromium, home, kernelIdle, openBrowser, openPage, run, screenshot, startLab, temporaryFolder, TOKEN } from "./support";

const PYTHON = "/usr/bin/python3";
const havePeer = haveChromium && spawnSync(PYTHON, ["-c", "import jupyter_server"]).status === 0;

(havePeer ? describe : describe.skip)("under Debian's jupyter_server (needs chromium and jupyter-server)", () => {
  let server: ChildProcess;
  let browser: Browser;
  let page: Page;
  const root = temporaryFolder("peer");

  beforeAll(async () => {
    // Builds the front end when it is missing, and writes the kernelspec.
    await (await startLab(root)).stop();
    const probe = net.createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => probe.once("listening", resolve));
    const { port } = probe.address() as net.AddressInfo;
    await new Promise((resolve) => probe.close(resolve));
    fs.writeFileSync(path.join(root, "peer.ipynb"), JSON.stringify({
      nbformat: 4, nbformat_minor: 5, metadata: { kernelspec: { name: "gradbook", display_name: "TypeScript (gradbook)", language: "typescript" } },
      cells: [
        { cell_type: "code", id: "a", metadata: {}, source: "tensor([[1, 2], [3, 4]]).T.toArray()", outputs: [], execution_count: null },
        { cell_type: "code", id: "b", metadata: {}, source: 'lossCurve([3, 2, 1])', outputs: [], execution_count: null },
      ],
    }));
    const build = path.join(home, "lab", "build");
    server = spawn(PYTHON, [path.join(__dirname, "jupyter_peer.py"), build, root, String(port), TOKEN], {
      env: { ...process.env, JUPYTER_PATH: path.join(build, "data"), JUPYTER_RUNTIME_DIR: path.join(root, ".runtime"), JUPYTER_CONFIG_DIR: path.join(root, ".config") },
      stdio: "ignore",
    });
    const url = `http://127.0.0.1:${port}`;
    while ((await fetch(`${url}/api/status?token=${TOKEN}`).catch(() => undefined))?.status !== 200) await new Promise((resolve) => setTimeout(resolve, 200));
    browser = await openBrowser();
    ({ page } = await openPage(browser, `${url}/lab/tree/peer.ipynb?token=${TOKEN}`));
  }, BUILD_TIMEOUT);

  afterAll(async () => {
    await browser?.close();
    if (server && server.exitCode === null) {
      const ended = new Promise((resolve) => server.once("exit", resolve));
      server.kill("SIGTERM");
      await ended;
    }
    fs.rmSync(root, { recursive: true, force: true });
  });

  it("our kernel runs cells, and our renderer draws", async () => {
    await kernelIdle(page);
    await run(page, "notebook:run-all-cells");
    const outputs = page.locator(".jp-Notebook .jp-Cell .jp-OutputArea-output");
    await outputs.first().waitFor();
    expect((await outputs.first().innerText()).replace(/\s/g, "")).toBe("[[1,3],[2,4]]");
    await kernelIdle(page);
    await screenshot(page, "peer");
    await page.locator(".js-plotly-plot .scatterlayer path.js-line").first().waitFor({ state: "attached" });
    await screenshot(page, "peer");
  }, 90_000);
});
