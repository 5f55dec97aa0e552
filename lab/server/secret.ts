import { randomBytes } from "node:crypto";
import fs from "node:fs";

/** The secret kept in `file`, made on first use, readable by this user only. */
export function secret(file: string): Buffer {
  try {
    return Buffer.from(fs.readFileSync(file, "utf8"), "hex");
  } catch {
    const made = randomBytes(32);
    fs.writeFileSync(file, made.toString("hex"), { mode: 0o600 });
    return made;
  }
}
