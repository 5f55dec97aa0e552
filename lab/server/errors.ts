/** What the page shows: a status and one sentence. Everything else that is thrown is a bug, and answered with 500. */
export class HttpError extends Error {
  constructor(readonly status: number, message: string) {
    super(message);
  }
}

/** The system's error codes that a user can do something about, as one sentence about `name`. */
export function explain(error: unknown, name: string): HttpError {
  if (error instanceof HttpError) return error;
  const { code } = error as NodeJS.ErrnoException;
  switch (code) {
    case "ENOENT":
    case "ENOTDIR":
      return new HttpError(404, `${name} does not exist`);
    case "EACCES":
    case "EPERM":
      return new HttpError(403, `${name}: this account has no permission for it`);
    case "EROFS":
      return new HttpError(403, `${name}: the disk is read-only`);
    case "ENOSPC":
    case "EDQUOT":
      return new HttpError(507, `${name} was not saved because the disk is full; the version on the disk is unchanged, so free some space and save again`);
    case "EFBIG":
      return new HttpError(507, `${name} was not saved because it is larger than this disk allows; the version on the disk is unchanged`);
    case "EEXIST":
    case "ENOTEMPTY":
      return new HttpError(409, `${name} already exists`);
    case "EISDIR":
      return new HttpError(400, `${name} is a folder`);
    case "ENAMETOOLONG":
      return new HttpError(400, `${name.slice(0, 40)}...: the name is too long for this disk`);
    case "ELOOP":
      return new HttpError(404, `${name} is a link that leads to itself`);
    default:
      return new HttpError(500, `${name}: ${(error as Error).message}`);
  }
}
