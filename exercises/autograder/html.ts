/** A report as HTML: compact, readable in light and dark themes, without scripts. */
import { formatNumber } from "./judge";
import type { CheckReport, ExerciseResult, Status, TensorReport } from "./report";
import { details, formatDifferences, formatError, formatPoints, formatTensor } from "./text";

const looks: Record<Status, { mark: string; color: string }> = {
  passed: { mark: "✓", color: "#2e8b57" },
  failed: { mark: "✗", color: "#d04a3a" },
  "not attempted": { mark: "○", color: "#888888" },
  error: { mark: "!", color: "#d04a3a" },
  timeout: { mark: "⧖", color: "#c08020" },
};

/** Text as HTML that shows it. */
export function escapeHtml(text: string): string {
  return text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(/"/g, "&quot;");
}

/** Numbers and short code between backquotes stay code. */
function prose(text: string): string {
  return escapeHtml(text).replace(/`([^`]+)`/g, "<code>$1</code>");
}

/** The error of each element as a shade of red. */
function heatMap(heat: readonly (readonly number[])[]): string {
  const most = Math.max(...heat.flat(), Number.MIN_VALUE);
  const size = heat.length > 12 || heat[0].length > 12 ? 8 : 14;
  const rows = heat.map((row) => {
    const cells = row.map((error) => {
      const share = error / most;
      const title = `error ${formatError(error)}`;
      return `<td title="${title}" style="width:${size}px;height:${size}px;padding:0;border:1px solid rgba(128,128,128,.35);background:rgba(208,74,58,${share.toFixed(3)})"></td>`;
    });
    return `<tr style="background:none">${cells.join("")}</tr>`;
  });
  return (
    `<table style="border-collapse:collapse;margin:4px 0" aria-label="error of each element">${rows.join("")}</table>` +
    `<div style="opacity:.7;font-size:85%">Error of each element; full red is ${formatError(most)} of the largest.</div>`
  );
}

const cell = (content: string): string => `<td style="text-align:left;padding:1px 12px 1px 0">${content}</td>`;

function tensorRow(tensor: TensorReport): string {
  const right = tensor.state === "right";
  const { mark, color } = right ? looks.passed : looks.failed;
  const measured = tensor.state === "right" || tensor.state === "wrong";
  const error = measured ? formatError(tensor.error) || "large" : escapeHtml(tensor.says);
  const differences = formatDifferences(tensor);
  return (
    `<tr style="background:none">${cell(`<span style="color:${color}">${mark}</span> <code>${escapeHtml(formatTensor(tensor))}</code>`)}` +
    `${cell(error)}${cell(measured ? formatError(tensor.allowed) : "")}${cell(differences)}</tr>`
  );
}

function tensorTable(tensors: readonly TensorReport[]): string {
  const head = ["output", "error", "allowed", "from finite differences"].map((text) => `<th style="text-align:left;padding:1px 12px 1px 0;font-weight:normal;opacity:.7">${text}</th>`);
  return `<table style="border-collapse:collapse;margin:2px 0 4px 0"><tr style="background:none">${head.join("")}</tr>${tensors.map(tensorRow).join("")}</table>`;
}

function checkHtml(check: CheckReport, open: boolean): string {
  const { mark, color } = looks[check.status];
  const measured = check.status === "passed" || check.status === "failed";
  const wrong = check.tensors.find(({ state }) => state === "wrong");
  const body = [
    `<div>${prose(check.message)}</div>`,
    check.diagnosis ? `<div><b>Hint.</b> ${prose(check.diagnosis.hint)}</div>` : "",
    measured && check.tensors.length ? tensorTable(check.tensors) : "",
    wrong && !check.diagnosis ? details(wrong).map((line) => `<div><code>${escapeHtml(line)}</code></div>`).join("") : "",
    wrong?.heat ? heatMap(wrong.heat) : "",
    check.noDifferences ? `<div style="opacity:.7">${prose(check.noDifferences)}</div>` : "",
  ];
  return (
    `<details${open ? " open" : ""} style="margin:2px 0 2px 8px"><summary style="cursor:pointer"><b style="color:${color}">${mark}</b> ` +
    `${escapeHtml(check.name)} <span style="opacity:.7">${formatNumber(check.score)} of ${formatPoints(check.points)}</span></summary>` +
    `<div style="margin:2px 0 6px 20px">${body.join("")}</div></details>`
  );
}

export function reportHtml(result: ExerciseResult): string {
  const { mark, color } = looks[result.status];
  const firstOpen = result.checks.findIndex(({ status }) => status !== "passed");
  return (
    `<div style="border-left:4px solid ${color};padding:4px 0 4px 10px;max-width:60em">` +
    `<div style="margin-bottom:4px"><b style="color:${color}">${mark} ${escapeHtml(result.title)}</b>: ${result.status}, ` +
    `${formatNumber(result.score)} of ${formatPoints(result.max)}</div>` +
    result.checks.map((check, i) => checkHtml(check, i === firstOpen)).join("") +
    `<div style="opacity:.6;font-size:85%">seed ${escapeHtml(result.seed)}</div></div>`
  );
}
