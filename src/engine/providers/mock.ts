// What stands in for models where none is wanted: answers that were given beforehand or the prompt itself, and vectors by chance.
// The same question, the same words, in every process. It loads nothing.
import { createHash } from "node:crypto";
import { IroriError, seededRandom } from "../../base/mod.ts";
import { HASHED_DIMS, HASHED_MODEL, hashedVector } from "../../text/mod.ts";
import type { Prompt } from "../lease.ts";
import { StopText } from "../stop-text.ts";
import type { Embedded, Embedder, EmbedderCall } from "./embedder.ts";
import type { Generated, Generator, GeneratorCall, GeneratorEvent, GeneratorRequest } from "./generator.ts";
import { checkTexts } from "./texts.ts";

/** A mock's tokens are words with the space before them. */
const wordsOf = (text: string): string[] => text.match(/\s*\S+|\s+$/g) ?? [];

const contentsOf = (prompt: Prompt, id: string): readonly string[] => {
  if ("text" in prompt) return [prompt.text];
  if ("messages" in prompt) return prompt.messages.map(({ content }) => (typeof content === "string" ? content : ""));
  throw new IroriError("unsupported", { what: `${id} has no tokens`, got: "a prompt of token ids", wanted: "texts" });
};

/** Answers one after the other, over and over; undefined: the prompt, or the last message of a chat. */
export function mockGenerator(answers?: readonly string[]): Generator {
  const id = answers === undefined ? "mock:echo" : "mock";
  let asked = 0;
  return {
    id,
    model: id,
    async *generate(request: GeneratorRequest, { signal }: GeneratorCall = {}): AsyncGenerator<GeneratorEvent, void> {
      const start = performance.now();
      const { prompt, seed, maxTokens = Number.POSITIVE_INFINITY, stop = [] } = request;
      if (!(maxTokens >= 1))
        throw new IroriError("bad-input", { what: "maxTokens", got: maxTokens, wanted: "a whole number, 1 or more" });
      for (const name of ["logprobs", "begin", "banned", "minTokens"] as const)
        if (request[name] !== undefined)
          throw new IroriError("unsupported", { what: `${id} cannot do ${name}`, next: "ask a model" });
      const contents = contentsOf(prompt, id);
      const promptTokens = contents.flatMap(wordsOf).length;
      if (promptTokens === 0) throw new IroriError("bad-input", { what: "the prompt is empty" });
      const answer = (answers === undefined ? contents.at(-1) : answers[asked++ % answers.length]) as string;
      yield { type: "prefill", done: promptTokens, total: promptTokens };
      const stopText = new StopText(stop);
      let [text, tokens, firstTokenMs] = ["", 0, 0];
      const end = (why: Generated["stop"]): GeneratorEvent => {
        const totalMs = performance.now() - start;
        return { type: "end", text, promptTokens, tokens, stop: why, seed, firstTokenMs, totalMs };
      };
      const words = wordsOf(answer);
      for (const word of words) {
        if (signal?.aborted) return yield end("cancelled");
        if (tokens === maxTokens) break;
        const piece = stopText.push(word);
        text += piece;
        if (tokens++ === 0) firstTokenMs = performance.now() - start;
        yield { type: "token", text: piece };
        if (stopText.isFound) return yield end("stop");
      }
      text += stopText.end();
      yield end(tokens < words.length ? "length" : "stop");
    },
    async [Symbol.asyncDispose]() {},
  };
}

/** Vectors of letters and words alone (text/hashed.ts): texts with words in common point the same way. */
export const hashedEmbedder = (): Embedder => embedderOf(HASHED_MODEL, HASHED_DIMS, (text) => hashedVector(text));

/** Vectors by chance: the same text, the same vector, and no two texts alike. */
export const mockEmbedder = (dimensions = HASHED_DIMS): Embedder =>
  embedderOf(`mock-${dimensions}`, dimensions, (text) => {
    const random = seededRandom(createHash("sha256").update(text).digest().readUInt32LE());
    const vector = Float32Array.from({ length: dimensions }, () => random.next() - 0.5);
    const length = Math.hypot(...vector);
    return vector.map((x) => x / length);
  });

function embedderOf(id: string, dimensions: number, vectorOf: (text: string) => Float32Array): Embedder {
  return {
    id,
    model: id,
    dimensions: async () => dimensions,
    async embed(texts: readonly string[], { signal }: EmbedderCall = {}): Promise<Embedded> {
      const { empty } = checkTexts(texts, id, signal);
      return { vectors: texts.map(vectorOf), dimensions, tokens: undefined, truncated: [], empty };
    },
    async [Symbol.asyncDispose]() {},
  };
}
