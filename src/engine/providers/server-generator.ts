// Answers of a server that speaks OpenAI's API (vLLM, SGLang, llama-server, Ollama, another Irori), as a stream.
// It does not know how calls are made (server-call.ts).
import { cancelled, IroriError } from "../../base/mod.ts";
import type { StopReason } from "../generation.ts";
import type { Generator, GeneratorCall, GeneratorEvent, GeneratorRequest } from "./generator.ts";
import { ServerCall, type ServerOptions } from "./server-call.ts";
import type { Chunk } from "./server-chunk.ts";

export function serverGenerator(options: ServerOptions): Generator {
  const call = new ServerCall(options);
  const { id } = call;
  return {
    id,
    model: options.model,
    async *generate(request: GeneratorRequest, { signal }: GeneratorCall = {}): AsyncGenerator<GeneratorEvent, void> {
      const answer = new Answering(id, request);
      try {
        const { path, body } = bodyOf(id, options.model, request);
        if (signal?.aborted) throw cancelled(id, signal);
        const [{ eventData }, { chunkOf }] = await Promise.all([
          import("./event-stream.ts"),
          import("./server-chunk.ts"),
        ]);
        using replied = await call.post(path, body, signal);
        for await (const data of eventData(replied.pieces)) {
          if (data === "[DONE]") {
            answer.isWhole = true;
            break;
          }
          yield* answer.take(chunkOf(id, data));
        }
        answer.check();
      } catch (error) {
        if (!(error instanceof IroriError)) throw notAnswer(id, error);
        if (error.code !== "cancelled") throw error;
        answer.stop = "cancelled";
      }
      yield answer.end();
    },
    async [Symbol.asyncDispose]() {},
  };
}

const notAnswer = (id: string, cause: unknown): IroriError =>
  new IroriError("library", { what: `${id}: what it sends is no answer`, got: (cause as Error).message, cause });

/** An answer while it comes in. */
class Answering {
  readonly #id: string;
  readonly #request: GeneratorRequest;
  readonly #start = performance.now();
  #text = "";
  #events = 0;
  /** Events with text: a token is at most two, where a part of it might have begun a stop text. */
  #pieces = 0;
  #firstTokenMs = 0;
  #usage: Chunk["usage"];
  stop: StopReason | undefined;
  /** It said that nothing more comes. */
  isWhole = false;

  constructor(id: string, request: GeneratorRequest) {
    this.#id = id;
    this.#request = request;
  }

  *take({ text, logprobs, stop, usage, error }: Chunk): Iterable<GeneratorEvent> {
    if (error !== undefined) throw new IroriError("io", { what: `${this.#id}: it broke off its answer`, got: error });
    if (text !== "" || logprobs !== undefined) {
      if (this.#events++ === 0) this.#firstTokenMs = performance.now() - this.#start;
      this.#text += text;
      if (text !== "") this.#refuseEndless(++this.#pieces);
      yield { type: "token", text, ...(logprobs && { logprobs }) };
    }
    this.stop ??= stop;
    this.#usage = usage ?? this.#usage;
  }

  /** A server that does not heed the longest answer may never end. */
  #refuseEndless(pieces: number): void {
    const { maxTokens = Number.POSITIVE_INFINITY } = this.#request;
    if (pieces > 2 * maxTokens + 2)
      throw new IroriError("library", {
        what: `${this.#id}: its answer goes on and on`,
        got: `${pieces} pieces`,
        wanted: `at most ${maxTokens} tokens`,
      });
  }

  /** Throws where the answer was cut off, or where the server says of it what cannot be. */
  check(): void {
    if (this.stop === undefined && !this.isWhole)
      throw new IroriError("io", {
        what: `${this.#id}: its answer was cut off`,
        got: `${this.#text.length} characters and no end`,
        next: "ask again",
      });
    const { maxTokens = Number.POSITIVE_INFINITY } = this.#request;
    const tokens = this.#usage?.tokens;
    if (tokens === undefined) return;
    const isLess = tokens === 0 && this.#text !== "";
    if (tokens > maxTokens || isLess)
      throw new IroriError("library", {
        what: `${this.#id}: its answer is not as long as it says`,
        got: `${tokens} tokens${isLess ? ` for ${this.#text.length} characters` : ""}`,
        wanted: isLess ? "1 or more" : `at most ${maxTokens}`,
      });
  }

  end(): GeneratorEvent {
    return {
      ...{ type: "end", text: this.#text, promptTokens: this.#usage?.promptTokens, tokens: this.#usage?.tokens },
      ...{ stop: this.stop ?? "stop", seed: this.#request.seed },
      ...{ firstTokenMs: this.#firstTokenMs, totalMs: performance.now() - this.#start },
    };
  }
}

/** OpenAI's request, with the names that vLLM and llama-server have for what it lacks; what is not said is the server's own default. */
function bodyOf(id: string, model: string, request: GeneratorRequest): { path: string; body: object } {
  const { prompt, sampling = {}, seed, maxTokens, stop = [], logprobs, ignoreEos, minTokens } = request;
  for (const name of ["begin", "banned"] as const)
    if (request[name] !== undefined) throw new IroriError("unsupported", { what: `${id} cannot be asked for ${name}` });
  const isChat = "messages" in prompt;
  const { temperature, topK, topP, minP, typicalP, repetitionPenalty, frequencyPenalty, presencePenalty, logitBias } =
    sampling;
  const asked = {
    ...{ max_tokens: maxTokens, seed, temperature, top_p: topP, top_k: topK, min_p: minP, typical_p: typicalP },
    ...{ frequency_penalty: frequencyPenalty, presence_penalty: presencePenalty },
    ...{ repetition_penalty: repetitionPenalty, repeat_penalty: repetitionPenalty, min_tokens: minTokens },
    ...(logitBias && { logit_bias: biasesOf(logitBias) }),
    ...(stop.length > 0 && { stop }),
    ...(ignoreEos && { ignore_eos: true }),
    ...(logprobs !== undefined && (isChat ? { logprobs: true, top_logprobs: logprobs } : { logprobs })),
  };
  const body = { model, stream: true, stream_options: { include_usage: true }, ...asked };
  if (isChat) return { path: "/chat/completions", body: { ...body, messages: prompt.messages } };
  return { path: "/completions", body: { ...body, prompt: "ids" in prompt ? prompt.ids : prompt.text } };
}

/** −100 bans a token there. */
const biasesOf = (biases: Readonly<Record<number, number>>): Record<string, number> =>
  Object.fromEntries(Object.entries(biases).map(([token, bias]) => [token, Math.max(bias, -100)]));
