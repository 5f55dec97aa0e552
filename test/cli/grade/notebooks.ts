/** Notebooks as students hand them in, for the tests of `gradbook grade`. */
export interface TestCell {
  source: string;
  /** The nbgrader grade_id. */
  id?: string;
  type?: "code" | "markdown";
  nbgrader?: Record<string, unknown>;
  outputs?: unknown[];
}

export function notebook(cells: readonly TestCell[], metadata: Record<string, unknown> = { kernelspec: { name: "gradbook", language: "typescript" } }): string {
  return JSON.stringify({
    nbformat: 4,
    nbformat_minor: 5,
    metadata,
    cells: cells.map(({ source, id, type = "code", nbgrader, outputs = [] }, i) => ({
      id: `cell-${i}`,
      cell_type: type,
      metadata: id || nbgrader ? { nbgrader: nbgrader ?? { grade_id: id, solution: true, grade: false, locked: false, schema_version: 3 } } : {},
      source: source.split(/(?<=\n)/),
      ...(type === "code" ? { execution_count: null, outputs } : {}),
    })),
  });
}
