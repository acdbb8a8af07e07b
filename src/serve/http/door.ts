// Who may come in: host header, keys, sizes, open streams, origins. Asked before any route.
// It does not know what the routes do.
import { createHash, timingSafeEqual } from "node:crypto";
import type { MiddlewareHandler } from "hono";
import type { Lane } from "../lane-policy.ts";
import { HttpError } from "./errors.ts";
import type { Env } from "./serving.ts";

/** A key that somebody may call with. */
export interface Key {
  readonly name: string;
  readonly key: string;
  /** Lanes that it may use, the first by default. Default: both, interactive first. */
  readonly lanes?: readonly Lane[] | undefined;
  /** Namespaces of the memory that it may use. Default: all. */
  readonly namespaces?: readonly string[] | undefined;
  /** Requests in a minute at most. */
  readonly perMinute?: number | undefined;
}

export interface DoorOptions {
  /** The address that is bound. */
  readonly hostname: string;
  readonly keys: readonly Key[];
  /** Further names that a Host header may say. */
  readonly hosts: readonly string[];
  /** Origins of pages that may call; none by default. */
  readonly origins: readonly string[];
  /** Requests in work at most, of all callers. */
  readonly mostOpen: number;
  /** Milliseconds of a steady clock. */
  readonly now: () => number;
}

const LOOPBACK = new Set(["localhost", "127.0.0.1", "[::1]", "::1"]);
export const isLoopback = (hostname: string): boolean => LOOPBACK.has(hostname) || /^127\./.test(hostname);

const BOTH: readonly Lane[] = ["interactive", "batch"];
const digest = (text: string): Buffer => createHash("sha256").update(text).digest();

/** A page of another name that resolves to this machine may not call: the Host header must be a name of ours. */
function checkHost(header: string | undefined, { hostname, hosts }: DoorOptions): void {
  const name = (header ?? "").replace(/:\d+$/, "").toLowerCase();
  if (hosts.includes(name) || (isLoopback(hostname) ? isLoopback(name) : hosts.length === 0)) return;
  const wanted = [...(isLoopback(hostname) ? ["localhost"] : []), ...hosts].join(" or ");
  throw new HttpError(421, "bad-input", {
    what: "the Host header is no name of this server",
    got: JSON.stringify(name),
    wanted,
  });
}

export function door(options: DoorOptions): MiddlewareHandler<Env> {
  const keys = options.keys.map((key) => ({ ...key, digest: digest(key.key), taken: [] as number[] }));
  let open = 0;
  return async (c, next) => {
    checkHost(c.req.header("host"), options);
    const origin = c.req.header("origin");
    if (origin !== undefined) {
      if (!options.origins.includes(origin) && !options.origins.includes("*"))
        throw new HttpError(403, "bad-input", {
          what: `pages of ${origin} may not call this server`,
          next: "name the origin with --origin",
        });
      c.header("access-control-allow-origin", origin);
      c.header("vary", "origin");
      if (c.req.method === "OPTIONS") {
        c.header("access-control-allow-methods", "GET, POST, DELETE");
        c.header(
          "access-control-allow-headers",
          c.req.header("access-control-request-headers") ?? "authorization, content-type",
        );
        return c.body(null, 204);
      }
    }
    if (isOpenToAll(c.req.path)) {
      c.set("caller", { name: "anybody", lanes: BOTH });
      return next();
    }
    c.set("caller", callerOf(c.req.header("authorization"), c.req.header("x-irori-caller")));
    if (open >= options.mostOpen)
      throw new HttpError(503, "busy", {
        what: "too many requests are open",
        got: open,
        wanted: `at most ${options.mostOpen}`,
        next: "try again later",
      });
    open++;
    c.set("leave", () => {
      open--;
    });
    return next();
  };

  function callerOf(header: string | undefined, said: string | undefined) {
    if (keys.length === 0) return { name: said ?? "anonymous", lanes: BOTH };
    const given = digest(/^Bearer\s+(.+)$/i.exec(header ?? "")?.[1] ?? "");
    // all keys are compared, whichever it is
    const found = keys.filter((key) => timingSafeEqual(key.digest, given))[0];
    if (found === undefined)
      throw new HttpError(401, "bad-input", {
        what: header === undefined ? "a key is needed" : "the key is not known",
        next: "send Authorization: Bearer KEY",
      });
    const now = options.now();
    while (found.taken[0] !== undefined && found.taken[0] < now - 60_000) found.taken.shift();
    if (found.perMinute !== undefined && found.taken.length >= found.perMinute)
      throw new QuotaError(found.name, found.perMinute, Math.ceil(((found.taken[0] as number) + 60_000 - now) / 1000));
    if (found.perMinute !== undefined) found.taken.push(now);
    return { name: found.name, lanes: found.lanes ?? BOTH };
  }
}

const isOpenToAll = (path: string): boolean => path === "/" || path.startsWith("/health");

class QuotaError extends HttpError {
  override readonly retryAfterS: number;
  constructor(name: string, perMinute: number, retryAfterS: number) {
    super(429, "busy", {
      what: `the key ${name} has had its ${perMinute} requests of this minute`,
      next: `try again in ${retryAfterS} s`,
    });
    this.retryAfterS = retryAfterS;
  }
}
