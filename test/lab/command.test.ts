/** `gradbook lab`, called wrongly: one sentence each, and exit code 2, or 1 where it is no mistake in the call. */
import { spawn, spawnSync } from "node:child_process";
import fs from "node:fs";
import net from "node:net";
import path from "node:path";
import { BUILD_TIMEOUT, freePort, gradbook, haveStudent, home, startLab, student, temporaryFolder } from "./support";

function run([command, ...args]: string[], env: NodeJS.ProcessEnv = {}): { status: number | null; stderr: string } {
  const { status, stderr } = spawnSync(command, args, { encoding: "utf8", timeout: 60_000, env: { ...process.env, ...env } });
  return { status, stderr: stderr.trim() };
}
const lab = (...args: string[]) => run([...gradbook, "lab", "--no-browser", ...args]);

beforeAll(async () => {
  // So that a missing front end is built here, and not inside a test.
  await (await startLab(temporaryFolder("command"))).stop();
}, BUILD_TIMEOUT);

it("a taken port", async () => {
  const taken = net.createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => taken.once("listening", resolve));
  const { port } = taken.address() as net.AddressInfo;
  expect(lab("--port", String(port), temporaryFolder("port"))).toEqual({ status: 1, stderr: `gradbook: port ${port} is taken by another program; stop it, or choose another port with --port` });
  taken.close();
});

it.each([
  [["--port", "many"], 'gradbook: --port is "many"; it must be a whole number from 0 to 65535'],
  [["--port", "70000"], 'gradbook: --port is "70000"; it must be a whole number from 0 to 65535'],
  [["--token", ""], "gradbook: --token must be 8 or more letters, digits, or . _ ~ -; leave it out to get a good one"],
  [["/no/such/folder"], "gradbook: the folder /no/such/folder does not exist"],
  [["a", "b"], "gradbook: lab takes one folder, and got 2"],
])("%j", (args, sentence) => {
  expect(lab(...args)).toEqual({ status: 2, stderr: sentence });
});

it("a file in a folder's place", () => {
  const file = path.join(temporaryFolder("file"), "a.txt");
  fs.writeFileSync(file, "");
  expect(lab(file)).toEqual({ status: 2, stderr: `gradbook: ${file} is not a folder; give the folder that it is in` });
});

(haveStudent ? it : it.skip)("a folder that this account may not read, or not keep its state in (needs an account that is not root, and may read this checkout)", () => {
  const folder = temporaryFolder("closed");
  const closed = path.join(folder, "closed");
  fs.mkdirSync(closed, { mode: 0 });
  const call = (root: string, state: string) => run(student([...gradbook, "lab", "--no-browser", root], folder), { GRADBOOK_STATE_DIR: state });
  expect(call(closed, folder)).toEqual({ status: 2, stderr: `gradbook: the folder ${closed} cannot be read by this account` });
  const state = path.join(closed, "state");
  expect(call(folder, state)).toEqual({ status: 1, stderr: `gradbook: ${state}, where gradbook keeps settings and signatures, cannot be written (EACCES); set GRADBOOK_STATE_DIR to a folder that can` });
});

it("two on one folder serve side by side", async () => {
  const root = temporaryFolder("twice");
  const [one, two] = await Promise.all([startLab(root), startLab(root)]);
  await one.json("/api/contents/a.txt", "PUT", { type: "file", format: "text", content: "of the first" });
  expect(await two.json("/api/contents/a.txt")).toMatchObject({ content: "of the first" });
  await Promise.all([one.stop(), two.stop()]);
});

it("answers even the request that comes with the first moment of its port", async () => {
  const port = await freePort();
  const root = temporaryFolder("first");
  const server = spawn(gradbook[0], [...gradbook.slice(1), "lab", "--no-browser", "--port", String(port), root], { stdio: "ignore", env: { ...process.env, GRADBOOK_STATE_DIR: root } });
  const firstAnswer = async () => {
    for (;;) {
      const answer = await fetch(`http://127.0.0.1:${port}/favicon.svg`).catch(() => undefined);
      if (answer) return answer.status;
    }
  };
  expect(await Promise.all(Array.from({ length: 8 }, firstAnswer))).toEqual(Array(8).fill(200));
  server.kill();
  await new Promise((resolve) => server.once("exit", resolve));
});

it("the labextensions are well typed, which their bundler does not look at", () => {
  const compiler = path.join(home, "node_modules", "typescript", "bin", "tsc");
  const { status, stdout } = spawnSync(process.execPath, [compiler, "-p", path.join(home, "lab", "tsconfig.json")], { encoding: "utf8" });
  expect([stdout, status]).toEqual(["", 0]);
}, 60_000);
