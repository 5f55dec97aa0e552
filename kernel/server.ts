/** Jupyter requests to the session and its answers back: the only place that knows both. */
import { constants } from "node:os";
import { Batch, captureStreams, currentOutput, narrow, PANEL, POPUP, withOutput, type DisplayOptions, type MimeBundle, type Output } from "./display";
import { Interrupted } from "../lib/interrupt";
import { Comms } from "./comms";
import { kernelInfo } from "./info";
import { Session, type Outcome } from "./session";
import { RUNNING, STOP, type Json, type Message, type Wire } from "./wire";
import { fromCodePoints, toCodePoints } from "./offsets";

type ReplyChannel = "shell" | "control";

interface Question {
  request: Message;
  prompt: string;
  password: boolean;
  resolve(answer: string): void;
  reject(reason: Error): void;
}

/** Output of one execute request, sent as children of its message. */
class RequestOutput implements Output {
  private readonly batch: Batch;
  private readonly silent: boolean;

  constructor(private readonly server: Server, readonly request: Message) {
    this.silent = Boolean(request.content.silent);
    this.batch = new Batch((name, text) => this.publish("stream", { name, text }));
  }

  publish(type: string, content: Json): void {
    if (!this.silent) this.server.wire.publish(type, content, this.request.header);
  }

  stream(name: "stdout" | "stderr", text: string): void {
    this.batch.write(name, text);
  }

  flush(): void {
    this.batch.flush();
  }

  display(data: MimeBundle, { display_id, update, metadata = {} }: DisplayOptions): void {
    this.flush();
    this.publish(update ? "update_display_data" : "display_data", { data, metadata, transient: display_id === undefined ? {} : { display_id } });
  }

  clear(wait: boolean): void {
    this.flush();
    this.publish("clear_output", { wait });
  }

  input(prompt: string, password: boolean): Promise<string> {
    this.flush();
    return this.server.input(this.request, prompt, password);
  }
}

export class Server {
  private readonly session: Session;
  private readonly comms: Comms;
  private count = 0;
  private sequence = 0;
  /** Requests are answered one after the other, in their order. */
  private queue: Promise<void> = Promise.resolve();
  /** Execute requests that came in before the failure of the one they were sent with are not run. */
  private abortUpTo = -1;
  private arrivals = 0;
  /** What input() has asked and nobody has answered: only the first is with the front end, which can show one at a time. */
  private readonly questions: Question[] = [];
  private leaving = false;

  constructor(readonly wire: Wire, private readonly log: (text: string) => void) {
    this.session = new Session({ folder: process.cwd(), flags: wire.flags });
    this.comms = new Comms((type, content, buffers) => {
      const output = currentOutput();
      wire.publish(type, content, output instanceof RequestOutput ? output.request.header : undefined, {}, buffers);
    });
    this.session.offer({ comms: this.comms.api });
    captureStreams();
    this.guardProcess();
  }

  start(): void {
    this.wire.attach({
      message: (channel, message) => this.receive(channel, message),
      interrupt: () => this.interrupt(),
      shutdown: () => void this.shutdown(),
    });
    // What is left to prepare is done between requests.
    setImmediate(() => {
      if (this.count > 0) return;
      this.session.warmUp();
      setImmediate(() => this.session.loadLibrary());
    });
  }

  input(request: Message, prompt: string, password: boolean): Promise<string> {
    if (!request.content.allow_stdin) {
      return Promise.reject(new Error("input: this front end cannot ask (allow_stdin is off)"));
    }
    return new Promise((resolve, reject) => {
      this.questions.push({ request, prompt, password, resolve, reject });
      if (this.questions.length === 1) this.ask();
    });
  }

  private ask(): void {
    const [question] = this.questions;
    if (!question) return;
    const { request, prompt, password } = question;
    this.wire.send("stdin", request, "input_request", { prompt, password });
  }

  /** Nobody waits for these answers any more: the cell has ended or was interrupted. */
  private dropQuestions(reason: () => Error): void {
    for (const { reject } of this.questions.splice(0)) reject(reason());
  }

