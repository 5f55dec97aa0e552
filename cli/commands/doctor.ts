/** `gradbook doctor`: says what is there, what is missing, and what to do about it. */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import path from "node:path";
import type { GpuInfo } from "../../lib/index.js";
import type { Command } from "../main.js";

export const command: Command = {
  usage: "",
  summary: "Checks this machine: Node, the kernel, JupyterLab's front end, Jupyter, Chromium, WebAssembly, WebGPU, bubblewrap. Exit code 1 when something needed is missing.",
  run,
};

const root = path.join(__dirname, "..", "..", "..");

interface Finding {
  what: string;
  /** undefined: it is there; otherwise what to do. */
  advice?: string;
  /** The course works without it. */
  optional?: boolean;
  detail?: string;
}

/** What a program says of its version, its first line unless told otherwise; undefined when it cannot be run. */
function version(program: string, line = /.*/): string | undefined {
  const { status, stdout } = spawnSync(program, ["--version"], { encoding: "utf8", timeout: 20_000 });
  return status === 0 ? line.exec(stdout.trim())?.[0] ?? "" : undefined;
}

function requirable(name: string): string | undefined {
  try {
    require(name);
    return undefined;
  } catch (error) {
    return (error as Error).message.split("\n")[0];
  }
}

/** Runs one cell the way the kernel would. */
async function runCell(): Promise<Finding> {
  const { runNotebook } = await import("../../kernel/notebook.js");
  const source = "const probe: number = [1, 2].reduce((a, b) => a + b); probe";
  const text = JSON.stringify({ cells: [{ cell_type: "code", source, metadata: {}, outputs: [] }], metadata: {}, nbformat: 4, nbformat_minor: 5 });
  const started = performance.now();
  const { failed } = await runNotebook(text, process.cwd());
  return {
    what: "a cell runs",
    detail: `${Math.round(performance.now() - started)} ms`,
    advice: failed ? `it failed with "${failed.evalue}"; run \`npm ci\` and \`npm run build\`` : undefined,
  };
}

/** What device "wasm" can choose from. */
async function findSimd(): Promise<Finding> {
  const { useRelaxedSimd, useThreads, useWideSimd } = await import("../../lib/wasm/index.js");
  const more = Object.entries({ useRelaxedSimd, useWideSimd }).flatMap(([name, choose]) => (choose() ? [`${name}()`] : []));
  const threads = useThreads();
  return { what: "WebAssembly", detail: `SIMD, ${threads} ${threads === 1 ? "thread" : "threads"}${more.length > 0 ? `; faster after ${more.join(" or ")}` : ""}` };
}

/** The adapter that device "webgpu" would use. Asked in a child, for graphics drivers write to the terminal as they please. */
function findGpu(): Finding {
  const script = `require(${JSON.stringify(path.join(__dirname, "..", "..", "lib", "webgpu"))}).webgpu().then(
    (info) => ({ info }), (error) => ({ error: error.message })).then((found) => process.stdout.write(JSON.stringify(found), () => process.exit(0)))`;
  const { stdout, status, signal, error } = spawnSync(process.execPath, ["-e", script], { encoding: "utf8", timeout: 60_000, stdio: ["ignore", "pipe", "pipe"] });
  const finding = { what: "WebGPU", optional: true };
  const answer = /\{.*\}$/.exec(stdout ?? "");
  if (!answer) {
    return { ...finding, advice: `the graphics driver ends the process (${error?.message ?? signal ?? `exit code ${status}`}); update it, or use device "cpu"` };
  }
  const found = JSON.parse(answer[0]) as { info?: GpuInfo; error?: string };
  if (!found.info) return { ...finding, advice: found.error!.replace(/^webgpu: /, "") };
  const { description, emulated, maxTensorBytes, workgroupBytes, subgroups } = found.info;
  return {
    ...finding,
    detail: `${description}${emulated ? " (emulated: right, but slow)" : ""}, tensors of up to ${Math.floor(maxTensorBytes / 2 ** 20)} MiB, ` +
      `${workgroupBytes / 1024} KiB a workgroup, ${subgroups ? `subgroups of ${[...new Set(subgroups)].join(" to ")}` : "no subgroups"}`,
  };
}

async function run(): Promise<number> {
  const zeromq = requirable("zeromq");
  // A list of packages under a heading; the core is the one that finds kernels.
  const jupyter = version("jupyter", /^jupyter_core.*/m)?.replace(/\s*:\s*/, " ");
  const chromium = version("chromium");
  const bubblewrap = version("bwrap");
  const frontend = existsSync(path.join(root, "lab", "build", "static"));
  const findings: Finding[] = [
    { what: "Node", detail: process.versions.node },
    { what: "TypeScript", detail: (require("typescript/package.json") as { version: string }).version },
    { what: "ZeroMQ", advice: zeromq && `it does not load (${zeromq}); run \`npm ci\` again on this machine` },
    await runCell(),
    { what: "JupyterLab's front end", optional: true, advice: frontend ? undefined : "not built yet; `gradbook lab` builds it on its first start" },
    {
      what: "Jupyter", optional: true, detail: jupyter,
      advice: jupyter !== undefined ? undefined : "not found; only needed for `gradbook install`, `gradbook lab` brings its own",
    },
    { what: "Chromium", optional: true, detail: chromium, advice: chromium !== undefined ? undefined : "not found; only the end-to-end tests need it" },
    await findSimd(),
    findGpu(),
    { what: "bubblewrap", optional: true, detail: bubblewrap, advice: bubblewrap !== undefined ? undefined : "not found; `gradbook grade` isolates submissions less strictly without it" },
  ];
  for (const { what, detail, advice, optional } of findings) {
    const mark = advice === undefined ? "ok     " : optional ? "absent " : "MISSING";
    console.log(`${mark} ${what}${detail ? `: ${detail}` : ""}${advice ? `: ${advice}` : ""}`);
  }
  return findings.some(({ advice, optional }) => advice !== undefined && !optional) ? 1 : 0;
}
