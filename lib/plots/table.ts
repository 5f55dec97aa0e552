import type { MimeBundle } from "./display";
import { short } from "./ticks";

export type Cell = string | number | boolean | null | undefined;

const escapeHtml = (s: string): string => s.replace(/[&<>]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;" })[c]!);
const shown = (cell: Cell, digits: number): string =>
  cell === null || cell === undefined ? "" : typeof cell === "number" ? short(cell, digits) : typeof cell === "boolean" ? (cell ? "yes" : "no") : cell;

/** Rows with named columns, as an HTML table, as Markdown and as text. */
export class Table {
  readonly columns: string[];

  constructor(readonly rows: Record<string, Cell>[], readonly caption = "", readonly digits = 4) {
    this.columns = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  }

  private numeric(column: string): boolean {
    return this.rows.every((row) => typeof row[column] === "number" || row[column] === null || row[column] === undefined);
  }

  toString(): string {
    const cells = [this.columns, ...this.rows.map((row) => this.columns.map((c) => shown(row[c], this.digits)))];
    const widths = this.columns.map((_, j) => Math.max(...cells.map((row) => [...row[j]!].length)));
    const line = (row: string[]): string => row.map((cell, j) => {
      const fill = " ".repeat(widths[j]! - [...cell].length);
      return this.numeric(this.columns[j]!) ? fill + cell : cell + fill;
    }).join("  ").trimEnd();
    return [...(this.caption ? [this.caption] : []), line(cells[0]!), widths.map((w) => "─".repeat(w)).join("  "), ...cells.slice(1).map(line)].join("\n");
  }

  toHtml(): string {
    const align = (c: string): string => `text-align:${this.numeric(c) ? "right" : "left"}`;
    const head = this.columns.map((c) => `<th style="${align(c)}">${escapeHtml(c)}</th>`).join("");
    const body = this.rows.map((row) => `<tr>${this.columns.map((c) => `<td style="${align(c)}">${escapeHtml(shown(row[c], this.digits))}</td>`).join("")}</tr>`).join("");
    const caption = this.caption && `<caption style="caption-side:top;text-align:left;font-weight:600">${escapeHtml(this.caption)}</caption>`;
    return `<table>${caption}<thead><tr>${head}</tr></thead><tbody>${body}</tbody></table>`;
  }

  [Symbol.for("Jupyter.display")](): MimeBundle {
    return { "text/html": this.toHtml(), "text/plain": this.toString() };
  }
}

/**
 * A computed table.
 * @param rows one record a row; columns appear in the order in which they are first named
 * @param caption stands above the table
 * @param digits significant digits of numbers
 */
export function table(rows: Record<string, Cell>[], caption?: string, digits?: number): Table {
  if (!Array.isArray(rows) || rows.some((row) => row === null || typeof row !== "object")) {
    throw new TypeError("table: rows should be an array of records, one a row");
  }
  return new Table(rows, caption, digits);
}
