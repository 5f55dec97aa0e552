/** Columns that JupyterLab's Shift-Tab popup and the panel beside its completions have for text in code's type. */
export const POPUP = 76;
export const PANEL = 44;

/** The words of a text in lines of at most `width` characters. */
function wrapped(text: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= width) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}

/** An indented line that is too long: what stands behind a wide gap goes below, further in. */
function inColumns(line: string, width: number): string {
  const [, indent, content] = /^(\s*)(.*)$/.exec(line)!;
  const [formula, ...remarks] = content.split(/\s{3,}/);
  const below = `${indent}    `;
  return [indent + formula, ...remarks.flatMap((remark) => wrapped(remark, width - below.length).map((part) => below + part))].join("\n");
}

/** A documentation whose formulas, which are indented and keep their columns, fit into `width`. Prose wraps by itself. */
export function narrow(documentation: string, width: number): string {
  return documentation.split("\n").map((line) => (line.startsWith("    ") && line.length > width ? inColumns(line, width) : line)).join("\n");
}
