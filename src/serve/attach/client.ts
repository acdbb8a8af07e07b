// A running server of this store, for other processes of this machine: found by its record, asked whether it is who it says, and then
// answering as a lease does. It does not know what is asked.
import { cancelled, type ErrorCode, IroriError } from "../../base/mod.ts";
import type { Choice, Embeddings, EmbedOptions, GenerateRequest, GenerationEvent } from "../../engine/mod.ts";
import type { AnswerEvent } from "../answers.ts";
import type { EmbedBody, GenerateBody, ServerFacts } from "../http/native.ts";
import { announced, type ServerRecord } from "./record.ts";

/** Milliseconds in which a server that is well says who it is. */
const HELLO_MS = 2_000;

/** A server of this store that answered just now. */
export interface Found {
  readonly record: ServerRecord;
  readonly facts: ServerFacts;
}

/** Servers of a store that answer, and are those that wrote the records. */
export async function serversOf(home: string): Promise<Found[]> {
  const all = await Promise.all(announced(home).map(askWho));
  return all.filter((found) => found !== undefined);
}

async function askWho(record: ServerRecord): Promise<Found | undefined> {
  try {
    const signal = AbortSignal.timeout(HELLO_MS);
    const response = await fetch(`${record.url}/irori/server`, { headers: headersOf(record), signal });
    if (!response.ok) return undefined;
    const facts = (await response.json()) as ServerFacts;
    return facts.pid === record.pid ? { record, facts } : undefined; // the port may be another's by now
  } catch {
    return undefined; // it starts, stops or hangs: nothing that could be talked to
  }
}

const headersOf = ({ key }: ServerRecord): Record<string, string> => ({
  "content-type": "application/json",
  ...(key !== undefined && { authorization: `Bearer ${key}` }),
});

const CODES: Readonly<Record<number, ErrorCode>> = {
  ...{ 400: "bad-input", 403: "bad-input", 404: "not-found", 409: "conflict", 413: "bad-input" },
  ...{ 429: "busy", 501: "unsupported", 503: "busy" },
};

/** A model of a running server. It answers as a lease of this process does: the same request and seed, the same tokens. */
export class Attached {
  readonly model: string;
  readonly record: ServerRecord;

  constructor({ record }: Found, model: string) {
    this.record = record;
    this.model = model;
  }

  /** Streams an answer; the last event is "end", also when the signal aborts. */
  async *generate(request: GenerateRequest, call: { readonly signal?: AbortSignal | undefined } = {}) {
    const { signal } = call;
    const start = performance.now();
    const so = { text: "", ids: [] as number[], promptTokens: 0, firstTokenMs: 0 };
    try {
      const response = await this.#post("/irori/generate", bodyOf(this.model, request), signal);
      for await (const event of this.#events(response)) {
        if (event.type === "started") so.promptTokens = event.promptTokens;
        if (event.type === "token") {
          if (so.ids.length === 0) so.firstTokenMs = performance.now() - start;
          so.ids.push(event.id);
          so.text += event.text;
        }
        const told = toldOf(event);
        if (told !== undefined) yield told;
        if (event.type === "end") return;
      }
      throw this.#broken("its answer ended without its last record");
    } catch (error) {
      if (!signal?.aborted) throw error;
    }
    const { firstTokenMs, ...rest } = so;
    const decodeMs = performance.now() - start - firstTokenMs;
    const tokensPerSecond = so.ids.length > 1 ? ((so.ids.length - 1) * 1000) / decodeMs : 0;
    const timings = { openMs: 0, prefillMs: firstTokenMs, decodeMs, firstTokenMs, tokensPerSecond };
    const end: GenerationEvent = {
      ...{ type: "end", ...rest, reusedTokens: 0, hasBos: false, stop: "cancelled", seed: request.seed, timings },
    };
    yield end;
  }

