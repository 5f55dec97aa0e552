/**
 * `ts-node -T bench/lab/open.ts [rounds]`: how long until a page is served, a notebook is visible and its kernel ready, how much
 * memory the server holds, and how often a plot is redrawn; beside it Debian's jupyter_server with ipykernel, with the same front
 * end in the same browser, in turns. Needs `npm run build`, a built front end (`npm start` once), chromium, jupyter-server and
 * python3-ipykernel.
 */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { chromium } from "playwright-core";
import type { Browser, Page } from "playwright-core";
import type { Contender } from "./contenders";
import { contenders, median, report, startContender, TOKEN } from "./contenders";

const rounds = Number(process.argv[2] ?? 4);

interface Sample {
  /** Milliseconds: the page from the start of the process, the others from the call of the page. */
  served: number;
  visible: number;
  ready: number;
  /** MiB, before a notebook is open. */
  idle: number;
  /** A second. */
  redraws: number;
}

/** Resolves when the kernel of the notebook in front is connected and has nothing to do. */
async function kernelIdle(page: Page): Promise<void> {
  await page.waitForFunction(() => {
    const { jupyterapp } = window as unknown as { jupyterapp?: { shell: { currentWidget: { sessionContext?: { session?: { kernel?: { connectionStatus: string; status: string } } } } | null } } };
    const running = jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel;
    return running?.connectionStatus === "connected" && running.status === "idle";
  }, undefined, { polling: 20, timeout: 120_000 });
}

/** Runs the training cell, and counts what plotly.js drew from the first picture to the last. */
async function redraws(page: Page): Promise<number> {
  await page.evaluate(() => void (window as unknown as { jupyterapp: { commands: { execute(id: string): Promise<unknown> } } }).jupyterapp.commands.execute("notebook:run-cell"));
  const plot = await page.waitForSelector(".js-plotly-plot");
  await plot.evaluate((node) => {
    const times: number[] = ((window as unknown as { drawn: number[] }).drawn = []);
    (node as unknown as { on(event: string, listener: () => void): void }).on("plotly_afterplot", () => times.push(performance.now()));
  });
  await new Promise((resolve) => setTimeout(resolve, 2_500));
  const drawn = await page.evaluate(() => (window as unknown as { drawn: number[] }).drawn);
  return (1000 * (drawn.length - 1)) / (drawn.at(-1)! - drawn[0]);
}

async function measure(contender: Contender, browser: Browser): Promise<Sample> {
  const server = await startContender(contender);
  const context = await browser.newContext();
  try {
    fs.writeFileSync(path.join(server.root, "n.ipynb"), JSON.stringify({
      nbformat: 4, nbformat_minor: 5, metadata: { kernelspec: { name: contender.kernel, display_name: contender.kernel, language: "x" } },
      cells: [{ cell_type: "code", id: "a", metadata: {}, source: contender.training, outputs: [], execution_count: null }],
    }));
    await new Promise((resolve) => setTimeout(resolve, 1000));
    const idle = server.residentMiB();
    const page = await context.newPage();
    const opened = performance.now();
    await page.goto(`${server.url}/lab/tree/n.ipynb?token=${TOKEN}`);
    await page.locator(".jp-Notebook .jp-Cell").first().waitFor({ timeout: 120_000 });
    const visible = performance.now() - opened;
    await kernelIdle(page);
    const ready = performance.now() - opened;
    return { served: server.served, visible, ready, idle, redraws: await redraws(page) };
  } finally {
    await context.close();
    await server.stop();
  }
}

const FIGURES: Record<keyof Sample, string> = {
  served: "page served after (ms)",
  visible: "notebook visible after (ms)",
  ready: "kernel ready after (ms)",
  idle: "server memory, idle (MiB)",
  redraws: "redraws of a live plot a second",
};

async function main(): Promise<void> {
  const samples = new Map<Contender, Sample[]>(contenders.map((contender) => [contender, []]));
  for (let round = 0; round < rounds; round++) {
    for (const contender of contenders) {
      // A browser of its own each time: nothing is in its cache.
      const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"] });
      samples.get(contender)!.push(await measure(contender, browser));
      await browser.close();
    }
  }
  console.log(`Medians of ${rounds} rounds; Node ${process.versions.node}, ${os.cpus().length} cores, load ${os.loadavg()[0].toFixed(1)} at the end.\n`);
  const [ours, peer] = contenders.map((contender) => samples.get(contender)!);
  report(Object.entries(FIGURES).map(([key, what]) => {
    const figure = (sample: Sample) => sample[key as keyof Sample];
    return { what, ours: median(ours.map(figure)), peer: median(peer.map(figure)) };
  }));
}

void main();
