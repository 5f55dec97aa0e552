/** The one folder that this server serves. Every path from outside becomes a path on the disk here, and only here. */
import fs from "node:fs";
import path from "node:path";
import { explain, HttpError } from "./errors.js";

export class Root {
  /** The folder with every link resolved. */
  readonly dir: string;

  constructor(dir: string) {
    this.dir = fs.realpathSync(dir);
  }

  /** The parts of a path as the API gives it: `a/b.ipynb`, `/a/b.ipynb` or "". */
  static segments(apiPath: string): string[] {
    return apiPath.split("/").filter((segment) => segment !== "");
  }

  /** The same path in its one true form, without leading, trailing or double slashes. */
  static normal(apiPath: string): string {
    return Root.segments(apiPath).join("/");
  }

  /** The API path of a file on the disk; undefined when there is none or it is not for the page. */
  relative(file: string): string | undefined {
    const apiPath = path.relative(this.dir, file).split(path.sep).join("/");
    try {
      return fs.existsSync(this.resolve(apiPath)) ? Root.normal(apiPath) : undefined;
    } catch {
      return undefined;
    }
  }

  /**
   * The file that an API path names. It need not exist, but the folder that it is in must lie inside the root after every link is
   * resolved. Hidden names (and so `.` and `..`) do not exist as far as the page is concerned.
   */
  resolve(apiPath: string): string {
    const segments = Root.segments(apiPath);
    for (const segment of segments) {
      if (segment.includes("\0")) throw new HttpError(400, "a path cannot hold a null character");
      if (segment.startsWith(".")) throw new HttpError(404, `${shown(apiPath)} does not exist or is hidden`);
      if (process.platform === "win32" && /[\\:*?"<>|]|[. ]$/.test(segment)) {
        throw new HttpError(400, `${shown(segment)} is not a name that Windows allows`);
      }
    }
    const target = path.join(this.dir, ...segments);
    let real: string;
    try {
      real = realNearest(target, shown(apiPath));
    } catch (error) {
      throw explain(error, shown(apiPath));
    }
    const inside = path.relative(this.dir, real);
    const escapes = inside === ".." || inside.startsWith(`..${path.sep}`) || path.isAbsolute(inside);
    if (escapes || inside.split(path.sep).some((segment) => segment.startsWith("."))) {
      throw new HttpError(404, `${shown(apiPath)} does not exist or lies outside this folder`);
    }
    return target;
  }
}

function shown(apiPath: string): string {
  return JSON.stringify(apiPath.length > 200 ? `${apiPath.slice(0, 200)}...` : apiPath);
}

/** The real path of `target`, or of what of it exists followed by what does not yet. */
function realNearest(target: string, name: string): string {
  try {
    return fs.realpathSync(target);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    // A link that leads nowhere would let a new file be made where it points.
    if (fs.lstatSync(target, { throwIfNoEntry: false })?.isSymbolicLink()) throw new HttpError(404, `${name} is a link that leads nowhere`);
    return path.join(realNearest(path.dirname(target), name), path.basename(target));
  }
}
