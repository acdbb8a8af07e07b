// Models of this machine as providers: an engine's lease, taken when first asked for and once for any number of callers.
// It does not know how models answer.
import type { Engine, LeaseOptions } from "../engine.ts";
import type { GenerationEvent } from "../generation.ts";
import type { Lease } from "../lease.ts";
import type { Choice } from "../sampler.ts";
import type { Embedded, Embedder, EmbedderCall } from "./embedder.ts";
import type { Generator, GeneratorCall, GeneratorEvent, GeneratorRequest, TokenChoice } from "./generator.ts";

type Leasing = Pick<LeaseOptions, "form" | "hasInt8Prompts" | "kvType" | "onProgress">;

/** A lease that is taken when first asked for; one that failed is tried again by the next. */
class Leased implements AsyncDisposable {
  readonly #take: () => Promise<Lease>;
  #lease: Promise<Lease> | undefined;

  constructor(engine: Pick<Engine, "lease">, model: string, options: Leasing) {
    // a caller who cancels ends his own waiting, not the opening that others wait for
    this.#take = () => engine.lease(model, options);
  }

  get(): Promise<Lease> {
    if (this.#lease === undefined) {
      this.#lease = this.#take();
      this.#lease.catch(() => {
        this.#lease = undefined;
      });
    }
    return this.#lease;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const lease = await this.#lease?.catch(() => undefined);
    await lease?.[Symbol.asyncDispose]();
  }
}

/** Answers of a model of this machine. Disposing of it gives the lease back. */
export function localGenerator(engine: Pick<Engine, "lease">, model: string, options: Leasing = {}): Generator {
  const leased = new Leased(engine, model, options);
  return {
    id: `local ${model}`,
    model,
    async *generate(request: GeneratorRequest, { signal }: GeneratorCall = {}): AsyncGenerator<GeneratorEvent, void> {
      const lease = await leased.get();
      for await (const event of lease.generate(request, { signal })) {
        const told = toldOf(event, lease);
        if (told !== undefined) yield told;
      }
    },
    [Symbol.asyncDispose]: () => leased[Symbol.asyncDispose](),
  };
}

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
    dimensions: async () => (await leased.get()).manifest.config.hiddenSize,
    async embed(texts: readonly string[], { signal, kind }: EmbedderCall = {}): Promise<Embedded> {
      const lease = await leased.get();
      const { sentence } = lease.manifest;
      // a model that was not trained with such a prompt is asked without
      const prompt =
        kind !== undefined && sentence && "prompts" in sentence && kind in sentence.prompts ? kind : undefined;
      return lease.embed(texts, { signal, prompt });
    },
    [Symbol.asyncDispose]: () => leased[Symbol.asyncDispose](),
  };
}
