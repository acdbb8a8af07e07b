// The committed synthetic tokenizer (640 tokens, trained and encoded with by Hugging Face's `tokenizers`), and its
// variants of pre-tokenizer, normalizer and added tokens. For tests only.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Tokenizer } from "./tokenizer.ts";

export interface GoldenCase {
  readonly text: string;
  readonly ids: readonly number[];
  /** Where they differ from `ids`: with control tokens recognised. */
  readonly controlIds?: readonly number[];
  /** Where it differs from `text`. */
  readonly decoded?: string;
}

interface Variant {
  readonly pre_tokenizer: unknown;
  readonly normalizer: unknown;
  readonly ignore_merges: boolean;
  readonly added_tokens: readonly unknown[];
  readonly cases: readonly GoldenCase[];
}

interface SyntheticJson {
  readonly model: { readonly vocab: Readonly<Record<string, number>>; readonly merges: readonly [string, string][] };
  readonly [part: string]: unknown;
}

const goldenFile = (path: string): unknown =>
  JSON.parse(readFileSync(join(import.meta.dirname, "../../test/goldens", path), "utf8"));

export const syntheticJson = goldenFile("tokenizer/synthetic.json") as SyntheticJson;
export const { variants } = goldenFile("tokenizer/variants.json") as { variants: Readonly<Record<string, Variant>> };

/** The bytes of a file with this JSON. */
export const jsonFile = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value));

/** tokenizer.json of a variant. */
export function variantJson(name: string): unknown {
  const variant = variants[name];
  if (variant === undefined) throw new Error(`no variant ${name}`);
  const { pre_tokenizer, normalizer, ignore_merges, added_tokens } = variant;
  return {
    ...syntheticJson,
    pre_tokenizer,
    normalizer,
    added_tokens,
    model: { ...syntheticJson.model, ignore_merges },
  };
}

/** The same vocabulary as GGUF metadata; ids 0, 1, 2 are control tokens. */
export function ggufMetadata(pre: string, more: Readonly<Record<string, unknown>> = {}): Map<string, unknown> {
  const tokens: string[] = [];
  for (const [token, id] of Object.entries(syntheticJson.model.vocab)) tokens[id] = token;
  return new Map<string, unknown>(
    Object.entries({
      "tokenizer.ggml.model": "gpt2",
      "tokenizer.ggml.pre": pre,
      "tokenizer.ggml.tokens": tokens,
      "tokenizer.ggml.token_type": Int32Array.from(tokens, (_, id) => (id < 3 ? 3 : 1)),
      "tokenizer.ggml.merges": syntheticJson.model.merges.map((pair) => pair.join(" ")),
      "tokenizer.ggml.bos_token_id": 1,
      "tokenizer.ggml.eos_token_id": 2,
      ...more,
    }),
  );
}

export const synthetic = (): Tokenizer => Tokenizer.fromGguf(ggufMetadata("gpt-2"));
