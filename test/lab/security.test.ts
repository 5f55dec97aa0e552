/** Who may talk to the server, what it lets out, and what it lets in. */
import fc from "fast-check";
import fs from "node:fs";
import http from "node:http";
import net from "node:net";
import path from "node:path";
import { WebSocket } from "ws";
import type { Lab } from "./support";
import { BUILD_TIMEOUT, startLab, temporaryFolder, TOKEN } from "./support";

let lab: Lab;
let outside: string;
const SECRET = "not for you";

beforeAll(async () => {
  const folder = temporaryFolder("security");
  outside = path.join(folder, "outside.txt");
  fs.writeFileSync(outside, SECRET);
  const root = path.join(folder, "root");
  fs.mkdirSync(path.join(root, ".git"), { recursive: true });
  fs.mkdirSync(path.join(root, "sub"));
  fs.writeFileSync(path.join(root, ".git", "config"), SECRET);
  fs.writeFileSync(path.join(root, ".env"), SECRET);
  fs.writeFileSync(path.join(root, "sub", "page.html"), "<script>1</script>");
  fs.writeFileSync(path.join(root, "open.txt"), "for all");
  fs.symlinkSync(outside, path.join(root, "link.txt"));
  fs.symlinkSync(folder, path.join(root, "linked"));
  fs.symlinkSync(path.join(folder, "nowhere.txt"), path.join(root, "dangling.txt"));
  fs.symlinkSync(path.join(root, ".git"), path.join(root, "visible"));
  fs.symlinkSync(path.join(root, "open.txt"), path.join(root, "fine.txt"));
  lab = await startLab(root);
}, BUILD_TIMEOUT);
afterAll(async () => {
  await lab.stop();
  fs.rmSync(path.dirname(outside), { recursive: true, force: true });
});

/** A request as raw as it gets: fetch would tidy the path and refuse some headers. */
function raw(pathname: string, { method = "GET", headers = {}, body }: { method?: string; headers?: Record<string, string>; body?: string } = {}) {
  return new Promise<{ status: number; headers: http.IncomingHttpHeaders; text: string }>((resolve, reject) => {
    const length = body === undefined ? {} : { "content-length": Buffer.byteLength(body) };
    const request = http.request({ host: "127.0.0.1", port: lab.port, path: pathname, method, headers: { ...length, ...headers } }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (data: string) => (text += data)).on("end", () => resolve({ status: response.statusCode!, headers: response.headers, text }));
    });
    request.on("error", reject);
    request.end(body);
  });
}
const withToken = { authorization: `token ${TOKEN}` };

async function signIn() {
  const { headers } = await raw(`/lab?token=${TOKEN}`);
  const cookies = (headers["set-cookie"] ?? []).map((line) => line.split(";")[0]);
  const xsrf = cookies.find((c) => c.startsWith("_xsrf="))!.slice("_xsrf=".length);
  return { headers, cookie: cookies.join("; "), xsrf };
}

describe("the token", () => {
  it("is asked for everywhere but the icon", async () => {
    for (const pathname of ["/", "/lab", "/lab/tree/open.txt", "/api/contents", "/api/status", "/api/kernels", "/files/open.txt", "/static/lab/main.js", "/lab/api/settings"]) {
      expect((await raw(pathname)).status).toBe(403);
      expect((await raw(pathname, { headers: { authorization: "token wrong" } })).status).toBe(403);
      expect((await raw(`${pathname}?token=wrong`)).status).toBe(403);
    }
    expect((await raw("/favicon.svg")).status).toBe(200);
  });

  it("comes in the URL once, and then a cookie that scripts cannot read stands for it", async () => {
    const { headers, cookie } = await signIn();
    expect(headers.location).toBe("/lab");
    const [session] = headers["set-cookie"]!;
    expect(session).toMatch(/HttpOnly/);
    expect(session).toMatch(/SameSite=Lax/);
    expect(session).not.toContain(TOKEN);
    expect((await raw("/api/contents", { headers: { cookie } })).status).toBe(200);
  });

  it("never leads to another site", async () => {
    for (const pathname of ["//evil.example/lab", "/\\evil.example", "/%2f/evil.example"]) {
      const { headers } = await raw(`${pathname}?token=${TOKEN}`);
      if (headers.location !== undefined) expect(headers.location).toMatch(/^\/(?![/\\])/);
    }
  });

  it("is printed in one line only", async () => {
    await raw(`/api/contents/none?token=${TOKEN}`);
    await raw(`/nothing?token=${TOKEN}`);
    expect(lab.output().split(TOKEN)).toHaveLength(2);
  });
});

