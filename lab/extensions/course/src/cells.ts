/** Finding and running an exercise's cells in a notebook. */
import type { ISessionContext } from "@jupyterlab/apputils";
import type { Cell, ICellModel } from "@jupyterlab/cells";
import type { Notebook, NotebookPanel } from "@jupyterlab/notebook";
import { NotebookActions } from "@jupyterlab/notebook";
import type { Kernel, KernelMessage } from "@jupyterlab/services";

/** The exercise that a cell answers; undefined for every other cell. */
export function answeredBy(model: ICellModel | undefined): string | undefined {
  const metadata = model?.getMetadata("nbgrader") as { solution?: boolean; grade_id?: string } | undefined;
  return metadata?.solution === true ? metadata.grade_id : undefined;
}

export function answerCell(notebook: Notebook, id: string): Cell | undefined {
  return notebook.widgets.find((cell) => answeredBy(cell.model) === id);
}

/** The exercises that a notebook has answer cells for. */
export function exercisesOf(notebook: Notebook): string[] {
  return notebook.widgets.map((cell) => answeredBy(cell.model)).filter((id) => id !== undefined);
}

function checkCell(notebook: Notebook, id: string): Cell | undefined {
  const call = new RegExp(`\\bcheck\\(\\s*["'\`]${id.replace(/[^\w-]/g, "\\$&")}["'\`]`);
  return notebook.widgets.find((cell) => cell.model.type === "code" && call.test(cell.model.sharedModel.source));
}

/** A notebook's kernel, started when there is none: it ended with the server, or was shut down. */
async function kernelOf(sessionContext: ISessionContext): Promise<Kernel.IKernelConnection> {
  await sessionContext.ready;
  if (!sessionContext.session?.kernel) await sessionContext.startKernel();
  const kernel = sessionContext.session?.kernel;
  if (!kernel) throw new Error("this notebook has no kernel; choose one by its name at the top right");
  return kernel;
}

/** Runs the answer, then the cell that checks it; a notebook that has none gets one below the answer. */
export async function runCheck({ content: notebook, sessionContext }: NotebookPanel, id: string): Promise<void> {
  const answer = answerCell(notebook, id);
  if (!answer) throw new Error(`this notebook has no answer cell for "${id}"`);
  await kernelOf(sessionContext);
  let check = checkCell(notebook, id);
  if (!check) {
    notebook.activeCellIndex = notebook.widgets.indexOf(answer);
    NotebookActions.insertBelow(notebook);
    check = notebook.activeCell!;
    check.model.sharedModel.setSource(`await check("${id}")`);
  }
  await NotebookActions.runCells(notebook, [answer, check], sessionContext);
  await new Promise(requestAnimationFrame);
  // The whole verdict, or its beginning when it is taller than the page.
  await notebook.scrollToCell(check, check.node.offsetHeight > notebook.node.clientHeight ? "start" : "end");
}

/** The next hint, as the kernel's hint() tells it; nothing is written into the notebook. */
export async function askHint(sessionContext: ISessionContext, id: string): Promise<string> {
  const kernel = await kernelOf(sessionContext);
  let said = "";
  const future = kernel.requestExecute({ code: `hint(${JSON.stringify(id)})`, store_history: false, stop_on_error: false });
  future.onIOPub = (message) => {
    if (message.header.msg_type === "execute_result" || message.header.msg_type === "display_data") {
      const { data } = (message as KernelMessage.IExecuteResultMsg).content;
      said = String(data["text/plain"] ?? "");
    }
    if (message.header.msg_type === "error") said = (message as KernelMessage.IErrorMsg).content.evalue;
  };
  await future.done;
  return said;
}
