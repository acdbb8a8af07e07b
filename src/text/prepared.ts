// The prepared form of a tokenizer: one blob of bytes that is its own hash tables, viewed where it lies. Every
// Tokenizer is one of these, freshly built or read from disk. Knows layout and lookups; does not know text.
import { crc32 } from "node:zlib";
import { IroriError } from "../base/mod.ts";
import { bytesOfEntry } from "./byte-alphabet.ts";
import type { AddedToken, TokenizerParts, TokenizerSettings } from "./parts.ts";

// Layout, little-endian, every section on 8 bytes:
//   0  "IRORITOK"   8 version u32   12 crc32 of all from 16 on   16 length of the whole u32   20 length of header u32
//   24 header (JSON: settings and the byte lengths of the sections), then the sections in the order of `sectionNames`.
const magic = "IRORITOK";
const version = 1;
const headStart = 24;
const sectionNames = ["tokenOffsets", "tokenBytes", "tokenSlots", "merges", "mergeSlots", "byteIds", "added"] as const;
type SectionName = (typeof sectionNames)[number];

interface Header {
  readonly settings: TokenizerSettings;
  readonly sections: readonly number[];
}

export interface Prepared {
  readonly bytes: Uint8Array;
  readonly settings: TokenizerSettings;
  /** V + 1 offsets into tokenBytes. */
  readonly tokenOffsets: Int32Array;
  readonly tokenBytes: Uint8Array;
  /** Open addressing by the token's bytes: id + 1, 0 = free. Control tokens are not in it. */
  readonly tokenSlots: Int32Array;
  /** By rank: left id, right id, id of the two merged. */
  readonly merges: Int32Array;
  /** Open addressing by (left, right): rank + 1, 0 = free. */
  readonly mergeSlots: Int32Array;
  /** byte → id of the token that is this byte alone, -1 where the vocabulary has none. */
  readonly byteIds: Int32Array;
  /** Pairs (id, flags). */
  readonly added: Int32Array;
}

const flag = { control: 1, normalized: 2, stripLeft: 4, stripRight: 8, singleWord: 16 } as const;

const pairHash = (left: number, right: number): number => {
  const mixed = Math.imul(left, 0x9e3779b1) ^ Math.imul(right, 0x85ebca6b);
  return (mixed ^ (mixed >>> 15)) >>> 0;
};

/** FNV-1a. */
function bytesHash(bytes: Uint8Array, length: number): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < length; i++) hash = Math.imul(hash ^ (bytes[i] as number), 0x01000193);
  return (hash ^ (hash >>> 15)) >>> 0;
}

/** A power of two that leaves at least half of the slots free. */
const slotCount = (entries: number): number => 2 ** Math.ceil(Math.log2(Math.max(4, entries * 2)));

/** The rank of merging two tokens, -1 where they do not merge. */
export function mergeRank({ merges, mergeSlots }: Prepared, left: number, right: number): number {
  const mask = mergeSlots.length - 1;
  for (let slot = pairHash(left, right) & mask; ; slot = (slot + 1) & mask) {
    const rank = (mergeSlots[slot] as number) - 1;
    if (rank < 0 || (merges[rank * 3] === left && merges[rank * 3 + 1] === right)) return rank;
  }
}

/** The id of the token that is exactly the first `length` bytes, -1 where there is none. */
export function tokenOfBytes(prepared: Prepared, bytes: Uint8Array, length: number): number {
  const { tokenSlots } = prepared;
  const mask = tokenSlots.length - 1;
  for (let slot = bytesHash(bytes, length) & mask; ; slot = (slot + 1) & mask) {
    const id = (tokenSlots[slot] as number) - 1;
    if (id < 0 || equals(prepared, id, bytes, length)) return id;
  }
}

function equals({ tokenOffsets, tokenBytes }: Prepared, id: number, bytes: Uint8Array, length: number): boolean {
  const start = tokenOffsets[id] as number;
  if ((tokenOffsets[id + 1] as number) - start !== length) return false;
  for (let i = 0; i < length; i++) if (tokenBytes[start + i] !== bytes[i]) return false;
  return true;
}

