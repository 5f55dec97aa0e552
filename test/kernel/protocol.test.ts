/** Jupyter's protocol, message by message. */
import fs from "node:fs";
import path from "node:path";
import { encode, type Json } from "../../kernel/wire/message";
import { TestKernel } from "./support/kernel";

jest.setTimeout(20_000);

let kernel: TestKernel;

beforeAll(async () => {
  kernel = await TestKernel.start();
}, 60_000);

afterAll(() => kernel.stop());

describe("information", () => {
  test("kernel_info", async () => {
    const info = await kernel.request("kernel_info_request", {});
    expect(info).toMatchObject({
      status: "ok", protocol_version: "5.4", implementation: "gradbook",
      language_info: { name: "typescript", file_extension: ".ts", mimetype: "text/typescript" },
    });
  });

  test("kernel_info on the control channel", async () => {
    expect(await kernel.request("kernel_info_request", {}, "control")).toMatchObject({ status: "ok" });
  });

  test("comm_info of a new kernel", async () => {
    expect(await kernel.request("comm_info_request", {})).toEqual({ status: "ok", comms: {} });
  });
});

describe("execute", () => {
  test("publishes busy, input, result and idle, in this order, with one count", async () => {
    const { messages, reply } = await kernel.execute("'value'");
    expect(messages.map(({ header, content }) => [header.msg_type, content.execution_state].filter(Boolean).join(" ")))
      .toEqual(["status busy", "execute_input", "execute_result", "status idle"]);
    const counts = messages.map(({ content }) => content.execution_count as number | undefined).filter((count) => count !== undefined);
    expect(new Set([...counts, reply.execution_count]).size).toBe(1);
    expect(reply).toMatchObject({ status: "ok", payload: [], user_expressions: {} });
  });

  test("silent publishes only its status and counts nothing", async () => {
    const before = (await kernel.execute("0")).reply.execution_count as number;
    const { messages, reply } = await kernel.execute("console.log('quiet'); 5", { silent: true });
    expect(messages.map(({ header }) => header.msg_type)).toEqual(["status", "status"]);
    expect(reply.status).toBe("ok");
    expect((await kernel.execute("0")).reply.execution_count).toBe(before + 1);
  });

  test("store_history: false keeps the count and the history", async () => {
    const before = (await kernel.execute("0")).reply.execution_count as number;
    const { result } = await kernel.execute("'not stored'", { store_history: false });
    expect(result).toBe("'not stored'");
    const history = await kernel.request("history_request", { hist_access_type: "tail", n: 1, output: false, raw: true });
    expect(history.history).toEqual([[0, before, "0"]]);
  });

  test("user_expressions are evaluated, each on its own", async () => {
    const { reply } = await kernel.execute("const ue = 20", { user_expressions: { good: "ue + 1", bad: "nothere", thrown: "(() => { throw new Error('e') })()" } });
    const { good, bad, thrown } = reply.user_expressions as Record<string, Json>;
    expect(good).toEqual({ status: "ok", data: { "text/plain": "21" }, metadata: {} });
    expect(bad).toMatchObject({ status: "error", ename: "TypeScriptError" });
    expect(thrown).toMatchObject({ status: "error", ename: "Error", evalue: "e" });
  });

  test("stop_on_error skips what was sent along, and only that", async () => {
    const sent = [];
    for (const code of ["throw new Error('first')", "'second'", "'third'"]) sent.push(await kernel.startCell(code, { stop_on_error: true }));
    const [first, second, third] = await Promise.all(sent.map((cell) => kernel.finish(cell)));
    expect(first.reply.status).toBe("error");
    expect([second.reply.status, third.reply.status]).toEqual(["aborted", "aborted"]);
    expect((await kernel.execute("'after'", { stop_on_error: true })).result).toBe("'after'");
  });

  test("stop_on_error: false skips nothing", async () => {
    const sent = [];
    for (const code of ["throw new Error('first')", "'second'"]) sent.push(await kernel.startCell(code, { stop_on_error: false }));
    const [first, second] = await Promise.all(sent.map((cell) => kernel.finish(cell)));
    expect(first.reply.status).toBe("error");
    expect(second.result).toBe("'second'");
  });

  test("a cell sent as soon as the error arrives is run", async () => {
    await kernel.execute("throw new Error('e')", { stop_on_error: true });
    expect((await kernel.execute("'at once'", { stop_on_error: true })).result).toBe("'at once'");
  });

  test("input is asked and answered", async () => {
    const prompts: string[] = [];
    kernel.onInput = (prompt) => {
      prompts.push(prompt);
      return "Ada";
    };
    const { result } = await kernel.execute("const who = await input('Name? '); who.toUpperCase()");
    expect(result).toBe("'ADA'");
    expect(prompts).toEqual(["Name? "]);
  });

  test("inputs that wait together are asked one after the other", async () => {
    kernel.onInput = (prompt) => `${prompt}!`;
    const { result } = await kernel.execute("await Promise.all([input('one'), input('two'), input('three', { password: true })])");
    expect(result).toBe("[ 'one!', 'two!', 'three!' ]");
  });

  test("an input that the cell does not await is told so", async () => {
    kernel.onInput = () => undefined;
    const { messages } = await kernel.execute("void input('forgotten'); 5");
    const { msg_id: id } = messages[0].parent_header;
    await kernel.until(() => kernel.of(id!).some(({ header, content }) => header.msg_type === "stream" && /write await input/.test(content.text as string)));
  });

  test("input is refused where nobody can answer", async () => {
    const { error } = await kernel.execute("await input('?')", { allow_stdin: false });
    expect(error!.evalue).toMatch(/allow_stdin/);
  });

  test("process.exit does not end the kernel", async () => {
    const { error } = await kernel.execute("process.exit(1)");
    expect(error!.evalue).toMatch(/the kernel goes on/);
  });
});

