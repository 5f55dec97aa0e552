/** Lines that begin with % at the top of a cell. They are blanked out, so that every other line keeps its number. */
import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import path from "node:path";
import { inspect } from "node:util";

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
    lines[i] = "";
    if (name === "%%loose") magics.loose = true;
    else if (name === "%%time" && argument === "") magics.time = true;
    else if (name === "%%writefile") {
      magics.lines.push({ name, argument, body: lines.slice(i + 1).join("\n") });
      lines.fill("", i);
    } else magics.lines.push({ name, argument, body: "" });
  }
  magics.code = lines.join("\n");
  return magics;
}

export interface MagicHost {
  folder: string;
  names(): [string, unknown][];
  reset(): void;
  refreshModules(): void;
  /** Signature and documentation of a name, undefined when it is unknown. */
  explain(name: string): string | undefined;
  /** Runs TypeScript and shows its result. */
  run(code: string): Promise<void>;
}

const HELP = `Magics stand on the first lines of a cell.
  %time EXPRESSION         runs the expression and says how long it took
  %%time                   says how long the cell took
  %%loose                  checks the cell without TypeScript's strict rules
  %who                     lists the names you have declared
  %reset                   forgets them all
  %doc NAME                shows what is known about a name
  %npm install PACKAGE...  installs packages beside the notebook
  %%writefile FILE         writes the rest of the cell to a file
  %help                    this list
In every cell: the whole library by name (Tab completes, Shift+Tab explains), display(value), html\`..\`, md\`..\`, svg\`..\`,
image(file), await input("question"), check("exercise"), hint("exercise"), solution("exercise"), progress().
`;

/**
 * @returns a text for the front end's pager, if that is what the magic makes
 * @throws Error in one sentence for an unknown magic or a wrong argument
 */
export async function runMagic({ name, argument, body }: Magic, host: MagicHost): Promise<string | undefined> {
  switch (name) {
    case "%doc": {
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
      const started = performance.now();
      await host.run(argument);
      process.stdout.write(`Wall time: ${(performance.now() - started).toFixed(1)} ms\n`);
      return undefined;
    }
    case "%npm":
      await npm(argument, host);
      return undefined;
    case "%%writefile": {
      if (argument === "") throw new Error("%%writefile: there is no file name");
      const file = path.resolve(host.folder, argument);
      writeFileSync(file, body === "" || body.endsWith("\n") ? body : `${body}\n`);
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

async function npm(argument: string, host: MagicHost): Promise<void> {
  const words = argument.split(/\s+/).filter(Boolean);
  if (!["install", "i", "uninstall", "ls"].includes(words[0])) {
    throw new Error(`%npm: "${words[0] ?? ""}" is not known here; write %npm install PACKAGE`);
  }
  const code = await new Promise<number | null>((resolve, reject) => {
    const child = spawn("npm", [...words, "--no-fund", "--no-audit"], { cwd: host.folder, stdio: ["ignore", "pipe", "pipe"] });
    child.stdout.on("data", (data: Buffer) => process.stdout.write(data));
    child.stderr.on("data", (data: Buffer) => process.stderr.write(data));
    child.on("error", (error) => reject(new Error(`npm cannot be started: ${error.message}`)));
    child.on("close", resolve);
  });
  host.refreshModules();
  if (code !== 0) throw new Error(`npm ended with code ${code}`);
}
