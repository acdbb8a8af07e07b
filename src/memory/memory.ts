// A memory: one namespace of a store, with what embeds and what writes. Each of its methods is a function of its own file.
// It does not know files, engines, terminals.
import type { Random } from "../base/mod.ts";
import { ask, type MemoryAnswer } from "./ask.ts";
import type { DataStore, NamespaceStats } from "./data-store.ts";
import { cachedEmbedder, type Embedder } from "./embedder.ts";
import { checkName } from "./episode.ts";
import { extractiveWriter } from "./extractive.ts";
import { idMaker } from "./ids.ts";
import type { Parts } from "./parts.ts";
import { type Recall, type RecallOptions, recall } from "./recall.ts";
import {
  type ChatMessage,
  type Remembered,
  type RememberOptions,
  remember,
  type Told,
  toldByChat,
} from "./remember.ts";
import { WorkingSet } from "./working-set.ts";
import type { Writer } from "./writer.ts";

export interface MemoryOptions {
  readonly store: DataStore;
  /** Whose vectors the store holds. */
  readonly embedder: Embedder;
  /** Default: sentences of the evidence, without a model. */
  readonly writer?: Writer | undefined;
  /** Default "default". */
  readonly namespace?: string | undefined;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** For ids: another one in every process. */
  readonly random: Random;
}

export class Memory {
  readonly #parts: Parts;

  constructor({ store, embedder, writer = extractiveWriter, namespace = "default", now, random }: MemoryOptions) {
    this.#parts = {
      ...{ store, writer, now, namespace: checkName("a namespace", namespace) },
      ...{ embedder: cachedEmbedder(embedder), newId: idMaker(random), working: new WorkingSet() },
    };
  }

  get store(): DataStore {
    return this.#parts.store;
  }
  get namespace(): string {
    return this.#parts.namespace;
  }

  /** Remembers a text, or several; a long one in pieces. Durable when it returns. */
  remember(told: string | Told | readonly (string | Told)[], options: RememberOptions = {}): Promise<Remembered[]> {
    const list = typeof told === "string" || "text" in told ? [told] : told;
    return remember(
      this.#parts,
      list.map((one) => (typeof one === "string" ? { text: one } : one)),
      options,
    );
  }

  /** Remembers a conversation, each message by its speaker. */
  rememberChat(messages: readonly ChatMessage[], options: RememberOptions = {}): Promise<Remembered[]> {
    return remember(this.#parts, toldByChat(messages), options);
  }

  recall(query: string, options: RecallOptions = {}): Promise<Recall> {
    return recall(this.#parts, query, options);
  }

  /** An answer with citations, or the sentence that says there is none. */
  ask(question: string, options: RecallOptions = {}): Promise<MemoryAnswer> {
    return ask(this.#parts, question, options);
  }

  stats(): Promise<NamespaceStats> {
    return this.#parts.store.stats(this.#parts.namespace);
  }
}
