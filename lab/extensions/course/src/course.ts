/** What the course is and how far the student has come, as the server tells it. */
import { URLExt } from "@jupyterlab/coreutils";
import { ServerConnection } from "@jupyterlab/services";
import type { Contents } from "@jupyterlab/services";

export interface Exercise {
  id: string;
  number: number;
  title: string;
  /** The notebook's file, beside course.json. */
  notebook: string;
  points: number;
}

export type Status = "passed" | "failed" | "not attempted" | "error" | "timeout";

export interface Standing {
  status: Status;
  score: number;
}

export interface Course {
  /** The folder of course.json: "" or "notebooks/". */
  folder: string;
  exercises: Exercise[];
  /** The path of the page that says what the course is, when there is one. */
  overview: string | undefined;
}

/** Types and not interfaces, because JupyterLab takes only those for JSON. */
export type GradedExercise = {
  id: string;
  score: number;
  max: number;
  status: Status;
  checks: { name: string; status: Status; score: number; max: number; message: string; diagnosis?: { mistake: string; hint: string } }[];
};

/** The report of `gradbook grade --json`. */
export type Graded = {
  submissions: { score: number; max: number; isolation: string; exercises: GradedExercise[] }[];
};

/** course.json lies in the folder that is served, or in its notebooks/. Without one there is no course here. */
export async function readCourse(contents: Contents.IManager): Promise<Course | undefined> {
  for (const folder of ["", "notebooks/"]) {
    // Asked for by its folder's listing, so that a folder without a course makes no error in the console.
    const listing = await contents.get(folder.slice(0, -1), { content: true }).catch(() => undefined);
    const names = ((listing?.content ?? []) as Contents.IModel[]).map(({ name }) => name);
    if (names.includes("course.json")) {
      const file = await contents.get(`${folder}course.json`, { content: true, format: "text", type: "file" });
      const exercises = JSON.parse(file.content as string) as Exercise[];
      return { folder, exercises, overview: names.includes("README.md") ? `${folder}README.md` : undefined };
    }
    if (!names.includes("notebooks")) return undefined;
  }
  return undefined;
}

async function request(path: string, init: RequestInit = {}): Promise<unknown> {
  const settings = ServerConnection.makeSettings();
  const response = await ServerConnection.makeRequest(URLExt.join(settings.baseUrl, "gradbook", path), init, settings);
  const body = (await response.json().catch(() => ({}))) as { message?: string };
  if (!response.ok) throw new ServerConnection.ResponseError(response, body.message ?? `the server answered ${response.status}`);
  return body;
}

/** Under another server than ours nothing is known. */
export async function readStandings(): Promise<Record<string, Standing>> {
  return (await request("progress")) as Record<string, Standing>;
}

/** Grades a saved notebook in the sandbox. */
export async function grade(path: string): Promise<Graded> {
  return (await request("grade", { method: "POST", body: JSON.stringify({ path }) })) as Graded;
}
