/** The connection file that whoever starts the kernel has written. */
import { readFileSync } from "node:fs";

export interface Connection {
  transport: "tcp" | "ipc";
  ip: string;
  key: string;
  shell_port: number;
  iopub_port: number;
  stdin_port: number;
  control_port: number;
  hb_port: number;
}

/** @throws Error in one sentence when the file cannot be read or lacks a field */
export function readConnection(file: string): Connection {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    throw new Error(`the connection file ${file} cannot be read (${(error as NodeJS.ErrnoException).code})`);
  }
  let fields: Record<string, unknown>;
  try {
    fields = JSON.parse(text) as Record<string, unknown>;
  } catch {
    throw new Error(`the connection file ${file} is not JSON`);
  }
  for (const port of ["shell_port", "iopub_port", "stdin_port", "control_port", "hb_port"]) {
    if (!Number.isInteger(fields[port])) throw new Error(`the connection file ${file} has no number "${port}"`);
  }
  const scheme = fields.signature_scheme ?? "hmac-sha256";
  if (scheme !== "hmac-sha256" && fields.key) {
    throw new Error(`the connection file ${file} asks for the signature scheme "${String(scheme)}"; only hmac-sha256 is known`);
  }
  return {
    ...(fields as unknown as Connection),
    transport: fields.transport === "ipc" ? "ipc" : "tcp",
    ip: typeof fields.ip === "string" ? fields.ip : "127.0.0.1",
    key: typeof fields.key === "string" ? fields.key : "",
  };
}

/** Where a socket with this port listens; over ipc a port is a suffix of the path. */
export function address({ transport, ip }: Connection, port: number): string {
  return `${transport}://${ip}${transport === "ipc" ? "-" : ":"}${port}`;
}
