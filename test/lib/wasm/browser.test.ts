/** lib/wasm in headless Chromium, from the same sources. */

import { existsSync } from "node:fs";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { chromium, type Browser, type Page } from "playwright-core";
import { serveSources } from "../../support/sources";
import type { PageReport } from "./page";

const chromiumPath = "/usr/bin/chromium";
const browserIt = existsSync(chromiumPath) ? it : it.skip;
const ISOLATED = { "cross-origin-opener-policy": "same-origin", "cross-origin-embedder-policy": "require-corp" };

describe("lib/wasm in a browser", () => {
  let browser: Browser;
  const servers: Server[] = [];

  beforeAll(async () => {
    if (browserIt === it) browser = await chromium.launch({ executablePath: chromiumPath, args: ["--no-sandbox"] });
  }, 60_000);

  afterAll(async () => {
    await browser?.close();
    for (const server of servers) server.close();
  });

  async function open(headers: Record<string, string>): Promise<Page> {
    const server = serveSources(headers);
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const page = await browser.newPage();
    await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
    return page;
  }

  browserIt("gives what plain TypeScript gives, and trains, on one thread (needs Chromium)", async () => {
    const page = await open(ISOLATED);
    const report = await page.evaluate(async (module) => ((await import(module)) as { run(): PageReport }).run(), "/test/lib/wasm/page");
    expect(report.failures).toEqual([]);
    expect(report.layers).toBeGreaterThan(30);
    expect(report).toMatchObject({ build: "relaxed", wide: false, threads: 1 });
    expect(report.refusal).toBe("useThreads: wasm shares work between Node's worker threads, which are not available here; use 1");
    expect(report.losses[9]).toBeLessThan(report.losses[0] / 2);
  }, 120_000);

  browserIt("in a page without shared memory says what the page lacks (needs Chromium)", async () => {
    const page = await open({});
    const refusal = await page.evaluate(async (module) => ((await import(module)) as { refusal(): string }).refusal(), "/test/lib/wasm/page");
    expect(refusal).toBe('wasm: there is no SharedArrayBuffer here (a web page has it only when cross-origin isolated); use device "cpu"');
  }, 120_000);
});
