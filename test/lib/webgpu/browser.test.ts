/**
 * lib/webgpu in headless Chromium, from the same sources: a small server hands them out as ES modules, compiled one by one.
 * Chromium brings an emulated adapter of its own (SwiftShader), so no GPU is needed.
 */

import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { chromium, type Browser } from "playwright-core";
import { serveSources } from "../../support/sources";
import type { PageReport } from "./page";

const root = path.join(__dirname, "../../..");
const chromiumPath = "/usr/bin/chromium";
const browserIt = existsSync(chromiumPath) ? it : it.skip;

const lab = path.join(root, "lab");
const haveBundler = existsSync(path.join(lab, "node_modules", "@rspack", "core"));
const bundleIt = existsSync(chromiumPath) && haveBundler ? it : it.skip;

/** The package as somebody's web page would have it, bundled by the bundler that builds JupyterLab, as window.gradbook. */
function bundle(folder: string): void {
  const script = `
    const { rspack } = await import("@rspack/core");
    rspack({
      mode: "development", devtool: false, target: "web", entry: ${JSON.stringify(path.join(root, "lib", "index.ts"))},
      resolve: { extensions: [".ts", ".js"] },
      module: { rules: [{ test: /\\.ts$/, loader: "builtin:swc-loader", options: { jsc: { parser: { syntax: "typescript" } } }, type: "javascript/auto" }] },
      output: { path: ${JSON.stringify(folder)}, filename: "gradbook.js", publicPath: "/", library: { name: "gradbook", type: "window" } },
    }).run((error, stats) => {
      const problems = error ? String(error) : stats.toString({ all: false, errors: true, warnings: true });
      if (problems) console.error(problems);
      process.exit(problems ? 1 : 0);
    });`;
  execFileSync(process.execPath, ["--input-type=module", "-e", script], { cwd: lab, stdio: ["ignore", "pipe", "pipe"] });
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
      "adamw", "col2im", "copy", "cross-entropy", "cross-entropy backward", "elementwise, flat", "flash attention", "flash attention dk dv",
      "flash attention dq", "gather", "im2col", "layer norm", "layer norm backward", "layer norm backward, joined", "layer norm parameters",
      "matmul NN", "matmul NN add", "matmul NT", "matmul NT add", "matmul TN", "max pool", "max pool backward", "scatter", "softmax",
      "softmax backward", "squares", "sum", "sum of columns",
    ]));
  }, 120_000);

  bundleIt("is bundled without a warning, and trains there (needs Chromium and lab/node_modules)", async () => {
    const folder = mkdtempSync(path.join(tmpdir(), "gradbook-bundle-"));
    try {
      bundle(folder);
      const page = await browser.newPage();
      await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
      await page.addScriptTag({ content: readFileSync(path.join(folder, "gradbook.js"), "utf8") });
      const losses = await page.evaluate(async () => {
        const { adamwOnGpu, device, gpt, GpuTensor, gpuScope, rng, webgpu } = (window as unknown as { gradbook: typeof import("../../../lib") }).gradbook;
        await webgpu();
        device("webgpu");
        const model = gpt({ vocabulary: 5, context: 4, width: 8, heads: 2, blocks: 1 }, rng(1), { dtype: "float32" });
        for (const [name, t] of Object.entries(model.parameters)) model.parameters[name] = GpuTensor.from(t);
        const optimizer = adamwOnGpu({ lr: 0.05 });
        const found: number[] = [];
        for (let i = 0; i < 10; i++) {
          const loss = gpuScope(() => {
            const { lossTensor, cache } = model.forward([[0, 1, 2, 3]], [[1, 2, 3, 4]]);
            optimizer.step(model.trainable, model.backward(cache));
            return lossTensor;
          });
          found.push((await loss!.read()).item());
        }
        return found;
      });
      expect(losses[0]).toBeCloseTo(Math.log(5), 1);
      expect(losses[9]).toBeLessThan(losses[0] / 2);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }, 120_000);
});