  private receive(channel: "shell" | "control" | "stdin", message: Message): void {
    const type = message.header.msg_type;
    if (channel === "stdin") {
      if (type === "input_reply") this.answer(message);
      return;
    }
    if (channel === "control") {
      void this.handle(channel, message, 0);
      return;
    }
    const arrival = ++this.arrivals;
    this.queue = this.queue.then(() => this.handle(channel, message, arrival));
  }

  private answer(message: Message): void {
    this.questions.shift()?.resolve(String(message.content.value ?? ""));
    this.ask();
  }

  private async handle(channel: ReplyChannel, message: Message, arrival: number): Promise<void> {
    const type = message.header.msg_type;
    const reply = (content: Json): void => this.wire.send(channel, message, type.replace("_request", "_reply"), content);
    // An interrupt from when others hear that the kernel is busy is for this cell.
    if (type === "execute_request") this.beginCell();
    this.wire.publish("status", { execution_state: "busy" }, message.header);
    try {
      if (type === "execute_request") await this.execute(message, reply, arrival);
      else if (type.startsWith("comm_") && !type.endsWith("_request")) this.comm(message);
      else {
        const answer = this.answerTo(type, message);
        if (answer) reply(answer);
        else this.log(`ignored a message of unknown type "${type}"`);
      }
    } catch (error) {
      const { name, message: text } = error as Error;
      this.log(`${type} failed: ${name}: ${text}`);
      if (type.endsWith("_request")) reply({ status: "error", ename: name, evalue: text, traceback: [] });
    }
    if (type === "execute_request") this.endCell();
    this.wire.publish("status", { execution_state: "idle" }, message.header);
  }

  private beginCell(): void {
    Atomics.store(this.wire.flags, STOP, 0);
    Atomics.store(this.wire.flags, RUNNING, ++this.sequence);
  }

  private endCell(): void {
    Atomics.store(this.wire.flags, RUNNING, 0);
  }

  private comm(message: Message): void {
    const output = new RequestOutput(this, message);
    try {
      withOutput(output, () => this.comms.receive(message));
    } catch (error) {
      output.stream("stderr", `Uncaught ${this.session.describeUncaught(error)}\n`);
    }
    output.flush();
  }

  private answerTo(type: string, { content }: Message): Json | undefined {
    const { session } = this;
    switch (type) {
      case "kernel_info_request":
        return kernelInfo();
      case "connect_request":
        return { status: "ok" };
      case "is_complete_request":
        return { ...session.isComplete(String(content.code ?? "")) };
      case "complete_request": {
        const code = String(content.code ?? "");
        const found = session.complete(code, fromCodePoints(code, Number(content.cursor_pos ?? code.length)));
        const start = toCodePoints(code, found.start);
        const end = toCodePoints(code, found.end);
        return {
          status: "ok",
          matches: found.items.map(({ text }) => text),
          cursor_start: start,
          cursor_end: end,
          metadata: {
            _jupyter_types_experimental: found.items.map(({ documentation, ...item }) =>
              ({ start, end, ...item, ...documentation !== undefined && { documentation: narrow(documentation, PANEL) } })),
          },
        };
      }
      case "inspect_request": {
        const code = String(content.code ?? "");
        const found = session.inspect(code, fromCodePoints(code, Number(content.cursor_pos ?? code.length)));
        if (!found) return { status: "ok", found: false, data: {}, metadata: {} };
        const { signature } = found;
        const documentation = narrow(found.documentation, POPUP);
        return {
          status: "ok",
          found: true,
          data: {
            "text/plain": documentation ? `${signature}\n\n${documentation}` : signature,
            // A line of sources below one of shapes is no paragraph of its own in Markdown.
            "text/markdown": `\`\`\`typescript\n${signature}\n\`\`\`\n\n${documentation.replace(/\n(?=Sources?: )/g, "\n\n")}`,
          },
          metadata: {},
        };
      }
      case "history_request":
        return { status: "ok", history: session.history.find(content) };
      case "comm_info_request":
        return { status: "ok", comms: this.comms.list(content.target_name as string | undefined) };
      default:
        return undefined;
    }
  }

