// Memories by their namespaces over one store, which is opened when somebody first asks for it; what embeds is a model of the
// server, or letters and words alone. It does not know HTTP.
import type { Random } from "../base/mod.ts";
import {
  chatWriter,
  type DataStore,
  type Embedder,
  type EmbedderIdentity,
  hashedEmbedder,
  Memory,
  modelEmbedder,
  type Writer,
} from "../memory/mod.ts";
import type { MemorySettings } from "../settings/mod.ts";
import type { AnswerRequest, Answers } from "./answers.ts";
import type { Host } from "./host.ts";
import type { Residents } from "./residents.ts";

/** Where memories are kept. */
export interface MemoryPlace {
  /** Whose vectors the store there holds; undefined where there is none yet. */
  readonly known: () => Promise<EmbedderIdentity | undefined>;
  /** Opens the store, or makes it. */
  readonly open: (embedder: EmbedderIdentity) => Promise<DataStore>;
  /** Of a store that is made: "hashed" (default), or a model. */
  readonly embedder?: string | undefined;
  readonly settings?: MemorySettings | undefined;
}

export interface MemoriesOptions {
  readonly host: Host;
  readonly residents: Residents;
  readonly place: MemoryPlace;
  /** Milliseconds since 1970. */
  readonly clock: () => number;
  readonly random: Random;
}

/** Namespaces whose vectors of texts and working sets stay at hand. */
const MOST_AT_HAND = 16;

export class Memories implements AsyncDisposable {
  readonly #options: MemoriesOptions;
  readonly #atHand = new Map<string, Memory>();
  #opening: Promise<{ readonly store: DataStore; readonly embedder: Embedder }> | undefined;

  constructor(options: MemoriesOptions) {
    this.#options = options;
  }

  /** The model that writes answers where nobody says; undefined: none does. */
  get writer(): string | undefined {
    const writer = this.#options.place.settings?.writer;
    return writer === "extractive" ? undefined : writer;
  }

  /** A namespace's memory. Throws "bad-input" for what is no name. */
  async of(namespace: string, writer?: Writer): Promise<Memory> {
    const known = this.#atHand.get(namespace);
    if (known !== undefined && writer === undefined) return known;
    const { clock: now, random, place } = this.#options;
    const { store, embedder } = await this.#open();
    const memory = new Memory({ store, embedder, writer, namespace, settings: place.settings, now, random });
    if (writer !== undefined) return memory;
    this.#atHand.set(namespace, memory);
    const [oldest] = this.#atHand.keys();
    if (this.#atHand.size > MOST_AT_HAND) this.#atHand.delete(oldest as string);
    return memory;
  }

  #open() {
    this.#opening ??= this.#opened().catch((error: unknown) => {
      this.#opening = undefined; // the next who asks tries again
      throw error;
    });
    return this.#opening;
  }
  async #opened() {
    const { place } = this.#options;
    const known = await place.known();
    const name = known?.id ?? place.embedder ?? "hashed";
    const embedder = await this.#embedder(name, known?.dims);
    return { store: await place.open(embedder), embedder };
  }

  async #embedder(name: string, dims: number | undefined): Promise<Embedder> {
    if (name === "hashed" || name === hashedEmbedder.id) return hashedEmbedder;
    const { host, residents } = this.#options;
    const embed: Embedder["embed"] = async (texts, { signal } = {}) => {
      using _ = await residents.use(name, signal);
      return [...(await host.embed(name, texts, signal ? { signal } : {})).vectors];
    };
    return modelEmbedder(name, dims ?? (await embed(["size"]))[0]?.length ?? 0, embed);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const opened = await this.#opening?.catch(() => undefined); // told to those who asked
    await opened?.store[Symbol.asyncDispose]();
  }
}

/** A model of the server as what writes a memory's answers, in a lane. */
export const answersAsWriter = (
  answers: Answers,
  request: Pick<AnswerRequest, "model" | "lane" | "caller" | "startWithinMs">,
): Writer =>
  chatWriter(request.model, async (messages, { signal }) => {
    const prompt = { messages: messages.map((one) => ({ ...one })) };
    const asked = { ...request, prompt, seed: 0, sampling: { temperature: 0 }, maxTokens: 256 };
    for await (const event of answers.answer(asked, signal)) if (event.type === "end") return event.text;
    return "";
  });
