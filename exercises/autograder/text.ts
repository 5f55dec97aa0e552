/** A report as plain text. */
import { formatNumber } from "./judge";
import type { CheckReport, ExerciseResult, Status, TensorReport } from "./report";

const marks: Record<Status, string> = { passed: "✓", failed: "✗", "not attempted": "○", error: "!", timeout: "⧖" };

/** 1.2e-16, or "exact" for 0. */
export function formatError(error: number): string {
  return error === 0 ? "exact" : Number.isFinite(error) ? error.toExponential(1) : "";
}

export function formatPoints(points: number): string {
  return `${points} ${points === 1 ? "point" : "points"}`;
}

export function formatTensor({ name, shape }: TensorReport): string {
  return shape.length ? `${name} [${shape.join(", ")}]` : name;
}

/** Finite differences in words: how well they agree, and on how many numbers where not on all. */
export function formatDifferences({ differences, differenced }: TensorReport): string {
  if (differences === undefined || !differenced) return "";
  const { numbers, of } = differenced;
  return `${formatError(differences)}${numbers < of ? ` (${numbers} of ${of} numbers)` : ""}`;
}

function tensorLine(tensor: TensorReport): string {
  const right = tensor.state === "right";
  const off = right || tensor.state === "wrong" ? `error ${formatError(tensor.error)}` : tensor.says;
  const differences = formatDifferences(tensor);
  const beside = differences && `, ${differences} from finite differences`;
  return `    ${right ? "✓" : "✗"} ${formatTensor(tensor)}: ${off}${beside}`;
}

/** Where the numbers are off, for a mistake that the list does not know. */
export function details({ worst, cosine, scale }: TensorReport): string[] {
  const lines = (worst ?? []).map(
    ({ index, student, reference }) =>
      `${index.length > 0 ? `at [${index.join(", ")}]: ` : ""}yours ${formatNumber(student)}, the reference ${formatNumber(reference)}`,
  );
  if (cosine !== undefined && scale !== undefined) {
    lines.push(`cosine with the reference ${cosine.toFixed(4)}, length ${formatNumber(scale)} times the reference's`);
  }
  return lines;
}

function checkLines(check: CheckReport): string[] {
  const lines = [`  ${marks[check.status]} ${check.name}: ${check.score} of ${formatPoints(check.points)}`];
  lines.push(`    ${check.message}`);
  if (check.diagnosis) lines.push(`    Hint: ${check.diagnosis.hint}`);
  if (check.status === "passed" || check.status === "failed") lines.push(...check.tensors.map(tensorLine));
  const wrong = check.tensors.find(({ state }) => state === "wrong");
  if (wrong && !check.diagnosis) lines.push(...details(wrong).map((line) => `      ${line}`));
  if (check.noDifferences) lines.push(`    ${check.noDifferences}`);
  return lines;
}

export function reportText(result: ExerciseResult): string {
  const head = `${marks[result.status]} ${result.title}: ${result.status}, ${result.score} of ${formatPoints(result.max)}`;
  return [head, ...result.checks.flatMap(checkLines), `  (seed ${result.seed})`].join("\n");
}
