// Models of this machine as providers: an engine's lease, taken when first asked for and once for any number of callers.
// It does not know how models answer.
import { Flights, IroriError } from "../../base/mod.ts";
import type { Engine, LeaseOptions } from "../engine.ts";
import type { GenerationEvent } from "../generation.ts";
import type { Lease } from "../lease.ts";
import type { Choice } from "../sampler.ts";
import type { Embedded, Embedder, EmbedderCall } from "./embedder.ts";
import type { Generator, GeneratorCall, GeneratorEvent, GeneratorRequest, TokenChoice } from "./generator.ts";

type Leasing = Pick<LeaseOptions, "form" | "hasInt8Prompts" | "kvType" | "onProgress">;

/**
 * A lease that is taken when first asked for; one that failed is tried again by the next. A caller who leaves ends his own
 * waiting; the last one who leaves ends the opening.
 */
class Leased implements AsyncDisposable {
  readonly #model: string;
  readonly #take: (signal: AbortSignal) => Promise<Lease>;
  readonly #opening = new Flights();
  #lease: Lease | undefined;

  constructor(engine: Pick<Engine, "lease">, model: string, options: Leasing) {
    this.#model = model;
    this.#take = (signal) => engine.lease(model, { ...options, signal });
  }

  async get(signal: AbortSignal | undefined): Promise<Lease> {
    if (this.#lease !== undefined) return this.#lease;
    return this.#opening.run(`opening ${this.#model}`, { signal }, async (work) => {
      this.#lease = await this.#take(work.signal);
      return this.#lease;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#opening[Symbol.asyncDispose]();
    await this.#lease?.[Symbol.asyncDispose]();
  }
}

/** Answers of a model of this machine. Disposing of it gives the lease back. */
export function localGenerator(engine: Pick<Engine, "lease">, model: string, options: Leasing = {}): Generator {
  const leased = new Leased(engine, model, options);
  return {
    id: `local ${model}`,
    model,
    async *generate(request: GeneratorRequest, { signal }: GeneratorCall = {}): AsyncGenerator<GeneratorEvent, void> {
      const lease = await leased.get(signal).catch((error: unknown) => {
        if (error instanceof IroriError && error.code === "cancelled" && signal?.aborted) return undefined;
        throw error;
      });
      if (lease === undefined) {
        yield { type: "end", ...NOTHING, seed: request.seed };
        return;
      }
      for await (const event of lease.generate(request, { signal })) {
        const told = toldOf(event, lease);
        if (told !== undefined) yield told;
      }
    },
    [Symbol.asyncDispose]: () => leased[Symbol.asyncDispose](),
  };
}

/** The answer to a request that was cancelled before the model was open. */
const NOTHING = {
  text: "",
  ids: [],
  promptTokens: undefined,
  tokens: 0,
  stop: "cancelled",
  firstTokenMs: 0,
  totalMs: 0,
} as const;

function toldOf(event: GenerationEvent, lease: Lease): GeneratorEvent | undefined {
  if (event.type === "captured") return undefined;
  if (event.type === "prefill") return event;
  if (event.type === "token") {
    const { id, text, logprobs } = event;
    return { type: "token", id, text, ...(logprobs && { logprobs: choiceOf(logprobs, lease) }) };
  }
  const { text, ids, promptTokens, stop, seed, timings } = event;
  const totalMs = timings.firstTokenMs + timings.decodeMs;
  const { firstTokenMs } = timings;
  return { type: "end", text, ids, promptTokens, tokens: ids.length, stop, seed, firstTokenMs, totalMs };
}

function choiceOf({ id, logprob, top }: Choice, lease: Lease): TokenChoice {
  const textOf = (token: number): string => lease.detokenize([token], { control: true });
  return {
    ...{ id, logprob, text: textOf(id) },
    top: top.map((each) => ({ ...each, text: textOf(each.id) })),
  };
}

/** Vectors by a model of this machine. */
export function localEmbedder(engine: Pick<Engine, "lease">, model: string, options: Leasing = {}): Embedder {
  const leased = new Leased(engine, model, options);
  return {
    id: `local ${model}`,
    model,
    dimensions: async ({ signal } = {}) => (await leased.get(signal)).manifest.config.hiddenSize,
    async embed(texts: readonly string[], { signal, kind }: EmbedderCall = {}): Promise<Embedded> {
      const lease = await leased.get(signal);
      const { sentence } = lease.manifest;
      // a model that was not trained with such a prompt is asked without
      const prompt =
        kind !== undefined && sentence && "prompts" in sentence && kind in sentence.prompts ? kind : undefined;
      return lease.embed(texts, { signal, prompt });
    },
    [Symbol.asyncDispose]: () => leased[Symbol.asyncDispose](),
  };
}
