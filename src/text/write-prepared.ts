// Writes the prepared form of a tokenizer from its parts: which tokens text can arrive at, what merges, what scores.
// Knows what a vocabulary may contradict itself in; does not know where the parts were read.
import { IroriError } from "../base/mod.ts";
import { byteOfEntry, bytesOfEntry } from "./byte-alphabet.ts";
import type { TokenizerParts } from "./parts.ts";
import { addedTable, assemble, mergeSlotTable, tokenSlotTable } from "./prepared.ts";

const utf8 = new TextEncoder();

/** Throws "bad-file" where the vocabulary contradicts itself. */
export function writePrepared(parts: TokenizerParts): Uint8Array {
  const control = new Set(parts.added.filter((token) => token.control).map((token) => token.id));
  const ids = reachableIds(parts, control);
  const tokens = tokenTable(parts);
  const merges = mergeTable(parts, ids, control);
  const reachable = [...ids.values()];
  const { tokenOffsets } = tokens;
  const lengths = reachable.map((id) => (tokenOffsets[id + 1] as number) - (tokenOffsets[id] as number));
  return assemble(
    parts.settings,
    lengths.reduce((a, b) => Math.max(a, b), 0),
    {
      ...tokens,
      tokenSlots: tokenSlotTable(tokens, reachable),
      merges,
      mergeSlots: mergeSlotTable(merges),
      byteIds: byteTable(parts, ids),
      scores: scoreTable(parts),
      charsmap: parts.charsmap ?? new Uint8Array(0),
      added: addedTable(parts.added),
    },
  );
}

/** Entry → id, without the control tokens: no text and no merge can arrive at one. */
function reachableIds(
  { vocabulary, unreachable }: TokenizerParts,
  control: ReadonlySet<number>,
): ReadonlyMap<string, number> {
  const ids = new Map<string, number>();
  for (const [id, entry] of vocabulary.entries()) {
    if (entry === undefined || control.has(id) || unreachable?.has(id) || ids.has(entry)) continue;
    ids.set(entry, id);
  }
  return ids;
}

const isOfBytes = ({ settings: { model } }: TokenizerParts): boolean => model.kind === "bpe" && model.units === "bytes";

function tokenTable(parts: TokenizerParts): { tokenOffsets: Int32Array; tokenBytes: Uint8Array } {
  const bytesOf = isOfBytes(parts) ? bytesOfEntry : (entry: string) => utf8.encode(entry);
  const contents = parts.vocabulary.map((entry) => bytesOf(entry ?? ""));
  for (const token of parts.added) contents[token.id] = utf8.encode(token.text);
  const count = contents.length;
  const tokenOffsets = new Int32Array(count + 1);
  for (let id = 0; id < count; id++) tokenOffsets[id + 1] = (tokenOffsets[id] as number) + (contents[id]?.length ?? 0);
  const tokenBytes = new Uint8Array(tokenOffsets[count] as number);
  for (let id = 0; id < count; id++) tokenBytes.set(contents[id] ?? [], tokenOffsets[id] as number);
  return { tokenOffsets, tokenBytes };
}

function mergeTable(
  { merges: pairs, vocabulary }: TokenizerParts,
  ids: ReadonlyMap<string, number>,
  control: ReadonlySet<number>,
): Int32Array {
  const controlEntries = new Set([...control].map((id) => vocabulary[id]));
  const merges = new Int32Array(pairs.length * 3);
  let count = 0;
  for (const [rank, [left, right]] of pairs.entries()) {
    const names = [left, right, left + right];
    // A merge that would make a control token out of text is left out.
    if (names.some((name) => controlEntries.has(name) && !ids.has(name))) continue;
    const missing = names.find((name) => !ids.has(name));
    if (missing !== undefined) {
      throw new IroriError("bad-file", {
        what: `merge ${rank} of the tokenizer, ${JSON.stringify(`${left} ${right}`)}, names a text that is no token`,
        got: JSON.stringify(missing),
        wanted: "an entry of the vocabulary",
        next: "fetch the tokenizer again from the source of the model",
      });
    }
    merges.set(
      names.map((name) => ids.get(name) as number),
      count++ * 3,
    );
  }
  return merges.subarray(0, count * 3);
}

/** The tokens that stand for single bytes: of the byte-level alphabet, or written `<0x0A>`. */
function byteTable(parts: TokenizerParts, ids: ReadonlyMap<string, number>): Int32Array {
  const byteIds = new Int32Array(256).fill(-1);
  if (isOfBytes(parts)) {
    for (const [entry, id] of ids) {
      const bytes = entry.length === 1 ? bytesOfEntry(entry) : undefined;
      if (bytes?.length === 1) byteIds[bytes[0] as number] = id;
    }
    return byteIds;
  }
  for (const id of parts.unreachable ?? []) {
    const byte = byteOfEntry(parts.vocabulary[id] ?? "");
    if (byte !== undefined) byteIds[byte] = id;
  }
  return byteIds;
}

/** Scores as they are, or, where only their order counts, ranks: whole numbers that a heap can order. */
function scoreTable({ settings: { model }, scores, vocabulary }: TokenizerParts): Float64Array {
  if (scores === undefined) return new Float64Array(0);
  const own = Float64Array.from(vocabulary, (_, id) => scores[id] ?? 0);
  if (model.kind !== "scored-bpe") return own;
  const order = [...new Set(own)].sort((a, b) => b - a);
  const rankOf = new Map(order.map((score, rank) => [score, rank]));
  return own.map((score) => rankOf.get(score) as number);
}