describe("other pages in the same browser", () => {
  it("that point their own name at this address are refused", async () => {
    expect((await raw("/api/contents", { headers: { ...withToken, host: "evil.example" } })).status).toBe(403);
    expect((await raw("/api/contents", { headers: { ...withToken, host: `evil.example:${lab.port}` } })).status).toBe(403);
    expect((await raw("/api/contents", { headers: { ...withToken, host: `localhost:${lab.port}` } })).status).toBe(200);
  });

  it("that call with their own Origin are refused", async () => {
    const { cookie, xsrf } = await signIn();
    for (const origin of ["http://evil.example", "null", `https://127.0.0.1:${lab.port}`, `http://127.0.0.1:${lab.port}.evil.example`, "http://127.0.0.1:1"]) {
      expect((await raw("/api/contents", { headers: { cookie, origin, "x-xsrftoken": xsrf } })).status).toBe(403);
    }
    expect((await raw("/api/contents", { headers: { cookie, origin: lab.url } })).status).toBe(200);
    expect((await raw("/api/contents", { headers: { cookie, "sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors" } })).status).toBe(403);
  });

  it("cannot change anything by the cookie alone", async () => {
    const { cookie, xsrf } = await signIn();
    const body = JSON.stringify({ type: "file", format: "text", content: "forged" });
    for (const [method, pathname] of [["PUT", "/api/contents/forged.txt"], ["POST", "/api/contents"], ["PATCH", "/api/contents/open.txt"], ["DELETE", "/api/contents/open.txt"], ["POST", "/api/kernels"], ["POST", "/api/sessions"], ["POST", "/api/shutdown"], ["PUT", "/lab/api/workspaces/default"], ["PUT", "/lab/api/settings/@jupyterlab/apputils-extension:themes"]]) {
      expect([pathname, (await raw(pathname, { method, headers: { cookie }, body })).status]).toEqual([pathname, 403]);
      expect([pathname, (await raw(pathname, { method, headers: { cookie, "x-xsrftoken": "guess" }, body })).status]).toEqual([pathname, 403]);
    }
    expect((await raw("/api/contents/real.txt", { method: "PUT", headers: { cookie, "x-xsrftoken": xsrf }, body })).status).toBe(200);
  });

  const socket = (headers: Record<string, string>, query = "") => new Promise<string>((resolve) => {
    const ws = new WebSocket(`ws://127.0.0.1:${lab.port}/api/events/subscribe${query}`, { headers });
    ws.on("open", () => { ws.close(); resolve("open"); });
    ws.on("error", (error) => resolve(error.message));
  });

  it("cannot open a WebSocket", async () => {
    const { cookie } = await signIn();
    expect(await socket({ cookie, origin: lab.url })).toBe("open");
    expect(await socket({}, `?token=${TOKEN}`)).toBe("open");
    expect(await socket({})).toMatch(/403/);
    expect(await socket({ cookie, origin: "http://evil.example" })).toMatch(/403/);
    expect(await socket({ cookie, host: "evil.example" })).toMatch(/403/);
  });
});

