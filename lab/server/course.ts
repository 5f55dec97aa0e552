/** What the Course sidebar asks of us: how far the student is, and the grading of a notebook in a child process. */
import { execFile } from "node:child_process";
import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import type { Router } from "express";
import { HttpError } from "./errors.js";
import type { Root } from "./root.js";

export interface CourseOptions {
  /** The file in which the kernel keeps what has been reached. */
  progressFile: string;
  /** The grader's command line; the notebook, and `--json` with a file, follow. */
  grader: string[];
}

/** A notebook with many slow answers still ends; the grader has a limit for each answer of its own. */
const GRADING_LIMIT_MS = 10 * 60_000;

export function courseRoutes(router: Router, root: Root, { progressFile, grader: [command, ...first] }: CourseOptions): void {
  router.get("/progress", async (_, response) => {
    const text = await fs.readFile(progressFile, "utf8").catch(() => "{}");
    response.type("json").send(text);
  });

  router.post("/grade", async (request, response) => {
    const { path: apiPath } = (request.body ?? {}) as { path?: unknown };
    if (typeof apiPath !== "string") throw new HttpError(400, "path is missing; it names the notebook to grade");
    const file = root.resolve(apiPath);
    const stats = await fs.stat(file).catch(() => undefined);
    if (!stats?.isFile() || !file.endsWith(".ipynb")) throw new HttpError(404, `${JSON.stringify(apiPath.slice(0, 200))} is not a notebook in this folder`);
    const folder = await fs.mkdtemp(path.join(os.tmpdir(), "gradbook-grade-"));
    try {
      const report = path.join(folder, "report.json");
      const said = await new Promise<string>((resolve) => {
        execFile(command, [...first, file, "--json", report], { timeout: GRADING_LIMIT_MS, maxBuffer: 2 ** 24 }, (_error, _stdout, stderr) => resolve(stderr));
      });
      // The exit code also tells of answers that failed; whether there is a report is what counts here.
      const graded = await fs.readFile(report, "utf8").catch(() => {
        throw new HttpError(500, `${JSON.stringify(apiPath)} could not be graded: ${said.trim().split("\n").at(-1) || "the grader gave no report"}`);
      });
      response.type("json").send(graded);
    } finally {
      await fs.rm(folder, { recursive: true, force: true });
    }
  });
}
