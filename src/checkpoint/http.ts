// One request over HTTP: redirects followed with care for credentials, proxies, and an end to waiting. Node's own client,
// because `fetch` tells neither a stall nor a proxy apart. It does not know what is fetched; failures are sentences that
// say whether another attempt may help.

import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import { cancelled, IroriError } from "../base/mod.ts";
import type { Network } from "./network.ts";
import { printable } from "./quoted.ts";

const mostRedirects = 8;
const longestErrorBytes = 4096;

export interface HttpRequest {
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
}

export interface HttpAnswer {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  /** After redirects. */
  readonly url: string;
  /** Ends in an error where the connection breaks or stalls; leaving the loop closes the connection. */
  readonly body: AsyncIterable<Uint8Array>;
  /** Closes the connection of a body that nobody wants. */
  close(): void;
}

/** Whether the same request may succeed a little later. */
const passing = new WeakSet<Error>();
export const isPassing = (error: unknown): boolean => error instanceof Error && passing.has(error);

/** Marks an error as one that another attempt may not meet. */
export function markPassing<E extends Error>(error: E): E {
  passing.add(error);
  return error;
}

/** Whether nobody answered: worth another attempt only at a server that did before. */
const silent = new WeakSet<Error>();
export const isSilent = (error: unknown): boolean => error instanceof Error && silent.has(error);

export class Http {
  readonly network: Network;
  readonly #plain: HttpAgent;
  readonly #secure: HttpsAgent;

  constructor(network: Network) {
    this.network = network;
    const options = { keepAlive: true, proxyEnv: { ...network.proxies } };
    this.#plain = new HttpAgent(options);
    this.#secure = new HttpsAgent(options);
  }

  /** The answer of the last server in a chain of redirects, whatever its status. */
  async get(url: string, request: HttpRequest): Promise<HttpAnswer> {
    let at = new URL(url);
    let headers: Record<string, string> = { "user-agent": "irori", "accept-encoding": "identity", ...request.headers };
    for (let redirects = 0; ; redirects++) {
      const answer = await this.#once(at, headers, request.signal);
      const { location } = answer.headers;
      if (answer.status < 300 || answer.status > 399 || location === undefined) return answer;
      answer.close();
      const next = new URL(location, at);
      if (redirects >= mostRedirects || !["http:", "https:"].includes(next.protocol))
        throw new IroriError("io", { what: `${at.host} redirects without end`, got: printable(next.href) });
      if (at.protocol === "https:" && next.protocol === "http:")
        throw new IroriError("io", {
          what: `${at.host} redirects to an address that anybody on the way can change`,
          got: printable(next.href),
          wanted: "https",
        });
      // credentials are for the host that they were given for
      if (next.origin !== at.origin) headers = without(headers, "authorization");
      at = next;
    }
  }

  /** For libraries that take a `fetch`; `more` headers go with every request, bodies of requests are not sent. */
  fetchFor(signal: AbortSignal, more: Readonly<Record<string, string>>): typeof fetch {
    return async (input, init) => {
      const headers = { ...Object.fromEntries(new Headers(init?.headers)), ...more };
      const url = input instanceof Request ? input.url : String(input);
      const answer = await this.get(url, { headers, signal });
      const chunks: Uint8Array[] = [];
      for await (const chunk of answer.body) chunks.push(chunk);
      const { status, headers: answered } = answer;
      const hasBody = ![204, 205, 304].includes(status);
      const response = new Response(hasBody ? Buffer.concat(chunks) : null, { status, headers: { ...answered } });
      Object.defineProperty(response, "url", { value: answer.url });
      return response;
    };
  }

  close(): void {
    this.#plain.destroy();
    this.#secure.destroy();
  }

