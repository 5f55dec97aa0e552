/** check, hint, solution and progress: what a notebook's cells call. */
import { exercises, findExercise } from "../index";
import { gradeHere } from "./grade";
import { escapeHtml } from "./html";
import { readProgress, recordCheck, updateProgress } from "./progress";
import type { Report, Status } from "./report";
import type { Exercise } from "./spec";
import { withheldNames } from "./withheld";

/** The student's names, as the notebook's session knows them. */
export interface Session {
  lookup(name: string): unknown;
  isDefined(name: string): boolean;
}

/** Text that a notebook shows as HTML and a terminal as it is. */
export class Note {
  constructor(
    readonly text: string,
    private readonly html: string = `<div>${escapeHtml(text).replace(/`([^`]+)`/g, "<code>$1</code>")}</div>`,
  ) {}

  toString(): string {
    return this.text;
  }

  [Symbol.for("Jupyter.display")](): Record<string, string> {
    return { "text/html": this.html, "text/plain": this.text };
  }

  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return this.text;
  }
}

function find(command: string, name: unknown): Exercise {
  const found = typeof name === "string" || typeof name === "number" ? findExercise(name) : undefined;
  if (found) return found;
  const was = name === undefined ? "missing" : typeof name === "string" ? `"${name}"` : String(name);
  throw new Error(`${command}: the exercise is ${was}, it should be one of ${exercises.map(({ id }) => id).join(", ")}`);
}

const marks: Record<Status, string> = { passed: "✓", failed: "✗", "not attempted": "○", error: "!", timeout: "⧖" };

function progressNote(): Note {
  const standings = readProgress();
  const rows = exercises.map(({ id, folder, title, points }) => {
    const { status = "not attempted", score = 0, tries = 0, hints = 0 } = standings[id] ?? {};
    return { folder, title, points, status: status as Status, score, tries, hints };
  });
  const done = rows.reduce((sum, { score }) => sum + score, 0);
  const all = rows.reduce((sum, { points }) => sum + points, 0);
  const passed = rows.filter(({ status }) => status === "passed").length;
  const head = `${passed} of ${rows.length} exercises passed, ${done} of ${all} points`;
  const lines = rows.map((r) => `${marks[r.status]} ${r.folder}: ${r.score} of ${r.points} points, ${r.status}`);
  const body = rows.map(
    (r) =>
      `<tr style="background:none">${[
        marks[r.status],
        escapeHtml(r.folder.slice(0, 2)),
        escapeHtml(r.title),
        `${r.score} of ${r.points}`,
        r.status,
        r.tries ? `${r.tries} wrong ${r.tries === 1 ? "try" : "tries"}` : "",
        r.hints ? `${r.hints} ${r.hints === 1 ? "hint" : "hints"}` : "",
      ]
        .map((text) => `<td style="text-align:left;padding:1px 12px 1px 0">${text}</td>`)
        .join("")}</tr>`,
  );
  const html =
    `<div><b>${head}</b><div style="background:rgba(128,128,128,.3);height:6px;max-width:30em;margin:4px 0">` +
    `<div style="background:#2e8b57;height:6px;width:${((100 * done) / all).toFixed(1)}%"></div></div>` +
    `<table style="border-collapse:collapse">${body.join("")}</table></div>`;
  return new Note([head, ...lines].join("\n"), html);
}

/** The first name in the student's functions that the exercise withholds. */
function usesWithheld(exercise: Exercise, session: Session): string | undefined {
  const names = new Set(exercise.parts.flatMap(({ entry, also }) => [entry, ...(also ?? [])]));
  const source = [...names].map((name) => (session.isDefined(name) ? String(session.lookup(name)) : "")).join("\n");
  // A function is called by its name, a layer by its backward or jvp. `z.sigmoid()` is a tensor's method, and nobody's secret.
  const library = withheldNames(exercise).filter((name) => !session.isDefined(name.split(".")[0]));
  return library.find((name) =>
    new RegExp(`(gradbook_\\d+\\.|(?<![\\w$.]))${name.replace(".", "\\.")}(\\.(backward|jvp)\\s*\\(|\\)?\\s*\\()`).test(source),
  );
}

/** The commands of one notebook session. */
export function notebookCommands(session: Session) {
  const asked = new Set<string>();
  let checks = 0;

  return {
    /**
     * Grades your answer to an exercise: exactly, on fresh random instances. `check("attention")` or `check(16)`.
     * Returns a promise only where your code is asynchronous.
     */
    check(exercise: string | number, options: { seed?: string | number } = {}): Report | Promise<Report> {
      const found = find("check", exercise);
      const seed = String(options.seed ?? `${Date.now().toString(36)}-${++checks}`);
      const lookup = (name: string): unknown => (session.isDefined(name) ? session.lookup(name) : undefined);
      const finish = (report: Report): Report => {
        const name = usesWithheld(found, session);
        if (name && report.status === "passed") {
          report.checks[0].message += ` It calls \`${name}\`, which this exercise asks you to write yourself: a submission would not pass.`;
        }
        // After a restart of the kernel an answer stands there and has not run.
        for (const check of report.checks) {
          if (!session.isDefined(check.entry)) check.message += " Run the cell that defines it, then check again.";
        }
        recordCheck(report);
        return report;
      };
      const report = gradeHere(found, lookup, seed);
      return report instanceof Promise ? report.then(finish) : finish(report);
    },

    /** The next hint of an exercise, gentle ones first. */
    hint(exercise: string | number): Note {
      const found = find("hint", exercise);
      const standing = updateProgress(found.id, found.points, (s) => (s.hints = Math.min(s.hints + 1, found.hints.length)));
      const step = standing.hints;
      const more = step < found.hints.length ? "" : ` That was the last; \`solution("${found.id}")\` shows the answer.`;
      return new Note(`Hint ${step} of ${found.hints.length}: ${found.hints[step - 1]}${more}`);
    },

    /** The solution of an exercise: after two honest tries, or when asked twice. */
    solution(exercise: string | number): Note {
      const found = find("solution", exercise);
      const { status, tries } = readProgress()[found.id] ?? { status: "not attempted", tries: 0 };
      if (status !== "passed" && tries < 2 && !asked.has(found.id)) {
        asked.add(found.id);
        const so = tries === 1 ? "You have checked one answer" : "You have not checked an answer";
        return new Note(`${so} so far, and two honest tries teach more. Ask again, and here it is.`);
      }
      return new Note(found.solution, `<pre style="line-height:1.4">${escapeHtml(found.solution)}</pre>`);
    },

    /** What you have passed, tried and still have before you. */
    progress: progressNote,
  };
}