  private async execute(message: Message, reply: (content: Json) => void, arrival: number): Promise<void> {
    const { content, header } = message;
    const code = String(content.code ?? "");
    const silent = Boolean(content.silent);
    const storeHistory = !silent && content.store_history !== false;
    if (arrival <= this.abortUpTo) {
      reply({ status: "aborted", execution_count: this.count, user_expressions: {}, payload: [] });
      return;
    }
    if (storeHistory) this.count++;
    const count = this.count;
    const entry = storeHistory ? this.session.history.add(count, code) : undefined;
    if (!silent) this.wire.publish("execute_input", { code, execution_count: count }, header);
    const output = new RequestOutput(this, message);
    const outcome = await this.session.execute(code, { output, count: storeHistory ? count : undefined });
    this.endCell();
    output.flush();
    this.dropQuestions(() => new Error("input: the cell ended before the answer came; write await input(...)"));

    if (outcome.status === "error") {
      const { ename, evalue, traceback } = outcome;
      // Only what the client had sent along with this cell is skipped, before it hears of the error: a client that waits
      // for the answer chooses itself.
      if (content.stop_on_error !== false) await this.skipWaiting();
      output.publish("error", { ename, evalue, traceback });
      reply({ status: "error", execution_count: count, ename, evalue, traceback, user_expressions: {}, payload: [] });
      return;
    }
    if (outcome.result) {
      if (entry) entry.output = String(outcome.result["text/plain"] ?? "");
      output.publish("execute_result", { execution_count: count, data: outcome.result, metadata: {} });
    }
    const user_expressions = await this.evaluate((content.user_expressions ?? {}) as Record<string, string>, output);
    const payload = outcome.page === undefined ? [] : [{ source: "page", start: 0, data: { "text/plain": outcome.page } }];
    reply({ status: "ok", execution_count: count, user_expressions, payload });
  }

  /** Everything that is on its way is counted in before the line is drawn. */
  private async skipWaiting(): Promise<void> {
    await this.wire.settle();
    this.abortUpTo = this.arrivals;
  }

  private async evaluate(expressions: Record<string, string>, output: Output): Promise<Json> {
    const results: Json = {};
    for (const [name, expression] of Object.entries(expressions)) {
      const outcome: Outcome = await this.session.execute(`(${expression}\n)`, { output });
      results[name] = outcome.status === "ok"
        ? { status: "ok", data: outcome.result ?? { "text/plain": "undefined" }, metadata: {} }
        : outcome;
    }
    return results;
  }

  private interrupt(): void {
    this.session.interrupt();
    this.dropQuestions(() => new Interrupted());
    if (Atomics.load(this.wire.flags, RUNNING) === 0) Atomics.store(this.wire.flags, STOP, 0);
  }

  private async shutdown(): Promise<void> {
    if (this.leaving) return;
    this.leaving = true;
    await this.wire.close();
    reallyExit(0);
  }

  /** A cell must not be able to end the kernel by accident. */
  private guardProcess(): void {
    process.exit = ((code?: number) => {
      throw new Error(`process.exit(${code ?? ""}) does nothing here: the kernel goes on; use Kernel > Shut Down to stop it`);
    }) as typeof process.exit;
    process.on("uncaughtException", (error) => process.stderr.write(`Uncaught ${this.session.describeUncaught(error)}\n`));
    process.on("unhandledRejection", (error) => process.stderr.write(`Uncaught (in promise) ${this.session.describeUncaught(error)}\n`));
    // The socket thread raises it for a cell's synchronous part; anywhere else it is only a wish to stop.
    process.on("SIGINT", () => this.interrupt());
    // Node keeps a signal that comes at the very end of a cell, as one to itself can, and ends the next cell with it.
    const kill = process.kill.bind(process);
    process.kill = (pid, signal) => {
      if (pid !== process.pid || signal !== "SIGINT" && signal !== constants.signals.SIGINT) return kill(pid, signal);
      this.interrupt();
      if (Atomics.load(this.wire.flags, RUNNING) !== 0) Atomics.store(this.wire.flags, STOP, 1);
      return true;
    };
  }
}

const reallyExit = process.exit.bind(process);

export function startServer(wire: Wire, log: (text: string) => void): Server {
  const server = new Server(wire, log);
  server.start();
  return server;
}

