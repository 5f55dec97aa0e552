/** The grader's report, as a tab of its own. */
import { Widget } from "@lumino/widgets";
import type { Graded } from "./course";

function element(tag: string, className: string, text = "", children: Node[] = []): HTMLElement {
  const node = document.createElement(tag);
  node.className = className;
  node.textContent = text;
  node.append(...children);
  return node;
}

export function reportWidget(path: string, { submissions: [submission] }: Graded): Widget {
  const widget = new Widget({ node: element("div", "gradbook-report") });
  widget.id = `gradbook-report-${Date.now()}`;
  widget.title.label = `Report: ${path.split("/").at(-1)}`;
  widget.title.closable = true;
  widget.node.tabIndex = 0;
  if (!submission) {
    widget.node.append(element("p", "", "There is no answer cell of the course in this notebook, so there was nothing to grade."));
    return widget;
  }
  const { score, max, exercises, isolation } = submission;
  widget.node.append(element("h1", "", `${score} of ${max} points`), element("p", "gradbook-report-how", `${path}, graded apart from the notebook's kernel (${isolation}).`));
  for (const exercise of exercises) {
    widget.node.append(element("h2", "", `${exercise.id}: ${exercise.score} of ${exercise.max} points, ${exercise.status}`));
    widget.node.append(element("ul", "", "", exercise.checks.map(({ name, status, message, diagnosis }) => {
      const item = element("li", "gradbook-report-check", "", [element("strong", "", name), document.createTextNode(` ${message}`)]);
      item.dataset.status = status;
      if (diagnosis) item.append(element("p", "gradbook-report-hint", diagnosis.hint));
      return item;
    })));
  }
  return widget;
}
