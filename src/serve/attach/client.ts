// A running server of this store, for other processes of this machine: found by its record, asked whether it is who it says, and then
// answering as a lease does. It does not know what is asked.
import { cancelled, IroriError } from "../../base/mod.ts";
import type {
  Choice,
  Embeddings,
  EmbedOptions,
  GenerateRequest,
  GenerationEvent,
  GeneratorCall,
  GeneratorRequest,
} from "../../engine/mod.ts";
import type { AnswerEvent } from "../answers.ts";
import type { EmbedBody, GenerateBody, ServerFacts } from "../http/native.ts";
import type { SummaryEvent } from "../http/summaries.ts";
import type { Lane } from "../lane-policy.ts";
import type { Summary } from "../summaries/report.ts";
import type { SummarizeOptions } from "../summaries/summarize.ts";
import { announced, type ServerRecord } from "./record.ts";
import { type Refusal, refusalIn, ServerError } from "./server-error.ts";
import { SoFar } from "./so-far.ts";

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

type SummaryWants = GeneratorCall & Pick<SummarizeOptions, "language" | "bullets" | "chunkTokens" | "onProgress">;

/** A model of a running server. It answers as a lease of this process does: the same request and seed, the same tokens. */
export class Attached {
  readonly model: string;
  readonly record: ServerRecord;

  constructor({ record }: Found, model: string) {
    this.record = record;
    this.model = model;
  }

  /** Streams an answer; the last event is "end", also when the signal aborts. */
  async *generate(request: GenerateRequest, { signal }: GeneratorCall = {}): AsyncGenerator<GenerationEvent, void> {
    const so = new SoFar();
    try {
      for await (const event of this.answer(request, { signal })) {
        so.note(event);
        const told = toldOf(event);
        if (told !== undefined) yield told;
      }
      return;
    } catch (error) {
      if (!signal?.aborted) throw error;
    }
    const { text, ids, promptTokens, firstTokenMs, totalMs } = so;
    const prefillMs = ids.length > 0 ? firstTokenMs : totalMs;
    const decodeMs = totalMs - prefillMs;
    const tokensPerSecond = ids.length > 1 ? ((ids.length - 1) * 1000) / decodeMs : 0;
    const timings = { openMs: 0, prefillMs, decodeMs, firstTokenMs, tokensPerSecond };
    yield {
      type: "end",
      text,
      ids,
      promptTokens,
      reusedTokens: 0,
      hasBos: false,
      stop: "cancelled",
      seed: request.seed,
      timings,
    };
  }

  /** An answer as the server tells it, to its last record; a server that is busy, and an engine that died, are "busy". */
  async *answer(
    request: GenerateRequest | GeneratorRequest,
    { signal, lane }: GeneratorCall & { readonly lane?: Lane },
  ): AsyncGenerator<AnswerEvent, void> {
    const response = await this.#post("/irori/generate", { ...bodyOf(this.model, request), lane }, signal);
    for await (const event of this.#events<AnswerEvent>(response)) {
      yield event;
      if (event.type === "end") return;
    }
    throw this.#broken("its answer ended without its last record");
  }

  /** A summary as the server makes it. Throws "cancelled" when the signal aborts; what was finished stays at the server. */
  async summarize(text: string, wants: SummaryWants = {}): Promise<Summary> {
    if (text.trim() === "") throw new IroriError("bad-input", { what: "there is no text to summarise" });
    const { signal, onProgress, chunkTokens, ...rest } = wants;
    const body = { model: this.model, text, ...rest, chunk_tokens: chunkTokens, stream: true };
    try {
      const response = await this.#post("/irori/summaries", body, signal);
      for await (const event of this.#events<SummaryEvent>(response)) {
        if (event.type === "progress") onProgress?.(event.progress);
        else {
          const { title, bullets, report } = event;
          return { title, bullets, report };
        }
      }
    } catch (error) {
      if (signal?.aborted) throw cancelled("the summary", signal);
      throw error;
    }
    throw this.#broken("its summary ended without its last record");
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
    throw ServerError.refused(url, refusalIn(await response.text()), response.status);
  }

  /** Lines of JSON, or server-sent events whose data is that. */
  async *#events<T extends { readonly type: string }>(response: Response): AsyncGenerator<T, void> {
    let rest = "";
    try {
      const pieces = response.body?.pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>);
      for await (const piece of pieces ?? []) {
        const lines = (rest + piece).split("\n");
        rest = lines.pop() ?? "";
        for (const line of lines) {
          if (line === "" || line.startsWith(":") || line === "data: [DONE]") continue; // a heartbeat, or no more
          const event = JSON.parse(line.replace(/^data: /, "")) as
            | T
            | { readonly type?: never; readonly error: Refusal };
          if (event.type === undefined) throw ServerError.refused(this.record.url, event.error);
          yield event;
        }
      }
    } catch (error) {
      throw error instanceof IroriError ? error : this.#broken("its answer was cut off", error);
    }
  }

  #broken(fault: string, cause?: unknown): ServerError {
    return ServerError.gone(this.record.url, fault, cause);
  }
}

function bodyOf(model: string, request: GenerateRequest | GeneratorRequest): GenerateBody {
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
