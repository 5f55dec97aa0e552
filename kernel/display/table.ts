/** An array of objects as a table. */
import { inspect } from "node:util";

const MAX_ROWS = 60;
const MAX_COLUMNS = 30;

export function escapeHtml(text: string): string {
  return text.replace(/[&<>"]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c]!);
}

function isPlain(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

function cell(value: unknown): string {
  if (value === undefined) return "<td></td>";
  const text = typeof value === "string" ? value : inspect(value, { depth: 1, breakLength: Infinity });
  const short = text.length > 200 ? `${text.slice(0, 199)}…` : text;
  return `<td style="text-align:${typeof value === "number" || typeof value === "bigint" ? "right" : "left"}">${escapeHtml(short)}</td>`;
}

/** HTML for an array of plain objects (one row each) or undefined for any other value. Long tables show their two ends. */
export function rowsTable(value: unknown): string | undefined {
  if (!Array.isArray(value) || value.length === 0 || !value.every(isPlain)) return undefined;
  const keys = new Set<string>();
  for (const row of value) {
    for (const key of Object.keys(row)) if (keys.size <= MAX_COLUMNS) keys.add(key);
  }
  if (keys.size === 0 || keys.size > MAX_COLUMNS) return undefined;
  const columns = [...keys];
  const row = (index: number): string =>
    `<tr><th style="text-align:right;opacity:.6">${index}</th>${columns.map((key) => cell((value[index] as Record<string, unknown>)[key])).join("")}</tr>`;
  const indices = value.map((_, index) => index);
  const gap = `<tr><td></td><td colspan="${columns.length}" style="text-align:left;opacity:.6">… ${value.length - MAX_ROWS} rows …</td></tr>`;
  const body = value.length <= MAX_ROWS ? indices.map(row)
    : [...indices.slice(0, MAX_ROWS / 2).map(row), gap, ...indices.slice(-MAX_ROWS / 2).map(row)];
  const head = `<tr><th></th>${columns.map((key) => `<th style="text-align:left">${escapeHtml(key)}</th>`).join("")}</tr>`;
  return `<table><thead>${head}</thead><tbody>${body.join("")}</tbody></table>`;
}
