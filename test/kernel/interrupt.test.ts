/** Stop must stop, within a second or so, and keep what the notebook has. No test measures time: each would hang without the interrupt. */
import { execFileSync } from "node:child_process";
import path from "node:path";
import { TestKernel } from "./support/kernel";

jest.setTimeout(10_000);

let kernel: TestKernel;

beforeAll(async () => {
  kernel = await TestKernel.start();
  await kernel.execute("let kept = 1; const sleep = (ms: number) => new Promise<void>((r) => setTimeout(r, ms)); 'ready'");
}, 60_000);

afterAll(() => kernel.stop());

async function interrupted(code: string): Promise<ReturnType<typeof kernel.finish>> {
  const cell = await kernel.startCell(`console.log("go"); ${code}`);
  await kernel.until(() => kernel.of(cell.id).some(({ header }) => header.msg_type === "stream"));
  const reply = await kernel.request("interrupt_request", {}, "control");
  expect(reply).toEqual({ status: "ok" });
  return kernel.finish(cell);
}

const loops: [name: string, code: string][] = [
  ["an empty loop", "while (true);"],
  ["a for loop", "for (let i = 0; ; i++) kept = i % 7;"],
  ["a do loop", "let d = 0; do { d++ } while (d >= 0)"],
  ["a for-of loop over a generator", "function* ever() { for (;;) yield 1 } for (const v of ever()) kept = v;"],
  ["a recursion without a loop", "function fib(n: number): number { return n < 2 ? n : fib(n - 1) + fib(n - 2) } fib(100)"],
  ["a callback that never ends", "[1].forEach(() => { while (true); })"],
  ["a pending await", "await new Promise(() => {})"],
  ["a pending await in a function", "async function wait() { await new Promise(() => {}) } await wait()"],
  ["a pending for await", "for await (const v of (async function* () { await new Promise(() => {}); yield 1 })()) kept = v"],
  ["a long timer", "await sleep(1e8)"],
  ["a loop of awaits", "while (true) await sleep(1)"],
  ["a loop of awaits that catches everything", "while (true) { try { await sleep(1) } catch {} }"],
  ["a loop after an await", "await sleep(1); while (true);"],
  ["a loop in a timer", "await new Promise(() => { setTimeout(() => { while (true); }, 1) })"],
  ["a loop in a promise's callback", "await Promise.resolve().then(() => { while (true); })"],
  ["an await that only a library sees", "const { once, EventEmitter } = require('events'); await Promise.all([once(new EventEmitter(), 'never')])"],
  ["a runaway regular expression", "/^(?=(a+)+$)(a+)+\\1$/.test('a'.repeat(60) + 'b')"],
  ["a sort with an endless comparison", "[3, 1, 2].sort(() => { while (true); })"],
];

test.each(loops)("%s is stopped", async (_name, code) => {
  const { reply, error } = await interrupted(code);
  expect(reply.status).toBe("error");
  expect(error!.ename).toBe("KernelInterrupt");
  const after = await kernel.execute("kept >= 0");
  expect(after.result).toBe("true");
});

test("a runaway regular expression after an await comes to its end", async () => {
  const { result } = await kernel.execute("await null; /^(a+)+$/.test('a'.repeat(60) + 'b')");
  expect(result).toBe("false");
});

test("finally blocks of an interrupted cell run, and nothing after it does", async () => {
  const { stdout } = await interrupted("try { await sleep(1e8) } finally { console.log('cleaned') } console.log('never')");
  expect(stdout).toBe("go\ncleaned\n");
});

test("an interrupted cell's interval ends with it", async () => {
  const cell = await interrupted("globalThis.ticks = 0; setInterval(() => (globalThis as any).ticks++, 1); await sleep(1e8)".replace("globalThis.ticks", "(globalThis as any).ticks"));
  expect(cell.error!.ename).toBe("KernelInterrupt");
  const ticks = "(globalThis as any).ticks";
  const { result } = await kernel.execute(`const t1 = ${ticks}; await sleep(30); ${ticks} - t1`);
  expect(result).toBe("0");
});

test("an interrupt of an idle kernel ends background timers and hurts nothing", async () => {
  await kernel.execute("let beats = 0; setInterval(() => beats++, 1)");
  await kernel.request("interrupt_request", {}, "control");
  const { result } = await kernel.execute("const b1 = beats; await sleep(30); beats - b1");
  expect(result).toBe("0");
  expect((await kernel.execute("let turns = 0; for (let i = 0; i < 10; i++) turns++; turns")).result).toBe("10");
});

