// An MCP server over stdin and stdout, or over HTTP on this machine alone. It does not know what is served.
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js";
import { StdioServerTransport } from "@modelcontextprotocol/sdk/server/stdio.js";
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js";
import { IroriError } from "../../base/mod.ts";

/** Until the client is gone. */
export async function serveMcpOverStdio(server: McpServer, signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  server.server.onclose = resolve;
  process.stdin.once("end", resolve);
  signal.addEventListener("abort", () => resolve(), { once: true });
  await server.connect(new StdioServerTransport());
  await promise;
  await server.close();
}

export interface McpListener extends AsyncDisposable {
  readonly url: string;
}

const HOST = "127.0.0.1";
const PATH = "/mcp";
/** Longest request: a megabyte of text, and what JSON makes of it. */
const MOST_BYTES = 8_000_000;

/** Each request stands for itself (no sessions), so that any number of clients may come and go. */
export async function serveMcpOverHttp(makeServer: () => McpServer, port: number): Promise<McpListener> {
  const http = createServer((request, response) => {
    answer(makeServer, request, response, boundPort()).catch((error: unknown) =>
      refuse(response, 500, (error as Error).message),
    );
  });
  const boundPort = () => (http.address() as AddressInfo).port;
  await new Promise<void>((resolve, reject) => {
    http.once("error", (cause: NodeJS.ErrnoException) =>
      reject(
        new IroriError("io", {
          what: `port ${port} of ${HOST}`,
          got: cause.message,
          next: "name another with --port, or 0 for any",
          cause,
        }),
      ),
    );
    http.listen(port, HOST, resolve);
  });
  return {
    url: `http://${HOST}:${boundPort()}${PATH}`,
    async [Symbol.asyncDispose]() {
      http.closeAllConnections();
      await new Promise((resolve) => http.close(resolve));
    },
  };
}

async function answer(
  makeServer: () => McpServer,
  request: IncomingMessage,
  response: ServerResponse,
  port: number,
): Promise<void> {
  // a web page must not reach it through a name of its own that leads here
  const names = [`${HOST}:${port}`, `localhost:${port}`];
  if (!names.includes(request.headers.host ?? "")) return refuse(response, 403, "the Host is not this machine");
  const { origin } = request.headers;
  if (origin !== undefined && !names.some((name) => origin === `http://${name}`))
    return refuse(response, 403, "the Origin is not this machine");
  if (new URL(request.url ?? "/", "http://here").pathname !== PATH)
    return refuse(response, 404, `only ${PATH} is here`);
  if (request.method !== "POST") return refuse(response, 405, "no sessions here: POST alone");
  const body = await read(request);
  if (body === undefined) return refuse(response, 413, `a request of more than ${MOST_BYTES} bytes`);
  let message: unknown;
  try {
    message = JSON.parse(body);
  } catch {
    return refuse(response, 400, "the request is no JSON");
  }
  const server = makeServer();
  const transport = new StreamableHTTPServerTransport({ enableJsonResponse: true });
  response.on("close", () => void server.close());
  // the SDK's own types differ by an optional property under exactOptionalPropertyTypes
  await server.connect(transport as Parameters<McpServer["connect"]>[0]);
  await transport.handleRequest(request, response, message);
}

async function read(request: IncomingMessage): Promise<string | undefined> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of request as AsyncIterable<Buffer>) {
    bytes += part.length;
    if (bytes > MOST_BYTES) return undefined;
    parts.push(part);
  }
  return Buffer.concat(parts).toString("utf8");
}

function refuse(response: ServerResponse, status: number, message: string): void {
  if (response.headersSent) return void response.end();
  response.writeHead(status, { "content-type": "application/json" });
  response.end(JSON.stringify({ jsonrpc: "2.0", error: { code: -32_600, message }, id: null }));
}
