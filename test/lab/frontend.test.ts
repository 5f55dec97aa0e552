/** What a student sees and clicks, in the real front end: the course, the kernel's help, trust, plots that live, and what goes wrong. */
import { execFileSync, spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import type { Browser, Page } from "playwright-core";
import type { Lab, LabWindow } from "./support";
import { BUILD_TIMEOUT, haveChromium, home, kernelIdle, openBrowser, openPage, run, screenshot, setSource, startLab, temporaryFolder, TOKEN } from "./support";

const NOTEBOOK = "02-jacobian-composition.ipynb";
const THEORY = "01-chain-rule.ipynb";
const withBrowser = haveChromium ? describe : describe.skip;

withBrowser("in the browser (needs chromium)", () => {
  let lab: Lab;
  let browser: Browser;
  let page: Page;
  let errors: string[];
  const file = (name: string) => path.join(lab.root, name);
  const notebook = (cells: object[], metadata: object = { kernelspec: { name: "gradbook", display_name: "TypeScript (gradbook)", language: "typescript" } }) =>
    JSON.stringify({ nbformat: 4, nbformat_minor: 5, metadata, cells });
  const code = (id: string, source: string, outputs: object[] = []) => ({ cell_type: "code", id, metadata: {}, source, outputs, execution_count: null });
  const open = async (name: string) => {
    await run(page, "docmanager:open", { path: name });
    await page.locator(`.jp-NotebookPanel:visible .jp-Notebook .jp-Cell`).first().waitFor();
  };
  /** The notebook in front, saved. */
  const close = async () => {
    await run(page, "docmanager:save");
    await run(page, "application:close");
  };
  /** Waits for the dialog that says so, and presses its first button: Ok, Close, or what changes nothing. */
  const dismiss = async (sentence: string) => {
    const dialog = page.locator(".jp-Dialog", { hasText: sentence });
    await dialog.waitFor();
    await dialog.locator(".jp-Dialog-footer button").first().click();
    await dialog.waitFor({ state: "detached" });
  };
  const solution = () => fs.readFileSync(path.join(home, "solutions", "02-jacobian-composition.ts"), "utf8").replace(/^import .*\n/, "").replace(/^export /gm, "");

  beforeAll(async () => {
    const root = temporaryFolder("frontend");
    fs.copyFileSync(path.join(home, "notebooks", NOTEBOOK), path.join(root, NOTEBOOK));
    fs.writeFileSync(path.join(root, "README.md"), `# The course of the test\n\n[the exercise](${NOTEBOOK})`);
    fs.writeFileSync(path.join(root, "course.json"), JSON.stringify([{ id: "jacobian-composition", number: 2, title: "Jacobian composition", notebook: NOTEBOOK, points: 10 }]));
    fs.cpSync(path.join(home, "notebooks", "theory", THEORY), path.join(root, THEORY));
    // A kernel that dies as it starts, installed on the machine beside ours.
    const dies = path.join(root, ".jupyter", "kernels", "dies");
    fs.mkdirSync(dies, { recursive: true });
    fs.writeFileSync(path.join(dies, "kernel.json"), JSON.stringify({ argv: [process.execPath, "-e", "console.error('Error: the model file is missing'); process.exit(3)"], display_name: "Dies", language: "none" }));
    lab = await startLab(root, { env: { GRADBOOK_PROGRESS: path.join(root, ".progress.json"), JUPYTER_PATH: path.join(root, ".jupyter") } });
    browser = await openBrowser();
    ({ page, errors } = await openPage(browser, `${lab.url}/lab?token=${TOKEN}`));
  }, BUILD_TIMEOUT);

  afterAll(async () => {
    await browser?.close();
    await lab?.stop();
  });

  it("the first start shows the course, and what it is; a later one shows what was open", async () => {
    await page.locator(".jp-RenderedMarkdown", { hasText: "The course of the test" }).waitFor();
    await page.getByRole("button", { name: "Start with exercise 2, Jacobian composition" }).waitFor();
    // Neither a debugger nor news: they do not work here.
    await expect(page.locator(".jp-DebuggerBugButton, [data-id=jp-debugger-sidebar], .Toastify__toast").count()).resolves.toBe(0);
    expect(errors).toEqual([]);
    await page.locator(".lm-TabBar-tab", { hasText: "README.md" }).locator(".lm-TabBar-tabCloseIcon").click();
    // The layout is saved a moment after it changed.
    await page.waitForResponse((response) => response.request().method() === "PUT" && response.url().includes("/workspaces/"));
    await page.reload();
    await page.waitForFunction(() => "jupyterapp" in window);
    await page.evaluate(() => (window as unknown as LabWindow).jupyterapp.restored);
    await page.getByRole("button", { name: /^Start with exercise 2/ }).waitFor();
    await expect(page.locator(".jp-RenderedMarkdown").count()).resolves.toBe(0);
    await page.getByRole("button", { name: "About this course" }).click();
    await page.locator(".jp-RenderedMarkdown", { hasText: "The course of the test" }).waitFor();
  }, 60_000);

  it("the launcher shows our kernel first", async () => {
    await run(page, "launcher:create");
    await page.locator(".jp-LauncherCard").first().waitFor();
    await expect(page.locator(".jp-LauncherCard").first().getAttribute("title")).resolves.toContain("TypeScript (gradbook)");
  }, 60_000);

  describe("the course", () => {
    const item = () => page.locator('.gradbook-course-item[data-exercise="jacobian-composition"]');
    const submit = '.jp-NotebookPanel:visible [data-jp-item-name="gradbook-submit"]';
    const dirty = () => page.evaluate(() => (window as unknown as LabWindow).jupyterapp.shell.currentWidget!.context.model.dirty);
    const status = (wanted: string) => item().locator(`.gradbook-mark[data-status="${wanted}"]`).waitFor();

    it("lists the exercises, and opens one by keyboard", async () => {
      await page.getByRole("progressbar", { name: "Points reached" }).waitFor();
      await status("not attempted");
      await page.getByRole("button", { name: /^Open exercise 2/ }).focus();
      await page.keyboard.press("Enter");
      await page.getByRole("button", { name: "Check exercise 2" }).waitFor();
      await kernelIdle(page);
      await expect(dirty()).resolves.toBe(false);
    }, 60_000);

    it("knows which exercise is in view", async () => {
      await open(THEORY);
      await expect(page.locator(".gradbook-current").count()).resolves.toBe(0);
      await kernelIdle(page);
      await expect(dirty()).resolves.toBe(false);
      await run(page, "docmanager:open", { path: NOTEBOOK });
      await page.locator(".gradbook-current").waitFor();
      await page.locator(submit).waitFor();
    }, 60_000);

    it("starts a kernel for a check when there is none", async () => {
      await run(page, "kernelmenu:shutdown");
      await page.waitForFunction(() => !(window as unknown as LabWindow).jupyterapp.shell.currentWidget?.sessionContext.session?.kernel);
      await page.getByRole("button", { name: "Next hint" }).click();
      await item().locator(".gradbook-course-hints li").waitFor();
      await kernelIdle(page);
    }, 60_000);

    it("checks, marks what failed, and gives hints step by step", async () => {
      await setSource(page, "answer", solution().replace("[0, 1, 2 * u3]", "[0, 1, u3]"));
      await page.getByRole("button", { name: "Check exercise 2" }).click();
      await status("failed");
      const hints = item().locator(".gradbook-course-hints li");
      await page.getByRole("button", { name: "Next hint" }).click();
      await hints.nth(1).waitFor();
      await expect(hints.nth(0).innerText()).resolves.toMatch(/^Hint 1 of/);
      await expect(hints.nth(1).innerText()).resolves.toMatch(/^Hint 2 of/);
      await screenshot(page, "course");
    }, 60_000);

    it("has a Check button on answer cells only", async () => {
      const button = page.locator('.jp-NotebookPanel:visible [data-jp-item-name="gradbook-check"]:visible');
      await page.locator(".jp-NotebookPanel:visible .jp-MarkdownCell").first().click();
      await button.waitFor({ state: "hidden" });
      await setSource(page, "answer", solution());
      await page.locator(".jp-NotebookPanel:visible .jp-CodeCell").first().click();
      await button.waitFor();
      await button.click();
      await status("passed");
      await expect(page.getByRole("progressbar", { name: "Points reached" }).getAttribute("aria-valuenow")).resolves.toBe("10");
    }, 60_000);

    it("submits: saves, grades apart from the kernel, shows the report", async () => {
      // As narrow as laptops come.
      await page.setViewportSize({ width: 1280, height: 720 });
      await page.locator(submit).click();
      const report = page.locator(".gradbook-report");
      await report.waitFor({ timeout: 60_000 });
      await expect(report.locator("h1").innerText()).resolves.toBe("10 of 10 points");
      await expect(report.locator(".gradbook-report-check").count()).resolves.toBe(4);
      expect(fs.readFileSync(file(NOTEBOOK), "utf8")).toContain("2 * u3");
      for (const wide of [report, page.locator(".gradbook-course")]) await expect(wide.evaluate((node) => node.scrollWidth - node.clientWidth)).resolves.toBe(0);
      await screenshot(page, "submit");
      // Again with a wrong answer: the same tab says so.
      await setSource(page, "answer", solution().replace("[0, 1, 2 * u3]", "[0, 1, u3]"));
      await page.locator(submit).click();
      await report.locator("h1", { hasText: "4 of 10 points" }).waitFor({ timeout: 60_000 });
      await expect(report.count()).resolves.toBe(1);
      await expect(report.locator('.gradbook-report-check[data-status="failed"]').first().innerText()).resolves.toMatch(/The 2 of the derivative of u3. is missing\.\n*.*What is the derivative of a square\?/s);
      await page.setViewportSize({ width: 1366, height: 768 });
      await run(page, "application:close-all");
    }, 90_000);
  });

  describe("the kernel in the page", () => {
    const editor = (index: number) => page.locator(".jp-NotebookPanel:visible .jp-CodeCell").nth(index).locator(".cm-content");

    beforeAll(async () => {
      fs.writeFileSync(file("kernel.ipynb"), notebook([code("a", "const x = tensor([[1, 2], [3, 4]]);\nx.matm"), code("b", 'console.log(`Hello ${await input("Your name? ")}`)'), code("c", "process.kill(process.pid, 'SIGKILL')")]));
      await open("kernel.ipynb");
      await kernelIdle(page);
    }, 60_000);

    it("completes with types and documentation, and explains by Shift-Tab", async () => {
      await editor(0).click();
      await page.keyboard.press("Control+End");
      await page.keyboard.press("Tab");
      const completer = page.locator(".jp-Completer");
      await completer.locator(".jp-Completer-docpanel", { hasText: "The matrix product over the last two axes" }).waitFor();
      await screenshot(page, "completion");
      await page.keyboard.press("Enter");
      await page.keyboard.press("Shift+Tab");
      await page.locator(".jp-Tooltip", { hasText: "(method) Tensor.matmul(other: Tensor): Tensor" }).waitFor();
      await page.keyboard.press("Escape");
    }, 60_000);

    it("asks for input", async () => {
      await editor(1).click();
      await page.keyboard.press("Control+Enter");
      await page.locator(".jp-Stdin-input").waitFor();
      await page.keyboard.type("Ada");
      await page.keyboard.press("Enter");
      await page.locator(".jp-OutputArea-output", { hasText: "Hello Ada" }).waitFor();
    }, 60_000);

    it("says that it died, and comes back", async () => {
      await editor(2).click();
      await page.keyboard.press("Control+Enter");
      await dismiss("The kernel for kernel.ipynb appears to have died. It will restart automatically.");
      await kernelIdle(page);
      await close();
    }, 60_000);
  });

  describe("plots", () => {
    const plot = () => page.locator(".jp-NotebookPanel:visible .js-plotly-plot");
    const pointCount = () => page.evaluate(() => {
      const nodes = Array.from(document.querySelectorAll<HTMLElement & { data?: { x: number[] }[] }>(".js-plotly-plot")).filter((node) => node.offsetParent);
      return nodes.at(-1)?.data?.[0]?.x?.length ?? 0;
    });

    beforeAll(async () => {
      fs.writeFileSync(file("plots.ipynb"), notebook([
        code("live", 'const live = livePlot({ curves: ["loss"], rate: 30 });\nfor (let i = 0; i < 40; i++) { await live.add(i, { loss: 1 / (i + 1) }); await new Promise((r) => setTimeout(r, 40)); }\nlive.done();'),
        code("bare", '({ [Symbol.for("Jupyter.display")]: () => ({ "application/vnd.plotly.v1+json": { data: [{ x: [1, 2], y: [3, 4] }], layout: {} }, "text/plain": "plot" }) })'),
      ]));
      await open("plots.ipynb");
      await kernelIdle(page);
    }, 60_000);

    it("grow in place while a loop runs: one plot, the same element, all points", async () => {
      await run(page, "notebook:run-cell");
      await plot().first().waitFor();
      const element = await plot().first().elementHandle();
      await page.waitForFunction((node) => (node as unknown as { data: { x: number[] }[] }).data?.[0]?.x.length === 40, element);
      await kernelIdle(page);
      await expect(plot().count()).resolves.toBe(1);
      await expect(pointCount()).resolves.toBe(40);
      await expect(element!.evaluate((node) => node.isConnected)).resolves.toBe(true);
    }, 60_000);

    it("take the theme's colours, and change them with it", async () => {
      await run(page, "notebook:run-all-cells");
      await kernelIdle(page);
      const label = plot().last().locator(".xtick text").first();
      await label.waitFor();
      const fill = () => label.evaluate((node) => getComputedStyle(node).fill);
      const light = await fill();
      await run(page, "apputils:change-theme", { theme: "JupyterLab Dark" });
      await page.waitForFunction(([before]) => {
        const nodes = Array.from(document.querySelectorAll(".js-plotly-plot")).filter((node) => (node as HTMLElement).offsetParent);
        const text = nodes.at(-1)?.querySelector(".xtick text");
        return text && getComputedStyle(text).fill !== before;
      }, [light]);
      // JupyterLab stumbles over its own splash screen when the theme changes twice at once.
      await page.locator("#jupyterlab-splash").waitFor({ state: "detached" });
      await screenshot(page, "dark");
      await run(page, "apputils:change-theme", { theme: "JupyterLab Light" });
    }, 60_000);

    it("follow the width of the page, and go with their output", async () => {
      const width = () => plot().last().locator("svg.main-svg").first().evaluate((svg) => svg.getBoundingClientRect().width);
      const before = await width();
      await page.setViewportSize({ width: 1024, height: 768 });
      await page.waitForFunction((wide) => {
        const nodes = Array.from(document.querySelectorAll(".js-plotly-plot")).filter((node) => (node as HTMLElement).offsetParent);
        return (nodes.at(-1)?.querySelector("svg.main-svg")?.getBoundingClientRect().width ?? wide) < wide - 100;
      }, before);
      await page.setViewportSize({ width: 1366, height: 768 });
      await run(page, "editmenu:clear-all");
      await page.waitForFunction(() => !Array.from(document.querySelectorAll(".js-plotly-plot")).some((node) => (node as HTMLElement).offsetParent));
    }, 60_000);

    it("beside each other scroll in a narrow cell, and write nothing over each other", async () => {
      fs.writeFileSync(file("panels.ipynb"), notebook([code("three", 'beside([1, 2, 3].map(() => lines(undefined, [1, 2, 3], { x: "layer (1 is next to the input)" })))')]));
      await page.setViewportSize({ width: 700, height: 700 });
      await open("panels.ipynb");
      await kernelIdle(page);
      await run(page, "notebook:run-all-cells");
      await plot().locator(".x3title").waitFor();
      const boxes = await plot().locator(".xtitle, .x2title, .x3title").evaluateAll((titles) => titles.map((title) => title.getBoundingClientRect()).map(({ left, right }) => ({ left, right })));
      expect(boxes).toHaveLength(3);
      expect(boxes[0].right).toBeLessThan(boxes[1].left);
      expect(boxes[1].right).toBeLessThan(boxes[2].left);
      const { inside, outside } = await page.locator(".jp-NotebookPanel:visible .gradbook-plot").evaluate((node) => ({ inside: node.scrollWidth, outside: node.clientWidth }));
      expect(inside).toBeGreaterThan(outside);
      await screenshot(page, "panels");
      await page.setViewportSize({ width: 1366, height: 768 });
      await close();
    }, 60_000);
  });

  describe("an untrusted notebook", () => {
    const evil = [{ output_type: "display_data", metadata: {}, data: { "text/html": '<b class="seen">text</b><img src="x" onerror="window.attacked = 1"><script>window.attacked = 2</script>' } }];
    /** A fresh browser, as after a restart: what it opens it knows from the server only. */
    const opened = async (use: (fresh: Page) => Promise<void>) => {
      const { page: fresh } = await openPage(browser, `${lab.url}/lab/workspaces/evil/tree/evil.ipynb?token=${TOKEN}`);
      await fresh.locator(".jp-NotebookPanel:visible .seen").waitFor();
      await use(fresh);
      await fresh.close();
    };
    const attacked = (fresh: Page) => fresh.evaluate(() => (window as unknown as { attacked?: number }).attacked);

    it("shows its outputs without their scripts, until the user trusts it", async () => {
      fs.writeFileSync(file("evil.ipynb"), notebook([code("e", "1", evil)]));
      await opened(async (fresh) => expect(await attacked(fresh)).toBeUndefined());
      await lab.json("/api/contents/evil.ipynb/trust", "POST");
      await opened(async (fresh) => void (await fresh.waitForFunction(() => (window as unknown as { attacked?: number }).attacked !== undefined)));
    }, 90_000);

    it("is untrusted again when someone changes it on the disk", async () => {
      fs.writeFileSync(file("evil.ipynb"), notebook([code("e", "2", evil)]));
      await opened(async (fresh) => expect(await attacked(fresh)).toBeUndefined());
    }, 60_000);
  });

  it("a notebook that changed on the disk is not saved over without asking", async () => {
    fs.writeFileSync(file("two.ipynb"), notebook([code("a", "1")]));
    await open("two.ipynb");
    await kernelIdle(page);
    await setSource(page, "a", "mine");
    // Newer than what the page has read by more than the slack that JupyterLab allows.
    fs.writeFileSync(file("two.ipynb"), notebook([code("a", "theirs")]));
    fs.utimesSync(file("two.ipynb"), new Date(), new Date(Date.now() + 60_000));
    void run(page, "docmanager:save").catch(() => undefined);
    const dialog = page.locator(".jp-Dialog");
    await dialog.waitFor();
    await expect(dialog.innerText()).resolves.toMatch(/changed on disk/i);
    expect(fs.readFileSync(file("two.ipynb"), "utf8")).toContain("theirs");
    await screenshot(page, "changed-on-disk");
    await dialog.getByRole("button", { name: "Revert" }).click();
    await dialog.waitFor({ state: "hidden" });
  }, 60_000);

  it("a sign-in that is lost costs nothing: the page keeps the work, says what to do, and saves it after the next sign-in", async () => {
    fs.writeFileSync(file("signed-out.ipynb"), notebook([code("a", "1")]));
    await open("signed-out.ipynb");
    await kernelIdle(page);
    const context = page.context();
    await context.clearCookies();
    await setSource(page, "a", "'written meanwhile'");
    void run(page, "docmanager:save").catch(() => undefined);
    await dismiss("open the link that `gradbook lab` printed");
    expect(fs.readFileSync(file("signed-out.ipynb"), "utf8")).not.toContain("written meanwhile");
    // The kernel's connection is older than the loss.
    await run(page, "notebook:run-all-cells");
    await page.locator(".jp-NotebookPanel:visible .jp-OutputArea-output", { hasText: "written meanwhile" }).waitFor();
    await context.request.get(`${lab.url}/lab?token=${TOKEN}`);
    await close();
    expect(fs.readFileSync(file("signed-out.ipynb"), "utf8")).toMatch(/'written meanwhile'.*written meanwhile/s);
  }, 60_000);

  it("a notebook that is none is one sentence in the page", async () => {
    fs.writeFileSync(file("broken.ipynb"), "{ not json");
    void run(page, "docmanager:open", { path: "broken.ipynb" }).catch(() => undefined);
    await dismiss('"broken.ipynb" is not a notebook: its JSON breaks at line 1');
    // JupyterLab closes the tab, and takes what it stood in for a change.
    await page.locator(".jp-Dialog").getByRole("button", { name: "Discard" }).click();
  }, 60_000);

  it("a kernel that dies at start is one sentence in the page", async () => {
    fs.writeFileSync(file("dies.ipynb"), notebook([code("a", "1")], { kernelspec: { name: "dies", display_name: "Dies", language: "none" } }));
    await open("dies.ipynb");
    await dismiss('the kernel "Dies" stopped while it started (exit code 3): Error: the model file is missing');
    await dismiss("Select Kernel");
    await close();
  }, 60_000);

  const canMount = process.getuid?.() === 0 && spawnSync("mount", ["--version"]).status === 0;
  (canMount ? it : it.skip)("a full disk is one sentence in the page, which keeps the work (needs root to mount a small disk)", async () => {
    fs.mkdirSync(file("small"));
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=64k", "tmpfs", file("small")]);
    try {
      fs.writeFileSync(file("small/n.ipynb"), notebook([code("a", "1")]));
      await open("small/n.ipynb");
      await kernelIdle(page);
      await setSource(page, "a", "x".repeat(100_000));
      void run(page, "docmanager:save").catch(() => undefined);
      await dismiss("was not saved because the disk is full; the version on the disk is unchanged, so free some space and save again");
      await setSource(page, "a", "short again");
      await run(page, "docmanager:save");
      expect(fs.readFileSync(file("small/n.ipynb"), "utf8")).toContain("short again");
      await close();
    } finally {
      execFileSync("umount", ["--lazy", file("small")]);
    }
  }, 60_000);

  it("none of all this was a fault of our extensions", () => {
    expect(errors.filter((error) => error.includes("/lab/extensions/gradbook-"))).toEqual([]);
  });
});
