/** JupyterLab's server: Jupyter's REST and WebSocket contract over one folder. */
import fs from "node:fs";
import http from "node:http";
import type { AddressInfo, Socket } from "node:net";
import path from "node:path";
import type { Request, Response } from "express";
import express from "express";
import { WebSocketServer } from "ws";
import { Conversations } from "./channels.js";
import { Contents } from "./contents.js";
import type { CourseOptions } from "./course.js";
import { courseRoutes } from "./course.js";
import { explain, HttpError } from "./errors.js";
import { Guard, newToken } from "./guard.js";
import { Kernels, Sessions } from "./kernels.js";
import type { LabExtension } from "./labextensions.js";
import { findLabExtensions } from "./labextensions.js";
import { favicon, labPage } from "./page.js";
import { jupyterDataDirs, stateDir } from "./paths.js";
import { Root } from "./root.js";
import { secret } from "./secret.js";
import { Settings } from "./settings.js";
import { findKernelSpecs, specModel } from "./kernelspecs.js";
import { Notary } from "./trust.js";
import { Workspaces } from "./workspaces.js";
import { V1 } from "./wire.js";

export interface LabOptions {
  /** The folder that is served. */
  root: string;
  /** The built front end (lab/build). */
  build: string;
  /** Folders with kernels/ and labextensions/, searched before those of the machine. */
  dataDirs: string[];
  /** 0 picks a free one. */
  port: number;
  token?: string;
  defaultKernel: string;
  /** Idle kernels that no page is connected to end after so long; 0 keeps them. */
  cullIdleSeconds?: number;
  /** What the Course sidebar works with. */
  course?: CourseOptions;
  /** More of the page's configuration; tests set exposeAppInBrowser. */
  pageConfig?: Record<string, unknown>;
  /** Called when the page's File menu asks to shut down. */
  onShutdown?: () => void;
}

export interface LabServer {
  readonly port: number;
  readonly token: string;
  readonly kernels: Kernels;
  /** Ends the kernels and the connections. */
  close(): Promise<void>;
  /** Ends the kernels at once. */
  abandon(): void;
}

const LARGEST_SAVE = "512mb";
const LARGEST_REQUEST = "1mb";
/** One message from the page to a kernel. */
const LARGEST_MESSAGE = 128 * 2 ** 20;

