/**
 * lib/webgpu in headless Chromium, from the same sources: a small server hands them out as ES modules, compiled one by one.
 * Chromium brings an emulated adapter of its own (SwiftShader), so no GPU is needed.
 */

import { existsSync, readFileSync, statSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import path from "node:path";
import { chromium, type Browser } from "playwright-core";
import ts from "typescript";
import type { PageReport } from "./page";

const root = path.join(__dirname, "../../..");
const chromiumPath = "/usr/bin/chromium";
const browserIt = existsSync(chromiumPath) ? it : it.skip;

/** Sources by URL. A name without extension, as imports have it, is redirected to its file: relative imports start from there. */
function serveSources(): Server {
  return createServer((request, response) => {
    const { pathname } = new URL(request.url!, "http://localhost");
    if (pathname === "/") {
      response.setHeader("content-type", "text/html").end("<!doctype html><title>gradbook</title>");
      return;
    }
    const file = path.join(root, pathname);
    if (pathname.endsWith(".ts")) {
      const { outputText } = ts.transpileModule(readFileSync(file, "utf8"), {
        fileName: file, compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ES2022 },
      });
      response.setHeader("content-type", "text/javascript").end(outputText);
      return;
    }
    const found = [`${file}.ts`, path.join(file, "index.ts")].find((candidate) => existsSync(candidate) && statSync(candidate).isFile());
    if (found) response.writeHead(302, { location: `/${path.relative(root, found)}` }).end();
    else response.writeHead(404).end();
  });
}

describe("lib/webgpu in a browser", () => {
  let server: Server;
  let browser: Browser;

  beforeAll(async () => {
    if (browserIt !== it) return;
    server = serveSources();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    browser = await chromium.launch({
      executablePath: chromiumPath, args: ["--no-sandbox", "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"],
    });
  }, 60_000);

  afterAll(async () => {
    await browser?.close();
    server?.close();
  });

  browserIt("runs every kernel, and each layer gives what plain TypeScript gives (needs Chromium)", async () => {
    const page = await browser.newPage();
    const errors: string[] = [];
    page.on("pageerror", (error) => errors.push(String(error)));
    await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
    const report = await page.evaluate(async (module) => ((await import(module)) as { run(): Promise<PageReport> }).run(), "/test/lib/webgpu/page");
    expect(report.failures).toEqual([]);
    expect(errors).toEqual([]);
    expect(report.description).toMatch(/swiftshader/i);
    const families = report.kernels.map((name) => name.replace(/( \d+)+/, "").replace(/^[a-z0-9]+, flat$/i, "elementwise, flat"));
    expect([...new Set(families)]).toEqual(expect.arrayContaining([
      "adamw", "copy", "cross-entropy", "cross-entropy backward", "elementwise, flat", "flash attention", "flash attention dk dv",
      "flash attention dq", "gather", "layer norm", "layer norm backward", "layer norm parameters", "matmul NN", "matmul NT",
      "matmul TN", "max pool", "max pool backward", "scatter", "softmax", "softmax backward", "sum", "sum of columns",
    ]));
  }, 120_000);
});
