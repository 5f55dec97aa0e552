/** Who may talk to this server: the token's holder, from this server's own pages. */
import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { NextFunction, Request, Response } from "express";
import { HttpError } from "./errors.js";
import { loginPage } from "./page.js";

const SAFE = new Set(["GET", "HEAD", "OPTIONS"]);

export function newToken(): string {
  return randomBytes(24).toString("hex");
}

export class Guard {
  readonly #session: string;
  readonly #xsrf: string;
  readonly #hosts: Set<string>;
  readonly #cookieName: string;

  /** `cookieSecret` outlives the server, so that an open page goes on after a restart. */
  constructor(readonly token: string, cookieSecret: Buffer, port: number) {
    const derive = (purpose: string) => createHmac("sha256", cookieSecret).update(`${purpose} ${port}`).digest("hex");
    this.#session = derive("session");
    this.#xsrf = derive("xsrf");
    this.#cookieName = `gradbook-${port}`;
    this.#hosts = new Set(["127.0.0.1", "localhost", "[::1]"].map((host) => `${host}:${port}`));
    if (port === 80) for (const host of ["127.0.0.1", "localhost", "[::1]"]) this.#hosts.add(host);
  }

  /** A page elsewhere that points its own name at 127.0.0.1 sends its name as Host; one that calls us sends its Origin. */
  checkSource({ headers }: IncomingMessage): void {
    const { host, origin } = headers;
    if (host === undefined || !this.#hosts.has(host.toLowerCase())) throw new HttpError(403, "this server answers only to localhost and 127.0.0.1, each with its port");
    if (origin !== undefined && !this.#sameOrigin(origin)) throw new HttpError(403, "this server answers only to its own pages");
    if (headers["sec-fetch-site"] === "cross-site" && headers["sec-fetch-mode"] !== "navigate") throw new HttpError(403, "this server answers only to its own pages");
  }

  #sameOrigin(origin: string): boolean {
    return origin.startsWith("http://") && this.#hosts.has(origin.slice("http://".length).toLowerCase());
  }

  /** How the request shows that it may: by the token, by our cookie, or not at all. */
  credential(request: IncomingMessage): "token" | "cookie" | undefined {
    const [, given] = /^(?:token|bearer)\s+(\S+)$/i.exec(request.headers.authorization ?? "") ?? [];
    if (given !== undefined) return same(given, this.token) ? "token" : undefined;
    const query = new URL(request.url ?? "/", "http://localhost").searchParams.get("token");
    if (query !== null && same(query, this.token)) return "token";
    return same(cookies(request).get(this.#cookieName) ?? "", this.#session) ? "cookie" : undefined;
  }

  /** For every HTTP request. */
  readonly middleware = (request: Request, response: Response, next: NextFunction): void => {
    setSecurityHeaders(response, request.headers.host ?? "");
    this.checkSource(request);
    if (request.path === "/favicon.svg") return next();
    const credential = this.credential(request);
    if (credential === undefined) {
      if (SAFE.has(request.method) && request.accepts(["json", "html"]) === "html") {
        response.status(403).type("html").send(loginPage());
        return;
      }
      throw new HttpError(403, "the token is missing or wrong; open the link that `gradbook lab` printed");
    }
    if (credential === "cookie" && !SAFE.has(request.method) && !same(request.get("x-xsrftoken") ?? "", this.#xsrf)) {
      throw new HttpError(403, "the X-XSRFToken header is missing or wrong; reload the page");
    }
    const fresh = request.query.token !== undefined && SAFE.has(request.method) && !request.path.startsWith("/api/");
    if (fresh || (credential === "cookie" && cookies(request).get("_xsrf") !== this.#xsrf)) {
      response.cookie(this.#cookieName, this.#session, { httpOnly: true, sameSite: "lax", path: "/" });
      response.cookie("_xsrf", this.#xsrf, { sameSite: "lax", path: "/" });
    }
    if (!fresh) return next();
    // Out of the address bar and the history.
    const url = new URL(request.originalUrl, "http://localhost");
    url.searchParams.delete("token");
    // Never "//host", which would lead elsewhere.
    response.redirect(302, `${url.pathname.replace(/^\/+/, "/")}${url.search}`);
  };
}

/**
 * Scripts come from here only. Trusted outputs (and vega) need inline scripts and eval; what they fetch must come from here too.
 * Pictures in notebooks may lie anywhere on the web.
 */
function setSecurityHeaders(response: Response, host: string): void {
  const ws = /^[\w.:[\]-]+$/.test(host) ? ` ws://${host}` : "";
  response.set({
    "Content-Security-Policy": [
      "default-src 'self'",
      "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",
      "style-src 'self' 'unsafe-inline'",
      "img-src 'self' data: blob: https:",
      "font-src 'self' data:",
      "media-src 'self' data: blob:",
      `connect-src 'self' data: blob:${ws}`,
      "worker-src 'self' blob:",
      "frame-src 'self' data: blob:",
      "frame-ancestors 'self'",
      "object-src 'none'",
      "base-uri 'self'",
      "form-action 'self'",
    ].join("; "),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
  });
}

function cookies({ headers }: IncomingMessage): Map<string, string> {
  const pairs = (headers.cookie ?? "").split(";").map((pair) => pair.trim().split("=", 2) as [string, string]);
  return new Map(pairs.filter((pair) => pair.length === 2));
}

/** Compared in a time that tells nothing. */
function same(given: string, expected: string): boolean {
  const digest = (text: string) => createHmac("sha256", "compare").update(text).digest();
  return timingSafeEqual(digest(given), digest(expected));
}