export async function startServer(options: LabOptions): Promise<LabServer> {
  const state = stateDir();
  const dataDirs = [...options.dataDirs, ...jupyterDataDirs()];
  const extensions = await findLabExtensions([options.build, ...dataDirs].map((dir) => path.join(dir, "labextensions")));
  // A page's connections outlast its pauses; one that the server closes just as the page sends would be an error there.
  const server = http.createServer({ keepAliveTimeout: 75_000 });
  // Nothing waits between this and the handlers below: a request without one is never answered.
  const port = await listen(server, options.port);
  const token = options.token ?? newToken();
  const guard = new Guard(token, secret(path.join(state, "cookie-secret")), port);
  const root = new Root(options.root);
  const kernels = new Kernels(root, dataDirs, options.defaultKernel, options.cullIdleSeconds ?? 0);
  const sessions = new Sessions(kernels);
  const contents = new Contents(root, new Notary(state));
  const started = new Date();

  const app = express();
  app.disable("x-powered-by");
  app.set("query parser", "simple");
  app.set("etag", false);
  app.use(guard.middleware);
  app.get("/favicon.svg", (_, response) => void response.type("svg").send(favicon));
  const api = express.Router();
  api.use("/contents", json(LARGEST_SAVE));
  api.use(json(LARGEST_REQUEST));
  contentsRoutes(api, contents);
  kernelRoutes(api, kernels, sessions);
  // The page makes links of the paths in a traceback, those that lead to files it may open.
  api.get("/resolvePath", (request, response) => {
    const { path: given = "", kernel } = request.query as Record<string, string | undefined>;
    const cwd = kernels.list().find(({ id }) => id === kernel)?.cwd ?? root.dir;
    const inside = root.relative(path.resolve(cwd, given));
    response.json(inside === undefined ? { resolved: [], unresolved: [] } : { resolved: [{ scope: "server", path: inside }], unresolved: [] });
  });
  api.get("/", (_, response) => void response.json({ version: "2.14.0" }));
  api.get("/status", (_, response) => {
    const running = kernels.list();
    const last = Math.max(started.getTime(), ...running.map((kernel) => kernel.lastActivity.getTime()));
    response.json({ started: started.toISOString(), last_activity: new Date(last).toISOString(), kernels: running.length, connections: running.reduce((sum, kernel) => sum + kernel.connections, 0) });
  });
  api.get("/me", (_, response) => void response.json({ identity: { username: "student", name: "Student", display_name: "Student", initials: "S", avatar_url: null, color: null }, permissions: {} }));
  api.get("/terminals", (_, response) => void response.json([]));
  api.get("/nbconvert", (_, response) => void response.json({}));
  configRoutes(api, path.join(state, "config"));
  api.post("/shutdown", (_, response) => {
    response.json({});
    options.onShutdown?.();
  });
  app.use("/api", api);
  if (options.course) {
    const course = express.Router();
    course.use(json(LARGEST_REQUEST));
    courseRoutes(course, root, options.course);
    app.use("/gradbook", course);
  }
  labRoutes(app, options, root, state, dataDirs, extensions);
  filesRoute(app, root);
  app.get("/", (_, response) => response.redirect("/lab"));
  app.use((request, _, next) => next(new HttpError(404, `${request.method} ${request.path.slice(0, 200)}: there is nothing here`)));
  app.use(answerError);
  server.on("request", app);

  const sockets = new WebSocketServer({ noServer: true, maxPayload: LARGEST_MESSAGE, handleProtocols: (offered) => (offered.has(V1) ? V1 : false) });
  const conversations = new Conversations();
  server.on("upgrade", (request: http.IncomingMessage, socket: Socket, head: Buffer) => {
    const refuse = (status: number) => socket.end(`HTTP/1.1 ${status} ${http.STATUS_CODES[status]}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
    socket.on("error", () => socket.destroy());
    try {
      guard.checkSource(request);
      if (guard.credential(request) === undefined) throw new HttpError(403, "no token");
      const url = new URL(request.url ?? "/", "http://localhost");
      const [, id] = /^\/api\/kernels\/([\w-]+)\/channels$/.exec(url.pathname) ?? [];
      if (id !== undefined) {
        const kernel = kernels.get(id);
        sockets.handleUpgrade(request, socket, head, (ws) => conversations.connect(kernel, url.searchParams.get("session_id") ?? crypto.randomUUID(), ws));
      } else if (url.pathname === "/api/events/subscribe") {
        // The page listens here for events of the server; we have none.
        sockets.handleUpgrade(request, socket, head, (ws) => ws.on("error", () => ws.terminate()));
      } else refuse(404);
    } catch (error) {
      refuse(error instanceof HttpError ? error.status : 400);
    }
  });

  return {
    port,
    token,
    kernels,
    async close() {
      for (const ws of sockets.clients) ws.close(1001);
      await Promise.all([kernels.close(), contents.close()]);
      for (const ws of sockets.clients) ws.terminate();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
    abandon: () => kernels.abandon(),
  };
}

/** On the loopback address only. */
function listen(server: http.Server, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", () => resolve((server.address() as AddressInfo).port));
  });
}

/** Parses every body as JSON: the page does not always say that it is. */
function json(limit: string): express.RequestHandler {
  return express.json({ limit, strict: false, type: () => true });
}

/** A wildcard's parts, decoded, as one path. */
function wildcard(request: Request): string {
  return ((request.params as { path?: string[] }).path ?? []).join("/");
}

function body(request: Request): Record<string, unknown> {
  const value: unknown = request.body ?? {};
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new HttpError(400, "the request's body is not a JSON object");
  return value as Record<string, unknown>;
}

/** A field of the body that, when given, must be text. */
function text(request: Request, field: string): string | undefined {
  const value = body(request)[field];
  if (value !== undefined && value !== null && typeof value !== "string") throw new HttpError(400, `${field} is ${JSON.stringify(value).slice(0, 60)}, not text`);
  return value ?? undefined;
}

function contentsRoutes(api: express.Router, contents: Contents): void {
  const location = (model: { path: string }) => `/api/contents/${model.path.split("/").map(encodeURIComponent).join("/")}`;
  api.route("/contents/*path/checkpoints")
    .get(async (request, response) => void response.json(await contents.checkpoints(wildcard(request))))
    .post(async (request, response) => void response.status(201).json(await contents.createCheckpoint(wildcard(request))));
  api.route("/contents/*path/checkpoints/:id")
    .post(async (request, response) => {
      await contents.restoreCheckpoint(wildcard(request), request.params.id);
      response.status(204).end();
    })
    .delete(async (request, response) => {
      await contents.deleteCheckpoint(wildcard(request), request.params.id);
      response.status(204).end();
    });
  api.post("/contents/*path/trust", async (request, response) => {
    await contents.trust(wildcard(request));
    response.status(201).end();
  });
  api.route("/contents{/*path}")
    .get(async (request, response) => {
      const { content = "1", type, format, hash = "0" } = request.query as Record<string, string | undefined>;
      response.json(await contents.get(wildcard(request), { content: content === "1", type, format, hash: hash === "1" }));
    })
    .put(async (request, response) => {
      const { content, chunk } = body(request);
      const model = await contents.save(wildcard(request), { type: text(request, "type"), format: text(request, "format"), content, chunk: chunk as number | undefined });
      response.location(location(model)).json(model);
    })
    .post(async (request, response) => {
      const from = text(request, "copy_from");
      const model = from === undefined
        ? await contents.createUntitled(wildcard(request), { type: text(request, "type"), ext: text(request, "ext") })
        : await contents.copy(from, wildcard(request));
      response.status(201).location(location(model)).json(model);
    })
    .patch(async (request, response) => {
      const to = text(request, "path");
      if (to === undefined) throw new HttpError(400, "path is missing; it is the new name");
      response.json(await contents.rename(wildcard(request), to));
    })
    .delete(async (request, response) => {
      await contents.delete(wildcard(request));
      response.status(204).end();
    });
}

function kernelRoutes(api: express.Router, kernels: Kernels, sessions: Sessions): void {
  const specs = async () => {
    const found = await kernels.specs();
    const models = await Promise.all([...found].map(async ([name, spec]) => [name, await specModel(spec)] as const));
    return { default: found.has(kernels.defaultName) ? kernels.defaultName : [...found.keys()][0] ?? "", kernelspecs: Object.fromEntries(models) };
  };
  api.get("/kernelspecs", async (_, response) => void response.json(await specs()));
  api.get("/kernelspecs/:name", async (request, response) => {
    const spec = (await kernels.specs()).get(request.params.name);
    if (!spec) throw new HttpError(404, `there is no kernel ${JSON.stringify(request.params.name)} on this machine`);
    response.json(await specModel(spec));
  });
  api.route("/kernels")
    .get((_, response) => void response.json(kernels.list().map((kernel) => kernel.model())))
    .post(async (request, response) => {
      const kernel = await kernels.start(text(request, "name"), text(request, "path") ?? "");
      response.status(201).location(`/api/kernels/${kernel.id}`).json(kernel.model());
    });
  api.route("/kernels/:id")
    .get((request, response) => void response.json(kernels.get(request.params.id).model()))
    .delete(async (request, response) => {
      await kernels.get(request.params.id).shutdown();
      response.status(204).end();
    });
  api.post("/kernels/:id/interrupt", async (request, response) => {
    await kernels.get(request.params.id).interrupt();
    response.status(204).end();
  });
  api.post("/kernels/:id/restart", async (request, response) => {
    const kernel = kernels.get(request.params.id);
    await kernel.restart();
    response.json(kernel.model());
  });
  const sessionRequest = (request: Request) => {
    const kernel = body(request).kernel;
    if (kernel !== undefined && kernel !== null && typeof kernel !== "object") throw new HttpError(400, "kernel is not an object with id or name");
    const { id, name } = (kernel ?? {}) as Record<string, unknown>;
    for (const value of [id, name]) if (value !== undefined && value !== null && typeof value !== "string") throw new HttpError(400, "kernel's id and name are text");
    return { path: text(request, "path"), name: text(request, "name"), type: text(request, "type"), kernel: kernel as { id?: string; name?: string } | undefined };
  };
  api.route("/sessions")
    .get((_, response) => void response.json(sessions.list().map((session) => sessions.model(session))))
    .post(async (request, response) => {
      const session = await sessions.create(sessionRequest(request));
      response.status(201).location(`/api/sessions/${session.id}`).json(sessions.model(session));
    });
  api.route("/sessions/:id")
    .get((request, response) => void response.json(sessions.model(sessions.get(request.params.id))))
    .patch(async (request, response) => void response.json(sessions.model(await sessions.update(request.params.id, sessionRequest(request)))))
    .delete(async (request, response) => {
      await sessions.delete(request.params.id);
      response.status(204).end();
    });
}

/** Small named JSON objects that the page may keep with the server. */
function configRoutes(api: express.Router, dir: string): void {
  const file = (name: string) => {
    if (!/^\w{1,60}$/.test(name)) throw new HttpError(404, `there is no configuration ${JSON.stringify(name.slice(0, 60))}`);
    return path.join(dir, `${name}.json`);
  };
  const read = (name: string) => {
    try {
      return JSON.parse(fs.readFileSync(file(name), "utf8")) as Record<string, unknown>;
    } catch (error) {
      if (error instanceof HttpError) throw error;
      return {};
    }
  };
  const write = (name: string, value: object) => {
    fs.mkdirSync(dir, { recursive: true });
    fs.writeFileSync(file(name), JSON.stringify(value));
  };
  api.route("/config/:name")
    .get((request, response) => void response.json(read(request.params.name)))
    .put((request, response) => {
      write(request.params.name, body(request));
      response.status(204).end();
    })
    .patch((request, response) => {
      const merged = { ...read(request.params.name), ...body(request) };
      write(request.params.name, merged);
      response.json(merged);
    });
}

/** The application: its page, its files, and JupyterLab's own services. */
function labRoutes(app: express.Express, options: LabOptions, root: Root, state: string, dataDirs: string[], extensions: LabExtension[]): void {
  const { build } = options;
  const settings = new Settings([path.join(build, "schemas"), ...extensions.map((extension) => path.join(extension.dir, "schemas"))], path.join(state, "settings"));
  const workspaces = new Workspaces(state, root.dir);
  const page = JSON.parse(fs.readFileSync(path.join(build, "page.json"), "utf8")) as { version: string; scripts: string[]; disabledExtensions: string[] };

  // Names hold a hash of what is in them.
  const forever = { immutable: true, maxAge: "1y", index: false, redirect: false } as const;
  app.use("/static/lab", express.static(path.join(build, "static"), forever));
  app.use("/lab/api/themes", express.static(path.join(build, "themes"), { index: false, redirect: false }));
  for (const extension of extensions) {
    app.use(`/lab/extensions/${extension.name}`, express.static(extension.dir, { index: false, redirect: false }));
  }
  app.use("/kernelspecs/:name", async (request, response, next) => {
    const spec = (await findKernelSpecs(dataDirs)).get(request.params.name);
    if (!spec) throw new HttpError(404, `there is no kernel ${JSON.stringify(request.params.name)} on this machine`);
    express.static(spec.dir, { index: false, redirect: false })(request, response, next);
  });

  app.get(["/lab/api/settings", "/lab/api/settings/"], async (request, response) => void response.json({ settings: await settings.list(request.query.ids_only === "true") }));
  app.route("/lab/api/settings/*path")
    .get(async (request, response) => void response.json(await settings.get(wildcard(request))))
    .put(json(LARGEST_REQUEST), async (request, response) => {
      await settings.save(wildcard(request), body(request).raw);
      response.status(204).end();
    });
  app.get(["/lab/api/workspaces", "/lab/api/workspaces/"], async (_, response) => {
    const values = await workspaces.list();
    response.json({ workspaces: { ids: values.map((workspace) => workspace.metadata.id), values } });
  });
  app.route("/lab/api/workspaces/:id")
    .get(async (request, response) => void response.json(await workspaces.get(request.params.id)))
    .put(json("16mb"), async (request, response) => {
      await workspaces.save(request.params.id, body(request));
      response.status(204).end();
    })
    .delete(async (request, response) => {
      await workspaces.delete(request.params.id);
      response.status(204).end();
    });
  app.get(["/lab/api/translations", "/lab/api/translations/"], (_, response) => void response.json({ data: { en: { displayName: "English", nativeName: "English" } }, message: "" }));
  app.get("/lab/api/translations/:locale", (_, response) => void response.json({ data: {}, message: "" }));

  app.get(["/lab{/tree{/*path}}", "/lab/workspaces/:workspace{/tree{/*path}}", "/doc{/tree{/*path}}"], (request: Request<{ workspace?: string }>, response: Response) => {
    const config = {
      appName: "JupyterLab",
      appNamespace: "lab",
      appUrl: "/lab",
      appVersion: page.version,
      baseUrl: "/",
      wsUrl: "",
      token: "",
      mode: request.path.startsWith("/doc") ? "single-document" : "multiple-document",
      workspace: request.params.workspace ?? "default",
      treePath: wildcard(request),
      treeUrl: "/lab/tree",
      docUrl: "/doc",
      settingsUrl: "/lab/api/settings",
      themesUrl: "/lab/api/themes",
      translationsApiUrl: "/lab/api/translations",
      workspacesApiUrl: "/lab/api/workspaces",
      fullStaticUrl: "/static/lab",
      fullLabextensionsUrl: "/lab/extensions",
      federated_extensions: extensions.map(({ dir: _, ...extension }) => extension),
      disabledExtensions: page.disabledExtensions,
      deferredExtensions: [],
      serverRoot: root.dir,
      rootUri: "",
      notebookStartsKernel: "true",
      notebookVersion: "[2, 14, 0]",
      cacheFiles: "true",
      devMode: "false",
      quitButton: "true",
      delete_to_trash: "true",
      allow_hidden_files: "false",
      terminalsAvailable: "false",
      buildAvailable: "false",
      buildCheck: "false",
      ...options.pageConfig,
    };
    response.set("Cache-Control", "no-store").type("html").send(labPage(config, "/static/lab", page.scripts));
  });
  // Links that people know from Jupyter's other front ends.
  app.get(["/tree{/*path}", "/notebooks{/*path}", "/edit{/*path}"], (request, response) => {
    const parts = ((request.params as { path?: string[] }).path ?? []).map(encodeURIComponent);
    response.redirect(`/lab/tree/${parts.join("/")}`);
  });
}

/** Files as they are, for pictures in notebooks and for downloads. A page among them runs apart from ours. */
function filesRoute(app: express.Express, root: Root): void {
  app.get("/files/*path", (request, response, next) => {
    const apiPath = wildcard(request);
    const file = root.resolve(apiPath);
    if (!fs.existsSync(file) || !fs.statSync(file).isFile()) throw new HttpError(404, `${JSON.stringify(apiPath)} is not a file`);
    response.set("Content-Security-Policy", "sandbox allow-scripts");
    response.set("Cache-Control", "no-cache");
    if (request.query.download !== undefined) response.attachment(path.basename(file));
    response.sendFile(file, { dotfiles: "allow" }, (error) => {
      if (error && !response.headersSent) next(error);
    });
  });
}

/** Every error is one sentence in the page. Only our own faults go to the terminal. */
function answerError(error: Error & { status?: number; type?: string }, request: Request, response: Response, next: (error: Error) => void): void {
  if (response.headersSent) return next(error);
  const known = error instanceof HttpError ? error : requestError(error);
  if (!known) console.error(`${request.method} ${request.path}:`, error);
  const { status, message } = known ?? explain(error, "the server");
  response.status(status).json({ message, reason: null });
}

/** What express and its parsers say about a request that is wrong. */
function requestError(error: Error & { status?: number; type?: string }): HttpError | undefined {
  if (error.type === "entity.too.large") return new HttpError(413, "the request is larger than this server takes");
  if (error.type === "entity.parse.failed") return new HttpError(400, "the request's body is not JSON");
  if (error instanceof URIError) return new HttpError(400, "the path is not well encoded");
  if (error.status !== undefined && error.status >= 400 && error.status < 500) return new HttpError(error.status, error.message);
  return undefined;
}
