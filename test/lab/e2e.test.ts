/** The whole road: gradbook lab, JupyterLab in a real browser, a wrong answer, a right one, and the plot. */
import fs from "node:fs";
import path from "node:path";
import type { Browser, Page } from "playwright-core";
import type { Lab } from "./support";
import { BUILD_TIMEOUT, haveChromium, home, kernelIdle, openBrowser, openPage, run, screenshot, setSource, startLab, temporaryFolder, TOKEN } from "./support";

const NOTEBOOK = "02-jacobian-composition.ipynb";
const withBrowser = haveChromium ? describe : describe.skip;

withBrowser("from an open notebook to a drawn plot (needs chromium)", () => {
  let lab: Lab;
  let browser: Browser;
  let page: Page;
  let errors: string[];
  /** Which cell is which, by the ids that the notebook gives them. */
  let ids: string[];

  beforeAll(async () => {
    const root = temporaryFolder("e2e");
    fs.copyFileSync(path.join(home, "notebooks", NOTEBOOK), path.join(root, NOTEBOOK));
    ids = (JSON.parse(fs.readFileSync(path.join(root, NOTEBOOK), "utf8")) as { cells: { id: string }[] }).cells.map((cell) => cell.id);
    lab = await startLab(root);
    browser = await openBrowser();
    ({ page, errors } = await openPage(browser, `${lab.url}/lab/tree/${NOTEBOOK}?token=${TOKEN}`));
  }, BUILD_TIMEOUT);

  afterAll(async () => {
    await browser?.close();
    await lab?.stop();
  });

  const solution = () => fs.readFileSync(path.join(home, "solutions", "02-jacobian-composition.ts"), "utf8")
    .replace(/^import .*\n/, "").replace(/^export /gm, "");
  const cell = (id: string) => page.locator(".jp-Notebook .jp-Cell").nth(ids.indexOf(id));
  const runAll = async () => {
    await run(page, "notebook:run-all-cells");
    await kernelIdle(page);
  };

  it("opens the notebook with our kernel, and the token is out of the address bar", async () => {
    await kernelIdle(page);
    expect(page.url()).not.toContain(TOKEN);
    await expect(page.locator(".jp-Toolbar .jp-KernelName").first().textContent()).resolves.toBe("TypeScript (gradbook)");
  }, 90_000);

  it("marks a wrong answer wrong, and names the element that is off", async () => {
    // J_f's last entry is 2 u3.
    await setSource(page, "answer", solution().replace("[0, 1, 2 * u3]", "[0, 1, 2 * u3 + 0.5]"));
    await runAll();
    const verdict = cell("check").locator(".jp-OutputArea-output");
    await verdict.first().waitFor();
    await expect(verdict.first().innerText()).resolves.toMatch(/\[1, 2\]/);
    await expect(verdict.first().innerText()).resolves.not.toMatch(/10 (of|\/) 10/);
    await verdict.first().scrollIntoViewIfNeeded();
    await screenshot(page, "verdict-wrong");
  }, 60_000);

  it("marks the corrected answer right", async () => {
    await setSource(page, "answer", solution());
    await runAll();
    const verdict = cell("check").locator(".jp-OutputArea-output").first();
    await page.waitForFunction((index) => /10 (of|\/) 10/.test(document.querySelectorAll(".jp-Notebook .jp-Cell")[index]?.textContent ?? ""), ids.indexOf("check"));
    await verdict.scrollIntoViewIfNeeded();
    await screenshot(page, "verdict-right");
  }, 60_000);

  it("draws the plot with plotly.js, inside the notebook", async () => {
    const plot = cell("after-4").locator(".js-plotly-plot");
    await plot.waitFor();
    // Three heatmaps, each drawn as an image inside plotly's own svg.
    await expect(plot.locator(".heatmaplayer image").count()).resolves.toBe(3);
    await plot.scrollIntoViewIfNeeded();
    await screenshot(page, "plot");
  }, 60_000);

  it("opened and ran without a console error", () => {
    expect(errors).toEqual([]);
  });

  it("keeps the answer on the disk when it is saved", async () => {
    await run(page, "docmanager:save");
    const saved = JSON.parse(fs.readFileSync(path.join(lab.root, NOTEBOOK), "utf8")) as { cells: { id: string; source: string[] }[] };
    expect(saved.cells.find((c) => c.id === "answer")!.source.join("")).toBe(solution());
  }, 30_000);

  it("ends its kernels and says so when it is told to stop", async () => {
    const [kernel] = await lab.json<{ id: string }[]>("/api/kernels");
    expect(kernel.id).toBeTruthy();
    await lab.stop();
    expect(lab.output()).toMatch(/ending 1 kernel .*\nStopped\./s);
    expect(lab.output().split(TOKEN)).toHaveLength(2);
  }, 30_000);
});
