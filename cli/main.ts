/** `gradbook <command>`: finds the command and runs it. Each command is a file of its own in commands/, loaded only when it is asked for. */

/** What a command module exports. `run` resolves to the exit code: 0 done, 1 something could not be graded or run, 2 wrong usage. */
export interface Command {
  /** What follows the command's name, e.g. `NOTEBOOK [--output F]`. */
  usage: string;
  /** One line for `gradbook help`. */
  summary: string;
  /** Each option with what it means, in a line, for `gradbook <command> --help`. */
  options?: [flag: string, meaning: string][];
  run(args: string[]): Promise<number>;
}

const commands: Record<string, () => Promise<{ command: Command }>> = {
  lab: () => import("./commands/lab.js"),
  install: () => import("./commands/install.js"),
  grade: () => import("./commands/grade.js"),
  run: () => import("./commands/run.js"),
  watch: () => import("./commands/watch.js"),
  doctor: () => import("./commands/doctor.js"),
};

/** Thrown by a command for a mistake in how it was called; its message is one sentence, and the exit code is 2. */
export class UsageError extends Error {}

const call = (name: string, { usage }: Command): string => `gradbook ${name} ${usage}`.trimEnd();

async function help(): Promise<void> {
  console.log("gradbook: learn backpropagation by writing it.\n");
  for (const [name, load] of Object.entries(commands)) {
    const { command } = await load();
    console.log(`  ${call(name, command)}\n      ${command.summary}`);
  }
}

async function dispatch([name, ...args]: string[]): Promise<number> {
  if (name === undefined || name === "help" || name === "--help" || name === "-h") {
    await help();
    return name === undefined ? 2 : 0;
  }
  if (name === "--version") {
    console.log((require("../../package.json") as { version: string }).version);
    return 0;
  }
  const load = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (!load) throw new UsageError(`unknown command "${name}"; the commands are ${Object.keys(commands).join(", ")}`);
  const { command } = await load();
  if (args.includes("--help") || args.includes("-h")) {
    const { summary, options = [] } = command;
    const width = Math.max(0, ...options.map(([flag]) => flag.length));
    console.log([call(name, command), summary, ...options.map(([flag, meaning]) => `  ${flag.padEnd(width)}  ${meaning}`)].join("\n"));
    return 0;
  }
  return command.run(args);
}

export async function main(argv: string[]): Promise<void> {
  try {
    process.exitCode = await dispatch(argv);
  } catch (error) {
    // parseArgs reports an unknown option as a TypeError with such a code: that, too, is a mistake in the call.
    const usage = error instanceof UsageError || String((error as { code?: string }).code).startsWith("ERR_PARSE_ARGS");
    console.error(`gradbook: ${error instanceof Error ? error.message : String(error)}`);
    process.exitCode = usage ? 2 : 1;
  }
}