describe("errors", () => {
  test("a thrown error is in the message and in the reply, with the cell's line and column", async () => {
    const { reply, error } = await kernel.execute("const q = 1;\nfunction deep() {\n  throw new RangeError('out of it');\n}\ndeep();");
    expect(error).toMatchObject({ ename: "RangeError", evalue: "out of it" });
    expect(reply).toMatchObject({ status: "error", ...error });
    const text = error!.traceback.join("\n");
    const label = `Cell [${reply.execution_count as number}]`;
    expect(text).toContain(`at deep (${label}:3:9)`);
    expect(text).toContain(`at ${label}:5:1`);
    expect(text).toContain("throw new RangeError");
    expect(text).not.toMatch(/node:|dist\/kernel|tslab/);
  });

  test("a frame in an earlier cell names that cell", async () => {
    const first = await kernel.execute("function fails(n: number) {\n  return n.toFixed(1000);\n}");
    const { error } = await kernel.execute("\n\nfails(1)");
    expect(error!.traceback.join("\n")).toContain(`Cell [${first.reply.execution_count as number}]:2:12`);
  });

  test("a frame in an async function", async () => {
    const { error, reply } = await kernel.execute("async function later() {\n  await null;\n  throw new Error('late');\n}\nawait later();");
    expect(error!.traceback.join("\n")).toContain(`at later (Cell [${reply.execution_count as number}]:3:9)`);
  });

  test("causes and parts are shown", async () => {
    const { error } = await kernel.execute("throw new Error('outer', { cause: new AggregateError([new Error('one'), new Error('two')], 'inner') })");
    const text = error!.traceback.join("\n");
    expect(text).toMatch(/outer[\s\S]*caused by[\s\S]*inner[\s\S]*one[\s\S]*two/);
  });

  test("causes in a circle are shown once", async () => {
    const { error } = await kernel.execute("const outer1: Error = new Error('outer'); outer1.cause = new Error('inner', { cause: outer1 }); throw outer1");
    const text = error!.traceback.join("\n");
    expect(text.match(/inner/g)!.length).toBe(text.match(/new Error\('inner'/g)!.length + 1);
    expect(text).toMatch(/caused by\n.*inner[\s\S]*caused by\n.*outer.*as above/);
  });

  test("a long property of an error is cut", async () => {
    const { error } = await kernel.execute("throw Object.assign(new Error('e'), { text: 'x'.repeat(1e5), code: 7 })");
    expect(error!.traceback.join("\n")).toMatch(/code: 7/);
    expect(error!.traceback.join("\n").length).toBeLessThan(2000);
  });

  test("Node's own frames are left out", async () => {
    const { error } = await kernel.execute("import { EventEmitter } from 'node:events'; const emitter = new EventEmitter().on('x', () => { throw new Error('heard') }); emitter.emit('x')");
    expect(error!.traceback.join("\n")).toContain("heard");
    expect(error!.traceback.join("\n")).not.toContain("(node:");
  });

  test.each(["'a string'", "undefined", "null", "{ a: 1 }", "42n", "Symbol('s')", "{ stack: 5, message: {} }"])("throw %s", async (value) => {
    const { error } = await kernel.execute(`throw ${value}`);
    expect(error!.ename).toBe("Thrown");
  });

  test("a type error stops the cell before it runs, with place and underline", async () => {
    const { error, stdout, reply } = await kernel.execute("console.log('not run');\nconst n: number = 'text';");
    expect(stdout).toBe("");
    expect(error!.ename).toBe("TypeScriptError");
    expect(error!.evalue).toContain(`Cell [${reply.execution_count as number}]:2:7: Type 'string' is not assignable to type 'number'.`);
    expect(error!.traceback[1]).toBe("  2 | const n: number = 'text';");
    expect(error!.traceback[2]).toContain("~");
  });

  test("a syntax error", async () => {
    const { error } = await kernel.execute("const = 3");
    expect(error).toMatchObject({ ename: "TypeScriptError" });
  });

  test("strict is on, and %%loose relaxes it", async () => {
    const code = "function loose(x) { return x }";
    expect((await kernel.execute(code)).error!.evalue).toContain("implicitly has an 'any' type");
    expect((await kernel.execute(`%%loose\n${code}`)).error).toBeUndefined();
  });

  test("a throwing cell keeps what it declared before", async () => {
    await kernel.execute("const keptA = 1; function keptF() { return 2 }\nthrow new Error('then')");
    expect((await kernel.execute("keptA + keptF()")).result).toBe("3");
  });

  test("a file is run again when one that it imports has changed", async () => {
    fs.writeFileSync(path.join(kernel.folder, "below.ts"), "export const below = (): number => 1;\n");
    fs.writeFileSync(path.join(kernel.folder, "above.ts"), "import { below } from './below';\nexport const above = (): number => below() + 1;\n");
    expect((await kernel.execute("import { above } from './above'; above()")).result).toBe("2");
    fs.writeFileSync(path.join(kernel.folder, "below.ts"), "export const below = (): number => 10;\n");
    fs.utimesSync(path.join(kernel.folder, "below.ts"), new Date(), new Date(Date.now() + 5000));
    expect((await kernel.execute("import { above } from './above'; above()")).result).toBe("11");
  });

  test("a file that awaits at its top level is refused in a sentence", async () => {
    fs.writeFileSync(path.join(kernel.folder, "awaits.ts"), "export const v = await Promise.resolve(3);\n");
    expect((await kernel.execute("import { v } from './awaits'; v")).error!.evalue).toMatch(/await/);
  });

  test("a missing package and a magic in the wrong place get advice", async () => {
    expect((await kernel.execute("import x from '@scope/missing/deep'; x")).error!.evalue).toContain("%npm install @scope/missing");
    expect((await kernel.execute("1;\n%who")).error!.evalue).toContain("A magic stands above the cell's first line of code.");
  });

  test("an error in a TypeScript file beside the notebook names that file's line", async () => {
    fs.writeFileSync(path.join(kernel.folder, "broken.ts"), "export type A = 1;\n\nexport function fail(): never {\n  throw new Error('in the file');\n}\n");
    const { error } = await kernel.execute("import { fail } from './broken'; fail()");
    expect(error!.traceback.join("\n")).toContain("broken.ts:4:9");
  });

  test("a type error in a TypeScript file beside the notebook is reported with its name", async () => {
    fs.writeFileSync(path.join(kernel.folder, "wrong.ts"), "export const a: number = 'b';\n");
    expect((await kernel.execute("import { a } from './wrong'; a")).error!.evalue).toContain("wrong.ts:1:14");
    fs.writeFileSync(path.join(kernel.folder, "wrong.ts"), "export const a: number = 7;\n");
    expect((await kernel.execute("import { a } from './wrong'; a")).result).toBe("7");
  });

  test("an error that nobody catches is shown and the kernel lives", async () => {
    const { id } = await kernel.startCell("setTimeout(() => { throw new Error('in a timer') }, 1); void Promise.reject(new Error('unhandled')); 0");
    await kernel.until(() => kernel.of(id).filter(({ header, content }) => header.msg_type === "stream" && content.name === "stderr").length >= 2);
    expect((await kernel.execute("1")).result).toBe("1");
  });
});

describe("output", () => {
  test("streams in order, standard error apart", async () => {
    const { messages } = await kernel.execute("console.log('a'); console.error('b'); process.stdout.write('c')");
    const streams = messages.filter(({ header }) => header.msg_type === "stream").map(({ content }) => [content.name, content.text]);
    expect(streams).toEqual([["stdout", "a\n"], ["stderr", "b\n"], ["stdout", "c"]]);
  });

  test("20,000 lines arrive, all and in order", async () => {
    const { stdout } = await kernel.execute("for (let i = 0; i < 20_000; i++) console.log('line ' + i)");
    const lines = stdout.trimEnd().split("\n");
    expect(lines.length).toBe(20_000);
    expect(lines.every((line, i) => line === `line ${i}`)).toBe(true);
  });

  test("a megabyte in one line", async () => {
    const { stdout } = await kernel.execute("console.log('x'.repeat(1 << 20))");
    expect(stdout.length).toBe((1 << 20) + 1);
  });

  test("late output goes to its own cell", async () => {
    const first = await kernel.execute("setTimeout(() => console.log('late'), 60); 1");
    await kernel.execute("console.log('other')");
    const { id } = { id: first.messages[0].parent_header.msg_id! };
    await kernel.until(() => kernel.of(id).some(({ header, content }) => header.msg_type === "stream" && content.text === "late\n"));
  });

  test("display, with and without an id, and its update", async () => {
    const { messages } = await kernel.execute("display(html`<b>one</b>`, { display_id: 'd1' }); display(md`# two`); display(html`<i>three</i>`, { display_id: 'd1', update: true })");
    const shown = messages.filter(({ header }) => /display_data/.test(header.msg_type));
    expect(shown.map(({ header, content }) => [header.msg_type, content.data, content.transient])).toEqual([
      ["display_data", { "text/html": "<b>one</b>" }, { display_id: "d1" }],
      ["display_data", { "text/markdown": "# two" }, {}],
      ["update_display_data", { "text/html": "<i>three</i>" }, { display_id: "d1" }],
    ]);
  });

  test("an object that shows itself, Deno's way", async () => {
    const { data } = await kernel.execute("({ [Symbol.for('Jupyter.display')]() { return { 'text/plain': 'p', 'application/json': { a: 1 } } } })");
    expect(data).toEqual({ "text/plain": "p", "application/json": { a: 1 } });
  });

  test("an object that shows itself later", async () => {
    const { data } = await kernel.execute("({ async [Symbol.for('Jupyter.display')]() { return { 'text/html': '<p>' } } })");
    expect(data).toEqual({ "text/html": "<p>" });
  });

  test("an object whose own display fails is still shown", async () => {
    const { data } = await kernel.execute("({ k: 1, [Symbol.for('Jupyter.display')]() { throw new Error('no') } })");
    expect(data!["text/plain"]).toContain("k: 1");
  });

  test("svg, raw bundles and pictures", async () => {
    const png = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
    const { displays } = await kernel.execute(`display(svg\`<svg/>\`); display({ "text/latex": "$x$" }, { raw: true }); display(image(Uint8Array.from(atob("${png}"), (c) => c.charCodeAt(0))))`);
    expect(displays).toEqual([{ "image/svg+xml": "<svg/>" }, { "text/latex": "$x$" }, { "image/png": png }]);
  });

  test("tslab's display works, too", async () => {
    const { messages } = await kernel.execute("import * as tslab from 'tslab'; tslab.display.html('<u>tslab</u>')");
    expect(messages.find(({ header }) => header.msg_type === "display_data")!.content.data).toEqual({ "text/html": "<u>tslab</u>" });
  });

  test("an array of objects is a table", async () => {
    const { data } = await kernel.execute("[{ a: 1, b: '<x>' }, { a: 2, c: true }]");
    expect(data!["text/html"]).toMatch(/<th[^>]*>a<\/th>.*<th[^>]*>c<\/th>.*&lt;x&gt;/);
  });

  test("clear_output", async () => {
    const { messages } = await kernel.execute("console.log(1); clearOutput(true); console.log(2)");
    expect(messages.map(({ header }) => header.msg_type)).toEqual(["status", "execute_input", "stream", "clear_output", "stream", "status"]);
  });
});

describe("is_complete", () => {
  test.each<[string, Json]>([
    ["1 + 1", { status: "complete" }],
    ["function f() {", { status: "incomplete", indent: "  " }],
    ["if (x) {\n  y = [", { status: "incomplete", indent: "    " }],
    ["const f = (x: number) =>", { status: "incomplete", indent: "  " }],
    ["`open template", { status: "incomplete", indent: "" }],
    ["/* open comment", { status: "incomplete", indent: "" }],
    ["f(1,", { status: "incomplete", indent: "" }],
    ["if (x)", { status: "incomplete", indent: "  " }],
    ["switch (x) {\n  case 1:", { status: "incomplete", indent: "    " }],
    ["try { f() }", { status: "incomplete", indent: "" }],
    ["function f()", { status: "incomplete", indent: "" }],
    ["declare function f(): void", { status: "complete" }],
    ["await", { status: "incomplete", indent: "" }],
    ["const s = 'open", { status: "invalid" }],
    ["/open", { status: "invalid" }],
    ["const x = ;", { status: "invalid" }],
    ["}", { status: "invalid" }],
    ["await fetch('x')", { status: "complete" }],
    ["%who", { status: "complete" }],
    ["", { status: "complete" }],
  ])("%s", async (code, expected) => {
    expect(await kernel.request("is_complete_request", { code })).toEqual(expected);
  });
});

describe("complete and inspect", () => {
  test("a member of a value from an earlier cell", async () => {
    await kernel.execute("const table1 = { columnA: 1, columnB: 'x' }");
    const code = "table1.col";
    const reply = await kernel.request("complete_request", { code, cursor_pos: code.length });
    expect(reply).toMatchObject({ status: "ok", matches: ["columnA", "columnB"], cursor_start: 7, cursor_end: 10 });
    const [first] = (reply.metadata as { _jupyter_types_experimental: Json[] })._jupyter_types_experimental;
    expect(first).toMatchObject({ text: "columnA", type: "property", signature: "(property) columnA: number" });
  });

  test("names of the library and of Node", async () => {
    const { matches, metadata } = await kernel.request("complete_request", { code: "gradche", cursor_pos: 7 });
    expect(matches).toContain("gradcheck");
    const [first] = (metadata as { _jupyter_types_experimental: Json[] })._jupyter_types_experimental;
    expect(first.type).toBe("function");
    expect(first.documentation).toBeTruthy();
    expect((await kernel.request("complete_request", { code: "conso", cursor_pos: 5 })).matches).toContain("console");
  });

  test("offsets are code points", async () => {
    const code = "const s = '𝛿𝛿'; Math.ma";
    const cursor_pos = [...code].length;
    const reply = await kernel.request("complete_request", { code, cursor_pos });
    expect(reply).toMatchObject({ cursor_start: cursor_pos - 2, cursor_end: cursor_pos });
    expect(reply.matches).toContain("max");
  });

  test("below a magic", async () => {
    const code = "%%time\ntable1.col";
    expect(await kernel.request("complete_request", { code, cursor_pos: code.length })).toMatchObject({ matches: ["columnA", "columnB"], cursor_start: 14 });
    expect((await kernel.request("inspect_request", { code, cursor_pos: code.length - 5, detail_level: 0 })).found).toBe(true);
  });

  test("magics, exercises, files and classes", async () => {
    const ask = async (code: string): Promise<Json> => kernel.request("complete_request", { code, cursor_pos: code.length });
    expect(await ask("%np")).toMatchObject({ matches: ["%npm"], cursor_start: 0, cursor_end: 3 });
    expect((await ask("1;\n%np")).matches).not.toContain("%npm");
    expect((await ask("check('")).matches).toContain("layer-norm");
    fs.writeFileSync(path.join(kernel.folder, "beside.ts"), "export const b = 1;\n");
    expect((await ask("import { b } from './be")).matches).toContain("beside");
    await kernel.execute("class Completed {}");
    const { metadata } = await ask("new Complet");
    expect((metadata as { _jupyter_types_experimental: Json[] })._jupyter_types_experimental[0]).toMatchObject({ text: "Completed", type: "class" });
  });

  test("a name that is being declared in the same cell", async () => {
    const code = "const longName = [1];\nlongN";
    expect((await kernel.request("complete_request", { code, cursor_pos: code.length })).matches).toEqual(["longName"]);
  });

  test("inspect shows signature and JSDoc", async () => {
    await kernel.execute("/** Adds one.\n * @param n the number\n */\nfunction addOne(n: number): number { return n + 1 }");
    const { found, data } = await kernel.request("inspect_request", { code: "addOne(2)", cursor_pos: 3, detail_level: 0 });
    expect(found).toBe(true);
    const text = (data as Json)["text/plain"] as string;
    expect(text).toContain("addOne(n: number): number");
    expect(text).toContain("Adds one.");
    expect(text).toContain("the number");
    expect((data as Json)["text/markdown"]).toContain("```typescript");
  });

  test("inspect within a call's parentheses", async () => {
    const { data } = await kernel.request("inspect_request", { code: "addOne(", cursor_pos: 7, detail_level: 0 });
    expect((data as Json)["text/plain"]).toContain("n: number");
  });

  test("inspect shows no paths of this machine", async () => {
    const { data } = await kernel.request("inspect_request", { code: "const several = [attention]", cursor_pos: 8, detail_level: 0 });
    expect((data as Json)["text/plain"]).toContain("Option<boolean");
    expect((data as Json)["text/plain"]).not.toContain("import(");
  });

  test("a layer is explained by its inputs, its options and its formula", async () => {
    const ask = async (code: string): Promise<string> =>
      ((await kernel.request("inspect_request", { code, cursor_pos: code.length, detail_level: 0 })).data as Json)["text/plain"] as string;
    const rows = ["  inputs   q [..., T, d], k [..., S, d], v [..., S, dv]", "  options  causal?: boolean, mask?: Tensor, frozen?,", "           device?"];
    const calls = ["  forward(inputs, options?): { y, cache }", "  backward(dy, cache): { dq, dk, dv }"];
    expect((await ask("attention")).split("\n").slice(0, 6)).toEqual(["const attention: Layer", ...calls, ...rows]);
    for (const code of ["attention.forward", "attention.forward(", "import * as gb from 'gradbook'; gb.attention.forward"]) {
      const text = await ask(code);
      expect(text.split("\n").slice(0, 4)).toEqual(["attention.forward(inputs, options?): { y, cache }", ...rows]);
      expect(text).toContain("Works out y");
      expect(text).toContain("P = softmax(S)");
    }
    expect(await ask("softmaxCrossEntropy.backward")).toMatch(/^softmaxCrossEntropy\.backward\(dy, cache\): { dlogits }\n/);
    expect(await ask("mse.backward")).toMatch(/^mse\.backward\(dy, cache\): { dx }\n/);
    expect(await ask("dropout.forward")).toMatch(/^dropout\.forward\(inputs, options\): .*\n.*\n {2}options {2}p\?: number, rng: Rng, /);
    expect(await ask("attention.differentiable")).toMatch(/^attention\.differentiable: readonly /);

    const { data } = await kernel.request("inspect_request", { code: "attention", cursor_pos: 9, detail_level: 0 });
    expect((data as Json)["text/markdown"]).toMatch(/\n\nShapes: .*\n\nSources: /);

    await kernel.execute(`/** Twice. */
      const twice = defineLayer({
        name: "twice", inputs: { x: "[n]", ids: "int [n]?" }, output: "[n]",
        forward: ({ x }) => ({ y: x.mul(2), saved: undefined }), backward: (dy) => ({ dx: dy.mul(2) }), jvp: ({ x: dx }) => dx.mul(2),
      })`);
    expect(await ask("twice")).toMatch(/^const twice: Layer\n.*\n {2}backward\(dy, cache\): { dx }\n {2}inputs {3}x \[n\], ids\? int \[n\]\n[^]*Twice\.$/);
  });

  test("a layer's completions say the same", async () => {
    for (const [code, begin] of [["atten", "const attention: Layer\n"], ["attention.forw", "attention.forward(inputs, options?): "]]) {
      const { metadata } = await kernel.request("complete_request", { code, cursor_pos: code.length });
      const [{ signature, documentation }] = (metadata as { _jupyter_types_experimental: Json[] })._jupyter_types_experimental;
      expect((signature as string).startsWith(begin)).toBe(true);
      expect(documentation).toContain("P = softmax(S)");
    }
  });

  test("formulas of inspect and completions keep their columns where they fit, and their remarks go below where they do not", async () => {
    const inspected = ((await kernel.request("inspect_request", { code: "lstm", cursor_pos: 4, detail_level: 0 })).data as Json)["text/markdown"] as string;
    expect(inspected).toContain("    z_t = Wx x_t + Wh h_{t-1} + b\n        [B, 4H], its columns in the order i f g o\n    i, f, o = sigmoid(z_i), sigmoid(z_f), sigmoid(z_o)       g = tanh(z_g)\n");
    const { metadata } = await kernel.request("complete_request", { code: "lst", cursor_pos: 3 });
    const { documentation } = (metadata as { _jupyter_types_experimental: { text: string; documentation: string }[] })._jupyter_types_experimental.find(({ text }) => text === "lstm")!;
    expect(documentation).toContain("    z_t = Wx x_t + Wh h_{t-1} + b\n        [B, 4H], its columns in the order i\n        f g o\n");
    expect(documentation).toContain("    h_t = o tanh(c_t)\n        y_t = h_t\n");
  });

  test("inspect of nothing", async () => {
    expect(await kernel.request("inspect_request", { code: "   ", cursor_pos: 1, detail_level: 0 })).toEqual({ status: "ok", found: false, data: {}, metadata: {} });
  });
});

describe("history", () => {
  test("tail, range and search", async () => {
    const { reply } = await kernel.execute("'history one'");
    await kernel.execute("'history two'");
    await kernel.execute("'history two'");
    const n = reply.execution_count as number;
    const ask = async (content: Json): Promise<unknown> => (await kernel.request("history_request", { output: false, raw: true, ...content })).history;
    expect(await ask({ hist_access_type: "tail", n: 2 })).toEqual([[0, n + 1, "'history two'"], [0, n + 2, "'history two'"]]);
    expect(await ask({ hist_access_type: "range", session: 0, start: n, stop: n + 2, output: true })).toEqual([
      [0, n, ["'history one'", "'history one'"]], [0, n + 1, ["'history two'", "'history two'"]]]);
    expect(await ask({ hist_access_type: "search", pattern: "'history*", n: 10, unique: true })).toEqual([
      [0, n, "'history one'"], [0, n + 2, "'history two'"]]);
    expect(await ask({ hist_access_type: "range", session: -1, start: n, stop: n + 2 })).toEqual([]);
  });
});

describe("comms", () => {
  test("a target that a cell registers", async () => {
    await kernel.execute("const heard: unknown[] = []; comms.register('echo', (comm, data) => { heard.push(data); comm.onMessage((d) => { heard.push(d); comm.send({ back: d }) }); comm.onClose(() => heard.push('closed')) })");
    const { id: openId } = await kernel.send("comm_open", { comm_id: "c1", target_name: "echo", data: { hi: 1 } });
    await kernel.idle(openId);
    expect(await kernel.request("comm_info_request", { target_name: "echo" })).toEqual({ status: "ok", comms: { c1: { target_name: "echo" } } });
    const { id } = await kernel.send("comm_msg", { comm_id: "c1", data: { x: 2 } });
    await kernel.idle(id);
    expect(kernel.of(id).find(({ header }) => header.msg_type === "comm_msg")!.content).toEqual({ comm_id: "c1", data: { back: { x: 2 } } });
    await kernel.idle((await kernel.send("comm_close", { comm_id: "c1", data: {} })).id);
    expect((await kernel.execute("heard")).result).toBe("[ { hi: 1 }, { x: 2 }, 'closed' ]");
    expect(await kernel.request("comm_info_request", {})).toEqual({ status: "ok", comms: {} });
  });

  test("bytes travel in both directions", async () => {
    await kernel.execute("comms.register('bytes', (comm) => comm.onMessage((_, buffers) => comm.send({}, buffers.map((b) => b.map((n) => n + 1)))))");
    await kernel.idle((await kernel.send("comm_open", { comm_id: "b1", target_name: "bytes", data: {} })).id);
    const { id } = await kernel.send("comm_msg", { comm_id: "b1", data: {} }, "shell", [new Uint8Array([0, 254]), new Uint8Array([7])]);
    await kernel.idle(id);
    const answer = kernel.of(id).find(({ header }) => header.msg_type === "comm_msg")!;
    expect(answer.buffers.map((buffer) => [...buffer])).toEqual([[1, 255], [8]]);
  });

  test("an error in a handler is shown", async () => {
    await kernel.execute("comms.register('fails', () => { throw new Error('in the handler') })");
    const { id } = await kernel.send("comm_open", { comm_id: "f1", target_name: "fails", data: {} });
    await kernel.idle(id);
    const [shown] = kernel.of(id).filter(({ header }) => header.msg_type === "stream");
    expect(shown.content).toMatchObject({ name: "stderr", text: expect.stringMatching(/Error.*in the handler[\s\S]*Cell \[\d+\]:1:/) as string });
  });

  test("an unknown target is closed again", async () => {
    const { id } = await kernel.send("comm_open", { comm_id: "c2", target_name: "nobody", data: {} });
    await kernel.idle(id);
    expect(kernel.of(id).some(({ header, content }) => header.msg_type === "comm_close" && content.comm_id === "c2")).toBe(true);
  });

  test("a comm that a cell opens", async () => {
    const { messages } = await kernel.execute("const opened = comms.open('widget', { v: 1 }); opened.close()");
    expect(messages.map(({ header }) => header.msg_type)).toEqual(["status", "execute_input", "comm_open", "comm_close", "status"]);
  });
});

describe("magics", () => {
  test("%who, %time and %%time", async () => {
    await kernel.execute("const seen1 = [1, 2]");
    expect((await kernel.execute("%who")).stdout).toMatch(/^seen1\s+\[ 1, 2 \]$/m);
    const timed = await kernel.execute("%time 1 + 1");
    expect(timed.stdout).toMatch(/^Wall time: .* ms$/m);
    expect(timed.displays).toEqual([{ "text/plain": "2" }]);
    const cell = await kernel.execute("%%time\nconst timedC = 5\ntimedC");
    expect([cell.result, /Wall time/.test(cell.stdout)]).toEqual(["5", true]);
  });

  test("%%writefile and %help", async () => {
    await kernel.execute("%%writefile made.ts\nexport const made = 11;\n");
    expect(fs.readFileSync(path.join(kernel.folder, "made.ts"), "utf8")).toBe("export const made = 11;\n");
    expect((await kernel.execute("import { made } from './made'; made")).result).toBe("11");
    expect((await kernel.execute("%help")).stdout).toContain("%npm install");
  });

  test("%%writefile -a adds to a file, and a file that cannot be written is named", async () => {
    await kernel.execute("%%writefile notes.txt\none");
    await kernel.execute("%%writefile -a notes.txt\ntwo");
    expect(fs.readFileSync(path.join(kernel.folder, "notes.txt"), "utf8")).toBe("one\ntwo\n");
    expect((await kernel.execute("%%writefile no/such/folder.txt\nx")).error!.evalue).toBe("%%writefile: no/such/folder.txt cannot be written (ENOENT)");
  });

  test("what %time runs fails as a cell does", async () => {
    const { error } = await kernel.execute("%time (() => { throw new RangeError('timed') })()");
    expect(error).toMatchObject({ ename: "RangeError", evalue: "timed" });
    expect((await kernel.execute("%time nowhere")).error!.ename).toBe("TypeScriptError");
  });

  test("an unknown magic says so", async () => {
    expect((await kernel.execute("%nothing")).error!.evalue).toBe("there is no magic %nothing; %help lists them");
  });

  test("lines below a magic keep their numbers", async () => {
    const { error } = await kernel.execute("%%time\n\nthrow new Error('x')");
    expect(error!.traceback.join("\n")).toMatch(/Cell \[\d+\]:3:7/);
  });

  test("%reset forgets names and gives the library's back", async () => {
    await kernel.execute("const gone = 1; const tensor = 2");
    await kernel.execute("%reset");
    expect((await kernel.execute("gone")).error!.evalue).toContain("Cannot find name 'gone'");
    expect((await kernel.execute("tensor([1, 2]).size")).result).toBe("2");
  });
});

describe("messages that are no messages", () => {
  test("the kernel writes a line for each and lives", async () => {
    const key = "wrong";
    const good = (): (Uint8Array | string)[] => encode(kernel.key, { identities: [], type: "kernel_info_request", content: {} });
    const broken: (Uint8Array | string)[][] = [
      [], ["x"], ["<IDS|MSG>"], ["<IDS|MSG>", "", "{}", "{}", "{}", "{}"],
      encode(key, { identities: [], type: "execute_request", content: { code: "globalThis.hacked = 1" } }),
      encode("", { identities: [], type: "execute_request", content: { code: "globalThis.hacked = 1" } }),
      good().slice(0, 4), good().map((frame, i) => (i === 2 ? "{" : frame)), good().map((frame, i) => (i === 5 ? "[]" : frame)),
    ];
    // Single bytes of good messages changed, from a fixed seed.
    let seed = 7;
    const random = (n: number): number => (seed = (seed * 1103515245 + 12345) % 2 ** 31) % n;
    for (let i = 0; i < 200; i++) {
      const frames = good().map((frame) => Buffer.from(frame));
      const frame = frames[1 + random(frames.length - 1)];
      if (frame.length > 0) frame[random(frame.length)] ^= 1 + random(255);
      broken.push(frames);
    }
    const before = kernel.log.split("\n").length;
    for (const frames of broken) {
      for (const socket of [kernel.shell, kernel.control]) await socket.send(frames.length === 0 ? [""] : frames);
    }
    expect((await kernel.execute("'alive'")).result).toBe("'alive'");
    expect((await kernel.execute("(globalThis as any).hacked === undefined")).result).toBe("true");
    const lines = kernel.log.split("\n").slice(before - 1).filter(Boolean);
    expect(lines.length).toBeGreaterThan(300);
    expect(lines.every((line) => /^gradbook kernel: ignored a message on (shell|control): /.test(line))).toBe(true);
  });

  test("content of the wrong kind and unknown types", async () => {
    for (const [type, content] of [["execute_request", { code: 5 }], ["complete_request", {}], ["complete_request", { code: "x", cursor_pos: 99 }],
      ["inspect_request", { code: null, cursor_pos: -1 }], ["history_request", { hist_access_type: 3, n: "x" }], ["is_complete_request", {}]] as const) {
      const reply = await kernel.request(type, content);
      expect(typeof reply.status).toBe("string");
    }
    await kernel.send("nonsense_request", {});
    await kernel.send("comm_msg", { comm_id: "unknown" });
    expect((await kernel.execute("'still alive'")).result).toBe("'still alive'");
  });
});

describe("the end", () => {
  test.each([false, true])("shutdown_request with restart %s is answered, and the process ends", async (restart) => {
    const other = await TestKernel.start();
    try {
      expect(await other.request("shutdown_request", { restart }, "control")).toEqual({ status: "ok", restart });
      expect(await other.exit).toEqual({ code: 0, signal: null });
    } finally {
      await other.stop();
    }
  });

  test("a kernel in an endless loop ends, too", async () => {
    const other = await TestKernel.start();
    try {
      const cell = await other.startCell("console.log('go'); while (true);");
      await other.until(() => other.of(cell.id).some(({ header }) => header.msg_type === "stream"));
      await other.request("shutdown_request", { restart: false }, "control");
      await other.exit;
    } finally {
      await other.stop();
    }
  });
});
