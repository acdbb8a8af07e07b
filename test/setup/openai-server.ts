// A server on loopback that speaks OpenAI's API as far as providers ask for it, and misbehaves on demand: it says the prompt again,
// word by word, and embeds by letters. It does not know who asks.
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import { hashedVector } from "../../src/text/mod.ts";

/** What it does instead of answering well; `times` of an answer that comes well after so many refusals. */
export type Mischief =
  | { readonly kind: "status"; readonly status: number; readonly times?: number; readonly retryAfter?: string }
  | { readonly kind: "reset"; readonly times?: number }
  | {
      readonly kind:
        | "cut"
        | "stall"
        | "long"
        | "lying"
        | "uncounted"
        | "silent"
        | "broken"
        | "error"
        | "flood"
        | "redirect"
        | "short";
    }
  | { readonly kind: "vectors"; readonly data: unknown };

export interface Standin extends AsyncDisposable {
  readonly url: string;
  /** Bodies that were asked. */
  readonly asked: Record<string, unknown>[];
  /** The key of each, and when it was asked, by performance.now(). */
  readonly calls: { readonly authorization: string | undefined; readonly atMs: number }[];
  /** Answers whose reader went away. */
  readonly left: () => number;
  mischief: Mischief | undefined;
}

export async function openaiServer(): Promise<Standin> {
  const asked: Record<string, unknown>[] = [];
  const calls: { authorization: string | undefined; atMs: number }[] = [];
  let refused = 0;
  let left = 0;
  const standin = { mischief: undefined as Mischief | undefined };
  const server = createServer(async (request, response) => {
    response.on("close", () => {
      if (!response.writableFinished) left++;
    });
    const body = JSON.parse(await textOf(request)) as Record<string, unknown>;
    asked.push(body);
    calls.push({ authorization: request.headers.authorization, atMs: performance.now() });
    const { mischief } = standin;
    const isOver = mischief !== undefined && "times" in mischief && refused >= (mischief.times ?? Infinity);
    if (mischief?.kind === "status" && !isOver) {
      refused++;
      if (mischief.retryAfter !== undefined) response.setHeader("retry-after", mischief.retryAfter);
      response
        .writeHead(mischief.status)
        .end(JSON.stringify({ error: { message: `status ${mischief.status} it is` } }));
      return;
    }
    if (mischief?.kind === "reset" && !isOver) {
      refused++;
      request.socket.destroy();
      return;
    }
    if (mischief?.kind === "redirect") {
      response.writeHead(302, { location: "http://127.0.0.1:1/elsewhere" }).end();
      return;
    }
    if (mischief?.kind === "silent") return;
    if (request.url === "/v1/embeddings") embeddings(body, response, mischief);
    else await answer(request.url === "/v1/chat/completions", body, response, mischief);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/v1`,
    asked,
    calls,
    left: () => left,
    get mischief() {
      return standin.mischief;
    },
    set mischief(next) {
      refused = 0;
      standin.mischief = next;
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function textOf(request: IncomingMessage): Promise<string> {
  let text = "";
  for await (const piece of request) text += piece;
  return text;
}

function promptOf({ messages, prompt }: Record<string, unknown>): string {
  const chat = messages as { content: string }[] | undefined;
  return chat?.at(-1)?.content ?? (prompt as string);
}

async function answer(
  isChat: boolean,
  body: Record<string, unknown>,
  response: ServerResponse,
  mischief: Mischief | undefined,
): Promise<void> {
  const said = promptOf(body);
  if (said === "") {
    response.writeHead(400).end(JSON.stringify({ error: { message: "the prompt is empty" } }));
    return;
  }
  const stop = (body.stop as string[] | undefined)?.[0];
  const cut = stop === undefined ? said : (said.split(stop)[0] as string);
  const words = cut.match(/\s*\S+/g) ?? [];
  const most = (body.max_tokens as number | undefined) ?? Infinity;
  const made = words.slice(0, most);
  response.writeHead(200, {
    "content-type": "text/event-stream",
    ...(mischief?.kind === "short" && { "content-length": "100000" }),
  });
  const send = (value: unknown) => response.write(`data: ${JSON.stringify(value)}\r\n\r\n`);
  for (const [i, word] of made.entries()) {
    if (response.closed) return;
    if (i === 2 && (mischief?.kind === "cut" || mischief?.kind === "short")) return void response.destroy();
    if (i === 2 && mischief?.kind === "stall") return;
    if (i === 2 && mischief?.kind === "broken") return void response.end("data: {not json\n\n");
    if (i === 2 && mischief?.kind === "error")
      return void response.end('data: {"error":{"message":"out of memory"}}\n\n');
    if (i === 2 && mischief?.kind === "long") return void response.end(); // no end is told
    if (i === 2 && mischief?.kind === "flood") return void response.end(`data: ${"x".repeat(9 * 2 ** 20)}`);
    send({ choices: [isChat ? { delta: { content: word } } : { text: word }] });
    await pause(1);
  }
  const reason = made.length < words.length ? "length" : "stop";
  send({ choices: [{ ...(isChat ? { delta: {} } : { text: "" }), finish_reason: reason }] });
  const tokens = mischief?.kind === "lying" ? 7_000 : mischief?.kind === "uncounted" ? 0 : made.length;
  send({ choices: [], usage: { prompt_tokens: words.length, completion_tokens: tokens } });
  response.end("data: [DONE]\n\n");
}

function embeddings(body: Record<string, unknown>, response: ServerResponse, mischief: Mischief | undefined): void {
  const data = (body.input as string[]).map((text, index) => ({ index, embedding: [...hashedVector(text)] }));
  const text = JSON.stringify({ data: mischief?.kind === "vectors" ? mischief.data : data.reverse() });
  response.writeHead(200, { "content-type": "application/json" });
  if (mischief?.kind === "cut") response.write(text.slice(0, 100), () => response.destroy());
  else response.end(text);
}
