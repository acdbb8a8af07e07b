// A host that runs no model: `mock` gives answers that were written beforehand, `mock:echo` says the last message again, `hashed` makes
// vectors of letters and words. For trying clients out in a second. It does not know HTTP or lanes.
import { IroriError } from "../base/mod.ts";
import { type Embedder, hashedEmbedder, mockGenerator } from "../engine/mod.ts";
import type { Encoded, Host, HostCall, HostEvent, HostPrompt, HostRequest, MemoryUse, ModelFacts } from "./host.ts";

export const MOCK_MODELS = ["mock", "mock:echo", "hashed"] as const;
const ANSWERS = ["This is a mock answer: no model was asked."];
/** Stands between the messages of a prompt, whose tokens are the bytes of its text. */
const BETWEEN = "\0";

export class MockHost implements Host {
  readonly #answers: readonly string[];
  readonly #embedder: Embedder = hashedEmbedder();

  constructor(answers: readonly string[] = ANSWERS) {
    this.#answers = answers;
  }

  async measure(model: string): Promise<ModelFacts> {
    const isDecoder = model !== "hashed";
    return {
      ...{ model, family: "mock", isDecoder, context: 131_072, vocabSize: 256, layers: 0, hiddenSize: 0 },
      ...{ chatTemplate: undefined, weightBytes: 0, ownBytes: 0, parameters: 0, form: "no weights", scratchBytes: 0 },
      kv: [],
    };
  }
  load(model: string): Promise<ModelFacts> {
    return this.measure(model);
  }
  async unload(): Promise<void> {}

  async encode(_model: string, prompt: HostPrompt): Promise<Encoded> {
    if ("ids" in prompt) return { ids: prompt.ids, tail: "" };
    const text = "text" in prompt ? prompt.text : prompt.messages.map(({ content }) => content).join(BETWEEN);
    return { ids: [...new TextEncoder().encode(text)], tail: "" };
  }

  async *generate(model: string, request: HostRequest, call: HostCall = {}): AsyncGenerator<HostEvent, void> {
    const { ids: bytes, seed, maxTokens, stop, format, logprobs } = request;
    if (model === "hashed") throw new IroriError("unsupported", { what: "hashed makes vectors", next: "ask mock" });
    if (format !== undefined || logprobs !== undefined)
      throw new IroriError("unsupported", { what: `${model} answers in given words alone`, next: "serve a model" });
    const contents = new TextDecoder().decode(Uint8Array.from(bytes)).split(BETWEEN);
    // the generator of a mock begins with its first answer: which one it is, is the seed's
    const answer = this.#answers[seed % this.#answers.length] as string;
    const generator = mockGenerator(model === "mock:echo" ? undefined : [answer]);
    const messages = contents.map((content) => ({ role: "user", content }));
    const start = performance.now();
    const ids: number[] = [];
    let firstTokenMs = 0;
    const asked = { prompt: { messages }, seed, maxTokens, ...(stop && { stop }) };
    for await (const event of generator.generate(asked, { signal: call.signal })) {
      if (event.type === "token") {
        await call.pause?.resumed(call.signal, model, () => undefined).catch(() => undefined);
        if (ids.length === 0) firstTokenMs = performance.now() - start;
        ids.push(ids.length);
        yield { type: "token", id: ids.length - 1, text: event.text };
      } else if (event.type === "end") {
        const decodeMs = event.totalMs - event.firstTokenMs;
        const timings = { openMs: 0, prefillMs: firstTokenMs, decodeMs, firstTokenMs, tokensPerSecond: 0 };
        const { text, stop: reason } = event;
        const told = { promptTokens: bytes.length, reusedTokens: 0, hasBos: false, stop: reason, seed, timings };
        yield { type: "end", text, ids, ...told };
      }
    }
  }

  async embed(_model: string, texts: readonly string[], options: Parameters<Host["embed"]>[2] = {}) {
    const { vectors, dimensions, empty } = await this.#embedder.embed(texts, { signal: options.signal });
    return { vectors, dimensions, tokens: texts.map((text) => text.length), truncated: [], empty };
  }

  async inside() {
    return { adapters: [], vectors: [] };
  }
  async hookPoints(model: string): Promise<readonly string[]> {
    throw new IroriError("unsupported", { what: `${model} has no inside`, next: "serve a model" });
  }
  async captureSizes(model: string): Promise<Readonly<Record<string, number>>> {
    throw new IroriError("unsupported", { what: `${model} has no inside`, next: "serve a model" });
  }

  async stored() {
    return MOCK_MODELS.map((name) => ({ name, bytes: 0, sha256: "", pulledAt: 0 }));
  }
  async pull(model: string): Promise<void> {
    throw new IroriError("unsupported", { what: "nothing is fetched where mocks are served", got: model });
  }
  async remove(model: string): Promise<void> {
    throw new IroriError("unsupported", { what: "a mock cannot be removed", got: model });
  }
  async memory(): Promise<MemoryUse> {
    const { rss } = process.memoryUsage();
    return { privateBytes: rss, residentBytes: rss, freeBytes: 1e9, pid: process.pid };
  }
  async [Symbol.asyncDispose](): Promise<void> {}
}