/** The tokens that are recognised in text as a whole. */
export function addedTokens({ added, tokenOffsets, tokenBytes }: Prepared): AddedToken[] {
  const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });
  return Array.from({ length: added.length / 2 }, (_, i) => {
    const id = added[i * 2] as number;
    const flags = added[i * 2 + 1] as number;
    return {
      id,
      text: utf8.decode(tokenBytes.subarray(tokenOffsets[id], tokenOffsets[id + 1])),
      control: (flags & flag.control) !== 0,
      normalized: (flags & flag.normalized) !== 0,
      stripLeft: (flags & flag.stripLeft) !== 0,
      stripRight: (flags & flag.stripRight) !== 0,
      singleWord: (flags & flag.singleWord) !== 0,
    };
  });
}

/** Writes the prepared form. Throws "bad-file" where the vocabulary contradicts itself. */
export function writePrepared(parts: TokenizerParts): Uint8Array {
  const control = new Set(parts.added.filter((token) => token.control).map((token) => token.id));
  const ids = vocabularyIds(parts.vocabulary, control);
  const tokens = tokenTable(parts);
  const merges = mergeTable(parts, ids, control);
  const sections: Record<SectionName, Int32Array | Uint8Array> = {
    ...tokens,
    tokenSlots: tokenSlotTable(tokens, ids),
    merges,
    mergeSlots: mergeSlotTable(merges),
    byteIds: byteTable(ids),
    added: Int32Array.from(parts.added.flatMap((token) => [token.id, flagsOf(token)])),
  };
  return assemble(parts.settings, sections);
}

function flagsOf(token: AddedToken): number {
  let flags = 0;
  for (const [name, bit] of Object.entries(flag)) if (token[name as keyof typeof flag]) flags |= bit;
  return flags;
}

/** Entry → id, without the control tokens: no text and no merge can arrive at one. */
function vocabularyIds(vocabulary: TokenizerParts["vocabulary"], control: ReadonlySet<number>): Map<string, number> {
  const ids = new Map<string, number>();
  for (const [id, entry] of vocabulary.entries()) {
    if (entry !== undefined && !control.has(id) && !ids.has(entry)) ids.set(entry, id);
  }
  return ids;
}

