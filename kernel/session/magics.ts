/** Lines that begin with % at the top of a cell. They are blanked out, so that all other text keeps its place. */
import { spawn, type ChildProcess } from "node:child_process";
import { appendFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { inspect } from "node:util";
import type { Completions } from "./complete";
import { interruptible } from "./interrupt";

export interface Magic {
  name: string;
  argument: string;
  /** What stands below a cell magic that takes the whole cell. */
  body: string;
}

export interface Magics {
  lines: Magic[];
  /** The TypeScript that is left. */
  code: string;
  loose: boolean;
  time: boolean;
}

export function parseMagics(code: string): Magics {
  const magics: Magics = { lines: [], code, loose: false, time: false };
  if (!/^\s*%/m.test(code)) return magics;
  const lines = code.split("\n");
  for (let i = 0; i < lines.length; i++) {
    const line = lines[i].trim();
    if (line === "" || line.startsWith("//")) continue;
    const [, name, argument] = /^(%%?\w*)\s*(.*)$/.exec(line) ?? [];
    if (name === undefined) break;
    lines[i] = blank(lines[i]);
    if (name === "%%loose") magics.loose = true;
    else if (name === "%%time" && argument === "") magics.time = true;
    else if (name === "%%writefile") {
      magics.lines.push({ name, argument, body: lines.slice(i + 1).join("\n") });
      lines.splice(i, Infinity, ...lines.slice(i).map(blank));
    } else magics.lines.push({ name, argument, body: "" });
  }
  magics.code = lines.join("\n");
  return magics;
}

function blank(line: string): string {
  return " ".repeat(line.length);
}

export interface MagicHost {
  folder: string;
  names(): [string, unknown][];
  reset(): void;
  /** Says which packages have another version now than the one that is loaded. */
  refreshModules(): string[];
  /** Signature and documentation of a name, undefined when it is unknown. */
  explain(name: string): string | undefined;
  /** Runs TypeScript and shows its result; says how many milliseconds it ran. */
  run(code: string): Promise<number>;
}

const MAGICS: [usage: string, meaning: string][] = [
  ["%time EXPRESSION", "runs the expression and says how long it took"],
  ["%%time", "says how long the cell took"],
  ["%%loose", "checks the cell without TypeScript's strict rules"],
  ["%who", "lists the names you have declared"],
  ["%reset", "forgets them all"],
  ["%doc NAME", "shows what is known about a name"],
  ["%npm install PACKAGE...", "installs packages beside the notebook"],
  ["%%writefile [-a] FILE", "writes the rest of the cell to a file, with -a to its end"],
  ["%help", "this list"],
];

const nameOf = (usage: string): string => usage.split(" ")[0];

/** Whether the line would be a magic, stood it at the top of its cell. */
export function looksLikeMagic(line: string): boolean {
  const [word] = line.trim().split(/\s/);
  return MAGICS.some(([usage]) => nameOf(usage) === word);
}

/** What can stand at the cursor when a magic's name is being written there. */
export function completeMagic(code: string, offset: number): Completions | undefined {
  const [before, prefix] = /(?:^|[^]*\n)[ \t]*(%%?\w*)$/.exec(code.slice(0, offset)) ?? [];
  if (before === undefined || parseMagics(before).code.trim() !== "") return undefined;
  const items = MAGICS.filter(([usage]) => nameOf(usage).startsWith(prefix))
    .map(([usage, documentation]) => ({ text: nameOf(usage), type: "magic", signature: usage, documentation }));
  return { start: offset - prefix.length, end: offset, items };
}

const HELP = `Magics stand on the first lines of a cell.
${MAGICS.map(([usage, meaning]) => `  ${usage.padEnd(25)}${meaning}\n`).join("")}In every cell: the whole library by name (Tab completes, Shift+Tab explains),
display(value), html\`..\`, md\`..\`, svg\`..\`, image(file), await input("question"),
check("exercise"), hint("exercise"), solution("exercise"), progress().
`;

/**
 * @returns a text for the front end's pager, if that is what the magic makes
 * @throws Error in one sentence for an unknown magic or a wrong argument
 */
export async function runMagic({ name, argument, body }: Magic, host: MagicHost): Promise<string | undefined> {
  switch (name) {
    case "%doc": {
      if (argument === "") throw new Error("%doc: there is no name; write %doc linear");
      const text = host.explain(argument);
      if (text === undefined) throw new Error(`%doc: nothing is known about "${argument}"`);
      return text;
    }
    case "%help":
      process.stdout.write(HELP);
      return undefined;
    case "%who":
      process.stdout.write(who(host.names()));
      return undefined;
    case "%reset":
      host.reset();
      return undefined;
    case "%time":
    case "%%time": {
      if (argument === "") throw new Error("%time: there is no expression; write %time f(x)");
      process.stdout.write(wallTime(await host.run(argument)));
      return undefined;
    }
    case "%npm":
      await npm(argument, host);
      return undefined;
    case "%%writefile": {
      const [, append, name] = /^(-a\s+)?(.*)$/.exec(argument)!;
      if (name === "") throw new Error("%%writefile: there is no file name");
      const file = path.resolve(host.folder, name);
      try {
        (append ? appendFileSync : writeFileSync)(file, body === "" || body.endsWith("\n") ? body : `${body}\n`);
      } catch (error) {
        throw new Error(`%%writefile: ${name} cannot be written (${(error as NodeJS.ErrnoException).code})`);
      }
      host.refreshModules();
      process.stdout.write(`Wrote ${path.relative(host.folder, file)}\n`);
      return undefined;
    }
    default:
      throw new Error(`there is no magic ${name}; %help lists them`);
  }
}

function who(names: [string, unknown][]): string {
  if (names.length === 0) return "No names yet.\n";
  const width = Math.max(...names.map(([name]) => name.length));
  return names.map(([name, value]) => {
    const text = inspect(value, { depth: 0, maxArrayLength: 4, breakLength: Infinity }).split("\n")[0];
    return `${name.padEnd(width)}  ${text.length > 90 ? `${text.slice(0, 89)}…` : text}\n`;
  }).join("");
}

/** The line that %time and %%time write. */
export function wallTime(ms: number): string {
  return `Wall time: ${ms < 1000 ? `${ms.toFixed(1)} ms` : `${(ms / 1000).toFixed(2)} s`}\n`;
}

async function npm(argument: string, host: MagicHost): Promise<void> {
  const words = argument.split(/\s+/).filter(Boolean);
  if (!["install", "i", "uninstall", "ls"].includes(words[0])) {
    throw new Error(`%npm: "${words[0] ?? ""}" is not known here; write %npm install PACKAGE`);
  }
  const onWindows = process.platform === "win32";
  // A group of its own, so that an interrupt reaches what npm has started, too. On Windows npm is a script.
  const child = spawn("npm", [...words, "--no-fund", "--no-audit"], {
    cwd: host.folder, stdio: ["ignore", "pipe", "pipe"], detached: !onWindows, shell: onWindows,
  });
  child.stdout.on("data", (data: Buffer) => process.stdout.write(data));
  child.stderr.on("data", (data: Buffer) => process.stderr.write(data));
  let code: unknown;
  try {
    code = await interruptible(ended(child));
  } catch (error) {
    if (child.pid !== undefined) process.kill(onWindows ? child.pid : -child.pid);
    throw error;
  }
  for (const line of host.refreshModules()) process.stdout.write(`${line}\n`);
  if (code !== 0) throw new Error(`%npm ${argument}: npm ended with code ${String(code)}; what it wrote says why`);
}

function ended(child: ChildProcess): Promise<number | null> {
  return new Promise((resolve, reject) => {
    child.on("error", (error) => reject(new Error(`npm cannot be started: ${error.message}`)));
    child.on("close", resolve);
  });
}
