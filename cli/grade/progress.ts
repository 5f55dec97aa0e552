/** How far the grading is: a line that renews itself in a terminal, a line a submission elsewhere. */
import type { WriteStream } from "node:tty";
import { oneLine } from "./printable";
import type { Progress } from "./run";

export function progressDisplay(stream: WriteStream): { show(state: Progress): void; end(): void } {
  const started = performance.now();
  let last = 0;
  return {
    show(state) {
      const { submissions, submissionsDone, exercisesDone, latest, finished } = state;
      if (!stream.isTTY) {
        if (finished) {
          const { student, score, max, problems } = finished;
          stream.write(`${submissionsDone}/${submissions} ${oneLine([`${student}: ${score} of ${max}`, ...problems].join("; "))}\n`);
        }
        return;
      }
      const now = performance.now();
      if (now - last < 80 && submissionsDone < submissions) return;
      last = now;
      const share = submissionsDone / submissions;
      const bar = "#".repeat(Math.round(share * 24)).padEnd(24, "-");
      const seconds = (now - started) / 1000;
      const left = submissionsDone > 0 && share < 1 ? `, ${Math.ceil((seconds / share) * (1 - share))} s left` : "";
      const line = `[${bar}] ${submissionsDone}/${submissions} submissions, ${exercisesDone} answers${left}  ${oneLine(latest)}`;
      stream.write(`\r\u001b[2K${line.slice(0, (stream.columns ?? 80) - 1)}`);
    },
    end() {
      if (stream.isTTY) stream.write("\r\u001b[2K");
    },
  };
}