describe("outside the root", () => {
  const TRICKS = [
    "..", "../outside.txt", "../../etc/passwd", "..%2foutside.txt", "%2e%2e/outside.txt", "%2e%2e%2foutside.txt", "%252e%252e%252foutside.txt",
    "sub/../../outside.txt", "sub/..%2f..%2foutside.txt", "..\\outside.txt", "..%5coutside.txt", "/etc/passwd", "//etc/passwd", "%2fetc%2fpasswd",
    "link.txt", "linked/outside.txt", "linked", "dangling.txt", "visible/config", ".git/config", ".GIT/config", ".git", ".env", "sub/../.env", "./.env",
    "open.txt%00.ipynb", "....//outside.txt", "..;/outside.txt", "%c0%ae%c0%ae/outside.txt", "%u002e%u002e/outside.txt", "%EF%BD%9E/outside.txt", "C:/Windows/win.ini",
  ];

  it.each(TRICKS)("nothing is read by %s", async (trick) => {
    for (const prefix of ["/api/contents/", "/files/", "/lab/extensions/gradbook-plotly/", "/static/lab/", "/lab/api/themes/", "/kernelspecs/gradbook/", "/lab/api/settings/", "/lab/api/workspaces/", "/api/config/"]) {
      const { status, text } = await raw(prefix + trick, { headers: withToken });
      expect(text).not.toContain(SECRET);
      expect(text).not.toContain("root:");
      if (prefix === "/api/contents/" || prefix === "/files/") expect([status, text.slice(0, 80)]).not.toEqual([200, expect.anything()]);
    }
  });

  it.each(TRICKS)("nothing is written, moved or deleted by %s", async (trick) => {
    const before = fs.readdirSync(path.dirname(outside)).sort();
    const body = (value: object) => ({ headers: withToken, body: JSON.stringify(value) });
    await raw(`/api/contents/${trick}`, { method: "PUT", ...body({ type: "file", format: "text", content: "broke in" }) });
    await raw(`/api/contents/${trick}/new.txt`, { method: "PUT", ...body({ type: "file", format: "text", content: "broke in" }) });
    await raw(`/api/contents/${trick}`, { method: "POST", ...body({ ext: ".txt" }) });
    await raw("/api/contents/sub/page.html", { method: "PATCH", ...body({ path: decodeURIComponent(/%c0|%u|%00/.test(trick) ? "../x" : trick) }) });
    await raw("/api/contents", { method: "POST", ...body({ copy_from: trick }) });
    if (!["sub", ""].includes(trick)) await raw(`/api/contents/${trick}`, { method: "DELETE", ...body({}) });
    expect(fs.readdirSync(path.dirname(outside)).sort()).toEqual(before);
    expect(fs.readFileSync(outside, "utf8")).toBe(SECRET);
    expect(fs.readFileSync(path.join(lab.root, ".git", "config"), "utf8")).toBe(SECRET);
    expect(fs.readFileSync(path.join(lab.root, ".env"), "utf8")).toBe(SECRET);
  });

  it("no path in a traceback leads out", async () => {
    const resolve = (given: string) => lab.json<{ resolved: { path: string }[] }>(`/api/resolvePath?path=${encodeURIComponent(given)}`);
    for (const given of ["/etc/passwd", "../outside.txt", outside, ".env", "link.txt", "linked/outside.txt"]) expect([given, (await resolve(given)).resolved]).toEqual([given, []]);
    expect((await resolve(path.join(lab.root, "sub", "page.html"))).resolved).toEqual([{ scope: "server", path: "sub/page.html" }]);
    expect((await resolve("open.txt")).resolved).toEqual([{ scope: "server", path: "open.txt" }]);
  });

  it("a link that stays inside works", async () => {
    await expect(lab.json("/api/contents/fine.txt")).resolves.toMatchObject({ content: "for all" });
  });

  it("hidden files are not listed", async () => {
    const { content } = await lab.json<{ content: { name: string }[] }>("/api/contents");
    expect(content.filter(({ name }) => name.startsWith(".") || ["link.txt", "linked", "dangling.txt", "visible"].includes(name))).toEqual([]);
  });
});

describe("answers", () => {
  it("carry the headers that keep a page in its place", async () => {
    const { headers } = await raw("/lab", { headers: withToken });
    const csp = String(headers["content-security-policy"]);
    expect(csp).toMatch(/default-src 'self'/);
    expect(csp).toMatch(/object-src 'none'/);
    expect(csp).toMatch(/frame-ancestors 'self'/);
    expect(csp).not.toMatch(/script-src[^;]*(\*|https:)/);
    expect(headers).toMatchObject({ "x-content-type-options": "nosniff", "x-frame-options": "SAMEORIGIN", "referrer-policy": "same-origin" });
    expect(headers["x-powered-by"]).toBeUndefined();
  });

  it("with a file's own page run apart from ours", async () => {
    const { headers, text } = await raw("/files/sub/page.html", { headers: withToken });
    expect(text).toContain("script");
    expect(headers["content-security-policy"]).toBe("sandbox allow-scripts");
  });
});

