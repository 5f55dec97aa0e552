/** The grader's report, as a tab of its own. */
import { Widget } from "@lumino/widgets";
import type { Course, Graded, GradedExercise } from "./course";
import { courseIcon, MARKS } from "./sidebar";
import { element } from "./dom";

export class Report extends Widget {
  /** `path`: the notebook that is reported on. */
  constructor(readonly path: string) {
    super();
    this.id = `gradbook-report-${path}`;
    this.title.label = `Report: ${path.split("/").at(-1)}`;
    this.title.icon = courseIcon;
    this.title.closable = true;
    this.addClass("gradbook-report");
    this.node.tabIndex = 0;
  }

  fill({ submissions: [submission] }: Graded, course: Course | undefined): void {
    if (!submission) {
      this.node.replaceChildren(element("p", "", "There is no answer cell of the course in this notebook, so there was nothing to grade."));
      return;
    }
    const { score, max, exercises, isolation } = submission;
    this.node.replaceChildren(
      element("h1", "", `${score} of ${max} points`),
      element("p", "gradbook-report-how", `${this.path} as it is saved now, graded with fresh numbers and apart from the notebook's kernel (${isolation}).`),
      element("p", "gradbook-report-how", "Nothing has been sent to anyone: hand in the file the way your teacher asks."),
      ...exercises.map((exercise) => exerciseReport(exercise, course)),
    );
  }
}

function exerciseReport({ id, score, max, status, checks }: GradedExercise, course: Course | undefined): HTMLElement {
  const known = course?.exercises.find((exercise) => exercise.id === id);
  const title = known ? `${known.number}. ${known.title}` : id;
  return element("section", "",
    element("h2", "", `${title}: ${status}, ${score} of ${max} points`),
    element("ul", "", ...checks.map((check) => {
      const mark = element("span", "gradbook-mark", MARKS[check.status]);
      const item = element("li", "gradbook-report-check",
        element("div", "", mark, element("strong", "", check.name), element("span", "gradbook-points", `${check.score} of ${check.max} points`)),
        element("p", "", check.message),
      );
      item.dataset.status = mark.dataset.status = check.status;
      if (check.diagnosis) item.append(element("p", "gradbook-report-hint", check.diagnosis.hint));
      return item;
    })),
  );
}
