/** Cell metadata of nbgrader, schema 3, so that nbgrader and every other tool finds the answer cells. */
import { createHash } from "node:crypto";

export interface NbgraderMetadata {
  schema_version: 3;
  grade: boolean;
  locked: boolean;
  solution: boolean;
  task: boolean;
  grade_id: string;
  /** Present where the cell is graded. */
  points?: number;
  cell_type: "code" | "markdown";
  checksum: string;
}

/** answer: graded by the tests; manual: graded by hand; tests: holds points; read-only: must not be edited. */
export type CellRole = "answer" | "manual" | "tests" | "read-only";

const flags: Record<CellRole, { grade: boolean; solution: boolean; locked: boolean }> = {
  answer: { grade: false, solution: true, locked: false },
  manual: { grade: true, solution: true, locked: false },
  tests: { grade: true, solution: false, locked: true },
  "read-only": { grade: false, solution: false, locked: true },
};

const python = (flag: boolean): string => (flag ? "True" : "False");

/** A number as Python prints a float: 1.0, 2.5. */
const pythonFloat = (value: number): string => (Number.isInteger(value) ? value.toFixed(1) : String(value));

/**
 * The `nbgrader` object of a cell's metadata. `gradeId` is the exercise's id for its answer cell; nbgrader wants it
 * unique in the notebook. The checksum is nbgrader's own, over the source and these fields.
 */
export function nbgraderMetadata(cell: {
  gradeId: string;
  source: string;
  role: CellRole;
  cellType?: "code" | "markdown";
  points?: number;
}): NbgraderMetadata {
  const { gradeId, source, role, cellType = "code", points = 0 } = cell;
  if (!/^[a-zA-Z0-9_-]+$/.test(gradeId)) {
    throw new Error(`nbgraderMetadata: gradeId is "${gradeId}", it should be letters, digits, _ and -`);
  }
  const { grade, solution, locked } = flags[role];
  const digest = createHash("md5")
    .update(source + cellType + python(grade) + python(solution) + python(solution ? false : grade || locked) + gradeId)
    .update(grade ? pythonFloat(points) : "");
  return {
    schema_version: 3,
    grade,
    locked,
    solution,
    task: false,
    grade_id: gradeId,
    ...(grade ? { points } : {}),
    cell_type: cellType,
    checksum: digest.digest("hex"),
  };
}
