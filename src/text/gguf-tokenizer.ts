// Reads a tokenizer out of GGUF metadata (`tokenizer.ggml.*`): byte-level BPE ("gpt2"), and sentencepiece's BPE ("llama")
// and Unigram ("t5"). Knows the keys and the token types; does not know how a file is read or how text is encoded.
import { IroriError } from "../base/mod.ts";
import { GgufKeys } from "./gguf-keys.ts";
import {
  type AddedToken,
  type Entries,
  endIds,
  entriesOf,
  isControlText,
  type NormalStep,
  plainFrame,
  type TokenizerParts,
} from "./parts.ts";
import { preTokenizerNamed } from "./pre-tokenizer.ts";

/** Values of `tokenizer.ggml.token_type`; 1 is an ordinary token. */
const type = { unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;

/** sentencepiece's space. */
const metaspace = "▁";

interface Vocabulary {
  readonly tokens: Entries<string>;
  readonly types: ArrayLike<number>;
  readonly added: readonly AddedToken[];
}

export function partsFromGguf(metadata: ReadonlyMap<string, unknown>): TokenizerParts {
  const keys = new GgufKeys(metadata);
  if (!metadata.has("tokenizer.ggml.model"))
    throw new IroriError("not-found", { what: "the GGUF file holds no tokenizer", wanted: "tokenizer.ggml.model" });
  const model = keys.text("model");
  const read = Object.hasOwn(readers, model) ? readers[model] : undefined;
  if (read === undefined)
    throw new IroriError("unsupported", {
      what: "the GGUF file has a kind of tokenizer that Irori does not run",
      got: `tokenizer.ggml.model = ${JSON.stringify(model)}`,
      wanted: Object.keys(readers).join(", "),
      next: "use the model's Hugging Face folder instead, whose tokenizer.json may do",
    });
  const tokens = keys.texts("tokens");
  const types = keys.types(tokens.length);
  return read(keys, { tokens, types, added: addedTokens(tokens, types) });
}

const readers: Readonly<Record<string, (keys: GgufKeys, vocabulary: Vocabulary) => TokenizerParts>> = {
  gpt2: (keys, { tokens, types, added }) => {
    const pre = preTokenizerNamed(keys.text("pre", "default"));
    return {
      // A user-defined token of one character stands for that character, not for a byte of the alphabet.
      vocabulary: entriesOf(tokens, (token, i) =>
        types[i] === type.userDefined && token.length === 1 ? undefined : token,
      ),
      merges: entriesOf(keys.texts("merges"), (merge, rank) => pairOf(keys, merge, rank)),
      added,
      settings: {
        ...common(keys, tokens, added, { addsBos: pre.addsBos ?? false, addsEos: false }),
        normalizer: pre.normalizer === undefined ? [] : [{ kind: "unicode", form: pre.normalizer }],
        steps: pre.steps(),
        model: { kind: "bpe", units: "bytes", ignoreMerges: pre.ignoreMerges ?? false, fusesUnknown: false },
        decoder: [],
        decodeStart: undefined,
      },
    };
  },
  llama: (keys, vocabulary) => {
    const settings = common(keys, vocabulary.tokens, vocabulary.added, { addsBos: true, addsEos: false });
    return {
      ...sentencepiece(keys, vocabulary, []),
      settings: {
        ...settings,
        ...spaces(keys),
        model: { kind: "scored-bpe", unknownId: settings.unknownId },
      },
    };
  },
  t5: (keys, vocabulary) => {
    const settings = common(keys, vocabulary.tokens, vocabulary.added, { addsBos: false, addsEos: true });
    const parts = sentencepiece(keys, vocabulary, keys.bytes("precompiled_charsmap"));
    const mapping: NormalStep[] = parts.charsmap.length > 0 ? [{ kind: "charsmap", by: "longest" }] : [];
    const single: NormalStep[] = [
      { kind: "replace", pattern: " {2,}", to: " " },
      { kind: "replace", pattern: "^ | $", to: "" },
    ];
    const isSingle = keys.flag("remove_extra_whitespaces") ?? false;
    const { normalizer, ...rest } = spaces(keys);
    return {
      ...parts,
      settings: {
        ...settings,
        ...rest,
        normalizer: [...mapping, ...(isSingle ? single : []), ...normalizer],
        model: {
          kind: "unigram",
          unknownId: settings.unknownId,
          unknownScore: leastScore(parts.scores, vocabulary) - 10,
          isFloat32: true,
        },
      },
    };
  },
};

/** What is the same for every kind; `adds` where the file does not say. */
function common(
  keys: GgufKeys,
  tokens: Entries<string>,
  added: readonly AddedToken[],
  adds: { readonly addsBos: boolean; readonly addsEos: boolean },
) {
  const id = (name: string): number | undefined => keys.id(`${name}_token_id`, tokens.length);
  const [bosId, eosId] = [id("bos"), id("eos")];
  const addsBos = keys.flag("add_bos_token") ?? adds.addsBos;
  const addsEos = keys.flag("add_eos_token") ?? adds.addsEos;
  return {
    bosId,
    eosIds: endIds([eosId, id("eot"), id("eom")], added),
    unknownId: id("unknown") ?? unknownOf(added),
    padId: id("padding"),
    addsBos,
    addsEos,
    frame: plainFrame(addsBos ? bosId : undefined, addsEos ? eosId : undefined),
    maxTokens: undefined,
    chatTemplate: keys.template(),
  };
}

/** What sentencepiece does with spaces: they become ▁, one more in front of each text unless the file says not. */
function spaces(keys: GgufKeys) {
  const prefixes = keys.flag("add_space_prefix") ?? true;
  const normalizer: NormalStep[] = [
    ...(prefixes ? [{ kind: "prepend", text: " " } as const] : []),
    { kind: "replace", pattern: " ", to: metaspace },
  ];
  return {
    normalizer,
    steps: [],
    decoder: [{ kind: "replace", from: metaspace, to: " " } as const, { kind: "bytes" } as const],
    decodeStart: prefixes ? ({ most: 1, of: "text" } as const) : undefined,
  };
}

function sentencepiece(keys: GgufKeys, { tokens, types, added }: Vocabulary, charsmap: ArrayLike<number>) {
  const unreachable = new Set<number>();
  for (let id = 0; id < tokens.length; id++)
    if (types[id] === type.byte || types[id] === type.unused) unreachable.add(id);
  return {
    vocabulary: tokens,
    merges: [],
    scores: keys.scores(tokens.length),
    unreachable,
    charsmap: Uint8Array.from(charsmap),
    added,
  };
}

/** The least likely of the ordinary tokens. */
function leastScore(scores: ArrayLike<number>, { types, tokens }: Vocabulary): number {
  let least = 0;
  for (let id = 0; id < tokens.length; id++) if (types[id] === 1) least = Math.min(least, scores[id] as number);
  return least;
}

function addedTokens(tokens: Entries<string>, types: ArrayLike<number>): AddedToken[] {
  const rules = { normalized: false, stripLeft: false, stripRight: false, singleWord: false };
  const added: AddedToken[] = [];
  for (let id = 0; id < tokens.length; id++) {
    const control = types[id] === type.control || types[id] === type.unknown;
    if (!control && types[id] !== type.userDefined) continue;
    const text = tokens.at(id) as string;
    // Some files call the marks of a chat's turns user-defined: what a user writes would become them.
    added.push({ id, text, control: control || isControlText(text), ...rules });
  }
  return added;
}

/** sentencepiece's files mark it by its type. */
const unknownOf = (added: readonly AddedToken[]): number | undefined =>
  added.find(({ text, control }) => control && text === "<unk>")?.id;

function pairOf(keys: GgufKeys, merge: string, rank: number): readonly [string, string] {
  const space = merge.indexOf(" ", 1);
  if (space > 0 && space < merge.length - 1) return [merge.slice(0, space), merge.slice(space + 1)];
  throw keys.bad("merges", `${JSON.stringify(merge)} at ${rank}`, 'two tokens with a space between, "a b"');
}
