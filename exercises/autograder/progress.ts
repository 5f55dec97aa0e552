/** What a student has reached, kept over notebooks and restarts in one small file. */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import path from "node:path";
import type { ExerciseResult, Status } from "./report";

export interface Standing {
  status: Status;
  /** The best score so far. */
  score: number;
  max: number;
  /** Checks of an answer that was there and not right. */
  tries: number;
  /** Hints taken. */
  hints: number;
}

export type Standings = Record<string, Standing>;

/** `$GRADBOOK_PROGRESS`, or progress.json in the user's data folder. */
export function progressFile(): string {
  const data = process.env.XDG_DATA_HOME || path.join(homedir(), ".local", "share");
  return process.env.GRADBOOK_PROGRESS || path.join(data, "gradbook", "progress.json");
}

/** The standings by exercise id; none where the file is missing or damaged. */
export function readProgress(): Standings {
  try {
    const found: unknown = JSON.parse(readFileSync(progressFile(), "utf8"));
    return typeof found === "object" && found !== null ? (found as Standings) : {};
  } catch {
    return {};
  }
}

/** Changes one exercise's standing. Read, changed and renamed into place at once, so that two notebooks can do it. */
export function updateProgress(id: string, max: number, change: (standing: Standing) => void): Standing {
  const all = readProgress();
  const standing = { ...{ status: "not attempted" as Status, score: 0, max, tries: 0, hints: 0 }, ...all[id], max };
  change(standing);
  try {
    const file = progressFile();
    mkdirSync(path.dirname(file), { recursive: true });
    const draft = `${file}.${process.pid}.tmp`;
    writeFileSync(draft, JSON.stringify({ ...all, [id]: standing }, null, 2));
    renameSync(draft, file);
  } catch {
    // A home that cannot be written to costs the memory of progress, not the check.
  }
  return standing;
}

/** Counts a check: the best score stays, and only an honest try counts as one. */
export function recordCheck({ id, status, score, max }: ExerciseResult): Standing {
  return updateProgress(id, max, (standing) => {
    if (status !== "passed" && status !== "not attempted") standing.tries++;
    if (status === "passed" || standing.status !== "passed") standing.status = status;
    standing.score = Math.max(standing.score, score);
  });
}
