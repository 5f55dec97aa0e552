/** The results as web pages: one of the class, sortable, and one a student. No file of theirs is loaded from anywhere. */
import { createHash } from "node:crypto";
import type { GradedSubmission } from "./grader";
import type { ClassResult } from "./outputs";
import { printable } from "./printable";
import { escapeHtml, reportHtml } from "../../exercises/autograder/html";

/** Marks a page as ours, so that a later run may replace it. */
export const generator = '<meta name="generator" content="gradbook grade">';

const style = `
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 64em; margin: 2em auto; padding: 0 1em; }
table.list { border-collapse: collapse; width: 100%; }
table.list th, table.list td { text-align: left; padding: 3px 10px; border-bottom: 1px solid rgba(128,128,128,.35); }
table.list th button { all: unset; cursor: pointer; font-weight: 600; }
table.list th button:focus-visible { outline: 2px solid; }
th[aria-sort="ascending"] button::after { content: " ▲"; }
th[aria-sort="descending"] button::after { content: " ▼"; }
td.number, th.number { text-align: right !important; font-variant-numeric: tabular-nums; }
.bar { display: inline-block; height: 10px; background: #2e8b57; }
.faint { opacity: .7; }
`;

/** Sorts the table by the column whose heading is pressed. */
const sorting = `
for (const button of document.querySelectorAll("table.list th button")) button.addEventListener("click", () => {
  const th = button.parentElement, table = th.closest("table"), body = table.tBodies[0];
  const column = [...th.parentElement.children].indexOf(th);
  const down = th.getAttribute("aria-sort") === "ascending";
  for (const other of th.parentElement.children) other.removeAttribute("aria-sort");
  th.setAttribute("aria-sort", down ? "descending" : "ascending");
  const key = (row) => row.children[column].dataset.key ?? row.children[column].textContent;
  const compare = (a, b) => key(a).localeCompare(key(b), undefined, { numeric: true });
  body.append(...[...body.rows].sort((a, b) => (down ? compare(b, a) : compare(a, b))));
});
`;

function document(title: string, body: string, script = ""): string {
  // No script but ours runs, whatever a student's name or message holds.
  const hash = createHash("sha256").update(script).digest("base64");
  const policy = `default-src 'none'; style-src 'unsafe-inline'; script-src ${script ? `'sha256-${hash}'` : "'none'"}`;
  return (
    `<!doctype html><html lang="en"><head><meta charset="utf-8">${generator}` +
    `<meta http-equiv="Content-Security-Policy" content="${policy}"><meta name="viewport" content="width=device-width, initial-scale=1">` +
    `<title>${escapeHtml(printable(title))}</title><style>${style}</style></head><body>${printable(body)}${script ? `<script>${script}</script>` : ""}</body></html>\n`
  );
}

/** A file name for a student's page: what is readable of the name, and a hash that keeps two apart. */
export function pageName({ student, path }: Pick<GradedSubmission, "student" | "path">): string {
  const readable = student.replace(/[^A-Za-z0-9_-]+/g, "-").replace(/^-+|-+$/g, "").slice(0, 60) || "student";
  return `${readable}-${createHash("sha256").update(`${path}\n${student}`).digest("hex").slice(0, 8)}.html`;
}

const points = (score: number, max: number): string => `${Number(score.toFixed(2))} of ${max}`;

function studentPage(submission: GradedSubmission, seed: string): string {
  const { student, path, score, max, isolation, children, problems, exercises } = submission;
  const body = [
    `<p><a href="index.html">The class</a></p><h1>${escapeHtml(student)}</h1>`,
    `<p>${points(score, max)} points. <span class="faint">${escapeHtml(path)}; isolation: ${isolation}; children: ${children}; seed ${escapeHtml(seed)}</span></p>`,
    ...problems.map((problem) => `<p><b>!</b> ${escapeHtml(problem)}</p>`),
    ...exercises.map(({ report, note }) => `${reportHtml(report)}${note ? `<p class="faint">The answer was ${escapeHtml(note)}.</p>` : "<p></p>"}`),
  ];
  return document(`${student}: gradbook`, body.join("\n"));
}

