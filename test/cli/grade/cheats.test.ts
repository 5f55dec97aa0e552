/** Every cheat and bomb in one class: each is contained, and reported as what it is. */
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, existsSync, writeFileSync, chmodSync } from "node:fs";
import { createServer, type AddressInfo, type Server } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { cheats, honest, type Cheat } from "./cheats";
import { notebook } from "./notebooks";

interface GradedExercise {
  id: string;
  score: number;
  max: number;
  status: string;
  checks: { name: string; status: string; message: string }[];
}

interface Graded {
  student: string;
  isolation: string;
  score: number;
  exercises: GradedExercise[];
}

const cli = path.join(__dirname, "../../../dist/cli/main.js");
const runCli = `require(${JSON.stringify(cli)}).main(process.argv.slice(1))`;
const secretText = "the-answer-key-7391";

describe("cheats and bombs", () => {
  const folder = mkdtempSync(path.join(tmpdir(), "gradbook-cheats-"));
  const secret = path.join(folder, "secret.txt");
  const canary = path.join(folder, "canary.txt");
  let connections = 0;
  let server: Server;
  let list: Cheat[];
  let results: Map<string, Graded>;
  let code: number | null;
  let printed = "";

  beforeAll(async () => {
    // Readable and writable by everybody: only the sandbox keeps them.
    chmodSync(folder, 0o777);
    writeFileSync(secret, secretText, { mode: 0o666 });
    server = createServer((socket) => {
      connections++;
      socket.destroy();
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    list = cheats(secret, canary, (server.address() as AddressInfo).port);
    const submissions = path.join(folder, "submissions");
    mkdirSync(submissions);
    const add = (student: string, exercise: string, source: string): void =>
      writeFileSync(path.join(submissions, `${student}.ipynb`), notebook([{ source, id: exercise }]));
    list.forEach(({ exercise = "jacobian-composition", code: source }, i) => add(`cheat ${i}`, exercise, source));
    // The last to be graded: everything before it must have left the grader whole.
    add("zz honest", "jacobian-composition", honest);
    const json = path.join(folder, "results.json");
    const child = spawn(process.execPath, ["-e", runCli, "--", "grade", submissions, "--json", json, "--timeout", "2", "--jobs", "3", "--seed", "cheats"], {
      env: { ...process.env, GRADBOOK_SECRET: secretText },
    });
    child.stdout.on("data", (chunk: Buffer) => (printed += chunk.toString()));
    child.stderr.on("data", (chunk: Buffer) => (printed += chunk.toString()));
    code = await new Promise((resolve) => child.on("close", resolve));
    if (!existsSync(json)) throw new Error(`no results: ${printed.slice(-2000)}`);
    const { submissions: graded } = JSON.parse(readFileSync(json, "utf8")) as { submissions: Graded[] };
    results = new Map(graded.map((submission) => [submission.student, submission]));
  }, 240_000);

  afterAll(() => server.close());

  it("are at least 60", () => {
    expect(list.length).toBeGreaterThanOrEqual(60);
    expect(results.size).toBe(list.length + 1);
    expect(code).toBe(0);
  });

  it("get no points that they did not earn, and are reported as what they are", () => {
    const wrong = list.flatMap(({ name, states, says }, i) => {
      const { exercises: [exercise] } = results.get(`cheat ${i}`)!;
      const messages = exercise.checks.map(({ message }) => message);
      const complaints: string[] = [];
      if (!(states as string[]).includes(exercise.status)) complaints.push(`is ${exercise.status}, should be ${states.join(" or ")}`);
      if (exercise.score === exercise.max && !states.includes("passed")) complaints.push("has all points");
      if (says && !messages.some((message) => says.test(message))) complaints.push(`should say ${String(says)}`);
      return complaints.map((complaint) => `${name}: ${complaint} (${[...new Set(messages)].join(" | ").slice(0, 200)})`);
    });
    expect(wrong).toEqual([]);
  });

  it("leave the honest submission after them with its points", () => {
    expect(results.get("zz honest")).toMatchObject({ score: 10, exercises: [{ status: "passed" }] });
  });

  it("learn, write and reach nothing outside", () => {
    expect(printed).not.toContain(secretText);
    expect(JSON.stringify([...results])).not.toContain(secretText);
    expect(existsSync(canary)).toBe(false);
    expect(readFileSync(secret, "utf8")).toBe(secretText);
    const sandboxed = [...results.values()].every(({ isolation }) => isolation === "bubblewrap");
    // Without bubblewrap the network is open on Node 20, and the result says so.
    if (sandboxed) expect(connections).toBe(0);
    else expect(printed).toContain("bubblewrap does not work here");
  });

  it("that loop in one part leave the points of the others", () => {
    const at = list.findIndex(({ name }) => name === "a loop in one function, the others right");
    const { exercises: [exercise] } = results.get(`cheat ${at}`)!;
    // pullback calls the looping function, too.
    expect(exercise.checks.map(({ status }) => status)).toEqual(["timeout", "passed", "passed", "timeout"]);
  });
});
