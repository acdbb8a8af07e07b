// Writes the prepared form of a tokenizer from its parts: which tokens text can arrive at, what merges, what scores.
// Knows what a vocabulary may contradict itself in; does not know where the parts were read. Vocabularies have hundreds of
// thousands of entries: tables are filled in place, and looked up in instead of maps beside them; no entry is kept.
import { IroriError } from "../base/mod.ts";
import { byteOfEntry, writeBytesOfEntry } from "./byte-alphabet.ts";
import type { TokenizerParts } from "./parts.ts";
import { addedTable, assemble, mergeSlotTable, TokenSlots } from "./prepared.ts";

const utf8 = new TextEncoder();

/** Throws "bad-file" where the vocabulary contradicts itself. */
export function writePrepared(parts: TokenizerParts): Uint8Array {
  const control = new Set(parts.added.filter((token) => token.control).map((token) => token.id));
  const tokens = tokenTable(parts);
  const slots = slotsOf(parts, tokens, control);
  const merges = mergeTable(parts, slots, control);
  return assemble(parts.settings, slots.longest, {
    ...tokens,
    tokenSlots: slots.table,
    merges,
    mergeSlots: mergeSlotTable(merges),
    byteIds: byteTable(parts, slots),
    scores: scoreTable(parts),
    charsmap: parts.charsmap ?? new Uint8Array(0),
    added: addedTable(parts.added),
  });
}

/** The tokens that text can arrive at by its letters: not control tokens, of equal entries the first. */
function slotsOf(
  { vocabulary, unreachable }: TokenizerParts,
  tokens: { readonly tokenOffsets: Int32Array; readonly tokenBytes: Uint8Array },
  control: ReadonlySet<number>,
): TokenSlots {
  const slots = new TokenSlots(tokens, vocabulary.length);
  for (let id = 0; id < vocabulary.length; id++)
    if (!control.has(id) && !unreachable?.has(id) && vocabulary.at(id) !== undefined) slots.add(id);
  return slots;
}

const isOfBytes = ({ settings: { model } }: TokenizerParts): boolean => model.kind === "bpe" && model.units === "bytes";

/** Writes entries one after another into the same bytes: in UTF-8, or the bytes that they stand for. */
class EntryWriter {
  readonly #isOfBytes: boolean;
  #bytes = new Uint8Array(1024);

  constructor(parts: TokenizerParts) {
    this.#isOfBytes = isOfBytes(parts);
  }

  /** Valid until the next one is written. */
  entry(entry: string): Uint8Array {
    const bytes = this.#roomFor(entry);
    return bytes.subarray(0, this.#isOfBytes ? writeBytesOfEntry(entry, bytes) : utf8.encodeInto(entry, bytes).written);
  }

  text(text: string): Uint8Array {
    const bytes = this.#roomFor(text);
    return bytes.subarray(0, utf8.encodeInto(text, bytes).written);
  }

  #roomFor({ length }: string): Uint8Array {
    if (this.#bytes.length < 3 * length) this.#bytes = new Uint8Array(6 * length);
    return this.#bytes;
  }
}

function tokenTable(parts: TokenizerParts): { tokenOffsets: Int32Array; tokenBytes: Uint8Array } {
  const write = new EntryWriter(parts);
  const added = new Map(parts.added.map(({ id, text }) => [id, text]));
  const count = parts.added.reduce((most, { id }) => Math.max(most, id + 1), parts.vocabulary.length);
  const contentOf = (id: number): Uint8Array => {
    const text = added.get(id);
    return text === undefined ? write.entry(parts.vocabulary.at(id) ?? "") : write.text(text);
  };
  const tokenOffsets = new Int32Array(count + 1);
  for (let id = 0; id < count; id++) tokenOffsets[id + 1] = (tokenOffsets[id] as number) + contentOf(id).length;
  const tokenBytes = new Uint8Array(tokenOffsets[count] as number);
  for (let id = 0; id < count; id++) tokenBytes.set(contentOf(id), tokenOffsets[id] as number);
  return { tokenOffsets, tokenBytes };
}

function mergeTable(parts: TokenizerParts, slots: TokenSlots, control: ReadonlySet<number>): Int32Array {
  const { merges: pairs, vocabulary } = parts;
  const write = new EntryWriter(parts);
  const controlEntries = new Set([...control].map((id) => vocabulary.at(id)));
  const merges = new Int32Array(pairs.length * 3);
  let count = 0;
  for (let rank = 0; rank < pairs.length; rank++) {
    const [left, right] = pairs.at(rank) as readonly [string, string];
    const names = [left, right, left + right];
    const ids = names.map((name) => slots.find(write.entry(name)));
    // A merge that would make a control token out of text is left out.
    if (names.some((name, i) => controlEntries.has(name) && (ids[i] as number) < 0)) continue;
    const missing = names.find((_, i) => (ids[i] as number) < 0);
    if (missing !== undefined) {
      throw new IroriError("bad-file", {
        what: `merge ${rank} of the tokenizer, ${JSON.stringify(`${left} ${right}`)}, names a text that is no token`,
        got: JSON.stringify(missing),
        wanted: "an entry of the vocabulary",
        next: "fetch the tokenizer again from the source of the model",
      });
    }
    merges.set(ids, count++ * 3);
  }
  return merges.subarray(0, count * 3);
}

/** The tokens that stand for single bytes: of the byte-level alphabet, or written `<0x0A>`. */
function byteTable(parts: TokenizerParts, slots: TokenSlots): Int32Array {
  if (isOfBytes(parts)) return Int32Array.from({ length: 256 }, (_, byte) => slots.find(Uint8Array.of(byte)));
  const byteIds = new Int32Array(256).fill(-1);
  for (const id of parts.unreachable ?? []) {
    const byte = byteOfEntry(parts.vocabulary.at(id) ?? "");
    if (byte !== undefined) byteIds[byte] = id;
  }
  return byteIds;
}

/** Scores as they are, or, where only their order counts, ranks: whole numbers that a heap can order. */
function scoreTable({ settings: { model }, scores, vocabulary }: TokenizerParts): Float64Array {
  if (scores === undefined) return new Float64Array(0);
  const own = Float64Array.from({ length: vocabulary.length }, (_, id) => scores[id] ?? 0);
  if (model.kind !== "scored-bpe") return own;
  const order = own.slice().sort().reverse(); // equal ones side by side: all have the rank of the first
  return own.map((score) => firstAtMost(order, score));
}

/** Place of the first number that is not above `score`, in falling order. */
function firstAtMost(order: Float64Array, score: number): number {
  let [low, high] = [0, order.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((order[middle] as number) > score) low = middle + 1;
    else high = middle;
  }
  return low;
}