describe("limits", () => {
  it("a body that is too large is refused, as JSON that is none", async () => {
    const headers = { ...withToken, "content-type": "application/json" };
    const big = await raw("/api/sessions", { method: "POST", headers, body: JSON.stringify({ path: "x".repeat(2 ** 21) }) });
    expect([big.status, JSON.parse(big.text)]).toEqual([413, { message: "the request is larger than this server takes", reason: null }]);
    const bad = await raw("/api/sessions", { method: "POST", headers, body: "{" });
    expect([bad.status, JSON.parse(bad.text)]).toEqual([400, { message: "the request's body is not JSON", reason: null }]);
  });

  it("half a request does not hold the server", async () => {
    const half = net.connect(lab.port, "127.0.0.1");
    half.write("PUT /api/contents/half.txt HTTP/1.1\r\nHost: ");
    expect((await raw("/api/status", { headers: withToken })).status).toBe(200);
    half.destroy();
  });
});

describe("a fuzzer over the REST paths", () => {
  const part = fc.oneof(
    fc.constantFrom("api", "contents", "kernels", "sessions", "checkpoints", "trust", "files", "lab", "tree", "settings", "workspaces", "translations", "..", ".", "", "%2e%2e", "%00", "%", "%ff", "~", "__proto__", "constructor", "a".repeat(300), "open.txt", "sub", "link.txt", "linked", ".env"),
    fc.string({ maxLength: 12, unit: "binary" }).map(encodeURIComponent),
  );
  const value = fc.oneof(fc.jsonValue({ maxDepth: 2 }), fc.record({ type: fc.constantFrom("file", "notebook", "directory", 7, "x"), format: fc.constantFrom("text", "base64", "json", null), content: fc.jsonValue({ maxDepth: 2 }), chunk: fc.constantFrom(undefined, 1, 2, -1, "a"), path: fc.constantFrom("../x", "y.txt", ".env", 3), copy_from: fc.constantFrom(undefined, "../outside.txt", "open.txt", []), kernel: fc.constantFrom(undefined, null, 7, { name: "none" }, { id: 4 }) }, { requiredKeys: [] }));

  it("finds no answer that is a fault of ours, and no way out", async () => {
    const before = fs.readdirSync(path.dirname(outside)).sort();
    await fc.assert(fc.asyncProperty(
      fc.constantFrom("GET", "PUT", "POST", "PATCH", "DELETE", "HEAD"), fc.array(part, { minLength: 1, maxLength: 6 }), fc.constantFrom("/api/contents/", "/api/", "/", "/lab/api/", "/files/"), value,
      async (method, parts, prefix, body) => {
        const pathname = prefix + parts.join("/");
        if (/\/shutdown|\/kernels\/?$|\/sessions\/?$/.test(pathname) && method === "POST") return;
        const { status, text } = await raw(pathname, { method, headers: withToken, body: method === "GET" || method === "HEAD" ? undefined : JSON.stringify(body) ?? "" });
        expect([pathname, status, text.slice(0, 200)]).toEqual([pathname, expect.any(Number), expect.not.stringContaining(SECRET)]);
        if (status >= 500) throw new Error(`${method} ${pathname} ${JSON.stringify(body)}: ${status} ${text}`);
      },
    ), { numRuns: 1500, endOnFailure: false });
    expect(fs.readdirSync(path.dirname(outside)).sort()).toEqual(before);
    expect(fs.readFileSync(outside, "utf8")).toBe(SECRET);
    expect(fs.readFileSync(path.join(lab.root, ".env"), "utf8")).toBe(SECRET);
    expect((await raw("/api/status", { headers: withToken })).status).toBe(200);
  }, 120_000);
});
