/** Submissions: notebooks, folders and zip files of them, read without trust in what they hold. */
import { readdirSync, readFileSync, statSync } from "node:fs";
import path from "node:path";
import { unzipSync } from "fflate";
import { exercises } from "../../exercises";
import { UsageError } from "../main";
import type { CodeCell } from "./answer";

export interface Notebook {
  /** As shown: the path it was found under. */
  path: string;
  cells: CodeCell[];
}

export interface Submission {
  path: string;
  student: string;
  notebooks: Notebook[];
  /** A sentence for each file that could not be read. */
  problems: string[];
}

/** Larger files are refused: no answer needs them. */
const largest = 256e6;
/** Of all files of one submission together. */
const largestTotal = 1e9;
/** Of the code in one notebook, in characters. */
const longestCode = 2e6;
/** Notebooks of one submission: the course has 40. */
const mostFiles = 1000;
const megabytes = (bytes: number): string => `${Math.round(bytes / 1e6)} MB`;

interface Found {
  /** Folder and file names below the path that was given. */
  parts: string[];
  shown: string;
  size: number;
  /** A notebook's bytes; of a file that is none there is nothing to read. */
  read?(): Buffer;
  /** The rest of a sentence about a file that should be a submission, or part of one, and cannot be read. */
  problem?: string;
}

const wanted = (name: string): boolean => /\.(ipynb|ts)$/i.test(name) && !/\.d\.ts$/i.test(name) && !name.startsWith(".");
const skipped = (name: string): boolean => (name.startsWith(".") && name !== "." && name !== "..") || name === "node_modules" || name === "__MACOSX";

/** Folders that programs make beside notebooks. */
const ofTools = new Set([".ipynb_checkpoints", ".git", ".vscode", ".idea", "node_modules", "__MACOSX"]);

/** Says of a folder that is passed over for its name that it holds notebooks, where it does. */
function hidden(folder: string): string[] {
  return filesInFolder(folder, [], []).some(({ read }) => read) ? [passedOver(folder)] : [];
}

const passedOver = (folder: string): string => `${folder} is passed over, for its name starts with a dot; rename it to have it graded`;

/** What is said of a file that is no notebook; undefined where nothing need be said. */
function notOpened(name: string): string | undefined {
  if (/\.zip$/i.test(name)) return "is a zip file inside a zip file; unpack the outer one to have it graded";
  if (/\.(rar|7z|tar|tgz|gz|bz2|xz)$/i.test(name)) return "is an archive that is not opened; unpack it, or make it a zip file";
  return undefined;
}

/** A folder or zip file of which nothing can be had. */
function nothingOf(file: string, parts: string[], problem: string): Found {
  return { parts: [...parts, path.basename(file)], shown: file, size: 0, problem };
}

/** Only listed here: each file is unpacked when it is its turn, so that a zip bomb meets the limits first. */
function filesInZip(zip: string, parts: string[], problems: string[]): Found[] {
  const sizes = new Map<string, number>();
  const dotted = new Set<string>();
  const unpack = (name: string): Buffer => {
    const content = unzipSync(readFileSync(zip), { filter: (entry) => entry.name === name })[name];
    return Buffer.from(content.buffer, content.byteOffset, content.byteLength);
  };
  try {
    unzipSync(readFileSync(zip), {
      filter: ({ name, originalSize }) => {
        const folders = name.split(/[\\/]/);
        const file = folders.at(-1)!;
        // A name that stands there twice is unpacked twice. A folder's own entry ends with a slash.
        if (file === "") return false;
        if (!folders.some(skipped)) sizes.set(name, (sizes.get(name) ?? 0) + originalSize);
        else if (wanted(file) && skipped(folders[0]) && !ofTools.has(folders[0])) dotted.add(folders[0]);
        return false;
      },
    });
  } catch (error) {
    return [nothingOf(zip, parts, `is no zip file that can be read (${(error as Error).message})`)];
  }
  if (sizes.size === 0 && dotted.size === 0) return [nothingOf(zip, parts, "holds no file")];
  problems.push(...[...dotted].map((folder) => passedOver(`${zip}/${folder}`)));
  return [...sizes].map(([name, size]): Found => {
    // Names only: nothing is ever written to where they point.
    const below = name.split(/[\\/]/).filter((part) => part !== "" && part !== "." && part !== "..");
    const found = { parts: [...parts, ...below], shown: `${zip}/${name}`, size };
    return wanted(below.at(-1) ?? "") ? { ...found, read: () => unpack(name) } : { ...found, problem: notOpened(name) };
  });
}

