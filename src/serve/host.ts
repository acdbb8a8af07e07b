// What runs models for the server, in this process or in a child: plain data in and out, besides signals.
// It does not know HTTP, lanes or who asks.
import type { OnProgress, PauseController } from "../base/mod.ts";
import type { Answer, Embeddings, EmbedOptions, Sampling } from "../engine/mod.ts";
import type { InterventionSpec, Numbers } from "../hooks/mod.ts";
import type { ChatMessage } from "../text/mod.ts";
import type { KvKind } from "./kv-plan.ts";

/** What a server must know of a model that is open. */
export interface ModelFacts {
  readonly model: string;
  readonly family: string;
  /** It predicts tokens; else it reads texts. */
  readonly isDecoder: boolean;
  /** Tokens that prompt and answer have together at most. */
  readonly context: number;
  readonly vocabSize: number;
  readonly layers: number;
  readonly hiddenSize: number;
  /** Jinja source of its chat template. */
  readonly chatTemplate: string | undefined;
  /** Bytes of the files that are mapped. */
  readonly weightBytes: number;
  /** Bytes that its programs and its vocabulary take, and no file backs: an estimate. */
  readonly ownBytes: number;
  readonly parameters: number;
  /** "4 bit, blocks of 32": the form of most of its weights. */
  readonly form: string;
  /** What a KvCache takes, by kind of layer. */
  readonly kv: readonly KvKind[];
  /** Working memory of a run. */
  readonly scratchBytes: number;
}

/** A model of the store. */
export interface StoredFacts {
  readonly name: string;
  readonly bytes: number;
  readonly sha256: string;
  /** Milliseconds since 1970. */
  readonly pulledAt: number;
}

export type HostPrompt =
  | { readonly text: string; readonly control?: boolean | undefined }
  | {
      readonly messages: readonly ChatMessage[];
      readonly tools?: readonly unknown[];
      readonly values?: Readonly<Record<string, unknown>>;
    }
  | { readonly ids: readonly number[] };

/** A prompt as the model gets it. */
export interface Encoded {
  readonly ids: readonly number[];
  /** The end of its text, control tokens written out. */
  readonly tail: string;
}

/** What an answer must be, besides text. */
export type Format =
  | { readonly kind: "json" }
  | {
      readonly kind: "schema";
      readonly schema: unknown;
      /** Characters of any string, a token's more or less; cheaper than `maxLength`, which a grammar has to be unrolled for. */
      readonly longestString?: number | undefined;
    };

export interface HostRequest {
  readonly ids: readonly number[];
  readonly seed: number;
  readonly maxTokens: number;
  readonly sampling: Partial<Sampling>;
  readonly stop?: readonly string[] | undefined;
  readonly ignoreEos?: boolean | undefined;
  readonly minTokens?: number | undefined;
  /** Of each token its log-probability and those of so many of the likeliest. */
  readonly logprobs?: number | undefined;
  readonly urgency?: number | undefined;
  readonly format?: Format | undefined;
  /** Tell control tokens too: some families begin tool calls with one. */
  readonly hasControl?: boolean | undefined;
  /** What is changed inside, for this answer alone; vectors by their names. */
  readonly interventions?: readonly InterventionSpec[] | undefined;
  /** The name of an adapter. */
  readonly adapter?: string | undefined;
  /** Patterns of HookPoints whose values are told, of every token that is fed. */
  readonly capture?: readonly string[] | undefined;
}

/** What requests may name of the inside. */
export interface InsideFacts {
  readonly adapters: readonly { readonly name: string; readonly rank: number; readonly weights: number }[];
  readonly vectors: readonly { readonly name: string; readonly shape: readonly number[] }[];
}

export interface TokenChance {
  readonly id: number;
  readonly text: string;
  readonly bytes: readonly number[];
  readonly logprob: number;
}

export interface HostToken {
  readonly type: "token";
  readonly id: number;
  /** May be empty while a character or a stop text is not complete. */
  readonly text: string;
  /** The token is a control token, written so. */
  readonly control?: string;
  readonly chance?: TokenChance & { readonly top: readonly TokenChance[] };
}

export type HostEvent =
  | { readonly type: "prefill"; readonly done: number; readonly total: number }
  | HostToken
  /** Values at HookPoints of the tokens just fed, the first of them at place `from`. */
  | { readonly type: "captured"; readonly from: number; readonly tensors: Readonly<Record<string, Numbers>> }
  | ({ readonly type: "end" } & Answer);

export interface HostCall {
  readonly signal?: AbortSignal | undefined;
  readonly pause?: PauseController | undefined;
}

export interface MemoryUse {
  /** Bytes that no file backs. */
  readonly privateBytes: number;
  readonly residentBytes: number;
  /** Bytes that a generation may still use. */
  readonly freeBytes: number;
  readonly pid: number;
}

export interface EngineChange {
  readonly type: "lost" | "back";
  readonly reason: string;
  readonly ms: number;
}

export interface Host extends AsyncDisposable {
  /** What a model is and takes, before any of it is in memory; fetched and prepared on the disk where it is not. */
  measure(
    model: string,
    options?: { readonly signal?: AbortSignal; readonly onProgress?: OnProgress },
  ): Promise<ModelFacts>;
  /** Brings a model into memory, warm with the options that traffic has; once for any number of callers. */
  load(
    model: string,
    options?: { readonly signal?: AbortSignal; readonly onProgress?: OnProgress },
  ): Promise<ModelFacts>;
  /** Lets a model go; its answers must have ended. */
  unload(model: string): Promise<void>;
  encode(model: string, prompt: HostPrompt): Promise<Encoded>;
  /** Streams an answer; the last event is "end", also when the signal aborts. */
  generate(model: string, request: HostRequest, call?: HostCall): AsyncGenerator<HostEvent, void>;
  embed(
    model: string,
    texts: readonly string[],
    options?: Omit<EmbedOptions, "isNormalized" | "onDone">,
  ): Promise<Embeddings>;
  /** Adapters and vectors of this host. */
  inside(): Promise<InsideFacts>;
  hookPoints(model: string): Promise<readonly string[]>;
  /** How many numbers captures of so many tokens are at most, by HookPoint. */
  captureSizes(model: string, patterns: readonly string[], tokens: number): Promise<Readonly<Record<string, number>>>;
  stored(): Promise<readonly StoredFacts[]>;
  pull(model: string, options?: { readonly signal?: AbortSignal; readonly onProgress?: OnProgress }): Promise<void>;
  remove(model: string): Promise<void>;
  memory(): Promise<MemoryUse>;
  /** Told of models that were opened again because what ran them had died. */
  onReload?: ((model: string, ms: number) => void) | undefined;
  /** Told when what runs models has died, with how, and when it is back, with what that took. */
  onEngine?: ((event: EngineChange) => void) | undefined;
}