  /** As the model's vectors are; `onDone` is not called, they come together. */
  async embed(texts: readonly string[], options: Omit<EmbedOptions, "isNormalized"> = {}): Promise<Embeddings> {
    const { signal, onDone: _, ...rest } = options;
    const body: EmbedBody = { model: this.model, texts: [...texts], ...rest };
    const response = await this.#post("/irori/embed", body, signal);
    const { vectors, ...told } = (await response.json()) as Omit<Embeddings, "vectors"> & { vectors: number[][] };
    return { ...told, vectors: vectors.map((vector) => Float32Array.from(vector)) };
  }

  async #post(path: string, body: object, signal: AbortSignal | undefined): Promise<Response> {
    const { url } = this.record;
    const init = {
      method: "POST",
      headers: headersOf(this.record),
      body: JSON.stringify(body),
      signal: signal ?? null,
    };
    const response = await fetch(url + path, init).catch((cause: unknown) => {
      if (signal?.aborted) throw cancelled(`asking ${url}`, signal);
      throw this.#broken("it does not answer", cause);
    });
    if (response.ok) return response;
    const { message, code } = errorIn(await response.text());
    throw new IroriError(code === "no_room" ? "no-room" : (CODES[response.status] ?? "io"), {
      what: `the server at ${url} refuses`,
      got: message,
      next: response.status === 429 || response.status === 503 ? OPEN_HERE : undefined,
    });
  }

  async *#events(response: Response): AsyncGenerator<AnswerEvent, void> {
    let rest = "";
    try {
      const pieces = response.body?.pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>);
      for await (const piece of pieces ?? []) {
        const lines = (rest + piece).split("\n");
        rest = lines.pop() ?? "";
        for (const line of lines) {
          if (line === "") continue; // a heartbeat
          const event = JSON.parse(line) as AnswerEvent | { readonly type?: never; readonly error: object };
          if (event.type === undefined) throw this.#broken(errorIn(line).message);
          yield event;
        }
      }
    } catch (error) {
      throw error instanceof IroriError ? error : this.#broken("its answer was cut off", error);
    }
  }

  #broken(got: string, cause?: unknown): IroriError {
    return new IroriError("io", { what: `the server at ${this.record.url}`, got, next: OPEN_HERE, cause });
  }
}

const OPEN_HERE = "ask again, or open the model here with --no-server";

function bodyOf(model: string, request: GenerateRequest): GenerateBody {
  const { prompt, seed, sampling, maxTokens, minTokens, stop, ignoreEos, logprobs } = request;
  const { logitBias, ...plain } = sampling ?? {};
  const biases = Object.entries(logitBias ?? {}).map(([id, by]) => [id, by === -Infinity ? null : by]);
  const body = {
    ...{ model, prompt, seed, sampling: { ...plain, ...(logitBias && { logitBias: Object.fromEntries(biases) }) } },
    ...{ maxTokens, minTokens, stop, ignoreEos, logprobs },
  };
  return body as GenerateBody;
}

/** As the engine of this process would tell it; JSON has no infinity, it is null there. */
function toldOf(event: AnswerEvent): GenerationEvent | undefined {
  if (event.type === "prefill") return event;
  if (event.type === "token") {
    const { id, text, chance } = event;
    const of = (token: { readonly id: number; readonly logprob: number | null }) => ({
      ...{ id: token.id, logprob: token.logprob ?? -Infinity },
    });
    const logprobs: Choice | undefined = chance && { ...of(chance), top: chance.top.map(of) };
    return { type: "token", id, text, ...(logprobs && { logprobs }) };
  }
  if (event.type !== "end") return undefined;
  const { about: _, ...answer } = event;
  return answer;
}

/** What an error of the server's says. */
function errorIn(text: string): { readonly message: string; readonly code?: string | undefined } {
  const cut = { message: text.slice(0, 200) };
  try {
    const { error } = JSON.parse(text) as { readonly error?: { readonly message?: string; readonly code?: string } };
    return { ...cut, ...error };
  } catch {
    return cut;
  }
}
