// Reads a byte-level BPE tokenizer out of GGUF metadata (`tokenizer.ggml.*`).
// Knows the keys and the token types; does not know how a file is read or how text is encoded.
import { IroriError } from "../base/mod.ts";
import { type AddedToken, endIds, type TokenizerParts } from "./parts.ts";
import { preTokenizerNamed } from "./pre-tokenizer.ts";

type Metadata = ReadonlyMap<string, unknown>;

/** Values of `tokenizer.ggml.token_type`; 1 is an ordinary token. */
const unknownType = 2;
const controlType = 3;
const userDefinedType = 4;

const prefix = "tokenizer.ggml.";

export function partsFromGguf(metadata: Metadata): TokenizerParts {
  const model = textAt(metadata, "model");
  if (model !== "gpt2") {
    throw new IroriError("unsupported", {
      what: "the GGUF file has a kind of tokenizer that Irori does not run",
      got: `${prefix}model = ${JSON.stringify(model)}`,
      wanted: '"gpt2" (byte-level BPE)',
      next: "use a model with a byte-level BPE tokenizer",
    });
  }
  const tokens = textsAt(metadata, "tokens");
  const types = typesAt(metadata, tokens.length);
  const pre = preTokenizerNamed(textAt(metadata, "pre", "default"));
  const added = addedTokens(tokens, types);
  const id = (name: string): number | undefined => idAt(metadata, `${name}_token_id`, tokens.length);
  return {
    // A user-defined token of one character stands for that character, not for a byte of the alphabet.
    vocabulary: tokens.map((token, i) => (types[i] === userDefinedType && token.length === 1 ? undefined : token)),
    merges: textsAt(metadata, "merges").map(pairOf),
    added,
    settings: {
      bosId: id("bos"),
      eosIds: endIds([id("eos"), id("eot"), id("eom")], added),
      unknownId: id("unknown"),
      padId: id("padding"),
      addsBos: flagAt(metadata, "add_bos_token") ?? pre.addsBos ?? false,
      addsEos: flagAt(metadata, "add_eos_token") ?? false,
      normalizer: pre.normalizer,
      steps: pre.steps(),
      ignoreMerges: pre.ignoreMerges ?? false,
      chatTemplate: templateOf(metadata),
    },
  };
}

function addedTokens(tokens: readonly string[], types: ArrayLike<number>): AddedToken[] {
  const rules = { normalized: false, stripLeft: false, stripRight: false, singleWord: false };
  return tokens.flatMap((text, id) => {
    const control = types[id] === controlType || types[id] === unknownType;
    return control || types[id] === userDefinedType ? [{ id, text, control, ...rules }] : [];
  });
}

function pairOf(merge: string, rank: number): readonly [string, string] {
  const space = merge.indexOf(" ", 1);
  if (space > 0 && space < merge.length - 1) return [merge.slice(0, space), merge.slice(space + 1)];
  throw badKey("merges", `${JSON.stringify(merge)} at ${rank}`, 'two tokens with a space between, "a b"');
}

function badKey(key: string, got: string, wanted: string): IroriError {
  return new IroriError("bad-file", {
    what: `the GGUF file's ${prefix}${key} cannot be used`,
    got,
    wanted,
    next: "fetch or convert the file again",
  });
}

const shown = (value: unknown): string => (value === undefined ? "nothing" : `a value of type ${typeof value}`);

function textAt(metadata: Metadata, key: string, otherwise?: string): string {
  const value = metadata.get(prefix + key) ?? otherwise;
  if (typeof value !== "string") throw badKey(key, shown(value), "a text");
  return value;
}

function textsAt(metadata: Metadata, key: string): readonly string[] {
  const value = metadata.get(prefix + key);
  if (!Array.isArray(value)) throw badKey(key, shown(value), "a list of texts");
  const bad = value.findIndex((item) => typeof item !== "string");
  if (bad >= 0) throw badKey(key, `${shown(value[bad])} at ${bad}`, "a list of texts");
  return value as string[];
}

function typesAt(metadata: Metadata, count: number): ArrayLike<number> {
  const value = metadata.get(`${prefix}token_type`);
  if (value === undefined) return new Int32Array(count).fill(1);
  const isList = Array.isArray(value) || ArrayBuffer.isView(value);
  const length = isList ? (value as unknown as ArrayLike<number>).length : undefined;
  if (length !== count) throw badKey("token_type", isList ? `${length} types` : shown(value), `${count}, one a token`);
  return value as ArrayLike<number>;
}

function idAt(metadata: Metadata, key: string, count: number): number | undefined {
  const value = metadata.get(prefix + key);
  if (value === undefined) return undefined;
  const id = typeof value === "bigint" ? Number(value) : value;
  if (typeof id === "number" && Number.isInteger(id) && id >= 0 && id < count) return id;
  // Converters write 2^32 - 1 for "there is none".
  if (id === 0xffffffff) return undefined;
  throw badKey(key, String(value), `an id below ${count}`);
}

function flagAt(metadata: Metadata, key: string): boolean | undefined {
  const value = metadata.get(prefix + key);
  if (value === undefined || typeof value === "boolean") return value;
  throw badKey(key, shown(value), "true or false");
}

function templateOf(metadata: Metadata): string | undefined {
  const value = metadata.get("tokenizer.chat_template");
  return typeof value === "string" ? value : undefined;
}