function filesInFolder(folder: string, parts: string[], problems: string[]): Found[] {
  let entries;
  try {
    entries = readdirSync(folder, { withFileTypes: true }).sort((a, b) => a.name.localeCompare(b.name));
  } catch (error) {
    return [nothingOf(folder, parts, `cannot be read (${(error as NodeJS.ErrnoException).code})`)];
  }
  return entries.flatMap((entry): Found[] => {
    const file = path.join(folder, entry.name);
    const found: Found = { parts: [...parts, entry.name], shown: file, size: 0 };
    if (skipped(entry.name)) {
      // A student's folder may be called so; an editor's, full of copies, is passed over in silence.
      if (parts.length === 0 && entry.isDirectory() && !ofTools.has(entry.name)) problems.push(...hidden(file));
      return [];
    }
    if (entry.isDirectory()) return filesInFolder(file, found.parts, problems);
    if (entry.isSymbolicLink()) return [{ ...found, problem: "is a link; links are not followed" }];
    if (!entry.isFile()) return [];
    if (/\.zip$/i.test(entry.name)) return filesInZip(file, [...parts, entry.name.replace(/\.zip$/i, "")], problems);
    if (!wanted(entry.name)) return [{ ...found, problem: notOpened(entry.name) }];
    return [{ ...found, size: statSync(file).size, read: () => readFileSync(file) }];
  });
}

const stem = (name: string): string => name.replace(/\.(ipynb|ts|zip)$/i, "");

/** The exercise that a file's name names, if any: 02-jacobian-composition, or the id alone. */
export function namedExercise(file: string): string | undefined {
  const name = stem(path.basename(file)).toLowerCase();
  return exercises.find(({ id, folder }) => name === id || name.includes(folder))?.id;
}

interface Group {
  student: string;
  /** The path that is shown. */
  where: string;
  files: Found[];
}

/** Which submission a file belongs to: a folder each, a notebook each, and a folder of the course's own notebooks as one. */
function group(files: Found[], name: string, shown: string): Group[] {
  let list = files;
  const telling = list.filter(({ read, problem }) => read ?? problem);
  const nested = (f: Found): string | undefined => (f.parts.length > 2 ? f.parts[1] : undefined);
  const top = new Set(telling.map(({ parts }) => parts[0]));
  // One folder around several others is a wrapping, not a student.
  if (top.size === 1 && telling.every(nested) && new Set(telling.map(nested)).size > 1) {
    list = list.filter(({ parts }) => top.has(parts[0])).map((f) => ({ ...f, parts: f.parts.slice(1) }));
  }
  const groups = new Map<string, Group>();
  for (const file of list) {
    const direct = file.parts.length === 1;
    // Beside the submissions lies what is the teacher's.
    if (direct && !file.read && !file.problem) continue;
    const student = !direct ? file.parts[0] : namedExercise(file.parts[0]) ? name : stem(file.parts[0]);
    const alone = direct && student !== name;
    const key = JSON.stringify(alone ? [file.shown] : [shown, student]);
    const where = alone ? file.shown : student === name ? shown : path.join(shown, student);
    const known = groups.get(key);
    if (known) known.files.push(file);
    else groups.set(key, { student, where, files: [file] });
  }
  const all = [...groups.values()];
  const full = all.filter((one) => one.files.some(({ read, problem }) => read ?? problem));
  // Where submissions are folders, one without a notebook is a submission, too; else it is where somebody keeps something.
  const folders = full.length > 1 && list.some(({ read, parts }) => read && parts.length > 1);
  const own = full.some(({ where }) => where === shown);
  return folders && !own ? all : full;
}

/** The text of a cell: a string or a list of lines. */
function sourceOf(source: unknown): string {
  if (Array.isArray(source)) return source.join("");
  return typeof source === "string" ? source : "";
}

