/** The course in JupyterLab: a sidebar, Check on answer cells, hints step by step, and Submit. */
import type { JupyterFrontEnd, JupyterFrontEndPlugin } from "@jupyterlab/application";
import { ILayoutRestorer } from "@jupyterlab/application";
import { ICommandPalette, Notification } from "@jupyterlab/apputils";
import { PageConfig } from "@jupyterlab/coreutils";
import type { NotebookPanel } from "@jupyterlab/notebook";
import { INotebookTracker, NotebookActions } from "@jupyterlab/notebook";
import { IStateDB } from "@jupyterlab/statedb";
import { answeredBy, askHint, exercisesOf, runCheck } from "./cells";
import type { Course, Exercise } from "./course";
import { grade, readCourse, readStandings } from "./course";
import { Report } from "./report";
import { CourseSidebar } from "./sidebar";

const COMMANDS = ["gradbook:check", "gradbook:hint", "gradbook:submit"];
/** Where it is noted that the course has been shown once. */
const WELCOMED = "gradbook-course:welcomed";

function activate(app: JupyterFrontEnd, tracker: INotebookTracker, palette: ICommandPalette | null, restorer: ILayoutRestorer | null, state: IStateDB | null): void {
  const { commands, shell, serviceManager } = app;
  const reports = new Map<string, Report>();
  let course: Course | undefined;

  const failed = (error: unknown) => Notification.error(error instanceof Error ? error.message : String(error), { autoClose: 10_000 });
  /** The notebook that was last worked in, as long as it can be seen: a report may stand beside it. */
  const inView = (): NotebookPanel | undefined => (tracker.currentWidget?.isVisible ? tracker.currentWidget : undefined);
  /** The exercise of the active cell, or else the notebook's first. */
  const currentId = (panel = inView()): string | undefined => panel && (answeredBy(panel.content.activeCell?.model) ?? exercisesOf(panel.content)[0]);

  const open = async (exercise: Exercise): Promise<NotebookPanel> => {
    const path = `${course!.folder}${exercise.notebook}`;
    const panel = (await commands.execute("docmanager:open", { path })) as NotebookPanel;
    await panel.context.ready;
    await panel.revealed;
    return panel;
  };

  const showOverview = () => commands.execute("docmanager:open", { path: course!.overview, factory: "Markdown Preview" });

  const sidebar = new CourseSidebar({
    open: (exercise) => void open(exercise).catch(failed),
    check: () => void commands.execute("gradbook:check"),
    hint: () => void commands.execute("gradbook:hint"),
    overview: () => void showOverview().catch(failed),
  });
  shell.add(sidebar, "left", { rank: 150 });
  restorer?.add(sidebar, "gradbook-course");

  const refreshStandings = async () => sidebar.setStandings(await readStandings().catch(() => ({})));
  const refreshCourse = async () => {
    course = await readCourse(serviceManager.contents);
    sidebar.setCourse(course);
    if (course) await refreshStandings();
  };

  const check = async (panel: NotebookPanel, id: string): Promise<void> => {
    await runCheck(panel, id);
    await refreshStandings();
  };
  const hint = async (panel: NotebookPanel, id: string): Promise<void> => {
    sidebar.addHint(id, await askHint(panel.sessionContext, id));
    shell.activateById(sidebar.id);
  };
  const submit = async (panel: NotebookPanel): Promise<void> => {
    const { path } = panel.context;
    await panel.context.save();
    const graded = grade(path);
    void Notification.promise(graded, {
      pending: { message: `Grading ${path} ...`, options: { autoClose: false } },
      success: { message: () => `${path} is graded.`, options: { autoClose: 3_000 } },
      error: { message: (error) => (error as Error).message, options: { autoClose: 15_000 } },
    });
    const result = await graded.catch(() => undefined);
    if (!result) return;
    const report = reports.get(path) ?? new Report(path);
    report.fill(result, course);
    if (!report.isAttached) {
      reports.set(path, report);
      report.disposed.connect(() => reports.delete(path));
      shell.add(report, "main", { ref: panel.id, mode: "split-right" });
    }
    shell.activateById(report.id);
    await refreshStandings();
  };

  const withExercise = (run: (panel: NotebookPanel, id: string) => Promise<void>) => async () => {
    const panel = inView();
    const id = currentId(panel);
    if (panel && id !== undefined) await run(panel, id).catch(failed);
  };
  commands.addCommand("gradbook:check", {
    label: "Check the Answer",
    caption: "Run this answer and check it (Ctrl Shift Enter)",
    isEnabled: () => currentId() !== undefined,
    // In a cell's toolbar the button stands on answer cells only; the menu has it for the whole notebook.
    isVisible: (args) => (args.toolbar ? answeredBy(inView()?.content.activeCell?.model) !== undefined : true),
    execute: withExercise(check),
  });
  commands.addCommand("gradbook:hint", {
    label: "Next Hint",
    caption: "Show the next hint for this exercise",
    isEnabled: () => currentId() !== undefined,
    execute: withExercise(hint),
  });
  commands.addCommand("gradbook:submit", {
    label: "Submit for Grading",
    caption: "Save this notebook, grade it apart from its kernel, and show the report",
    isEnabled: () => currentId() !== undefined,
    isVisible: () => currentId() !== undefined,
    execute: withExercise((panel) => submit(panel)),
  });
  for (const command of COMMANDS) palette?.addItem({ command, category: "Course" });

  const follow = () => {
    sidebar.setCurrent(currentId());
    // A toolbar's button listens for its own command's name only.
    for (const command of COMMANDS) commands.notifyCommandChanged(command);
  };
  shell.currentChanged?.connect(follow);
  tracker.activeCellChanged.connect(follow);
  tracker.widgetAdded.connect((_, panel) => void panel.context.ready.then(follow));
  // A check that ran in a cell, by whatever hand, has moved the standings.
  NotebookActions.executed.connect((_, { cell }) => {
    if (cell.model.sharedModel.source.includes("check(")) void refreshStandings();
  });
  serviceManager.contents.fileChanged.connect((_, { newValue }) => {
    if (newValue?.path?.endsWith("course.json")) void refreshCourse();
  });
  /** The first time that a student opens the course, it shows itself. */
  const welcome = async () => {
    if (!course || !state || (await state.fetch(WELCOMED)) === true) return;
    await state.save(WELCOMED, true);
    shell.activateById(sidebar.id);
    if (course.overview !== undefined && PageConfig.getOption("treePath") === "") await showOverview();
  };
  void app.restored.then(refreshCourse).then(welcome).then(follow).catch(failed);
}

const plugin: JupyterFrontEndPlugin<void> = {
  id: "gradbook-course:plugin",
  description: "The course's exercises, checks, hints and submission.",
  autoStart: true,
  requires: [INotebookTracker],
  optional: [ICommandPalette, ILayoutRestorer, IStateDB],
  activate,
};

export default plugin;