function tokenTable({ vocabulary, added }: TokenizerParts): { tokenOffsets: Int32Array; tokenBytes: Uint8Array } {
  const utf8 = new TextEncoder();
  const contents = vocabulary.map((entry) => bytesOfEntry(entry ?? ""));
  for (const token of added) contents[token.id] = utf8.encode(token.text);
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

function mergeSlotTable(merges: Int32Array): Int32Array {
  const slots = new Int32Array(slotCount(merges.length / 3));
  for (let rank = 0; rank < merges.length / 3; rank++) {
    const [left, right] = [merges[rank * 3] as number, merges[rank * 3 + 1] as number];
    let slot = pairHash(left, right) & (slots.length - 1);
    while (slots[slot] !== 0) slot = (slot + 1) & (slots.length - 1);
    slots[slot] = rank + 1;
  }
  return slots;
}

function tokenSlotTable(
  { tokenOffsets, tokenBytes }: { tokenOffsets: Int32Array; tokenBytes: Uint8Array },
  ids: ReadonlyMap<string, number>,
): Int32Array {
  const slots = new Int32Array(slotCount(ids.size));
  for (const id of ids.values()) {
    const content = tokenBytes.subarray(tokenOffsets[id], tokenOffsets[id + 1]);
    if (content.length === 0) continue;
    let slot = bytesHash(content, content.length) & (slots.length - 1);
    while (slots[slot] !== 0) slot = (slot + 1) & (slots.length - 1);
    slots[slot] = id + 1;
  }
  return slots;
}

function byteTable(ids: ReadonlyMap<string, number>): Int32Array {
  const byteIds = new Int32Array(256).fill(-1);
  for (const [entry, id] of ids) {
    const bytes = entry.length === 1 ? bytesOfEntry(entry) : undefined;
    if (bytes?.length === 1) byteIds[bytes[0] as number] = id;
  }
  return byteIds;
}

const padded = (length: number): number => Math.ceil(length / 8) * 8;

function assemble(settings: TokenizerSettings, sections: Record<SectionName, Int32Array | Uint8Array>): Uint8Array {
  const parts = sectionNames.map((name) => sections[name]);
  const header = new TextEncoder().encode(
    JSON.stringify({ settings, sections: parts.map((part) => part.byteLength) } satisfies Header),
  );
  const length = parts.reduce((sum, part) => sum + padded(part.byteLength), padded(headStart + header.length));
  const bytes = new Uint8Array(length);
  const view = new DataView(bytes.buffer);
  bytes.set(new TextEncoder().encode(magic));
  view.setUint32(8, version, true);
  view.setUint32(16, length, true);
  view.setUint32(20, header.length, true);
  bytes.set(header, headStart);
  let at = padded(headStart + header.length);
  for (const part of parts) {
    bytes.set(new Uint8Array(part.buffer, part.byteOffset, part.byteLength), at);
    at += padded(part.byteLength);
  }
  view.setUint32(12, crc32(bytes.subarray(16)), true);
  return bytes;
}

function damaged(what: string, got: string | number, wanted: string | number): IroriError {
  return new IroriError("bad-file", {
    what: `the prepared tokenizer ${what}`,
    got,
    wanted,
    next: "prepare the model again",
  });
}

/** Views the prepared form where it lies (copied once where it does not lie on 8 bytes). Throws "bad-file". */
export function readPrepared(source: Uint8Array): Prepared {
  const bytes = source.byteOffset % 8 === 0 ? source : source.slice();
  if (bytes.length < headStart) throw damaged("is cut", `${bytes.length} bytes`, `at least ${headStart}`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const found = String.fromCharCode(...bytes.subarray(0, 8));
  if (found !== magic) throw damaged("begins with other bytes", JSON.stringify(found), magic);
  if (view.getUint32(8, true) !== version) throw damaged("has another version", view.getUint32(8, true), version);
  const length = view.getUint32(16, true);
  if (length !== bytes.length) throw damaged("has another length", `${bytes.length} bytes`, length);
  const checksum = crc32(bytes.subarray(16));
  if (checksum !== view.getUint32(12, true)) throw damaged("is corrupted", checksum, view.getUint32(12, true));
  const headerLength = view.getUint32(20, true);
  // The checksum held, so the header is the JSON that `assemble` wrote.
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(headStart, headStart + headerLength))) as Header;
  return { bytes, settings: header.settings, ...viewSections(bytes, header, padded(headStart + headerLength)) };
}

function viewSections(bytes: Uint8Array, { sections }: Header, start: number): Omit<Prepared, "bytes" | "settings"> {
  const end = sections.reduce((sum, length) => sum + padded(length), start);
  if (end !== bytes.length || sections.length !== sectionNames.length) {
    throw damaged("has sections that do not fill it", end, bytes.length);
  }
  const startOf = (name: SectionName): number =>
    sections.slice(0, sectionNames.indexOf(name)).reduce((sum, length) => sum + padded(length), start);
  const lengthOf = (name: SectionName): number => sections[sectionNames.indexOf(name)] as number;
  const ints = (name: SectionName): Int32Array =>
    new Int32Array(bytes.buffer as ArrayBuffer, bytes.byteOffset + startOf(name), lengthOf(name) / 4);
  return {
    tokenOffsets: ints("tokenOffsets"),
    tokenBytes: bytes.subarray(startOf("tokenBytes"), startOf("tokenBytes") + lengthOf("tokenBytes")),
    tokenSlots: ints("tokenSlots"),
    merges: ints("merges"),
    mergeSlots: ints("mergeSlots"),
    byteIds: ints("byteIds"),
    added: ints("added"),
  };
}
