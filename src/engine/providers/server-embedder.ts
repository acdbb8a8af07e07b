// Vectors by a server that speaks OpenAI's API. It does not know how calls are made (server-call.ts).
import { IroriError } from "../../base/mod.ts";
import type { Embedded, Embedder, EmbedderCall } from "./embedder.ts";
import { ServerCall, type ServerOptions } from "./server-call.ts";
import { checkTexts } from "./texts.ts";

/** Texts of one call: what servers take at once without complaint. */
const AT_ONCE = 64;

export function serverEmbedder(options: ServerOptions): Embedder {
  const call = new ServerCall(options);
  const { id } = call;
  const { model } = options;
  let width: Promise<number> | undefined;

  async function some(texts: readonly string[], signal: AbortSignal | undefined): Promise<Float32Array[]> {
    using replied = await call.post("/embeddings", { model, input: texts, encoding_format: "float" }, signal);
    const [{ vectorsIn }, text] = await Promise.all([import("./server-vectors.ts"), textOf(replied.pieces)]);
    return vectorsIn(id, text, texts.length);
  }

  async function embed(texts: readonly string[], { signal }: EmbedderCall = {}): Promise<Embedded> {
    const { empty } = checkTexts(texts, id, signal);
    const vectors: Float32Array[] = [];
    for (let at = 0; at < texts.length; at += AT_ONCE)
      vectors.push(...(await some(texts.slice(at, at + AT_ONCE), signal)));
    const dimensions = vectors[0]?.length ?? 0;
    const other = vectors.find(({ length }) => length !== dimensions || length === 0);
    if (other !== undefined)
      throw new IroriError("library", {
        what: `${id}: a vector`,
        got: `${other.length} numbers`,
        wanted: `${dimensions || "1 or more"}`,
      });
    return { vectors, dimensions, tokens: undefined, truncated: undefined, empty };
  }

  return {
    id,
    model,
    embed,
    dimensions({ signal } = {}) {
      width ??= embed(["dimensions"], { signal }).then(({ dimensions }) => dimensions);
      width.catch(() => {
        width = undefined;
      });
      return width;
    },
    async [Symbol.asyncDispose]() {},
  };
}

async function textOf(pieces: AsyncIterable<string>): Promise<string> {
  let text = "";
  for await (const piece of pieces) text += piece;
  return text;
}