/** A notebook's code cells, or one sentence that says why there are none. */
export function readNotebook(text: string): CodeCell[] | string {
  if (text.trim() === "") return "is empty";
  let notebook: unknown;
  try {
    notebook = JSON.parse(text.replace(/^\uFEFF/, ""));
  } catch {
    return "is not JSON, so it is no notebook";
  }
  const { cells, metadata, worksheets } = (notebook ?? {}) as Record<string, unknown>;
  if (Array.isArray(worksheets)) return "is a notebook of nbformat 3; open and save it in JupyterLab to bring it to 4";
  if (!Array.isArray(cells)) return "is JSON without cells, so it is no notebook";
  const { kernelspec, language_info: info } = (metadata ?? {}) as Record<string, Record<string, unknown> | undefined>;
  const language = String(kernelspec?.language ?? info?.name ?? "typescript").toLowerCase();
  if (language !== "typescript" && language !== "javascript") return `is a notebook in ${language.slice(0, 40)}, TypeScript is graded here`;
  return cells.flatMap((cell: unknown, i) => {
    const { cell_type: type, source, metadata: about } = (cell ?? {}) as Record<string, unknown>;
    if (type !== "code") return [];
    const { grade_id: id, solution } = ((about as Record<string, unknown> | undefined)?.nbgrader ?? {}) as Record<string, unknown>;
    // A locked test cell is the teacher's in name only: nothing in it counts.
    if (id !== undefined && solution === false) return [];
    return [{ at: i + 1, source: sourceOf(source), gradeId: typeof id === "string" ? id : undefined }];
  });
}

/** A module such as solutions/NN-id.ts as a notebook of one cell. */
function readModule(text: string, file: string): CodeCell[] {
  return [{ at: 1, source: text, gradeId: namedExercise(file) }];
}

function readSubmission({ files, student, where }: Group): Submission {
  const submission: Submission = { path: where, student, notebooks: [], problems: [] };
  const bad = files.flatMap(({ shown, problem }) => (problem ? [`${shown} ${problem}`] : []));
  submission.problems.push(...bad);
  const readable = files.filter((file): file is Found & { read(): Buffer } => file.read !== undefined);
  if (readable.length === 0 && bad.length === 0) {
    const [first, ...more] = files.map(({ parts }) => parts.at(-1)!);
    submission.problems.push(`${where} holds no notebook, only ${first}${more.length > 0 ? ` and ${more.length} more` : ""}`);
  }
  if (readable.length > mostFiles) submission.problems.push(`${where} holds ${readable.length} notebooks, the first ${mostFiles} are read`);
  let total = 0;
  for (const file of readable.slice(0, mostFiles)) {
    total += file.size;
    const [size, limit, whose] = file.size > largest ? [file.size, largest, ""] : [total, largestTotal, " of a submission"];
    if (size > limit) {
      submission.problems.push(`${file.shown} ${whose ? "makes" : "has"} ${megabytes(size)}, at most ${megabytes(limit)}${whose} are read`);
      continue;
    }
    try {
      const text = file.read().toString("utf8");
      const cells = /\.ts$/i.test(file.shown) ? readModule(text, file.shown) : readNotebook(text);
      const length = typeof cells === "string" ? 0 : cells.reduce((sum, { source }) => sum + source.length, 0);
      if (length > longestCode) submission.problems.push(`${file.shown} holds ${megabytes(length)} of code, at most ${megabytes(longestCode)} are read`);
      else if (typeof cells === "string") submission.problems.push(`${file.shown} ${cells}`);
      else submission.notebooks.push({ path: file.shown, cells });
    } catch (error) {
      submission.problems.push(`${file.shown} cannot be read (${(error as Error).message})`);
    }
  }
  return submission;
}

/** What a path holds, as files of one submission each; read one at a time, so that a thousand fit in memory. */
export interface SubmissionSource {
  path: string;
  student: string;
  read(): Submission;
}

/** The submissions below each path. Throws a UsageError where a path does not exist. */
export function findSubmissions(paths: readonly string[]): SubmissionSource[] {
  return paths.flatMap((given) => {
    let stat;
    try {
      stat = statSync(given);
    } catch {
      throw new UsageError(`grade: there is no ${given}`);
    }
    const name = path.basename(path.resolve(given)).replace(/\.(ipynb|ts|zip)$/i, "");
    if (stat.isFile() && !/\.zip$/i.test(given)) {
      const file: Found = { parts: [path.basename(given)], shown: given, size: stat.size, read: () => readFileSync(given) };
      return [{ path: given, student: name, read: () => readSubmission({ student: name, where: given, files: [file] }) }];
    }
    const problems: string[] = [];
    const files = stat.isFile() ? filesInZip(given, [], problems) : filesInFolder(given, [], problems);
    const sources = group(files, name, given).map((one): SubmissionSource => ({ path: one.where, student: one.student, read: () => readSubmission(one) }));
    if (sources.length === 0 || problems.length > 0) {
      const why = problems.length ? problems : [`${given} holds no notebook`];
      sources.push({ path: given, student: name, read: () => ({ path: given, student: name, notebooks: [], problems: why }) });
    }
    return sources;
  });
}
