// A host that runs no model: a word a step at a pace that is set, loads that take what they are told to take, and counts of
// all of it. It obeys signals and pauses as the engine does. It does not know what is tested with it.
import { setTimeout as wait } from "node:timers/promises";
import { EngineLostError } from "../../src/serve/engine-lost.ts";
import type { Host, HostEvent, HostRequest, ModelFacts } from "../../src/serve/mod.ts";

export interface Script {
  readonly loadMs?: number;
  readonly prefillMs?: number;
  readonly stepMs?: number;
  /** Ends without its last record after so many tokens. */
  readonly cutAfter?: number;
  readonly onLoad?: () => Promise<void>;
  /** Bytes that a model's weights take; default 1,000. */
  readonly weightBytes?: (model: string) => number;
  /** Names of the store; default one, two. */
  readonly models?: readonly string[];
  /** What is answered to a prompt that asks for JSON, in pieces of 16 characters; words where there is none. */
  readonly answer?: (prompt: string, schema: object) => object | string;
  /** What is answered to other prompts, in pieces of 4 characters; words where it is undefined. */
  readonly says?: (prompt: string) => string | undefined;
  /** Every so manieth answer is lost with its engine at its second word. */
  readonly dieEvery?: number;
}

export class ScriptedHost implements Host {
  onReload?: Host["onReload"];
  onEngine?: Host["onEngine"];
  readonly loads: string[] = [];
  readonly unloads: string[] = [];
  /** Answers that run now. */
  running = 0;
  started = 0;
  /** The last answer that was asked for. */
  lastRequest: HostRequest | undefined;
  /** All that was asked, as text. */
  readonly prompts: string[] = [];
  readonly #script: Script;
  constructor(script: Script = {}) {
    this.#script = script;
  }

  async load(model: string): Promise<ModelFacts> {
    this.loads.push(model);
    await wait(this.#script.loadMs ?? 0);
    await this.#script.onLoad?.();
    return this.measure(model);
  }
  async measure(model: string): Promise<ModelFacts> {
    return {
      ...{ model, family: "scripted", isDecoder: true, context: 8192, vocabSize: 100, layers: 1, hiddenSize: 1 },
      ...{
        chatTemplate: undefined,
        weightBytes: this.#script.weightBytes?.(model) ?? 1000,
        parameters: 1,
        form: "words",
        ownBytes: 0,
      },
      ...{ kv: [{ layers: 1, tokenBytes: 1 }], scratchBytes: 0 },
    };
  }
  async unload(model: string): Promise<void> {
    this.unloads.push(model);
  }
  async encode(_model: string, prompt: Parameters<Host["encode"]>[1]) {
    if ("ids" in prompt) return { ids: prompt.ids, tail: "" };
    const text =
      "messages" in prompt
        ? prompt.messages.map(({ content }) => content).join(" ")
        : "text" in prompt
          ? prompt.text
          : "";
    const ids = text.split(/\s+/).map((_, i) => i);
    ids[0] = this.prompts.push(text) - 1; // told again by `generate`, which gets no text
    return { ids, tail: "" };
  }
  async *generate(
    _model: string,
    request: HostRequest,
    call: Parameters<Host["generate"]>[2] = {},
  ): AsyncGenerator<HostEvent, void> {
    const { stepMs = 0, prefillMs = 0, cutAfter = Infinity, dieEvery = Infinity, answer } = this.#script;
    this.running++;
    this.lastRequest = request;
    const isLost = ++this.started % dieEvery === 0;
    try {
      await wait(prefillMs);
      const count = request.ids.length;
      const captured = { shape: [1, count, 2], data: Float32Array.from({ length: 2 * count }, (_, i) => i) };
      if (request.capture)
        yield { type: "captured", from: 0, tensors: Object.fromEntries(request.capture.map((at) => [at, captured])) };
      let text = "";
      const ids: number[] = [];
      const { format } = request;
      const prompt = this.prompts[request.ids[0] ?? 0] ?? "";
      const made = format?.kind === "schema" && answer?.(prompt, format.schema as object);
      const said = made ? undefined : this.#script.says?.(prompt);
      const pieces = made
        ? ((typeof made === "string" ? made : JSON.stringify(made)).match(/.{1,16}/gsu) ?? [])
        : said?.match(/.{1,4}/gsu)?.slice(0, request.maxTokens);
      for (let i = 0; i < (pieces ? pieces.length : request.maxTokens) && !call.signal?.aborted; i++) {
        await call.pause?.resumed(call.signal, "the answer", () => undefined).catch(() => undefined);
        await wait(stepMs);
        if (call.signal?.aborted) break;
        if (i >= cutAfter) return;
        if (isLost && i === 1) throw new EngineLostError("the script says so");
        const word = pieces ? (pieces[i] ?? "") : `w${i} `;
        text += word;
        ids.push(i);
        yield { type: "token", id: i, text: word };
      }
      yield {
        ...{
          type: "end",
          text,
          ids,
          promptTokens: request.ids.length,
          reusedTokens: 0,
          hasBos: false,
          seed: request.seed,
        },
        stop: call.signal?.aborted ? "cancelled" : pieces && ids.length < request.maxTokens ? "stop" : "length",
        timings: { openMs: 0, prefillMs, decodeMs: stepMs * ids.length, firstTokenMs: prefillMs, tokensPerSecond: 0 },
      };
    } finally {
      this.running--;
    }
  }
  async embed(_model: string, texts: readonly string[]) {
    const vectors = texts.map((text) => Float32Array.of(text.length, 1));
    return { vectors, dimensions: 2, tokens: texts.map(() => 1), truncated: [], empty: [] };
  }
  async inside() {
    return { adapters: [{ name: "calm", rank: 2, weights: 4 }], vectors: [{ name: "warm", shape: [2] }] };
  }
  async hookPoints() {
    return ["hook_embed", "blocks.0.hook_resid_post"];
  }
  async captureSizes(_model: string, patterns: readonly string[], tokens: number) {
    return Object.fromEntries(patterns.map((name) => [name, 2 * tokens]));
  }
  async stored() {
    return (this.#script.models ?? ["one", "two"]).map((name) => ({ name, bytes: 1000, sha256: "", pulledAt: 0 }));
  }
  readonly pulled: string[] = [];
  readonly removed: string[] = [];
  async pull(model: string, { onProgress }: Parameters<Host["pull"]>[1] = {}): Promise<void> {
    onProgress?.({ step: "download", item: model, done: 1, total: 2, unit: "bytes" });
    this.pulled.push(model);
  }
  async remove(model: string): Promise<void> {
    this.removed.push(model);
  }
  /** Bytes that no file backs, as they are measured. */
  privateBytes = 0;
  async memory() {
    return { privateBytes: this.privateBytes, residentBytes: 0, freeBytes: 1e9, pid: process.pid };
  }
  async [Symbol.asyncDispose](): Promise<void> {}
}
