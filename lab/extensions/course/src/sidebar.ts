/** The sidebar: a progress bar over the course, and the exercises with their state. */
import { LabIcon } from "@jupyterlab/ui-components";
import { Widget } from "@lumino/widgets";
import type { Course, Exercise, Standing, Status } from "./course";
import { button, element } from "./dom";

export const courseIcon = new LabIcon({
  name: "gradbook:course",
  svgstr: `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24" width="16"><path class="jp-icon3 jp-icon-selectable" fill="#616161" d="M3 4h2v14h16v2H3zM7 6c2 6.5 5 9 13 9.5v2C10.5 17 7.5 13.5 5.5 7z"/><circle class="jp-icon3" fill="#616161" cx="19.5" cy="8" r="2.5"/></svg>`,
});

export const MARKS: Record<Status, string> = { passed: "✓", failed: "✗", "not attempted": "○", error: "!", timeout: "⧖" };

export interface Actions {
  open(exercise: Exercise): void;
  /** Of the exercise in view. */
  check(): void;
  hint(): void;
  /** Shows what the course is. */
  overview(): void;
}

export class CourseSidebar extends Widget {
  #course: Course | undefined;
  #standings: Record<string, Standing> = {};
  #current: string | undefined;
  /** What the hints of each exercise have said so far. */
  readonly #hints = new Map<string, string[]>();

  constructor(readonly actions: Actions) {
    super();
    this.id = "gradbook-course";
    this.title.icon = courseIcon;
    this.title.caption = "Course: exercises, checks and hints";
    this.addClass("gradbook-course");
    this.node.setAttribute("role", "region");
    this.node.setAttribute("aria-label", "Course");
    this.#render();
  }

  setCourse(course: Course | undefined): void {
    this.#course = course;
    this.#render();
  }

  setStandings(standings: Record<string, Standing>): void {
    this.#standings = standings;
    this.#render();
  }

  /** The exercise of the notebook in front; it shows its buttons. */
  setCurrent(id: string | undefined): void {
    if (id === this.#current) return;
    this.#current = id;
    this.#render();
    this.#reveal(".gradbook-current");
  }

  addHint(id: string, text: string): void {
    const said = this.#hints.get(id) ?? [];
    if (said.at(-1) !== text) this.#hints.set(id, [...said, text]);
    this.#render();
    this.#reveal(".gradbook-current .gradbook-course-hints li:last-child");
  }

  protected override onAfterShow(): void {
    this.#reveal(".gradbook-current");
  }

  #reveal(selector: string): void {
    this.node.querySelector(selector)?.scrollIntoView({ block: "nearest" });
  }

  #render(): void {
    const focused = this.node.contains(document.activeElement) ? document.activeElement?.getAttribute("aria-label") : undefined;
    const { exercises = [], overview } = this.#course ?? {};
    if (exercises.length === 0) {
      this.node.replaceChildren(element("p", "", "There is no course in this folder. ", element("code", "", "gradbook lab"), " without a folder opens the one that comes with gradbook."));
      return;
    }
    const standing = (exercise: Exercise): Standing => this.#standings[exercise.id] ?? { status: "not attempted", score: 0 };
    const points = exercises.reduce((sum, exercise) => sum + exercise.points, 0);
    const score = exercises.reduce((sum, exercise) => sum + Math.min(standing(exercise).score, exercise.points), 0);
    const unfinished = exercises.filter((exercise) => standing(exercise).status !== "passed");
    const fill = element("div", "gradbook-course-fill");
    fill.style.width = `${points === 0 ? 0 : (100 * score) / points}%`;
    const bar = element("div", "gradbook-course-bar", fill);
    bar.setAttribute("role", "progressbar");
    bar.setAttribute("aria-label", "Points reached");
    bar.setAttribute("aria-valuemin", "0");
    bar.setAttribute("aria-valuemax", String(points));
    bar.setAttribute("aria-valuenow", String(score));
    const [next] = unfinished;
    const links = element("div", "gradbook-course-links");
    if (next) {
      const text = `${Object.keys(this.#standings).length === 0 ? "Start" : "Continue"} with exercise ${next.number}`;
      // In the middle of an exercise its own Check is the button that stands out.
      const emphasis = unfinished.some(({ id }) => id === this.#current) ? "" : " jp-mod-accept";
      links.append(button(`gradbook-course-next jp-Button jp-mod-styled${emphasis}`, text, `${text}, ${next.title}`, () => this.actions.open(next)));
    }
    if (overview !== undefined) links.append(button("gradbook-course-link gradbook-course-overview", "About this course", "About this course", () => this.actions.overview()));
    this.node.replaceChildren(
      element("h2", "", "Course"),
      bar,
      element("p", "gradbook-course-sum", `${exercises.length - unfinished.length} of ${exercises.length} passed · ${score} of ${points} points`),
      links,
      element("ol", "gradbook-course-list", ...exercises.map((exercise) => this.#item(exercise, standing(exercise)))),
    );
    if (focused) this.node.querySelector<HTMLElement>(`[aria-label="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
  }

  #item(exercise: Exercise, { status, score }: Standing): HTMLLIElement {
    const { id, number, title, points } = exercise;
    const mark = element("span", "gradbook-mark", MARKS[status] ?? "○");
    mark.dataset.status = status;
    mark.title = status;
    const open = button("gradbook-course-link gradbook-course-open", `${number}. ${title}`, `Open exercise ${number}, ${title}: ${status}, ${score} of ${points} points`, () => this.actions.open(exercise));
    const item = element("li", "gradbook-course-item", element("div", "gradbook-course-row", mark, open, element("span", "gradbook-points", `${score}/${points}`)));
    item.dataset.exercise = id;
    if (id !== this.#current) return item;
    item.classList.add("gradbook-current");
    item.append(element("div", "gradbook-course-actions",
      button("jp-Button jp-mod-styled jp-mod-accept", "Check", `Check exercise ${number}`, () => this.actions.check()),
      button("jp-Button jp-mod-styled", "Hint", `Next hint for exercise ${number}`, () => this.actions.hint()),
    ));
    const hints = this.#hints.get(id) ?? [];
    if (hints.length > 0) {
      const said = element("ol", "gradbook-course-hints", ...hints.map((text) => element("li", "", text)));
      said.setAttribute("aria-live", "polite");
      item.append(said);
    }
    return item;
  }
}