test("from when others hear that the kernel is busy, an interrupt is for the cell", () => {
  const told = execFileSync(process.execPath, [path.join(__dirname, "support/fakeWire.js")], { encoding: "utf8" });
  expect(JSON.parse(told)).toEqual([["busy", true], ["idle", false], ["busy", false], ["idle", false]]);
});

test("a cell that interrupts itself ends itself, not the next one", async () => {
  const itself = "process.kill(process.pid, 'SIGINT')";
  for (let i = 0; i < 3; i++) {
    expect((await kernel.execute(`${itself}; 'ended'`)).result).toBe("'ended'");
    expect((await kernel.execute("const began = Date.now(); while (Date.now() - began < 100); 'whole'")).result).toBe("'whole'");
  }
  expect((await kernel.execute(`${itself}; while (true);`)).error!.ename).toBe("KernelInterrupt");
  expect((await kernel.execute(`setTimeout(() => ${itself}, 1); await sleep(1e8)`)).error!.ename).toBe("KernelInterrupt");
});

test("a long loop of the library listens", async () => {
  const { error } = await interrupted("const check1 = require('gradbook').checkInterrupt as () => void; await null; (() => { const spin = new Function('f', 'for (;;) f()'); spin(check1) })()");
  expect(error!.ename).toBe("KernelInterrupt");
});

describe("what a signal ends in the midst of the library, where not even a finally runs,", () => {
  /** A loop without a guard: only the signal reaches it. */
  const unguarded = 'new Function("f", "for (;;) f()")';

  test("layers shared between WebAssembly's threads: the next cells compute as before, on as many threads", async () => {
    await kernel.execute("useThreads(2); const large = { x: ones([512, 8192], 'float32'), W: ones([2048, 8192], 'float32') }");
    await kernel.execute("const small = { x: randn([512, 256], rng(1)).astype('float32'), W: randn([256, 256], rng(2)).astype('float32') }; const right = linear.forward(small).y");
    // Work space that is not given back would be used up by the fourth.
    for (let i = 0; i < 5; i++) {
      const { error } = await interrupted(`kept = ${i}; ${unguarded}(linear.forward.bind(linear, large, { device: "wasm" }))`);
      expect(error!.ename).toBe("KernelInterrupt");
      const after = await kernel.execute("`${kept}, ${linear.forward(small, { device: 'wasm' }).y.sub(right).abs().max().item() < 1e-3}, ${useThreads()}, ${device()}`");
      expect([after.error, after.result]).toEqual([undefined, `'${i}, true, 2, cpu'`]);
    }
  });

  test.each([
    ["noGrad", "noGrad(() => spin(() => ones(9).sum()))", "const v1 = new Value(3), v2 = v1.mul(v1); v2.backward(); v1.grad", "6"],
    ["observeLayers", "const heard: unknown[] = []; observeLayers(heard.push.bind(heard), () => spin(() => ones(9).sum()))", "const n = heard.length; relu.forward({ x: ones(1) }); heard.length - n", "0"],
  ])("%s ends with its cell", async (_name, code, next, result) => {
    await interrupted(`const spin = ${unguarded}; ${code}`);
    const after = await kernel.execute(next);
    expect([after.error, after.stdout, after.result]).toEqual([undefined, "", result]);
  });
});

test("what came in behind an interrupted cell is not lost", async () => {
  const cell = await kernel.startCell("console.log('go'); while (true);");
  const next = await kernel.startCell("'next'");
  await kernel.until(() => kernel.of(cell.id).some(({ header }) => header.msg_type === "stream"));
  await kernel.request("interrupt_request", {}, "control");
  expect((await kernel.finish(cell)).error!.ename).toBe("KernelInterrupt");
  expect((await kernel.finish(next)).result).toBe("'next'");
});

test("the heartbeat answers while a cell loops", async () => {
  const cell = await kernel.startCell("console.log('go'); while (true);");
  await kernel.until(() => kernel.of(cell.id).some(({ header }) => header.msg_type === "stream"));
  await kernel.heartbeat.send("ping");
  expect((await kernel.heartbeat.receive()).toString()).toBe("ping");
  const info = await kernel.request("kernel_info_request", {}, "control");
  expect(info.status).toBe("ok");
  await kernel.request("interrupt_request", {}, "control");
  await kernel.finish(cell);
});