  #once(url: URL, headers: Readonly<Record<string, string>>, signal: AbortSignal): Promise<HttpAnswer> {
    const { answerMs, idleMs } = this.network;
    const isSecure = url.protocol === "https:";
    const options = { headers, signal, agent: isSecure ? this.#secure : this.#plain };
    return new Promise((resolve, reject) => {
      if (signal.aborted) throw cancelled(`fetching from ${url.host}`, signal);
      const sent = (isSecure ? httpsRequest : httpRequest)(url, options);
      const timer = setTimeout(() => {
        sent.destroy(unreachable(url, `it did not begin to answer within ${answerMs} ms`));
      }, answerMs);
      sent.once("response", (message) => {
        clearTimeout(timer);
        resolve(answerOf(url, message, idleMs, signal));
      });
      sent.once("error", (error: NodeJS.ErrnoException) => {
        clearTimeout(timer);
        reject(failure(url, error, signal));
      });
      sent.end();
    });
  }
}

function answerOf(url: URL, message: IncomingMessage, idleMs: number, signal: AbortSignal): HttpAnswer {
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(message.headers))
    if (value !== undefined) headers[name] = Array.isArray(value) ? value.join(", ") : value;
  return {
    status: message.statusCode ?? 0,
    headers,
    url: url.href,
    body: bodyOf(url, message, idleMs, signal),
    close: () => message.destroy(),
  };
}

async function* bodyOf(
  url: URL,
  message: IncomingMessage,
  idleMs: number,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  let timer: NodeJS.Timeout | undefined;
  const wait = () => {
    timer = setTimeout(() => {
      message.destroy(broken(url, `no byte came for ${idleMs} ms`));
    }, idleMs);
  };
  try {
    wait();
    for await (const chunk of message as AsyncIterable<Uint8Array>) {
      clearTimeout(timer); // how long the reader takes is not the server's fault
      yield chunk;
      wait();
    }
  } catch (error) {
    throw failure(url, error as NodeJS.ErrnoException, signal);
  } finally {
    clearTimeout(timer);
    message.destroy();
  }
}

/** The text of an answer that is an error, for its sentence: short, whatever the server sends. */
export async function errorText({ body, close }: HttpAnswer): Promise<string> {
  let text = "";
  try {
    for await (const chunk of body) {
      text += Buffer.from(chunk).toString("utf8");
      if (text.length > longestErrorBytes) break;
    }
  } catch (error) {
    if (!isPassing(error)) throw error; // a cut explanation is still one
  } finally {
    close();
  }
  return printable(text.trim().replace(/\s+/g, " "), 200);
}

/** Where no second attempt is worth it, sentences say what to do; what passes is marked. */
function failure(url: URL, error: NodeJS.ErrnoException, signal: AbortSignal): Error {
  if (signal.aborted) return cancelled(`fetching from ${url.host}`, signal);
  if (error instanceof IroriError) return error;
  const { code = "" } = error;
  if (code === "ENOTFOUND" || code === "EAI_AGAIN") return unreachable(url, "its name is not known here", error);
  if (["ECONNREFUSED", "EHOSTUNREACH", "ENETUNREACH", "ENETDOWN", "ETIMEDOUT", "ERR_PROXY_TUNNEL"].includes(code))
    return unreachable(url, `it cannot be reached (${code})`, error);
  if (/^(CERT_|DEPTH_|SELF_SIGNED|UNABLE_TO|ERR_TLS_|ERR_SSL_)/.test(code))
    return new IroriError("io", {
      what: `${url.host} could not show who it is`,
      got: `${code}: ${printable(error.message)}`,
      next: "behind a proxy that opens connections, name its certificate in NODE_EXTRA_CA_CERTS",
      cause: error,
    });
  return broken(url, printable(`${code} ${error.message}`.trim()), error);
}

/** A server that does not answer. */
function unreachable({ host }: URL, got: string, cause?: unknown): IroriError {
  const next = "check the network, and HTTPS_PROXY where there is a proxy";
  const error = new IroriError("io", { what: `${host} does not answer`, got, next, cause });
  silent.add(error);
  return error;
}

/** A connection that began well: another one may end well. */
function broken({ host }: URL, got: string, cause?: unknown): IroriError {
  const next = "try again: what has come is kept";
  return markPassing(new IroriError("io", { what: `the connection to ${host} broke`, got, next, cause }));
}

function without(headers: Record<string, string>, name: string): typeof headers {
  return Object.fromEntries(Object.entries(headers).filter(([key]) => key.toLowerCase() !== name));
}