/** How many submissions lie in each tenth of the points. */
function distribution(submissions: readonly GradedSubmission[]): string {
  const tenths = new Array<number>(10).fill(0);
  const graded = submissions.filter(({ max }) => max > 0);
  for (const { score, max } of graded) tenths[Math.min(9, Math.floor((10 * score) / max))]++;
  const most = Math.max(...tenths, 1);
  const rows = tenths.map(
    (count, i) =>
      `<tr><td class="number">${i * 10} to ${i * 10 + 10} %</td><td><span class="bar" style="width:${((20 * count) / most).toFixed(2)}em"></span> ${count}</td></tr>`,
  );
  return `<h2>Distribution</h2><table class="list"><thead><tr><th class="number">share of the points</th><th>submissions</th></tr></thead><tbody>${rows.join("")}</tbody></table>`;
}

/** Which mistakes were found most often. */
function frequentMistakes(submissions: readonly GradedSubmission[]): string {
  const counts = new Map<string, { count: number; says: string }>();
  for (const { exercises } of submissions) {
    for (const { report } of exercises) {
      for (const check of report.checks) {
        if (!check.diagnosis) continue;
        const key = `${report.title}: ${check.name}\n${check.diagnosis.mistake}`;
        const known = counts.get(key);
        if (known) known.count++;
        else counts.set(key, { count: 1, says: check.message });
      }
    }
  }
  const rows = [...counts]
    .sort(([, a], [, b]) => b.count - a.count)
    .slice(0, 30)
    .map(([key, { count, says }]) => `<tr><td class="number">${count}</td><td>${escapeHtml(key.split("\n")[0])}</td><td>${escapeHtml(says)}</td></tr>`);
  if (rows.length === 0) return "";
  return `<h2>Most frequent mistakes</h2><table class="list"><thead><tr><th class="number">times</th><th>part</th><th>mistake</th></tr></thead><tbody>${rows.join("")}</tbody></table>`;
}

/** What kept an answer or a file from being graded, for the teacher to look at. */
function errorList(submissions: readonly GradedSubmission[]): string {
  const rows = submissions.flatMap((submission) => {
    const stopped = submission.exercises.flatMap(({ report: { status, title, checks } }) =>
      status === "error" || status === "timeout" ? [`${title}: ${checks.find((check) => check.status === status)!.message}`] : [],
    );
    const who = `<td><a href="${pageName(submission)}">${escapeHtml(submission.student)}</a></td>`;
    return [...submission.problems, ...stopped].map((says) => `<tr>${who}<td>${escapeHtml(says)}</td></tr>`);
  });
  if (rows.length === 0) return "";
  return `<h2>Errors</h2><table class="list"><thead><tr><th>student</th><th>what was wrong</th></tr></thead><tbody>${rows.join("")}</tbody></table>`;
}

function classPage({ seed, assigned, submissions }: ClassResult): string {
  const counting = assigned ? `the exercises that count: ${assigned.map(({ id }) => id).join(", ")}` : "the exercises that a submission holds";
  const rows = submissions.map((submission) => {
    const { student, path, score, max, problems, exercises } = submission;
    const count = (wanted: string): number => exercises.filter(({ report }) => report.status === wanted).length;
    const errors = count("error") + count("timeout") + problems.length;
    return (
      `<tr><td><a href="${pageName(submission)}">${escapeHtml(student)}</a></td><td class="faint">${escapeHtml(path)}</td>` +
      `<td class="number" data-key="${max > 0 ? score / max : -1}">${points(score, max)}</td><td class="number">${count("passed")}</td>` +
      `<td class="number">${count("failed")}</td><td class="number">${count("not attempted")}</td><td class="number">${errors}</td></tr>`
    );
  });
  const heads = ["student", "path", "points", "passed", "failed", "not attempted", "errors"].map(
    (head, i) => `<th${i > 1 ? ' class="number"' : ""}><button type="button">${head}</button></th>`,
  );
  const body = [
    `<h1>Results</h1><p>${submissions.length} ${submissions.length === 1 ? "submission" : "submissions"}. <span class="faint">Seed ${escapeHtml(seed)}: the same seed grades the same way. Points are those of ${counting}.</span></p>`,
    `<table class="list"><thead><tr>${heads.join("")}</tr></thead><tbody>${rows.join("")}</tbody></table>`,
    distribution(submissions),
    frequentMistakes(submissions),
    errorList(submissions),
  ];
  return document("gradbook: results", body.join("\n"), sorting);
}

/** Every page, by file name. */
export function pages(result: ClassResult): Map<string, string> {
  const made = new Map([["index.html", classPage(result)]]);
  for (const submission of result.submissions) made.set(pageName(submission), studentPage(submission, result.seed));
  return made;
}
