// A memory: one namespace of a store, with what embeds and what writes. Each of its methods is a function of its own file.
// It does not know files, engines, terminals.
import type { Random } from "../base/mod.ts";
import { type MemorySettings, memorySettings } from "../settings/mod.ts";
import { type AskOptions, ask, type MemoryAnswer, relevant } from "./ask.ts";
import { type Bridge, bridge } from "./bridge.ts";
import { type Correction, type CorrectOptions, correct } from "./correct.ts";
import type { DataStore, ListOptions, NamespaceStats, Page } from "./data-store.ts";
import { type Discovery, discover } from "./discover.ts";
import { cachedEmbedder, type Embedder } from "./embedder.ts";
import { checkName, type Episode, type Scope } from "./episode.ts";
import { extractiveWriter } from "./extractive.ts";
import { type ForgetWhat, type Forgotten, forget } from "./forget.ts";
import { idMaker } from "./ids.ts";
import { listSpikes, type Spike, type Why, why } from "./insight/spike.ts";
import { type Judgement, judgeText, type NotJudged } from "./insight/trigger.ts";
import { type Maintained, type MaintainOptions, maintain } from "./maintain.ts";
import type { Parts } from "./parts.ts";
import { listQuestions, type Question } from "./questions.ts";
import { type Recall, type Recalled, type RecallOptions, recall } from "./recall.ts";
import {
  type ChatMessage,
  type Remembered,
  type RememberOptions,
  remember,
  type Told,
  toldByChat,
} from "./remember.ts";
import { merge, pin, split } from "./reshape.ts";
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
  readonly settings?: MemorySettings | undefined;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** For ids: another one in every process. */
  readonly random: Random;
}

interface PageOptions {
  /** Default 20. */
  readonly limit?: number | undefined;
  readonly after?: string | undefined;
}

export class Memory {
  /** What its functions work on; for functions of irori/memory that take a memory apart. */
  readonly parts: Parts;

  constructor(options: MemoryOptions) {
    const { store, embedder, writer = extractiveWriter, namespace = "default", now, random } = options;
    const settings = options.settings ?? memorySettings();
    this.parts = {
      ...{ store, writer, now, settings, namespace: checkName("a namespace", namespace) },
      ...{ embedder: cachedEmbedder(embedder), newId: idMaker(random) },
      working: new WorkingSet({ episodes: settings.workingEpisodes }),
    };
  }

  get store(): DataStore {
    return this.parts.store;
  }
  get namespace(): string {
    return this.parts.namespace;
  }

  /** Remembers a text, or several; a long one in pieces. Durable when it returns. */
  remember(told: string | Told | readonly (string | Told)[], options: RememberOptions = {}): Promise<Remembered[]> {
    const list = typeof told === "string" || "text" in told ? [told] : told;
    return remember(
      this.parts,
      list.map((one) => (typeof one === "string" ? { text: one } : one)),
      options,
    );
  }
  /** Remembers a conversation, each message by its speaker. */
  rememberChat(messages: readonly ChatMessage[], options: RememberOptions = {}): Promise<Remembered[]> {
    return remember(this.parts, toldByChat(messages), options);
  }

  recall(query: string, options: RecallOptions = {}): Promise<Recall> {
    return recall(this.parts, query, options);
  }
  /** What has to do with a query, best first; nothing where nothing does. */
  relevant(query: string, options: RecallOptions = {}): Promise<Recalled[]> {
    return relevant(this.parts, query, options);
  }
  /** An answer with citations, or the sentence that says there is none. */
  ask(question: string, options: AskOptions = {}): Promise<MemoryAnswer> {
    return ask(this.parts, question, options);
  }
  /** What a text would do to what is known, without remembering it. */
  consider(text: string, scope: Scope = {}): Promise<Judgement | NotJudged> {
    return judgeText(this.parts, text, scope, this.parts.settings.falseAlarmRate);
  }

  /** Throws "not-found". */
  correct(id: string, text: string, options: CorrectOptions = {}): Promise<Correction> {
    return correct(this.parts, id, text, options);
  }
  forget(what: ForgetWhat, options: { readonly dryRun?: boolean } = {}): Promise<Forgotten> {
    return forget(this.parts, what, options);
  }
  merge(ids: readonly string[]): Promise<Episode> {
    return merge(this.parts, ids);
  }
  split(id: string): Promise<Episode[]> {
    return split(this.parts, id);
  }
  pin(id: string, isPinned = true): Promise<Episode> {
    return pin(this.parts, id, isPinned);
  }

  /** Spikes, newest first. */
  insights({ limit = 20, after }: PageOptions = {}): Promise<Page<Spike>> {
    return listSpikes(this.parts, { limit, after });
  }
  /** The evidence of a Spike, by its id or its Episode's. Throws "not-found". */
  why(id: string): Promise<Why> {
    return why(this.parts, id);
  }
  bridge(from: string, to: string, options: { readonly hops?: number } & Scope = {}): Promise<Bridge> {
    return bridge(this.parts, from, to, options);
  }
  discover(limit?: number): Promise<Discovery[]> {
    return discover(this.parts, limit);
  }

  list(options: Partial<ListOptions> = {}): Promise<Page<Episode>> {
    return this.store.listEpisodes(this.namespace, { limit: 20, ...options });
  }
  history(id: string): Promise<Episode[]> {
    return this.store.historyOf(this.namespace, id);
  }
  questions({ limit = 20, ...options }: PageOptions & { readonly hasFired?: boolean } = {}): Promise<Page<Question>> {
    return listQuestions(this.parts, { limit, ...options });
  }
  stats(): Promise<NamespaceStats> {
    return this.store.stats(this.namespace);
  }
  maintain(options: MaintainOptions = {}): Promise<Maintained> {
    return maintain(this.parts, options);
  }
}
